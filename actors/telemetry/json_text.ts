/** JSON that keeps what `JSON.stringify` loses: -0, and numbers too big for a double (read as 1e999). */
import type { Json } from "../../runtime/actor/behaviour.ts";
import { CodecError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";

/** Parses back to the very same value. Throws `CodecError` if it is nested too deeply. */
export function jsonText(value: Json, depth: number = LIMITS.jsonDepthMax + 2): string {
  if (typeof value === "number") return numberText(value);
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (depth === 0) throw new CodecError("Cannot store a value: it is nested too deeply");
  if (Array.isArray(value)) {
    return `[${value.map((item: Json) => jsonText(item, depth - 1)).join(",")}]`;
  }
  const record = value as { readonly [key: string]: Json };
  const members = Object.keys(record)
    .map((key) => `${JSON.stringify(key)}:${jsonText(record[key]!, depth - 1)}`);
  return `{${members.join(",")}}`;
}

function numberText(value: number): string {
  if (value === Infinity) return "1e999";
  if (value === -Infinity) return "-1e999";
  return Object.is(value, -0) ? "-0" : String(value);
}
