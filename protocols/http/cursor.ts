/** Opaque cursors of lists that have none of their own. Forged ones are refused, never believed. */
import { InvalidError } from "../../runtime/errors.ts";

/** @param kind What the list is of; a cursor of another list is refused. */
export function encodeCursor(kind: string, id: number): string {
  return btoa(`${kind}:${id}`).replaceAll("=", "");
}

/** @throws {InvalidError} */
export function decodeCursor(kind: string, cursor: string): number {
  let text = "";
  try {
    text = atob(cursor);
  } catch {
    // Refused below, as every other cursor that was not made here.
  }
  const id = text.startsWith(`${kind}:`) ? Number(text.slice(kind.length + 1)) : NaN;
  if (Number.isSafeInteger(id) && id >= 0 && encodeCursor(kind, id) === cursor) return id;
  const message = "Cannot go on from this cursor: it is none of this list";
  throw new InvalidError(message, [{ path: "query.cursor", rule: "cursor", message }]);
}
