/**
 * Reads history out of chunks and the hot table at once. Each day is read in one synchronous turn,
 * in which no compaction and no write happens, and no point ever changes its day: so each point is
 * seen once, however long a query over many days takes in between.
 */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Clock } from "../../runtime/clock.ts";
import { checkBuckets, checkRange, checkThin, DAY_MS, dayOf } from "./bounds.ts";
import { BucketFold } from "./buckets.ts";
import { checkRoom, joinDay, type Points } from "./day_points.ts";
import type { HotRows, HotTable } from "./hot.ts";
import { thinIndices } from "./lttb.ts";
import type { NameTable } from "./name_table.ts";
import { encodeCursor, type Place, placeOf } from "./page_cursor.ts";
import { type MetricColumn, parseAll } from "./sample_columns.ts";
import type { SeriesChunks } from "./series_chunks.ts";
import type { SeriesTable } from "./series_table.ts";
import type { Bucket, BucketQuery, Point, RangePage, RangeQuery, ThinQuery } from "./store.ts";

export interface HistorySources {
  readonly clock: Clock;
  readonly hot: HotTable;
  readonly chunks: SeriesChunks;
  readonly series: SeriesTable;
  readonly devices: NameTable;
  readonly metrics: NameTable;
  /** Points of a device that are older than this are gone. */
  readonly horizonOf: (device: string) => number;
}

interface Span {
  readonly device: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** Hot rows that are fetched and parsed at a time. */
const HOT_BLOCK_ROWS = 512;

export class History {
  readonly #sources: HistorySources;

  constructor(sources: HistorySources) {
    this.#sources = sources;
  }

  async range(query: RangeQuery): Promise<RangePage> {
    const metrics = checkRange(query);
    const page = new PageMerge(placeOf(query, metrics), query.limit);
    const span = { ...query, fromMs: page.place.atMs };
    await this.#eachDay(span, metrics, () => page.needed, (columns) => page.take(columns));
    return {
      series: Object.fromEntries(metrics.map((metric, index) => [metric, page.series[index]!])),
      nextCursor: page.isFull ? encodeCursor(query, page.place) : null,
    };
  }

