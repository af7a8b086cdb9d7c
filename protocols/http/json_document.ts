/** JSON from outside, parsed without trust: depth, `__proto__`, numbers and text are checked. */
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { isSafeJson } from "../../actors/product/json_value.ts";

export type Parsed =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly issue: Issue };

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** UTF-8 bytes to a value. A byte order mark is not JSON and refused. */
export function parseDocument(bytes: Uint8Array): Parsed {
  let text: string;
  try {
    text = DECODER.decode(bytes);
  } catch {
    return refused("", "utf8", "Cannot read the body: it is not UTF-8");
  }
  const { depth, fields } = measure(text);
  if (depth > LIMITS.jsonDepthMax) {
    return refused("", "depth", `Cannot read the body: jsonDepthMax is ${LIMITS.jsonDepthMax}`);
  }
  if (fields > LIMITS.jsonFieldsMax) {
    const detail = `Cannot read ${fields} fields: jsonFieldsMax is ${LIMITS.jsonFieldsMax}`;
    return refused("", "fields", detail);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refused("", "json", "Cannot read the body: it is not JSON");
  }
  // Most documents have nothing to explain: a look without paths is ten times as fast.
  const issue = isSafeJson(value) ? undefined : issueOf(value, "");
  return issue === undefined ? { ok: true, value } : { ok: false, issue };
}

/**
 * Deepest nesting and fields, looked at before parsing: no walk after it can run out of stack, and no
 * parser holds up others for long.
 */
function measure(text: string): { readonly depth: number; readonly fields: number } {
  let depth = 0;
  let fields = 0;
  let deepest = 0;
  let isInString = false;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (isInString) {
      if (unit === 0x5c) i++;
      else if (unit === 0x22) isInString = false;
    } else if (unit === 0x22) isInString = true;
    else if (unit === 0x7b || unit === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (unit === 0x7d || unit === 0x5d) depth--;
    else if (unit === 0x3a) fields++;
  }
  return { depth: deepest, fields };
}

function issueOf(value: unknown, path: string): Issue | undefined {
  if (typeof value === "number" && !Number.isFinite(value)) {
    return { path, rule: "finite", message: "Cannot take a number beyond ±1.8e308" };
  }
  if (typeof value === "string" && !value.isWellFormed()) {
    return { path, rule: "unicode", message: "Cannot take text with a lone surrogate" };
  }
  if (typeof value !== "object" || value === null) return undefined;
  const isList = Array.isArray(value);
  for (const key of Object.keys(value)) {
    const at = isList
      ? `${path}${path === "" ? "" : "."}${key}`
      : path === ""
      ? key.slice(0, 64)
      : `${path}.${key.slice(0, 64)}`;
    if (key === "__proto__") {
      return { path: at, rule: "forbidden", message: `Cannot take a field named "__proto__"` };
    }
    if (!key.isWellFormed()) {
      return { path, rule: "unicode", message: "Cannot take a field name with a lone surrogate" };
    }
    const issue = issueOf((value as Record<string, unknown>)[key], at);
    if (issue !== undefined) return issue;
  }
  return undefined;
}

function refused(path: string, rule: string, message: string): Parsed {
  return { ok: false, issue: { path, rule, message } };
}
