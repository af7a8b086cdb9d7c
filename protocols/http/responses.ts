/** Answers of routes, and the headers that conditional writes are made with. */
import { ProblemError } from "./problem.ts";

export interface AnswerOptions {
  /** Strong entity tag, with its quotes. */
  readonly etag?: string;
  readonly location?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer as data: what is kept of it is what is sent. */
export interface Answer extends AnswerOptions {
  readonly status: number;
  readonly value: unknown;
}

export function answer(status: number, value: unknown, options: AnswerOptions = {}): Response {
  return respond({ ...options, status, value });
}

export function respond(answer: Answer): Response {
  const headers = { "cache-control": "no-store", ...headersOf(answer) };
  return new Response(JSON.stringify(answer.value), { status: answer.status, headers });
}

export function headersOf({ etag, location, headers }: AnswerOptions): Record<string, string> {
  return {
    "content-type": "application/json",
    ...headers,
    ...(etag === undefined ? undefined : { etag }),
    ...(location === undefined ? undefined : { location }),
  };
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

/**
 * The version that a conditional write expects: that of `found`, where `If-Match` is sent.
 * @throws {ProblemError} 412.
 */
export function versionToMatch(
  found: { readonly version: number; readonly createdAt: number },
  headers: Headers,
): number | undefined {
  assertMatches(headers, versionTag(found));
  return headers.has("if-match") ? found.version : undefined;
}

export function preconditionFailed(etag: string): ProblemError {
  const detail = `Cannot change this: its entity tag is now ${etag}. Read it again`;
  return new ProblemError("precondition-failed", detail, { headers: { etag } });
}