  async buckets(query: BucketQuery): Promise<Record<string, Bucket[]>> {
    const metrics = checkBuckets(query);
    const folds = metrics.map(() => new BucketFold(query.bucketMs, query.aggregates));
    await this.#eachDay(query, metrics, () => Infinity, (columns) => {
      columns.forEach(({ ats, values }, index) => {
        const fold = folds[index]!;
        for (let i = 0; i < ats.length; i++) fold.add(ats[i]!, values[i]!);
      });
      return true;
    });
    return Object.fromEntries(metrics.map((metric, index) => [metric, folds[index]!.finish()]));
  }

  async thin(query: ThinQuery): Promise<Record<string, Point[]>> {
    const metrics = checkThin(query);
    const lines = metrics.map(() => ({ ats: [] as Float64Array[], values: [] as Float64Array[] }));
    const counts = metrics.map(() => 0);
    await this.#eachDay(query, metrics, () => Infinity, (columns) => {
      columns.forEach((points, index) => {
        const { ats, values } = finiteOf(points);
        checkRoom(counts[index]! += ats.length);
        lines[index]!.ats.push(ats);
        lines[index]!.values.push(values);
      });
      return true;
    });
    return Object.fromEntries(metrics.map((metric, index) => {
      const ats = joined(lines[index]!.ats, counts[index]!);
      const values = joined(lines[index]!.values, counts[index]!);
      const kept = thinIndices(ats, values, ats.length, query.points);
      return [metric, kept.map((i): Point => [ats[i]!, values[i]!])];
    }));
  }

  /** All points of a span within one day, a column for each metric. The hot index must be complete. */
  pointsOfDay({ device, fromMs, toMs }: Span, metrics: readonly string[]): readonly Points[] {
    const id = this.#sources.devices.find(device);
    if (id === undefined) return [];
    return this.#readDay(id, metrics, dayOf(fromMs), { fromMs, toMs, needed: Infinity });
  }

  async latest(device: string): Promise<Record<string, Point>> {
    const { hot, chunks, series, devices, metrics, horizonOf } = this.#sources;
    await hot.indexed;
    const horizonMs = horizonOf(device);
    const id = devices.find(device);
    const newest = new Map<string, Point>();
    if (id === undefined) return {};
    for (const [metric, { id: seriesId, newestDay }] of series.of(id)) {
      const column = chunks.newest(seriesId, newestDay);
      const last = (column?.ats.length ?? 0) - 1;
      if (column === undefined || column.ats[last]! < horizonMs) continue;
      newest.set(metrics.nameOf(metric), [column.ats[last]!, column.values[last]!]);
    }
    const rows = hot.rowsOf(id);
    if (rows === undefined) return Object.fromEntries(newest);
    const texts = hot.texts(id, rows.seqs);
    parseAll(texts).forEach((values, row) => {
      const at = rows.ats[row]!;
      if (at < horizonMs) return;
      for (const metric in values) { // Accepted after what chunks have: equal times win.
        const known = newest.get(metric);
        if (known === undefined || at >= known[0]) newest.set(metric, [at, values[metric]!]);
      }
    });
    return Object.fromEntries(newest);
  }

  /**
   * Hands over the points of all metrics day by day, until `take` returns false. Lets others have
   * their turn between days.
   */
  async #eachDay(
    span: Span,
    metrics: readonly string[],
    needed: () => number,
    take: (columns: readonly Points[]) => boolean,
  ): Promise<void> {
    const { hot, clock, devices, horizonOf } = this.#sources;
    await hot.indexed;
    const device = devices.find(span.device);
    if (device === undefined) return;
    let fromMs = Math.max(span.fromMs, horizonOf(span.device));
    for (;;) {
      const day = this.#nextDay(device, fromMs);
      if (day === undefined || day * DAY_MS >= span.toMs || fromMs >= span.toMs) return;
      const bounds = {
        fromMs: Math.max(fromMs, day * DAY_MS, horizonOf(span.device)),
        toMs: Math.min(span.toMs, (day + 1) * DAY_MS),
        needed: needed(),
      };
      if (!take(this.#readDay(device, metrics, day, bounds))) return;
      fromMs = (day + 1) * DAY_MS;
      await new Promise<void>((resolve) => clock.soon(resolve));
    }
  }

  #nextDay(device: number, fromMs: number): number | undefined {
    const { hot, chunks } = this.#sources;
    let day = chunks.nextDay(dayOf(fromMs)) ?? Infinity;
    for (const at of hot.rowsOf(device)?.ats ?? []) {
      if (at >= fromMs && at < day * DAY_MS) day = dayOf(at);
    }
    return day === Infinity ? undefined : day;
  }

  #readDay(
    device: number,
    metrics: readonly string[],
    day: number,
    bounds: { readonly fromMs: number; readonly toMs: number; readonly needed: number },
  ): Points[] {
    const { hot, chunks, series } = this.#sources;
    const rows = hot.rowsOf(device);
    const fresh = rows === undefined
      ? metrics.map(() => ({ ats: [], values: [] }))
      : this.#readHot(device, rows, metrics, bounds);
    const known = series.of(device);
    return metrics.map((metric, index) => {
      const number = this.#sources.metrics.find(metric);
      const id = number === undefined ? undefined : known.get(number)?.id;
      const stored = id === undefined ? [] : chunks.within(id, day, bounds.fromMs, bounds.toMs);
      return joinDay(stored, fresh[index]!, bounds);
    });
  }

  /** In order of time, a column for each metric; stops when each has `needed` points. */
  #readHot(
    device: number,
    { ats, seqs }: HotRows,
    metrics: readonly string[],
    bounds: { readonly fromMs: number; readonly toMs: number; readonly needed: number },
  ): MetricColumn[] {
    const columns = metrics.map((): MetricColumn => ({ ats: [], values: [] }));
    const rows: number[] = [];
    for (let i = 0; i < ats.length; i++) {
      if (ats[i]! >= bounds.fromMs && ats[i]! < bounds.toMs) rows.push(i);
    }
    rows.sort((a, b) => ats[a]! - ats[b]! || a - b);
    for (let from = 0; from < rows.length; from += HOT_BLOCK_ROWS) {
      if (columns.every((column) => column.ats.length >= bounds.needed)) break;
      const block = rows.slice(from, from + HOT_BLOCK_ROWS);
      const parsed = parseAll(this.#sources.hot.texts(device, block.map((row) => seqs[row]!)));
      for (let i = 0; i < block.length; i++) {
        const values = parsed[i];
        if (values === undefined) continue; // Counted when it is compacted.
        metrics.forEach((metric, index) => {
          if (!Object.hasOwn(values, metric)) return;
          columns[index]!.ats.push(ats[block[i]!]!);
          columns[index]!.values.push(values[metric]!);
        });
      }
    }
    return columns;
  }
}

