/**
 * Requests to the API, typed by its own document. Writes carry the CSRF token; a refusal is an
 * `ApiError`; 401 ends the session of the console.
 */
import { ApiError, type ProblemDocument } from "./problem.ts";
import type { Answer, BodyOf, Method, ParamsOf, PathOf, paths, QueryOf } from "./types.ts";

type Part<Name extends string, T> = T extends undefined ? { readonly [K in Name]?: undefined }
  : { readonly [K in Name]: T };
type Loose<Name extends string, T> = {
  readonly [K in Name]?: Exclude<T, undefined>;
};

export type Options<P extends keyof paths, M extends Method> =
  & Part<"params", ParamsOf<P, M>>
  & Loose<"query", QueryOf<P, M>>
  & Part<"body", BodyOf<P, M>>
  & {
    readonly signal?: AbortSignal;
    readonly headers?: Readonly<Record<string, string>>;
  };

/** Options that need not be given are not asked for. */
type Arguments<P extends keyof paths, M extends Method> = Record<never, never> extends Options<P, M>
  ? [options?: Options<P, M>]
  : [options: Options<P, M>];

interface Access {
  csrf: string | undefined;
  onUnauthorized: () => void;
}

/** Set by `session.ts`. */
export const access: Access = { csrf: undefined, onUnauthorized: () => {} };

/** Longer than any bound of the API, shorter than a person's patience. */
const WITHIN_MS = 20_000;

export const api = {
  get: <P extends PathOf<"get">>(path: P, ...rest: Arguments<P, "get">) =>
    send("get", path, rest[0]),
  post: <P extends PathOf<"post">>(path: P, ...rest: Arguments<P, "post">) =>
    send("post", path, rest[0]),
  put: <P extends PathOf<"put">>(path: P, ...rest: Arguments<P, "put">) =>
    send("put", path, rest[0]),
  patch: <P extends PathOf<"patch">>(path: P, ...rest: Arguments<P, "patch">) =>
    send("patch", path, rest[0]),
  delete: <P extends PathOf<"delete">>(
    path: P,
    ...rest: Arguments<P, "delete">
  ) => send("delete", path, rest[0]),
};

/** A value with the tag of its version, for `If-Match`. */
export async function readTagged<P extends PathOf<"get">>(
  path: P,
  ...rest: Arguments<P, "get">
): Promise<{ readonly value: Answer<P, "get">; readonly tag: string }> {
  const response = await ask("get", path, rest[0]);
  const tag = response.headers.get("etag") ?? "";
  return { value: await valueOf<P, "get">(response), tag };
}

interface Sent {
  readonly params?: unknown;
  readonly query?: unknown;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  readonly headers?: Readonly<Record<string, string>>;
}

async function send<P extends keyof paths, M extends Method>(
  method: M,
  path: P,
  options?: Sent,
): Promise<Answer<P, M>> {
  return await valueOf<P, M>(await ask(method, path, options));
}

async function valueOf<P extends keyof paths, M extends Method>(
  response: Response,
): Promise<Answer<P, M>> {
  if (response.status === 204) return undefined as Answer<P, M>;
  return await response.json() as Answer<P, M>;
}

/** @throws {ApiError} For every answer that is none of success. */
async function ask(
  method: Method,
  path: string,
  options: Sent = {},
): Promise<Response> {
  const headers: Record<string, string> = { ...options.headers };
  if (options.body !== undefined) headers["content-type"] = "application/json";
  if (method !== "get" && access.csrf !== undefined) {
    headers["x-csrf-token"] = access.csrf;
  }
  const deadline = AbortSignal.timeout(WITHIN_MS);
  const signal = options.signal === undefined
    ? deadline
    : AbortSignal.any([options.signal, deadline]);
  let response: Response;
  try {
    response = await fetch(urlOf(path, options), {
      method: method.toUpperCase(),
      headers,
      signal,
      credentials: "same-origin",
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    });
  } catch (fault) {
    if (options.signal?.aborted) throw fault;
    throw new ApiError({ status: 0 });
  }
  if (!response.ok) throw await errorOf(response, path);
  return response;
}

function urlOf(path: string, { params, query }: Sent): string {
  const filled = path.replaceAll(
    /\{(\w+)\}/g,
    (_all, name: string) =>
      encodeURIComponent(
        String((params as Record<string, unknown> | undefined)?.[name] ?? ""),
      ),
  );
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== "") search.set(name, String(value));
  }
  return search.size === 0 ? filled : `${filled}?${search}`;
}

async function errorOf(response: Response, path: string): Promise<ApiError> {
  if (response.status === 401 && path !== "/api/v1/session") {
    access.onUnauthorized();
  }
  const isProblem = response.headers.get("content-type")?.includes("problem+json") ?? false;
  const problem = isProblem ? await response.json() as ProblemDocument : undefined;
  const retryAfter = Number(response.headers.get("retry-after") ?? Number.NaN);
  return new ApiError({
    status: response.status,
    problem,
    requestId: response.headers.get("x-request-id") ?? undefined,
    retryAfterMs: Number.isFinite(retryAfter) ? retryAfter * 1_000 : undefined,
  });
}
