/** History in memory: plain lists, searched from end to end. What the SQLite store must agree with. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import { checkBuckets, checkEvents, checkRange, checkThin } from "./bounds.ts";
import { BucketFold } from "./buckets.ts";
import { encodeEventCursor, eventPlaceOf } from "./event_cursor.ts";
import { thinIndices } from "./lttb.ts";
import { encodeCursor, placeOf } from "./page_cursor.ts";
import { checkImport, newSamples } from "./sample_import.ts";
import type {
  Bucket,
  BucketQuery,
  DeviceEvent,
  EventPage,
  EventQuery,
  ImportedSample,
  ImportOutcome,
  Point,
  ProductHorizon,
  RangePage,
  RangeQuery,
  SampleBatch,
  StoreFigures,
  TelemetryStore,
  ThinQuery,
} from "./store.ts";

export class MemoryTelemetryStore implements TelemetryStore {
  readonly #devices = new Map<string, Map<string, Point[]>>();
  readonly #identities = new Set<string>();
  readonly #events: (DeviceEvent & { readonly device: string; readonly seq: number })[] = [];
  #cursor = 0;
  #horizonMs = -Infinity;
  readonly #productHorizons = new Map<string, number>();
  #rows = 0;
  /** Imports look before they write: one after the other. */
  #importing: Promise<unknown> = Promise.resolve();

  get cursor(): number {
    return this.#cursor;
  }

  write(batch: SampleBatch): Promise<void> {
    if (batch.cursor <= this.#cursor) return Promise.resolve();
    for (const sample of batch.samples) {
      const identity = `${sample.partition}/${sample.offset}/${sample.position}`;
      if (this.#identities.has(identity)) continue;
      this.#identities.add(identity);
      const values = JSON.parse(new TextDecoder().decode(sample.values)) as Record<string, Json>;
      for (const metric of Object.keys(values)) {
        this.#add(sample.device, metric, [sample.atMs, values[metric]!]);
      }
      this.#rows++;
    }
    for (const { device, event, atMs, partition, offset, body } of batch.events ?? []) {
      const identity = `event ${partition}/${offset}`;
      if (this.#identities.has(identity)) continue;
      this.#identities.add(identity);
      const data: Json = JSON.parse(new TextDecoder().decode(body));
      this.#events.push({ device, event, at: atMs, data, seq: this.#events.length });
    }
    this.#cursor = batch.cursor;
    return Promise.resolve();
  }

  importSamples(samples: readonly ImportedSample[]): Promise<ImportOutcome> {
    const done = this.#importing.then(() => this.#import(samples));
    this.#importing = done.catch(() => {}); // Told to the caller of that one.
    return done;
  }

  async #import(samples: readonly ImportedSample[]): Promise<ImportOutcome> {
    checkImport(samples);
    const fresh = await newSamples(
      samples,
      (device) => this.#horizonOf(device),
      (group, metrics) =>
        metrics.map((metric) => {
          const points = this.#points(group, metric);
          return { ats: points.map(([at]) => at), values: points.map(([, value]) => value) };
        }),
      () => Promise.resolve(),
    );
    for (const { device, atMs, values } of fresh.samples) {
      for (const metric of Object.keys(values)) this.#add(device, metric, [atMs, values[metric]!]);
      this.#rows++;
    }
    return fresh.outcome;
  }

  range(query: RangeQuery): Promise<RangePage> {
    return attempt(() => this.#range(query));
  }

  buckets(query: BucketQuery): Promise<Record<string, Bucket[]>> {
    return attempt(() =>
      Object.fromEntries(
        checkBuckets(query).map((metric) => {
          const fold = new BucketFold(query.bucketMs, query.aggregates);
          for (const [at, value] of this.#points(query, metric)) fold.add(at, value);
          return [metric, fold.finish()];
        }),
      )
    );
  }

  thin(query: ThinQuery): Promise<Record<string, Point[]>> {
    return attempt(() =>
      Object.fromEntries(
        checkThin(query).map((metric) => {
          const points = this.#points(query, metric)
            .filter(([, value]) => typeof value === "number" && Number.isFinite(value));
          const ats = points.map(([at]) => at);
          const values = points.map(([, value]) => value as number);
          const kept = thinIndices(ats, values, points.length, query.points);
          return [metric, kept.map((index) => points[index]!)];
        }),
      )
    );
  }

  events(query: EventQuery): Promise<EventPage> {
    return attempt(() => {
      checkEvents(query);
      const place = eventPlaceOf(query);
      const from = Math.max(query.fromMs, this.#horizonOf(query.device));
      const found = this.#events
        .filter(({ device, event }) => device === query.device && event === (query.event ?? event))
        .filter(({ at }) => at >= from && at < query.toMs)
        .filter(({ at, seq }) => at < place.atMs || (at === place.atMs && seq < place.seq))
        .sort((a, b) => b.at - a.at || b.seq - a.seq);
      const page = found.slice(0, query.limit);
      const last = page.at(-1);
      return {
        items: page.map(({ event, at, data }) => ({ event, at, data })),
        nextCursor: found.length > page.length && last !== undefined
          ? encodeEventCursor(query, { atMs: last.at, seq: last.seq })
          : null,
      };
    });
  }

  latest(device: string): Promise<Record<string, Point>> {
    const newest: [string, Point][] = [];
    for (const [metric, points] of this.#devices.get(device) ?? []) {
      const last = points.at(-1)!;
      if (last[0] >= this.#horizonOf(device)) newest.push([metric, last]);
    }
    return Promise.resolve(Object.fromEntries(newest));
  }

  expire(beforeMs: number): Promise<boolean> {
    this.#horizonMs = Math.max(this.#horizonMs, beforeMs);
    return Promise.resolve(false);
  }

  expireProducts(horizons: readonly ProductHorizon[]): Promise<boolean> {
    for (const { product, beforeMs } of horizons) {
      const before = this.#productHorizons.get(product) ?? -Infinity;
      this.#productHorizons.set(product, Math.max(before, beforeMs));
    }
    return Promise.resolve(false);
  }

  compact(): Promise<boolean> {
    return Promise.resolve(false);
  }

  figures(): StoreFigures {
    return {
      cursor: this.#cursor,
      hotRows: this.#rows,
      chunks: 0,
      chunkPoints: 0,
      chunkBytes: 0,
      compactions: 0,
      unreadable: 0,
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  #horizonOf(device: string): number {
    const own = this.#productHorizons.get(device.slice(0, device.indexOf("/"))) ?? -Infinity;
    return Math.max(this.#horizonMs, own);
  }

  #add(device: string, metric: string, point: Point): void {
    let metrics = this.#devices.get(device);
    if (metrics === undefined) this.#devices.set(device, metrics = new Map());
    let points = metrics.get(metric);
    if (points === undefined) metrics.set(metric, points = []);
    let at = points.length;
    while (at > 0 && points[at - 1]![0] > point[0]) at--;
    points.splice(at, 0, point);
  }

  #points(
    query: { readonly device: string; readonly fromMs: number; readonly toMs: number },
    metric: string,
  ): Point[] {
    const from = Math.max(query.fromMs, this.#horizonOf(query.device));
    return (this.#devices.get(query.device)?.get(metric) ?? [])
      .filter(([at]) => at >= from && at < query.toMs);
  }

  #range(query: RangeQuery): RangePage {
    const metrics = checkRange(query);
    const place = placeOf(query, metrics);
    const all = metrics.flatMap((metric, index) =>
      this.#points(query, metric)
        .filter(([at]) => at >= place.atMs)
        .filter(([at], i) => at > place.atMs || i >= place.skips[index]!)
        .map((point) => ({ index, point }))
    );
    all.sort((a, b) => a.point[0] - b.point[0] || a.index - b.index);
    const page = all.slice(0, query.limit);
    const series = metrics.map((metric, index) =>
      [metric, page.filter((entry) => entry.index === index).map(({ point }) => point)] as const
    );
    const atMs = page.at(-1)?.point[0] ?? place.atMs;
    const skips = series.map(([, points], index) =>
      points.filter(([at]) => at === atMs).length + (atMs === place.atMs ? place.skips[index]! : 0)
    );
    return {
      series: Object.fromEntries(series),
      nextCursor: page.length < all.length ? encodeCursor(query, { atMs, skips }) : null,
    };
  }
}

/** A refusal thrown by the checks becomes a rejection, as in every store. */
function attempt<T>(read: () => T): Promise<T> {
  return new Promise((resolve) => resolve(read()));
}
