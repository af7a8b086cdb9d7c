/**
 * History: points by device and metric over time, and events. One interface; memory and SQLite
 * behind it, Elasticsearch later. Written by the reader "telemetry", and by imports of history.
 *
 * A point's identity is (device, message, position in the message); two points of one device and
 * metric at the same millisecond are both kept, in order of acceptance. So are two events.
 */
import type { Json } from "../../runtime/actor/behaviour.ts";

/** The values of one device at one moment, out of one message. */
export interface StoredSample {
  /** `{product}/{device}`. */
  readonly device: string;
  /** Epoch milliseconds. */
  readonly atMs: number;
  /** Partition and offset of the message (first identity, if it was replayed), and position in it. */
  readonly partition: number;
  readonly offset: number;
  readonly position: number;
  /** UTF-8 JSON object: metric → value. Decoded when it is compacted or read. */
  readonly values: Uint8Array;
}

/** An event that a device raised; its message has nothing else. */
export interface StoredEvent {
  /** `{product}/{device}`. */
  readonly device: string;
  /** Name of the event. */
  readonly event: string;
  /** Epoch milliseconds. */
  readonly atMs: number;
  /** Of the message, as in `StoredSample`. */
  readonly partition: number;
  readonly offset: number;
  /** UTF-8 JSON. */
  readonly body: Uint8Array;
}

export interface SampleBatch {
  readonly samples: readonly StoredSample[];
  readonly events?: readonly StoredEvent[];
  /** Reader cursor after these; stored in the same transaction. */
  readonly cursor: number;
}

/** `[epoch ms, value]`. */
export type Point = readonly [atMs: number, value: Json];

export interface RangeQuery {
  readonly device: string;
  /** 1 to 32 metrics. */
  readonly metrics: readonly string[];
  /** Inclusive, epoch milliseconds. */
  readonly fromMs: number;
  /** Exclusive. */
  readonly toMs: number;
  /** Points of all metrics together, 1 to 100,000. */
  readonly limit: number;
  /** Opaque, from the page before. */
  readonly cursor?: string;
}

export interface RangePage {
  readonly series: Readonly<Record<string, readonly Point[]>>;
  readonly nextCursor: string | null;
}

export type Aggregate = "avg" | "min" | "max" | "count" | "first" | "last";

export interface BucketQuery {
  readonly device: string;
  readonly metrics: readonly string[];
  readonly fromMs: number;
  readonly toMs: number;
  /** Buckets start at multiples of this; at most 10,000 buckets in the range. */
  readonly bucketMs: number;
  /** `avg`, `min`, `max` look at numbers only; a bucket without any has none of them. */
  readonly aggregates: readonly Aggregate[];
}

export type Bucket = { readonly at: number } & { readonly [A in Aggregate]?: Json };

export interface ThinQuery {
  readonly device: string;
  readonly metrics: readonly string[];
  readonly fromMs: number;
  readonly toMs: number;
  /** Largest-Triangle-Three-Buckets to this many points, 3 to 10,000. Numbers only. */
  readonly points: number;
}

export interface EventQuery {
  readonly device: string;
  /** Only of this name. */
  readonly event?: string;
  /** Inclusive, epoch milliseconds. */
  readonly fromMs: number;
  /** Exclusive. */
  readonly toMs: number;
  /** 1 to 500. */
  readonly limit: number;
  /** Opaque, from the page before. */
  readonly cursor?: string;
}

export interface DeviceEvent {
  readonly event: string;
  /** Epoch milliseconds. */
  readonly at: number;
  readonly data: Json;
}

export interface EventPage {
  /** Newest first; of equal times the last accepted first. */
  readonly items: readonly DeviceEvent[];
  readonly nextCursor: string | null;
}

/** The values of one device at one moment that came by no message. */
export interface ImportedSample {
  /** `{product}/{device}`. */
  readonly device: string;
  /** Epoch milliseconds. */
  readonly atMs: number;
  /** Metric → value. */
  readonly values: { readonly [metric: string]: Json };
}

/** Points of an import. */
export interface ImportOutcome {
  readonly stored: number;
  /** Of the same device, metric, time and value as one that is stored, or comes twice. */
  readonly repeats: number;
  /** Older than what is kept. */
  readonly expired: number;
}

/** Points and events of devices of this product that are older are gone. */
export interface ProductHorizon {
  readonly product: string;
  /** Epoch milliseconds. */
  readonly beforeMs: number;
}

export interface StoreFigures {
  readonly cursor: number;
  readonly hotRows: number;
  readonly chunks: number;
  readonly chunkPoints: number;
  readonly chunkBytes: number;
  readonly compactions: number;
  /** Samples that turned out not to be a JSON object of values when compacted; dropped and counted. */
  readonly unreadable: number;
}

export interface TelemetryStore extends AsyncDisposable {
  /** Cursor of the last batch that is durable. 0 in a new store. */
  readonly cursor: number;
  /**
   * Stores a batch and its cursor in one durable step. A batch whose cursor is not above the stored
   * one was stored before and is skipped; so is a sample or event whose identity is stored (a repeat).
   * Within a partition new samples rise by (offset, position), new events by offset: one at or below
   * the highest stored of its kind is such a repeat.
   */
  write(batch: SampleBatch): Promise<void>;
  /**
   * Stores what is not stored yet, in one durable step; importing the same again changes nothing. The
   * caller keeps a call small: a write of the reader may have to wait for it.
   */
  importSamples(samples: readonly ImportedSample[]): Promise<ImportOutcome>;
  range(query: RangeQuery): Promise<RangePage>;
  buckets(query: BucketQuery): Promise<Readonly<Record<string, readonly Bucket[]>>>;
  thin(query: ThinQuery): Promise<Readonly<Record<string, readonly Point[]>>>;
  events(query: EventQuery): Promise<EventPage>;
  /** Newest point of each metric by time, all metrics of a device. */
  latest(device: string): Promise<Readonly<Record<string, Point>>>;
  /**
   * Points and events older than `beforeMs` are gone for queries at once and for good, late ones included; their
   * bytes are removed a whole UTC day at a time, in slices; true if there is more to do.
   */
  expire(beforeMs: number, sliceRows: number): Promise<boolean>;
  /** The same for single products, each by a time of its own; a time that falls changes nothing. */
  expireProducts(horizons: readonly ProductHorizon[], sliceRows: number): Promise<boolean>;
  /** One small step of compaction; true if there is more to do. `force` compacts below the bound. */
  compact(force?: boolean): Promise<boolean>;
  figures(): StoreFigures;
}
