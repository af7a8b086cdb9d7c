/**
 * A route as data: its schemas make both the checks and the OpenAPI document, so that neither can say
 * what the other does not. A handler only translates: ask, and map the answer.
 */
import { type OpenAPIHono, z } from "@hono/zod-openapi";
import { HTTP_LIMITS } from "../../runtime/http_limits.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { DEFAULT_PROJECT } from "../../actors/registry/registry_store.ts";
import { type Policy, policyOf } from "./policy.ts";
import type { Alongside } from "../../actors/registry/registry_store.ts";
import type { Caller } from "./ports.ts";
import { type ProblemCode, PROBLEMS } from "./problem.ts";
import { readBody, readParams, readQuery } from "./request_input.ts";
import type { Answer } from "./responses.ts";

export type Method = "get" | "post" | "put" | "patch" | "delete";
export type DocumentRegistry = OpenAPIHono["openAPIRegistry"];

export interface ResponseSpec {
  readonly description: string;
  /** Absent: no body. */
  readonly schema?: z.ZodType;
  readonly example?: unknown;
  /** Default: `application/json`. */
  readonly mediaType?: string;
  /** Name → what it says. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface RouteSpec<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType> {
  readonly method: Method;
  /** As in OpenAPI: `/api/v1/devices/{product}/{device}`. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  readonly params?: P;
  readonly query?: Q;
  /** Absent: a body is not looked at. */
  readonly body?: B;
  readonly bodyExample?: unknown;
  /** Default: `application/json`. */
  readonly bodyTypes?: readonly string[];
  /** Default: `httpBodyBytesMax`. */
  readonly bodyBytesMax?: number;
  /** No body at all is the same as `{}`. */
  readonly isBodyOptional?: boolean;
  /** `If-Match` is honoured: 412 if it names another state. */
  readonly isConditional?: boolean;
  /** Field of a success that is shown once: kept sealed, for `Idempotency-Key`. */
  readonly secretField?: string;
  /** Its body has a person's password: nothing that is kept of it may help to guess that. */
  readonly hasPassword?: boolean;
  /** What the audit calls it; default: made of path and method, `devices.create`. */
  readonly action?: string;
  /** The handler reads the request itself: parameters and body are for the document only. */
  readonly isRaw?: boolean;
  /** The handler honours an `Idempotency-Key` itself; a POST of a caller always does. */
  readonly isKeyed?: boolean;
  /** The handler reads the body itself, which is too long to be held in memory. */
  readonly isStreamed?: boolean;
  readonly responses: Readonly<Record<number, ResponseSpec>>;
  /** What it may be refused with, besides what its policy, query and body bring along. */
  readonly problems?: readonly ProblemCode[];
  readonly handle: (
    request: RouteRequest<z.infer<P>, z.infer<Q>, z.infer<B>>,
  ) => Promise<Response> | Response;
}

/** What a handler gets: checked input, and who asks. */
export interface RouteRequest<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  /** Undefined on public routes only. */
  readonly caller: Caller | undefined;
  /** Its body is read already, but for raw routes. */
  readonly request: Request;
  /** Path of the URL. */
  readonly instance: string;
  /** Network of the peer, see `networkOf`. */
  readonly remote: string;
  /** For handlers whose effect is a transaction of the registry. */
  readonly keep: Keep;
}

/**
 * What writes the answer in the transaction of its effect, if it is to be kept (`repeats.ts`).
 * @param answerOf Must be what the handler answers then.
 */
export type Keep = <Value>(answerOf: (value: Value) => Answer) => Alongside<Value> | undefined;

/** A route with its types erased, as the app mounts it. */
export interface Route {
  /** `GET /api/v1/devices`: its entry in the policy table. */
  readonly name: string;
  readonly method: Method;
  readonly path: string;
  readonly tag: string;
  readonly policy: Policy;
  /** What the audit calls it. */
  readonly action: string;
  /** Absent: no body is read. */
  readonly bodyBytesMax: number | undefined;
  readonly isBodyOptional: boolean;
  /** An `Idempotency-Key` is honoured: a POST of a caller. */
  readonly isRepeatable: boolean;
  readonly isConditional: boolean;
  readonly secretField: string | undefined;
  readonly hasPassword: boolean;
  handle(input: RawInput, keep: Keep): Promise<Response> | Response;
  describe(registry: DocumentRegistry): void;
}

export interface RawInput {
  readonly params: Readonly<Record<string, string>>;
  readonly url: URL;
  readonly bytes: Uint8Array;
  readonly caller: Caller | undefined;
  /** What the caller proved itself with: its key, or the token of its session. */
  readonly credential: string | undefined;
  readonly request: Request;
  readonly remote: string;
}

