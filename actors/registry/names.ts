/** The rule of names: products, devices, properties, events, services (`native.md`, Identity). */
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";

const NAME = /^[A-Za-z0-9_.:-]+$/;

/**
 * 1 to 64 of `A-Z a-z 0-9 _ . : -`. `__proto__` is refused as a trap for objects, `.` and `..` since
 * no URL can hold them.
 */
export function isName(name: string): boolean {
  return name.length <= LIMITS.nameCharactersMax && NAME.test(name) && name !== "__proto__" &&
    name !== "." && name !== "..";
}

/** Issues of a name: none, or one. */
export function nameIssues(path: string, name: string): Issue[] {
  if (isName(name)) return [];
  return [{ path, rule: "name", message: `Cannot accept ${quote(name)} as ${path}: ${NAME_RULE}` }];
}

export const NAME_RULE = `1 to ${LIMITS.nameCharactersMax} of A-Z a-z 0-9 _ . : -`;

/** Issues of a text for people: bounded, well-formed, without control characters. */
export function titleIssues(path: string, title: string): Issue[] {
  if (title.length > LIMITS.titleCharactersMax) {
    const message = `Cannot accept ${title.length} characters as ${path}: ` +
      `at most ${LIMITS.titleCharactersMax}`;
    return [{ path, rule: "length", message }];
  }
  // deno-lint-ignore no-control-regex -- they are what is refused
  if (title.isWellFormed() && !/[\u0000-\u001f\u007f]/.test(title)) return [];
  const message = `Cannot accept ${quote(title)} as ${path}: text without control characters`;
  return [{ path, rule: "text", message }];
}

/** A refused text in a message: bounded and well-formed. */
export function quote(text: string): string {
  const short = text.length > 40 ? text.slice(0, 40) + "…" : text;
  return JSON.stringify(short.toWellFormed());
}
