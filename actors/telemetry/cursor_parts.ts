/** What the cursors of history are made of: numbers, as an opaque text. */
import { InvalidError } from "../../runtime/errors.ts";

/** @param shape Of the numbers, with dots between them. @throws {InvalidError} It is no such text. */
export function cursorParts(cursor: string, charactersMax: number, shape: RegExp): number[] {
  if (cursor.length > charactersMax || !/^[A-Za-z0-9+/]+=*$/.test(cursor)) throw badCursor();
  let text: string;
  try {
    text = atob(cursor);
  } catch { // Right letters, wrong length: forged, as below.
    throw badCursor();
  }
  if (!shape.test(text)) throw badCursor();
  return text.split(".").map(Number);
}

export function badCursor(): InvalidError {
  const message = "Cannot go on: the cursor is not one of this query";
  return new InvalidError(message, [{ path: "cursor", rule: "cursor", message }]);
}