const MATCH_HEADER = {
  "If-Match": z.string().optional().openapi({
    description: "Entity tag that the state must have still, or `*`; else 412.",
    example: '"loz5l0-1"',
  }),
};
const REPEAT_HEADER = {
  "Idempotency-Key": z.string().min(1).max(LIMITS.idempotencyKeyCharactersMax).optional().openapi({
    description:
      "Makes it safe to send this again: for 24 hours the same request (path, body and " +
      "`If-Match`) of the same caller under the same key gets the first answer, with " +
      "`Idempotent-Replayed: true`, and does nothing twice. Kept are successes, 404, 409, 412 " +
      "and 504; after 400, 429 or another 5xx send it again. Printable ASCII; use a random UUID.",
    example: "5f0c7b0e-8d57-4a4b-9c53-3f6f0c1e2a77",
    pattern: "^[ -~]+$",
  }),
};
const DEVICE_REPEAT_HEADER = {
  "Idempotency-Key": REPEAT_HEADER["Idempotency-Key"].openapi({
    description:
      "Makes it safe to send this again: the same message of the device under the same key " +
      "is taken once, and has the first answer, with `Idempotent-Replayed: true`, also after a " +
      `crash. Known are the last ${HTTP_LIMITS.keyedPostsMax} keys of a device, for 24 hours. ` +
      "After a refusal (400, 429, 503) send it again. Printable ASCII.",
  }),
};
const NOTHING = z.strictObject({});
const RAW = { params: {}, query: {}, body: undefined };

export const PROBLEM_SCHEMA = z.object({
  type: z.string().describe("Stable URN of the kind of problem: `urn:roost:problem:{code}`."),
  title: z.string().describe("The kind of problem, for people."),
  status: z.int().describe("The HTTP status."),
  detail: z.string().describe("What was refused, the bound and the value."),
  instance: z.string().describe("Path of the request."),
  errors: z.array(z.object({
    path: z.string().describe("Where: `tags.0`, `query.limit`, `path.device`."),
    rule: z.string().describe("The rule that was broken, a constant: `unknown`, `too_big`."),
    message: z.string().describe("What was refused, the bound and the value."),
  })).optional().describe("Each fault of the input."),
  hint: z.string().optional().describe("What an operator could do."),
}).openapi("Problem");

/** @throws {AssertionError} If the policy table has no entry for it. */
export function createRoute<
  P extends z.ZodObject = typeof NOTHING,
  Q extends z.ZodObject = typeof NOTHING,
  B extends z.ZodType = z.ZodUndefined,
>(spec: RouteSpec<P, Q, B>): Route {
  const name = `${spec.method.toUpperCase()} ${spec.path}`;
  const params = spec.params ?? NOTHING as unknown as P;
  const query = spec.query ?? NOTHING as unknown as Q;
  const policy = policyOf(name);
  return {
    name,
    method: spec.method,
    path: spec.path,
    tag: spec.tag,
    policy,
    action: spec.action ?? actionOf(spec.method, spec.path),
    bodyBytesMax: spec.body === undefined || spec.isRaw || spec.isStreamed
      ? undefined
      : spec.bodyBytesMax ?? LIMITS.httpBodyBytesMax,
    isBodyOptional: spec.isBodyOptional ?? false,
    isRepeatable: isRepeatable(spec, policy),
    isConditional: spec.isConditional ?? false,
    secretField: spec.secretField,
    hasPassword: spec.hasPassword ?? false,
    handle: (input, keep) => {
      const { caller, request, remote } = input;
      const asked = { caller, request, remote, keep, instance: input.url.pathname };
      type Request = RouteRequest<z.infer<P>, z.infer<Q>, z.infer<B>>;
      if (spec.isRaw) return spec.handle({ ...asked, ...RAW } as unknown as Request);
      const inPath = readParams(params, input.params);
      const inQuery = readQuery(query, input.url);
      const isRead = spec.body !== undefined && !spec.isStreamed;
      const body = isRead ? readBody(spec.body!, input.bytes) : undefined;
      return spec.handle({ ...asked, params: inPath, query: inQuery, body: body as z.infer<B> });
    },
    describe: (registry) => describeRoute(registry, spec, policy),
  };
}

function isRepeatable({ method }: { readonly method: Method }, policy: Policy): boolean {
  return method === "post" && policy.type === "caller";
}

function describeRoute<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType>(
  registry: DocumentRegistry,
  spec: RouteSpec<P, Q, B>,
  policy: Policy,
): void {
  const responses: Record<string, object> = {};
  for (const [status, response] of Object.entries(spec.responses)) {
    responses[status] = responseObject(response);
  }
  for (const [status, codes] of problemsByStatus(spec, policy)) {
    responses[status] = problemObject(status, codes);
  }
  registry.registerPath({
    method: spec.method,
    path: spec.path,
    operationId: operationId(spec.method, spec.path),
    tags: [spec.tag],
    summary: spec.summary,
    description: [spec.description, accessText(policy)].filter(Boolean).join("\n\n"),
    security: securityOf(policy),
    request: {
      ...(spec.params === undefined ? undefined : { params: spec.params }),
      ...(spec.query === undefined ? undefined : { query: spec.query }),
      headers: z.object({
        ...(spec.isConditional ? MATCH_HEADER : undefined),
        ...(isRepeatable(spec, policy) ? REPEAT_HEADER : undefined),
        ...(spec.isKeyed ? DEVICE_REPEAT_HEADER : undefined),
      }),
      ...(spec.body === undefined ? undefined : {
        body: {
          required: !spec.isBodyOptional,
          content: bodyContent(spec.body, spec),
        },
      }),
    },
    responses,
  });
}

