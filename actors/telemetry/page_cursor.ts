/**
 * Where a page of history ended, as an opaque text: the time of its last point and, per metric, how
 * many points at that very millisecond were given out. Points of one millisecond keep their order of
 * acceptance for ever, so the place stays right while compaction moves points and new ones arrive.
 */
import { hashKey } from "../../runtime/actor/address.ts";
import { badCursor, cursorParts } from "./cursor_parts.ts";
import type { RangeQuery } from "./store.ts";

export interface Place {
  readonly atMs: number;
  /** Per metric, in the order of the query: points at `atMs` that earlier pages gave out. */
  readonly skips: readonly number[];
}

const CURSOR_CHARACTERS_MAX = 2_048;
const SHAPE = /^\d{1,10}\.-?\d{1,16}(\.\d{1,16}){1,32}$/;

export function encodeCursor(query: RangeQuery, place: Place): string {
  return btoa([keyOf(query), place.atMs, ...place.skips].join("."));
}

/** Place of the first point to give out. Throws `InvalidError` on a cursor that is not of `query`. */
export function placeOf(query: RangeQuery, metrics: readonly string[]): Place {
  const { cursor } = query;
  if (cursor === undefined) return { atMs: query.fromMs, skips: metrics.map(() => 0) };
  const [key, atMs, ...skips] = cursorParts(cursor, CURSOR_CHARACTERS_MAX, SHAPE);
  const isValid = key === keyOf(query) && skips.length === metrics.length &&
    atMs! >= query.fromMs && atMs! < query.toMs && skips.every((skip) => skip >= 0);
  if (!isValid) throw badCursor();
  return { atMs: atMs!, skips };
}

function keyOf(query: RangeQuery): number {
  return hashKey(JSON.stringify([query.device, [...new Set(query.metrics)]]));
}
