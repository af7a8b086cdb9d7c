/**
 * Problem documents (RFC 9457): the one shape of every refusal over HTTP. `type` is
 * `urn:roost:problem:{code}`, stable for ever; `detail` says what was refused, the bound and the value.
 */
import {
  ConflictError,
  ForbiddenError,
  InvalidError,
  type Issue,
  NotFoundError,
  NotOwnerError,
  OverloadedError,
  TimeoutError,
  UnauthorizedError,
  UnavailableError,
} from "../../runtime/errors.ts";

/** Code → status and title. The code stands in `type`. */
export const PROBLEMS = {
  "invalid": { status: 400, title: "The request is not valid" },
  "unauthorized": { status: 401, title: "Credentials are missing or wrong" },
  "device-disabled": { status: 401, title: "The device is disabled" },
  "forbidden": { status: 403, title: "Not allowed" },
  "csrf": { status: 403, title: "The CSRF token is missing or wrong" },
  "not-found": { status: 404, title: "Not found" },
  "method-not-allowed": { status: 405, title: "The method is not allowed here" },
  "body-timeout": { status: 408, title: "The body did not arrive in time" },
  "conflict": { status: 409, title: "The state of the resource does not allow it" },
  /** With `changes`, as a dry run tells them. */
  "breaking-change": { status: 409, title: "The change breaks what works now" },
  /** With `Retry-After`. */
  "idempotency-in-progress": { status: 409, title: "The first request of this key is under way" },
  "call-ended": { status: 409, title: "The call is not open any more" },
  "superseded": { status: 409, title: "A later request has taken the place of this one" },
  "suspended": { status: 409, title: "The device is suspended until an operator acts" },
  "gone": { status: 410, title: "It was there, and is not any more" },
  "precondition-failed": { status: 412, title: "The resource was changed meanwhile" },
  "too-large": { status: 413, title: "The body is too large" },
  "media-type": { status: 415, title: "The media type is not supported" },
  "range-not-satisfiable": { status: 416, title: "There is nothing in this range" },
  "idempotency-key-reused": { status: 422, title: "The key stands for another request" },
  "calls-full": { status: 429, title: "Too many calls of the device are open" },
  "rate-limited": { status: 429, title: "Too many requests" },
  "internal": { status: 500, title: "An internal fault" },
  "overloaded": { status: 503, title: "A bound is reached" },
  "partition-stopped": { status: 503, title: "A damaged record has stopped this partition" },
  "unavailable": { status: 503, title: "A part of the system is down" },
  "not-answered": { status: 504, title: "The device did not answer in time" },
  "outcome-unknown": { status: 504, title: "No answer in time: the outcome is unknown" },
  /** Ingest only: a device resends, so it is told 503 with Retry-After. */
  "not-acknowledged": { status: 503, title: "Not durable in time: the outcome is unknown" },
} as const;

/** Where nothing better is known. */
const RETRY_MS = 1_000;

export type ProblemCode = keyof typeof PROBLEMS;

export interface ProblemOptions {
  readonly errors?: readonly Issue[];
  readonly hint?: string;
  /** Sent as `Retry-After`, rounded up to whole seconds. */
  readonly retryAfterMs?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Further members of the document, such as the id of what it is about. */
  readonly members?: Readonly<Record<string, unknown>>;
}

/** Thrown in the pipeline of a route where no class of `runtime/errors.ts` fits. */
export class ProblemError extends Error {
  readonly code: ProblemCode;
  readonly options: ProblemOptions;
  constructor(code: ProblemCode, detail: string, options: ProblemOptions = {}) {
    super(detail);
    this.name = "ProblemError";
    this.code = code;
    this.options = options;
  }
}

/** @param instance Path of the request, without its query. */
export function problemResponse(
  code: ProblemCode,
  detail: string,
  instance: string,
  options: ProblemOptions = {},
): Response {
  const { status, title } = PROBLEMS[code];
  const body = JSON.stringify({
    type: `urn:roost:problem:${code}`,
    title,
    status,
    detail,
    instance,
    errors: status === 400 ? issuesOf(detail, options.errors) : options.errors,
    hint: options.hint,
    ...options.members,
  });
  const headers: Record<string, string> = {
    "content-type": "application/problem+json",
    "cache-control": "no-store",
    ...options.headers,
  };
  const isRetryable = status === 429 || status === 503;
  const retryAfterMs = options.retryAfterMs ?? (isRetryable ? RETRY_MS : undefined);
  if (retryAfterMs !== undefined) {
    headers["retry-after"] = String(Math.max(1, Math.ceil(retryAfterMs / 1_000)));
  }
  return new Response(body, { status, headers });
}

/** A 400 always says where, if only the request as a whole. */
function issuesOf(detail: string, issues: readonly Issue[] = []): readonly Issue[] {
  return issues.length > 0 ? issues : [{ path: "", rule: "request", message: detail }];
}

/** Problem of an error; undefined: a fault or a bug, to be logged and told as `internal`. */
export function problemOf(fault: unknown): ProblemError | undefined {
  if (fault instanceof ProblemError) return fault;
  if (fault instanceof InvalidError) {
    return new ProblemError("invalid", fault.message, { errors: fault.issues });
  }
  if (fault instanceof UnauthorizedError) return new ProblemError("unauthorized", fault.message);
  if (fault instanceof ForbiddenError) return new ProblemError("forbidden", fault.message);
  if (fault instanceof NotFoundError) return new ProblemError("not-found", fault.message);
  if (fault instanceof ConflictError) return new ProblemError("conflict", fault.message);
  if (fault instanceof OverloadedError) {
    return new ProblemError("overloaded", fault.message, { retryAfterMs: fault.retryAfterMs });
  }
  if (fault instanceof TimeoutError) return new ProblemError("outcome-unknown", fault.message);
  if (fault instanceof UnavailableError) {
    const hint = fault.hint === undefined ? {} : { hint: fault.hint };
    return new ProblemError("unavailable", fault.message, { retryAfterMs: 1_000, ...hint });
  }
  if (fault instanceof NotOwnerError) {
    return new ProblemError("unavailable", fault.message, { retryAfterMs: 1_000 });
  }
  return undefined;
}