function bodyContent(
  schema: z.ZodType,
  { bodyTypes = ["application/json"], bodyExample }: {
    readonly bodyTypes?: readonly string[];
    readonly bodyExample?: unknown;
  },
): Record<string, { schema: z.ZodType; example: unknown }> {
  return Object.fromEntries(bodyTypes.map((type) => [type, { schema, example: bodyExample }]));
}

function responseObject(response: ResponseSpec): object {
  const headers = Object.fromEntries(
    Object.entries(response.headers ?? {}).map((
      [name, description],
    ) => [name, { description, schema: { type: "string" } }]),
  );
  const content = response.schema === undefined ? undefined : {
    [response.mediaType ?? "application/json"]: {
      schema: response.schema,
      example: response.example,
    },
  };
  return { description: response.description, headers, ...(content && { content }) };
}

function problemsByStatus(
  spec: {
    readonly problems?: readonly ProblemCode[];
    readonly body?: unknown;
    readonly params?: unknown;
    readonly query?: unknown;
    readonly isConditional?: boolean;
    readonly method: Method;
  },
  policy: Policy,
): Map<number, ProblemCode[]> {
  const codes = new Set<ProblemCode>(spec.problems);
  for (const code of ["invalid", "rate-limited", "internal", "overloaded"] as const) {
    codes.add(code);
  }
  if (spec.body !== undefined) {
    for (const code of ["too-large", "media-type", "body-timeout"] as const) codes.add(code);
  }
  if (spec.isConditional) codes.add("precondition-failed");
  if (isRepeatable(spec, policy)) {
    codes.add("idempotency-in-progress").add("idempotency-key-reused");
  }
  if (policy.type === "caller") {
    codes.add("unauthorized").add("forbidden");
    if (spec.method !== "get") codes.add("csrf");
  }
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of [...codes].sort((a, b) => PROBLEMS[a].status - PROBLEMS[b].status)) {
    const { status } = PROBLEMS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return byStatus;
}

function problemObject(status: number, codes: readonly ProblemCode[]): object {
  const code = codes[0]!;
  const isRetryable = status === 429 || status === 503 || codes.includes("idempotency-in-progress");
  return responseObject({
    description: codes.map((each) => `\`${each}\`: ${PROBLEMS[each].title}.`).join(" "),
    mediaType: "application/problem+json",
    schema: PROBLEM_SCHEMA,
    example: {
      type: `urn:roost:problem:${code}`,
      title: PROBLEMS[code].title,
      status,
      detail: PROBLEMS[code].title,
      instance: "/api/v1/…",
    },
    ...(isRetryable ? { headers: { "Retry-After": "Whole seconds to wait." } } : undefined),
  });
}

function accessText(policy: Policy): string {
  if (policy.type === "public") return "Access: anyone.";
  if (policy.type === "device") {
    return "Access: the device itself, by its secret (Basic) or a token (Bearer).";
  }
  const keys = policy.scope === undefined
    ? "never an API key"
    : policy.scope === "any"
    ? "or an API key"
    : `or an API key with scope \`${policy.scope}\``;
  const where = policy.isOfInstallation ? ` Only of project \`${DEFAULT_PROJECT}\`.` : "";
  return `Access: role \`${policy.role}\` or above, ${keys}.${where}`;
}

function securityOf(policy: Policy): Record<string, string[]>[] {
  if (policy.type === "public") return [];
  if (policy.type === "device") return [{ device: [] }, { deviceToken: [] }];
  if (policy.scope === undefined) return [{ session: [] }];
  return [{ session: [] }, { key: policy.scope === "any" ? [] : [policy.scope] }];
}

const VERBS: Readonly<Record<Method, string>> = {
  get: "read",
  post: "create",
  put: "replace",
  patch: "update",
  delete: "delete",
};

/** `POST /api/v1/devices` is `devices.create`. */
function actionOf(method: Method, path: string): string {
  const parts = path.replace(/^\/api\/v1\//, "").split("/");
  return [...parts.filter((part) => !part.startsWith("{")), VERBS[method]].join(".");
}

function operationId(method: Method, path: string): string {
  const words = path.replace(/^\/(api|ingest)\/v1/, (_all, kind) => kind === "api" ? "" : "/ingest")
    .split(/[^a-zA-Z0-9]+/).filter((word) => word !== "");
  const rest = words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join("");
  return method + (rest === "" ? "Root" : rest);
}
