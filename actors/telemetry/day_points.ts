/** The points of one metric within one day, out of chunks and the hot table, as one sorted column. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import { InvalidError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { MetricColumn } from "./sample_columns.ts";
import type { StoredColumn } from "./series_chunks.ts";

/** In order of time; equal times in order of acceptance. */
export interface Points {
  readonly ats: ArrayLike<number>;
  /** A Float64Array where all are numbers. */
  readonly values: ArrayLike<Json>;
}

export interface DayBounds {
  /** Inclusive. */
  readonly fromMs: number;
  /** Exclusive. */
  readonly toMs: number;
  /** At least so many of the first points are wanted; Infinity for all. */
  readonly needed: number;
}

/**
 * @param chunks In order of their first time; read no further than the bounds ask.
 * @param hot In order of time, accepted after everything in chunks; may lack points after the first
 *   `needed`.
 */
export function joinDay(
  chunks: Iterable<{ readonly fromAt: number; readonly column: StoredColumn }>,
  hot: MetricColumn,
  bounds: DayBounds,
): Points {
  const columns: StoredColumn[] = [];
  let total = hot.ats.length;
  let chunkPoints = 0;
  let newest = -Infinity;
  /** Points from here on may be missing. */
  let completeTo = Infinity;
  for (const { fromAt, column } of chunks) {
    if (chunkPoints >= bounds.needed && newest < fromAt) {
      completeTo = fromAt;
      break;
    }
    const cut = cutColumn(column, bounds);
    if (cut.ats.length === 0) continue;
    columns.push(cut);
    chunkPoints += cut.ats.length;
    total += cut.ats.length;
    checkRoom(total);
    newest = Math.max(newest, cut.ats.at(-1)!);
  }
  if (hasOverlap(columns)) columns.sort((a, b) => a.seq - b.seq);
  const points = sorted(concatenate([...columns, hot], total));
  if (completeTo === Infinity) return points;
  return cutPoints(points, 0, lowerBound(points.ats, completeTo));
}

/** Throws `InvalidError` when a query would hold more than `seriesPointsMax` points of a metric. */
export function checkRoom(points: number): void {
  if (points <= LIMITS.seriesPointsMax) return;
  const message = `Cannot read so many points of one metric at once: seriesPointsMax is ` +
    `${LIMITS.seriesPointsMax}; ask for a shorter range`;
  throw new InvalidError(message, [{ path: "toMs", rule: "max", message }]);
}

function cutColumn(column: StoredColumn, bounds: DayBounds): StoredColumn {
  const from = lowerBound(column.ats, bounds.fromMs);
  const to = lowerBound(column.ats, bounds.toMs);
  if (from === 0 && to === column.ats.length) return column;
  const { ats, values } = cutPoints(column, from, to);
  return { seq: column.seq, ats: ats as Float64Array, values };
}

function cutPoints(points: Points, from: number, to: number): Points {
  return { ats: cutList(points.ats, from, to), values: cutList(points.values, from, to) };
}

function cutList<T>(list: ArrayLike<T>, from: number, to: number): ArrayLike<T> {
  if (list instanceof Float64Array) {
    return list.subarray(from, to) as ArrayLike<unknown> as ArrayLike<T>;
  }
  return (list as T[]).slice(from, to);
}

/** First index whose time is not below `atMs`. */
export function lowerBound(ats: ArrayLike<number>, atMs: number): number {
  let low = 0;
  let high = ats.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ats[middle]! < atMs) low = middle + 1;
    else high = middle;
  }
  return low;
}

function hasOverlap(columns: readonly StoredColumn[]): boolean {
  for (let i = 1; i < columns.length; i++) {
    const before = columns[i - 1]!;
    const next = columns[i]!;
    const end = before.ats.at(-1)!;
    if (end > next.ats[0]! || (end === next.ats[0] && before.seq > next.seq)) return true;
  }
  return false;
}

function concatenate(columns: readonly Points[], total: number): Points {
  const filled = columns.filter((column) => column.ats.length > 0);
  if (filled.length === 1) return filled[0]!;
  const ats = new Float64Array(total);
  const isNumeric = filled.every(({ values }) =>
    values instanceof Float64Array ||
    (values as Json[]).every((value) => typeof value === "number")
  );
  const values: Json[] | Float64Array = isNumeric ? new Float64Array(total) : [];
  let at = 0;
  for (const column of filled) {
    ats.set(column.ats, at);
    if (values instanceof Float64Array) values.set(column.values as ArrayLike<number>, at);
    else for (let i = 0; i < column.values.length; i++) values.push(column.values[i]!);
    at += column.ats.length;
  }
  return { ats, values };
}

function sorted(points: Points): Points {
  const { ats, values } = points;
  let isSorted = true;
  for (let i = 1; i < ats.length && isSorted; i++) isSorted = ats[i]! >= ats[i - 1]!;
  if (isSorted) return points;
  const order = new Uint32Array(ats.length);
  for (let i = 0; i < order.length; i++) order[i] = i;
  order.sort((a, b) => ats[a]! - ats[b]! || a - b);
  return {
    ats: Float64Array.from(order, (index) => ats[index]!),
    values: values instanceof Float64Array
      ? Float64Array.from(order, (index) => values[index]!)
      : Array.from(order, (index) => values[index]!),
  };
}
