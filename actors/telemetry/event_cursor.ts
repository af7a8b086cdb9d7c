/**
 * Where a page of events ended, as an opaque text: the time of its last event and which of the events
 * of that millisecond it was, by order of acceptance.
 */
import { hashKey } from "../../runtime/actor/address.ts";
import { badCursor, cursorParts } from "./cursor_parts.ts";
import type { EventQuery } from "./store.ts";

export interface EventPlace {
  readonly atMs: number;
  /** Rises with acceptance. */
  readonly seq: number;
}

const CURSOR_CHARACTERS_MAX = 128;
const SHAPE = /^\d{1,10}\.-?\d{1,16}\.\d{1,16}$/;
const START: EventPlace = { atMs: Infinity, seq: Infinity };

export function encodeEventCursor(query: EventQuery, { atMs, seq }: EventPlace): string {
  return btoa(`${keyOf(query)}.${atMs}.${seq}`);
}

/** The event that the page goes on behind. Throws `InvalidError` on a cursor that is not of `query`. */
export function eventPlaceOf(query: EventQuery): EventPlace {
  const { cursor } = query;
  if (cursor === undefined) return START;
  const [key, atMs, seq] = cursorParts(cursor, CURSOR_CHARACTERS_MAX, SHAPE);
  const isValid = key === keyOf(query) && atMs! >= query.fromMs && atMs! < query.toMs &&
    Number.isSafeInteger(seq);
  if (!isValid) throw badCursor();
  return { atMs: atMs!, seq: seq! };
}

function keyOf({ device, event }: EventQuery): number {
  return hashKey(JSON.stringify([device, event ?? null]));
}
