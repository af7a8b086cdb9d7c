/** JSON objects as people type them. */

export type JsonObject = Readonly<Record<string, unknown>>;

/** A key of `text.ts`, and what stands in it. */
export type JsonFault =
  | { readonly key: "json_object"; readonly values: Readonly<Record<string, never>> }
  | {
    readonly key: "json_bad";
    readonly values: { readonly line: number; readonly column: number };
  };

export type ParsedObject =
  | { readonly ok: true; readonly value: JsonObject }
  | { readonly ok: false; readonly fault: JsonFault };

export function parseObject(typed: string): ParsedObject {
  try {
    const value: unknown = JSON.parse(typed);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return { ok: true, value: value as JsonObject };
    }
    return { ok: false, fault: { key: "json_object", values: {} } };
  } catch (fault) {
    if (!(fault instanceof SyntaxError)) throw fault;
    const lines = typed.slice(0, faultIndex(typed)).split("\n");
    const values = { line: lines.length, column: lines.at(-1)!.length + 1 };
    return { ok: false, fault: { key: "json_bad", values } };
  }
}

const SPACE = /[ \t\r\n]*/y;
/** 1: a sign; 2: a text; else a number or word. */
const TOKEN =
  /([{}[\],:])|("(?:[ !#-[\]-\uffff]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

type Due = "value" | "first item" | "key" | "first key" | "colon" | "next";

/**
 * Where a text stops to be JSON. Browsers say it in English words of their own, and some not at all.
 * @param text Of which `JSON.parse` has found that it is none.
 */
function faultIndex(text: string): number {
  const open: string[] = [];
  let due: Due = "value";
  for (let at = 0;;) {
    SPACE.lastIndex = at;
    SPACE.exec(text);
    TOKEN.lastIndex = at = SPACE.lastIndex;
    const token = TOKEN.exec(text);
    const next: Due | undefined = token === null ? undefined : follow(token, due, open);
    if (next === undefined) return at;
    due = next;
    at = TOKEN.lastIndex;
  }
}

/** What is due after a token; undefined: the token is not due itself. */
function follow([token, sign, text]: RegExpExecArray, due: Due, open: string[]): Due | undefined {
  const closes = open.at(-1) === "{" ? "}" : "]";
  const mayClose = due === "next" ? open.length > 0 : due === "first item" || due === "first key";
  if (mayClose && sign === closes) {
    open.pop();
    return "next";
  }
  if (due === "colon") return sign === ":" ? "value" : undefined;
  if (due === "key" || due === "first key") return text === undefined ? undefined : "colon";
  if (due === "next") {
    if (sign !== "," || open.length === 0) return undefined;
    return closes === "}" ? "key" : "value";
  }
  if (sign === undefined) return "next";
  if (sign !== "{" && sign !== "[") return undefined;
  open.push(token);
  return sign === "{" ? "first key" : "first item";
}
