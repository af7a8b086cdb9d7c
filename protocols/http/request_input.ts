/** What a request brings, checked against the schemas of its route. Every refusal is a problem. */
import { Buffer } from "node:buffer";
import type { z } from "@hono/zod-openapi";
import type { Clock } from "../../runtime/clock.ts";
import { InvalidError, type Issue } from "../../runtime/errors.ts";
import { type BodyCoding, codingOf, codingRefusal, inflate, TAKEN_CODINGS } from "./body_coding.ts";
import { parseDocument } from "./json_document.ts";
import { ProblemError } from "./problem.ts";

/** Issues that one problem document lists; a hostile body could have thousands. */
const ISSUES_MAX = 50;
const JSON_TYPE = /^application\/(?:merge-patch\+)?json\s*(?:;\s*charset="?utf-8"?\s*)?$/i;

/** @throws {InvalidError} With one issue a fault, paths as `query.limit`. */
export function readQuery<T extends z.ZodObject>(schema: T, url: URL): z.infer<T> {
  const issues: Issue[] = [];
  const query: Record<string, string> = {};
  for (const [name, value] of url.searchParams) {
    const path = `query.${name.slice(0, 64)}`;
    if (!Object.hasOwn(schema.shape, name)) {
      issues.push({ path, rule: "unknown", message: "Cannot take an unknown query parameter" });
    } else if (Object.hasOwn(query, name)) {
      issues.push({ path, rule: "duplicate", message: "Cannot take a query parameter twice" });
    } else query[name] = value;
  }
  return readWith(schema, query, "query", issues);
}

/** @throws {InvalidError} Paths as `path.device`. */
export function readParams<T extends z.ZodObject>(
  schema: T,
  params: Readonly<Record<string, string>>,
): z.infer<T> {
  return readWith(schema, params, "path", []);
}

/** @throws {InvalidError} Paths from the document's root: `tags.0`. */
export function readBody<T extends z.ZodType>(schema: T, bytes: Uint8Array): z.infer<T> {
  const parsed = parseDocument(bytes);
  if (!parsed.ok) throw new InvalidError(parsed.issue.message, [parsed.issue]);
  return readWith(schema, parsed.value, "", []);
}

/** @throws {ProblemError} 415: forms and text are what a browser sends across sites unasked. */
export function assertJsonType(request: Request): void {
  const type = request.headers.get("content-type") ?? "";
  if (JSON_TYPE.test(type)) return;
  const detail = `Cannot read "${type.slice(0, 80)}": send application/json in UTF-8`;
  throw new ProblemError("media-type", detail);
}

/** @throws {ProblemError} 415: a content coding that is not taken. */
export function readCoding(request: Request): BodyCoding {
  const header = request.headers.get("content-encoding");
  const coding = codingOf(header);
  if (coding !== undefined) return coding;
  throw new ProblemError("media-type", codingRefusal(header!), { headers: TAKEN_CODINGS });
}

/** @throws {ProblemError} 413, or 400 if it is broken. */
export function readInflated(bytes: Uint8Array, bytesMax: number): Uint8Array {
  const inflated = inflate(bytes, bytesMax);
  if (inflated.ok) return inflated.bytes;
  throw new ProblemError(inflated.code, inflated.detail);
}

export interface BodyDeadline {
  readonly withinMs: number;
  readonly clock: Clock;
  /** Gives up earlier. */
  readonly signal: AbortSignal;
}

/**
 * The body, bounded in bytes and time; the rest of a refused one is not read.
 * @throws {ProblemError} 413, 408, or 400 if it ended early.
 */
export async function readBytes(
  request: Request,
  bytesMax: number,
  deadline: BodyDeadline,
): Promise<Uint8Array> {
  const announced = Number(request.headers.get("content-length") ?? 0);
  if (!(announced <= bytesMax)) throw tooLarge(announced, bytesMax);
  if (request.body === null) return new Uint8Array();
  const reader = request.body.getReader();
  let isLate = false;
  const giveUp = () => {
    isLate = true;
    reader.cancel().catch(() => {}); // It is refused either way: below, as late.
  };
  const cancelTimer = deadline.clock.after(deadline.withinMs, giveUp);
  deadline.signal.addEventListener("abort", giveUp);
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (isLate) break;
      if (done) return parts.length === 1 ? parts[0]! : Buffer.concat(parts, length);
      length += value.length;
      if (length > bytesMax) break;
      parts.push(value);
    }
  } catch {
    throw new InvalidError("Cannot read the body: it ended early");
  } finally {
    cancelTimer();
    deadline.signal.removeEventListener("abort", giveUp);
  }
  if (isLate) {
    const detail = `Cannot read the body: httpBodyMs is ${deadline.withinMs}`;
    throw new ProblemError("body-timeout", detail);
  }
  reader.cancel().catch(() => {}); // The peer may be gone, which is what it asks for.
  throw tooLarge(length, bytesMax);
}

function tooLarge(bytes: number, bytesMax: number): ProblemError {
  return new ProblemError("too-large", `Cannot read ${bytes} B: the bound is ${bytesMax}`);
}

function readWith<T extends z.ZodType>(
  schema: T,
  value: unknown,
  prefix: string,
  issues: Issue[],
): z.infer<T> {
  const result = schema.safeParse(value);
  if (result.success && issues.length === 0) return result.data;
  if (!result.success) {
    for (const fault of result.error.issues) {
      addIssues(fault, prefix, issues);
    }
  }
  const first = issues[0]!;
  const at = first.path === "" ? "" : ` at ${first.path}`;
  throw new InvalidError(`${first.message}${at}`, issues.slice(0, ISSUES_MAX));
}

function addIssues(fault: z.core.$ZodIssue, prefix: string, issues: Issue[]): void {
  if (fault.code === "unrecognized_keys") {
    for (const key of fault.keys.slice(0, ISSUES_MAX)) {
      const path = pathOf(prefix, [...fault.path, key]);
      issues.push({ path, rule: "unknown", message: "Cannot take an unknown field" });
    }
    return;
  }
  issues.push({ path: pathOf(prefix, fault.path), rule: fault.code, message: fault.message });
}

function pathOf(prefix: string, path: readonly PropertyKey[]): string {
  const all = prefix === "" ? path : [prefix, ...path];
  return all.map((part) => String(part).slice(0, 64)).join(".");
}

type Defined<T> =
  & { [K in keyof T as undefined extends T[K] ? never : K]: T[K] }
  & { [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined> };

/** Without the fields that are undefined, which schemas leave behind for what was not sent. */
export function definedOf<T extends object>(fields: T): Defined<T> {
  const kept = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(kept) as Defined<T>;
}