/** Fills one page with the points of several metrics in order of time, then of metric. */
class PageMerge {
  readonly series: Point[][];
  /** Where the next page begins. */
  place: Place;
  /** There is at least one point more than the page holds. */
  isFull = false;
  #room: number;

  constructor(place: Place, limit: number) {
    this.place = place;
    this.series = place.skips.map(() => []);
    this.#room = limit;
  }

  /** Points of each metric that are enough to fill the page and see whether there are more. */
  get needed(): number {
    return this.#room + 1 + Math.max(...this.place.skips);
  }

  /** Takes the next day; false when the page is full. */
  take(columns: readonly Points[]): boolean {
    const heads = columns.map(({ ats }, index) => {
      let head = 0;
      while (head < this.place.skips[index]! && ats[head] === this.place.atMs) head++;
      return head;
    });
    let taken: number | undefined;
    for (;;) {
      const next = earliest(columns, heads);
      if (next === -1) break;
      if (this.#room === 0) {
        this.isFull = true;
        break;
      }
      const { ats, values } = columns[next]!;
      const head = heads[next]!++;
      taken = ats[head]!;
      this.series[next]!.push([taken, values[head]!]);
      this.#room--;
    }
    if (taken !== undefined) {
      const atMs = taken;
      this.place = { atMs, skips: columns.map(({ ats }, i) => countAt(ats, heads[i]!, atMs)) };
    }
    return !this.isFull;
  }
}

function earliest(columns: readonly Points[], heads: readonly number[]): number {
  let best = -1;
  let bestAt = Infinity;
  for (let i = 0; i < columns.length; i++) {
    const at = columns[i]!.ats[heads[i]!];
    if (at !== undefined && at < bestAt) {
      best = i;
      bestAt = at;
    }
  }
  return best;
}

/** How many of the points just before `head` are at `atMs`. */
function countAt(ats: ArrayLike<number>, head: number, atMs: number): number {
  let first = head;
  while (first > 0 && ats[first - 1] === atMs) first--;
  return head - first;
}

function finiteOf({ ats, values }: Points): { ats: Float64Array; values: Float64Array } {
  const finiteAts = new Float64Array(ats.length);
  const finite = new Float64Array(ats.length);
  let count = 0;
  for (let i = 0; i < ats.length; i++) {
    const value: Json = values[i]!;
    if (typeof value !== "number" || !Number.isFinite(value)) continue;
    finiteAts[count] = ats[i]!;
    finite[count++] = value;
  }
  return { ats: finiteAts.subarray(0, count), values: finite.subarray(0, count) };
}

function joined(parts: readonly Float64Array[], count: number): Float64Array {
  if (parts.length === 1) return parts[0]!;
  const all = new Float64Array(count);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
