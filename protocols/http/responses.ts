/** Answers of routes, and the headers that conditional writes are made with. */
import { ProblemError } from "./problem.ts";

export interface AnswerOptions {
  /** Strong entity tag, with its quotes. */
  readonly etag?: string;
  readonly location?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export function answer(status: number, value: unknown, options: AnswerOptions = {}): Response {
  const headers: Record<string, string> = {
    "content-type": "application/json",
    "cache-control": "no-store",
    ...options.headers,
  };
  if (options.etag !== undefined) headers.etag = options.etag;
  if (options.location !== undefined) headers.location = options.location;
  return new Response(JSON.stringify(value), { status, headers });
}

/** @param count Null: too many to count; undefined: not asked for. */
export function answerPage(
  items: readonly unknown[],
  nextCursor: string | null,
  count?: number | null,
): Response {
  return answer(200, { items, nextCursor, count });
}

export function noContent(): Response {
  return new Response(null, { status: 204, headers: { "cache-control": "no-store" } });
}

/** Tag of a stored row: made again under the same name it is another one. */
export function versionTag(row: { readonly version: number; readonly createdAt: number }): string {
  return `"${row.createdAt.toString(36)}-${row.version}"`;
}

/** @throws {ProblemError} 412 if `If-Match` is there and names another state. */
export function assertMatches(headers: Headers, etag: string): void {
  const wanted = headers.get("if-match");
  if (wanted === null || wanted.trim() === "*") return;
  const tags = wanted.split(",").map((tag) => tag.trim());
  if (!tags.includes(etag)) throw preconditionFailed(etag);
}

export function preconditionFailed(etag: string): ProblemError {
  const detail = `Cannot change this: its entity tag is now ${etag}. Read it again`;
  return new ProblemError("precondition-failed", detail, { headers: { etag } });
}
