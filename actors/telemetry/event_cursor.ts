/**
 * Where a page of events ended, as an opaque text: the time of its last event and which of the events
 * of that millisecond it was, by order of acceptance.
 */
import { hashKey } from "../../runtime/actor/address.ts";
import { InvalidError } from "../../runtime/errors.ts";
import type { EventQuery } from "./store.ts";

export interface EventPlace {
  readonly atMs: number;
  /** Rises with acceptance. */
  readonly seq: number;
}

const CURSOR_CHARACTERS_MAX = 128;
const START: EventPlace = { atMs: Infinity, seq: Infinity };

export function encodeEventCursor(query: EventQuery, { atMs, seq }: EventPlace): string {
  return btoa(`${keyOf(query)}.${atMs}.${seq}`);
}

/** The event that the page goes on behind. Throws `InvalidError` on a cursor that is not of `query`. */
export function eventPlaceOf(query: EventQuery): EventPlace {
  const { cursor } = query;
  if (cursor === undefined) return START;
  const [key, atMs, seq] = partsOf(cursor);
  const isValid = key === keyOf(query) && atMs! >= query.fromMs && atMs! < query.toMs &&
    Number.isSafeInteger(seq);
  if (!isValid) throw invalid();
  return { atMs: atMs!, seq: seq! };
}

function partsOf(cursor: string): number[] {
  if (cursor.length > CURSOR_CHARACTERS_MAX || !/^[A-Za-z0-9+/]+=*$/.test(cursor)) throw invalid();
  let text: string;
  try {
    text = atob(cursor);
  } catch { // Right letters, wrong length: forged, as below.
    throw invalid();
  }
  if (!/^\d{1,10}\.-?\d{1,16}\.\d{1,16}$/.test(text)) throw invalid();
  return text.split(".").map(Number);
}

function keyOf({ device, event }: EventQuery): number {
  return hashKey(JSON.stringify([device, event ?? null]));
}

function invalid(): InvalidError {
  const message = "Cannot go on: the cursor is not one of this query";
  return new InvalidError(message, [{ path: "cursor", rule: "cursor", message }]);
}
