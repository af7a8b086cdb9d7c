/** Checks of JSON values from outside, whatever their type: what no store or peer could carry. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { quote } from "../registry/names.ts";

/** True if a document of any shape is safe to keep: see `jsonIssue`. No allocation. */
export function isSafeJson(value: unknown): boolean {
  return isSafe(value, 1);
}

function isSafe(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case "number":
      return Number.isFinite(value);
    case "string":
      return value.isWellFormed();
    case "boolean":
      return true;
    case "object":
      break;
    default:
      return false;
  }
  if (value === null) return true;
  if (depth > LIMITS.jsonDepthMax) return false;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isSafe(value[i], depth + 1)) return false;
    return true;
  }
  for (const key in value) {
    if (key === "__proto__" || !key.isWellFormed()) return false;
    if (!isSafe((value as Record<string, unknown>)[key], depth + 1)) return false;
  }
  return true;
}

/**
 * The first thing in a document that is refused always: a number that is not finite, a lone
 * surrogate, a key `__proto__`, depth beyond `jsonDepthMax`, or what is no JSON at all.
 * @param path Where the document stands; paths below it are dotted.
 */
export function jsonIssue(value: unknown, path: string, depth = 1): Issue | undefined {
  if (typeof value === "number" && !Number.isFinite(value)) {
    return issue(path, "finite", `Cannot accept ${value}: not a finite number`);
  }
  if (typeof value === "string" && !value.isWellFormed()) {
    return issue(path, "text", "Cannot accept a text with a lone surrogate");
  }
  if (value === null || ["number", "string", "boolean"].includes(typeof value)) return undefined;
  if (typeof value !== "object") return issue(path, "type", `Cannot accept ${typeof value}`);
  if (depth > LIMITS.jsonDepthMax) {
    return issue(path, "depth", `Cannot accept this: deeper than ${LIMITS.jsonDepthMax} levels`);
  }
  for (const key of Object.keys(value)) {
    if (key === "__proto__" || !key.isWellFormed()) {
      return issue(path, "key", `Cannot accept the key ${quote(key)}`);
    }
    const below = (value as Record<string, unknown>)[key];
    const found = jsonIssue(below, path === "" ? key : `${path}.${key}`, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

function issue(path: string, rule: string, message: string): Issue {
  return { path: path.slice(0, 256), rule, message };
}

/**
 * The rule that a value of unknown type breaks in an `open` product, or undefined. Numbers,
 * booleans, texts, arrays and objects, each within the bounds that a thing model would have.
 */
export function inferredRule(value: Json | undefined, depth = 1): string | undefined {
  switch (typeof value) {
    case "number":
      return Number.isFinite(value) ? undefined : "finite";
    case "boolean":
      return undefined;
    case "string":
      if (value.length > LIMITS.textCharactersMax) return "length";
      return value.isWellFormed() ? undefined : "text";
    case "object":
      return value === null ? nullRule(depth) : containerRule(value, depth);
    default:
      return "type";
  }
}

/** `null` has no type to infer; inside of an object it is a value as any other. */
function nullRule(depth: number): string | undefined {
  return depth === 1 ? "type" : undefined;
}

function containerRule(value: object, depth: number): string | undefined {
  if (depth > LIMITS.jsonDepthMax) return "depth";
  if (Array.isArray(value)) {
    if (value.length > LIMITS.arrayItemsMax) return "size";
    for (let i = 0; i < value.length; i++) {
      const rule = inferredRule(value[i], depth + 1);
      if (rule !== undefined) return rule;
    }
    return undefined;
  }
  let fields = 0;
  for (const key in value) {
    if (++fields > LIMITS.structFieldsMax) return "size";
    if (key === "__proto__" || key.length > LIMITS.nameCharactersMax || !key.isWellFormed()) {
      return "key";
    }
    const rule = inferredRule((value as Record<string, Json>)[key], depth + 1);
    if (rule !== undefined) return rule;
  }
  return undefined;
}
