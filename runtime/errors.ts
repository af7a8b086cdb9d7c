/**
 * The errors of Roost, each with who has to act. Expected refusals are values, not exceptions;
 * these are thrown at edges and for faults. The HTTP and CoAP gateways map them (table in
 * `docs/architecture.md`).
 */
export interface Issue {
  /** Where, as a JSON pointer or a dotted path: `values.temperature`. */
  readonly path: string;
  /** The rule that was broken, a constant: `max`, `type`, `unknown`. */
  readonly rule: string;
  /** What was refused, the bound and the value. */
  readonly message: string;
}

/** Operator-facing advice, where there is any. */
interface Hinted {
  readonly hint?: string;
}

abstract class RoostError extends Error {
  abstract readonly code: string;
  abstract readonly retryable: boolean;
  readonly hint: string | undefined;
  constructor(message: string, options: Hinted & { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.hint = options.hint;
  }
}

/** The caller sent something wrong. Thrown at the edge only. */
export class InvalidError extends RoostError {
  readonly code = "invalid";
  readonly retryable = false;
  readonly issues: readonly Issue[];
  constructor(message: string, issues: readonly Issue[] = []) {
    super(message);
    this.issues = issues;
  }
}

export class UnauthorizedError extends RoostError {
  readonly code = "unauthorized";
  readonly retryable = false;
}

export class ForbiddenError extends RoostError {
  readonly code = "forbidden";
  readonly retryable = false;
}

export class NotFoundError extends RoostError {
  readonly code = "not_found";
  readonly retryable = false;
}

/** The state of the thing does not allow it (409), or a version is stale (412). */
export class ConflictError extends RoostError {
  readonly code = "conflict";
  readonly retryable = false;
}

/** A bound is reached. The caller backs off for `retryAfterMs`. */
export class OverloadedError extends RoostError {
  readonly code = "overloaded";
  readonly retryable = true;
  readonly retryAfterMs: number;
  constructor(message: string, retryAfterMs: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** No answer in time: the outcome is unknown. Retry only what is idempotent. */
export class TimeoutError extends RoostError {
  readonly code = "timeout";
  readonly retryable = false;
  readonly operation: string;
  readonly timeoutMs: number;
  constructor(operation: string, timeoutMs: number) {
    super(`No answer to ${operation} within ${timeoutMs} ms: the outcome is unknown`);
    this.operation = operation;
    this.timeoutMs = timeoutMs;
  }
}

/** A dependency is down. Back off with jitter. */
export class UnavailableError extends RoostError {
  readonly code = "unavailable";
  readonly retryable = true;
  readonly dependency: string;
  constructor(dependency: string, message: string, options: Hinted & { cause?: unknown } = {}) {
    super(message, options);
    this.dependency = dependency;
  }
}

/** This node does not hold the lease: resolve the owner again; the actor stops here. */
export class NotOwnerError extends RoostError {
  readonly code = "not_owner";
  readonly retryable = true;
}

/** Trying again changes nothing until somebody acts: a supervisor blocks the child. */
export class NotRetryableError extends RoostError {
  readonly code = "not_retryable";
  readonly retryable = false;
}

/** Stored bytes or a wire frame cannot be decoded. */
export class CodecError extends RoostError {
  readonly code = "codec";
  readonly retryable = false;
}

/** A model file or its inference failed. The supervisor reloads the model. */
export class ModelError extends RoostError {
  readonly code = "model";
  readonly retryable = false;
}

/** A bug. */
export class AssertionError extends RoostError {
  readonly code = "assertion";
  readonly retryable = false;
}

/** Throws `AssertionError`: a failed assert is a bug, never bad input. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

export function messageOf(fault: unknown): string {
  return fault instanceof Error ? fault.message : String(fault);
}
