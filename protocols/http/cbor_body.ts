/**
 * CBOR (RFC 8949) of devices as the JSON that it says, with the bounds of JSON: depth, names, numbers.
 * What has no JSON (byte strings, tags, integers beyond 2^53, keys that are no text) is refused.
 */
import { decode, type Token, Tokenizer } from "cborg";
import { messageOf } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";

export type CborText =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly detail: string };

const OPTIONS = {
  // As maps: as objects a key `__proto__` would be a prototype.
  useMaps: true,
  rejectDuplicateMapKeys: true,
  allowUndefined: false,
  allowInfinity: false,
  allowNaN: false,
  retainStringBytes: true,
} as const;
const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class NoJson extends Error {}

/** The library's own reads broken UTF-8 as U+FFFD and drops a byte order mark. */
class StrictTokenizer extends Tokenizer {
  override next(): Token {
    const token = super.next();
    const { byteValue, value } = token;
    if (byteValue === undefined || typeof value !== "string") return token;
    if (value.length === byteValue.length && !value.includes("\ufffd")) return token;
    token.value = textOf(byteValue);
    return token;
  }
}

function textOf(bytes: Uint8Array): string {
  try {
    return DECODER.decode(bytes);
  } catch {
    throw new NoJson("a text is not UTF-8");
  }
}

export function cborToJson(bytes: Uint8Array): CborText {
  try {
    const tokenizer = new StrictTokenizer(bytes, OPTIONS);
    return { ok: true, text: JSON.stringify(jsonOf(decode(bytes, { ...OPTIONS, tokenizer }), 0)) };
  } catch (fault) {
    // The library recurses: a hostile nesting ends as an overflow of the stack, which is a RangeError.
    const why = fault instanceof RangeError ? depthRule() : messageOf(fault);
    return { ok: false, detail: `Cannot read the body as CBOR: ${why}` };
  }
}

function jsonOf(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case "string":
    case "boolean":
    case "number":
      return value;
    case "bigint":
      throw new NoJson("an integer beyond 2^53 has no exact JSON");
    case "object":
      break;
    default: // A break that ends nothing is a symbol.
      throw new NoJson("it is not well-formed");
  }
  if (value === null) return value;
  if (depth >= LIMITS.jsonDepthMax) throw new NoJson(depthRule());
  if (Array.isArray(value)) return value.map((each) => jsonOf(each, depth + 1));
  if (!(value instanceof Map)) throw new NoJson("a byte string has no JSON");
  const members: [string, unknown][] = [];
  for (const [key, member] of value) {
    if (typeof key !== "string") throw new NoJson("a key that is no text has no JSON");
    if (key === "__proto__") throw new NoJson('a field may not be named "__proto__"');
    members.push([key, jsonOf(member, depth + 1)]);
  }
  return Object.fromEntries(members);
}

function depthRule(): string {
  return `jsonDepthMax is ${LIMITS.jsonDepthMax}`;
}
