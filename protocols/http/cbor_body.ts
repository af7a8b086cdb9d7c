/**
 * CBOR (RFC 8949) of devices as the JSON that it says, with the bounds of JSON: depth, names, numbers.
 * What has no JSON (byte strings, tags, integers beyond 2^53, keys that are no text) is refused.
 */
import { decode, type Token, Tokenizer, Type } from "cborg";
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
const WHY_CHARACTERS_MAX = 200;
const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class NoJson extends Error {}

/**
 * The library's own reads broken UTF-8 as U+FFFD and drops a byte order mark; and it recurses, so
 * that a hostile nesting would be an overflow of the stack.
 */
class StrictTokenizer extends Tokenizer {
  /** Items that each open list or map still waits for; infinite: until a break. */
  readonly #open: number[] = [];

  override next(): Token {
    const token = super.next();
    this.#follow(token);
    const { byteValue, value } = token;
    if (byteValue === undefined || typeof value !== "string") return token;
    if (value.length === byteValue.length && !value.includes("\ufffd")) return token;
    token.value = textOf(byteValue);
    return token;
  }

  #follow({ type, value }: Token): void {
    const open = this.#open;
    while (open.at(-1) === 0) open.pop();
    if (Type.equals(type, Type.break)) {
      open.pop();
      return;
    }
    if (open.length > 0) open[open.length - 1]!--;
    const isMap = Type.equals(type, Type.map);
    if (!isMap && !Type.equals(type, Type.array)) return;
    if (open.length >= LIMITS.jsonDepthMax) {
      throw new NoJson(`jsonDepthMax is ${LIMITS.jsonDepthMax}`);
    }
    open.push(isMap ? 2 * value : value);
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
    return { ok: true, text: JSON.stringify(jsonOf(decode(bytes, { ...OPTIONS, tokenizer }))) };
  } catch (fault) {
    // The library's words may have a key of the body in them.
    const why = messageOf(fault).slice(0, WHY_CHARACTERS_MAX).toWellFormed();
    return { ok: false, detail: `Cannot read the body as CBOR: ${why}` };
  }
}

/** Not deeper than the tokenizer lets through. */
function jsonOf(value: unknown): unknown {
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
  if (Array.isArray(value)) return value.map(jsonOf);
  if (!(value instanceof Map)) throw new NoJson("a byte string has no JSON");
  const members: [string, unknown][] = [];
  for (const [key, member] of value) {
    if (typeof key !== "string") throw new NoJson("a key that is no text has no JSON");
    if (key === "__proto__") throw new NoJson('a field may not be named "__proto__"');
    members.push([key, jsonOf(member)]);
  }
  return Object.fromEntries(members);
}
