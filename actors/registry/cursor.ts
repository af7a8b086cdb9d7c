/** Cursors of lists: the key of the last row of a page, so that they stay valid while rows change. */
import { Buffer } from "node:buffer";

/** Room for the longest title, 3 bytes a character, between two names. */
export const CURSOR_CHARACTERS_MAX = 1_024;

export function encodeCursor(key: readonly string[]): string {
  return Buffer.from(JSON.stringify(key), "utf8").toString("base64url");
}

/** Undefined: it is not a cursor of a key with so many `parts`. */
export function decodeCursor(cursor: string, parts: number): string[] | undefined {
  if (cursor.length > CURSOR_CHARACTERS_MAX || !/^[A-Za-z0-9_-]+$/.test(cursor)) return undefined;
  try {
    const key: unknown = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"));
    const isKey = Array.isArray(key) && key.length === parts &&
      key.every((part) => typeof part === "string" && part.isWellFormed());
    return isKey ? key : undefined;
  } catch {
    return undefined; // Not JSON: not one of ours.
  }
}
