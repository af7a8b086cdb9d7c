/**
 * History in one SQLite file. The caller's duties: one thread owns the file; `compact` and `expire`
 * are called between writes (the reader "telemetry" does); `[Symbol.asyncDispose]` closes it.
 *
 * A write is one transaction of appended rows and the cursor. Repeats are recognised by the highest
 * (offset, position) stored of each partition, kept in the same row as the cursor.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Clock } from "../../runtime/clock.ts";
import { InvalidError, OverloadedError, UnavailableError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { isTime } from "./bounds.ts";
import { Compaction } from "./compaction.ts";
import { EventTable } from "./event_table.ts";
import { HotTable } from "./hot.ts";
import { jsonText } from "./json_text.ts";
import { Marks } from "./marks.ts";
import { NameTable } from "./name_table.ts";
import { History } from "./query.ts";
import { ProductRetention } from "./product_retention.ts";
import { Retention } from "./retention.ts";
import { checkImport, newSamples } from "./sample_import.ts";
import { openTelemetryFile, PAGE_BYTES } from "./schema.ts";
import { SeriesChunks } from "./series_chunks.ts";
import { SeriesTable } from "./series_table.ts";
import type {
  Bucket,
  BucketQuery,
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
import { type OnStep, transact } from "./transaction.ts";

export interface SqliteTelemetryOptions {
  readonly path: string;
  readonly clock: Clock;
  /** Hot rows, and age of the oldest, at which compaction starts. Defaults: `LIMITS`. */
  readonly compactAtRows?: number;
  readonly compactAfterMs?: number;
  /** Bound of the hot table; at it, `write` compacts first. Default: `LIMITS.hotRowsMax`. */
  readonly hotRowsMax?: number;
  /** Default: `LIMITS.chunkPointsMax`. */
  readonly chunkPointsMax?: number;
  /**
   * For tests: called at `write:…`, `import:…`, `compaction:…`, `compaction-finish:…`, `expire:…`,
   * `checkpoint`.
   */
  readonly onStep?: OnStep;
}

/** Bytes of a row besides its body, and of the other pages that a write touches. */
const ROW_BYTES = 16;
const WRITE_BYTES = 2 * PAGE_BYTES;
const ENCODER = new TextEncoder();
/** Longest that an import waits for room. */
const IMPORT_WAIT_MS = 10_000;
/** Of an event besides its body: it goes to a leaf of each index, of which it dirties its share. */
const EVENT_BYTES = PAGE_BYTES / 4;

export class SqliteTelemetryStore implements TelemetryStore {
  readonly #db: DatabaseSync;
  readonly #clock: Clock;
  readonly #hotRowsMax: number;
  readonly #onStep: OnStep;
  readonly #hot: HotTable;
  readonly #chunks: SeriesChunks;
  readonly #devices: NameTable;
  readonly #eventNames: NameTable;
  readonly #events: EventTable;
  readonly #compaction: Compaction;
  readonly #retention: Retention;
  readonly #productRetention: ProductRetention;
  readonly #history: History;
  readonly #saveProgress: StatementSync;
  readonly #saveEventMarks: StatementSync;
  readonly #checkpoint: StatementSync;
  #marks: Marks;
  #eventMarks: Marks;
  #cursor: number;
  /** About how much stands in the WAL. */
  #walBytes = 0;
  /** Imports look before they write: one after the other. */
  #importing: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(options: SqliteTelemetryOptions) {
    const { clock, onStep = () => {} } = options;
    const db = this.#db = openTelemetryFile(options.path);
    this.#clock = clock;
    this.#onStep = onStep;
    this.#hotRowsMax = options.hotRowsMax ?? LIMITS.hotRowsMax;
    const progress = db.prepare("SELECT cursor, marks, event_marks FROM progress").get()!;
    const state = db.prepare("SELECT * FROM compaction").get() as Record<string, number>;
    this.#cursor = progress["cursor"] as number;
    this.#marks = Marks.from(progress["marks"] as Uint8Array);
    this.#eventMarks = Marks.from(progress["event_marks"] as Uint8Array);
    this.#saveEventMarks = db.prepare("UPDATE progress SET event_marks = ?");
    this.#saveProgress = db.prepare("UPDATE progress SET cursor = ?, marks = ?");
    this.#checkpoint = db.prepare("PRAGMA wal_checkpoint(PASSIVE)");
    this.#hot = new HotTable(db, clock, state["floor"]!);
    this.#devices = new NameTable(db, "device");
    this.#eventNames = new NameTable(db, "event_name");
    this.#events = new EventTable(db, this.#devices, this.#eventNames);
    const metrics = new NameTable(db, "metric");
    const series = new SeriesTable(db, state["series_count"]!);
    this.#chunks = new SeriesChunks(db, {
      chunkSeq: state["chunk_seq"]!,
      chunks: state["chunks"]!,
      points: state["points"]!,
      bytes: state["bytes"]!,
    }, options.chunkPointsMax ?? LIMITS.chunkPointsMax);
    this.#retention = new Retention(
      db,
      this.#chunks,
      this.#events,
      state["horizon"] ?? undefined,
      onStep,
    );
    this.#productRetention = new ProductRetention(db, this.#chunks, onStep);
    const shared = { clock, hot: this.#hot, chunks: this.#chunks, series, metrics };
    const horizonOf = (device: string) => this.#horizonOf(device);
    this.#history = new History({ ...shared, devices: this.#devices, horizonOf });
    this.#compaction = new Compaction({
      ...shared,
      horizonOf: (device) =>
        this.#productRetention.isEmpty
          ? this.#retention.horizonMs
          : horizonOf(this.#devices.nameOf(device)),
      db,
      onStep,
      counters: { runs: state["runs"]!, unreadable: state["unreadable"]! },
      compactAtRows: options.compactAtRows ?? LIMITS.compactAtRows,
      compactAfterMs: options.compactAfterMs ?? LIMITS.compactAfterMs,
    });
  }

  get cursor(): number {
    return this.#cursor;
  }

  async write(batch: SampleBatch): Promise<void> {
    const { samples, events = [] } = batch;
    for (const { atMs } of samples) {
      if (!isTime(atMs)) throw new InvalidError(`Cannot store a sample at ${atMs}: not a time`);
    }
    for (const { atMs } of events) {
      if (!isTime(atMs)) throw new InvalidError(`Cannot store an event at ${atMs}: not a time`);
    }
    // At the bound the writer waits, and with it its reader only.
    await this.#makeRoom(samples.length, this.#hotRowsMax);
    if (batch.cursor > this.#cursor) this.#writeNow(batch);
    if (this.#walBytes >= 8 * LIMITS.telemetryWalBytesMax) this.#checkpointNow();
  }

  importSamples(samples: readonly ImportedSample[]): Promise<ImportOutcome> {
    const done = this.#importing.then(() => this.#import(samples));
    this.#importing = done.catch(() => {}); // Told to the caller of that one.
    return done;
  }

  range(query: RangeQuery): Promise<RangePage> {
    return this.#history.range(query);
  }

  buckets(query: BucketQuery): Promise<Record<string, Bucket[]>> {
    return this.#history.buckets(query);
  }

  thin(query: ThinQuery): Promise<Record<string, Point[]>> {
    return this.#history.thin(query);
  }

  events(query: EventQuery): Promise<EventPage> {
    return new Promise((resolve) =>
      resolve(this.#events.page(query, this.#horizonOf(query.device)))
    );
  }

  latest(device: string): Promise<Record<string, Point>> {
    return this.#history.latest(device);
  }

  expire(beforeMs: number, sliceRows: number): Promise<boolean> {
    return new Promise((resolve) => {
      const removed = this.#retention.expire(beforeMs, sliceRows);
      this.#walBytes += removed.bytes;
      resolve(removed.isMore);
    });
  }

  expireProducts(horizons: readonly ProductHorizon[], sliceRows: number): Promise<boolean> {
    return new Promise((resolve) => {
      const removed = this.#productRetention.expire(horizons, sliceRows);
      this.#walBytes += removed.bytes;
      resolve(removed.isMore);
    });
  }

  async compact(force = false): Promise<boolean> {
    await this.#hot.indexed;
    if (this.#isClosed) return false;
    if (this.#walBytes >= LIMITS.telemetryWalBytesMax) {
      this.#checkpointNow();
      return true;
    }
    const before = this.#chunks.totals;
    const hasMore = this.#compaction.step(force);
    // Each new chunk dirties about a leaf; where many are of one leaf, this is too much, harmlessly.
    this.#walBytes += (this.#chunks.totals.chunkSeq - before.chunkSeq) * PAGE_BYTES;
    return hasMore;
  }

  figures(): StoreFigures {
    const { chunks, points, bytes } = this.#chunks.totals;
    return {
      cursor: this.#cursor,
      hotRows: this.#hot.rows,
      chunks,
      chunkPoints: points,
      chunkBytes: bytes,
      compactions: this.#compaction.counters.runs,
      unreadable: this.#compaction.counters.unreadable,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#hot.close();
    this.#db.close();
  }

  /** What is older of a device is gone. */
  #horizonOf(device: string): number {
    return Math.max(this.#retention.horizonMs, this.#productRetention.horizonOf(device));
  }

  /** False: there was none within the time. */
  async #makeRoom(rows: number, rowsMax: number, withinMs = Infinity): Promise<boolean> {
    const endMs = this.#clock.monotonicMs() + withinMs;
    while (this.#hot.rows > 0 && this.#hot.rows + rows > rowsMax) {
      if (this.#clock.monotonicMs() >= endMs) return false;
      await this.compact(true);
      await this.#pause();
    }
    return true;
  }

  #pause(): Promise<void> {
    return new Promise<void>((resolve) => this.#clock.soon(resolve));
  }

  async #import(samples: readonly ImportedSample[]): Promise<ImportOutcome> {
    checkImport(samples);
    // Half of the room stays for what devices send.
    if (!await this.#makeRoom(samples.length, this.#hotRowsMax / 2, IMPORT_WAIT_MS)) {
      throw new OverloadedError("Cannot import: what devices send fills the hot table", 1_000);
    }
    await this.#hot.indexed;
    if (this.#isClosed) throw new UnavailableError("telemetry", "Cannot import: it is closed");
    const fresh = await newSamples(
      samples,
      (device) => this.#horizonOf(device),
      (group, metrics) => this.#history.pointsOfDay(group, metrics),
      () => this.#pause(),
    );
    if (this.#isClosed) throw new UnavailableError("telemetry", "Cannot import: it is closed");
    if (fresh.samples.length > 0) this.#importNow(fresh.samples);
    return fresh.outcome;
  }

  #importNow(samples: readonly ImportedSample[]): void {
    const fields: (number | Uint8Array)[] = [];
    let bytes = WRITE_BYTES;
    try {
      transact(this.#db, "import", this.#onStep, () => {
        for (const { device, atMs, values } of samples) {
          const body = ENCODER.encode(jsonText(values));
          fields.push(this.#devices.intern(device), atMs, body);
          bytes += ROW_BYTES + body.length;
        }
        this.#hot.insert(fields);
      });
    } catch (fault) {
      this.#devices.forget();
      throw fault;
    }
    this.#hot.accept(fields);
    this.#walBytes += bytes;
    if (this.#walBytes >= 8 * LIMITS.telemetryWalBytesMax) this.#checkpointNow();
  }

  #writeNow(batch: SampleBatch): void {
    const fields: (number | Uint8Array)[] = [];
    const marks = this.#marks.copy();
    const eventMarks = this.#eventMarks.copy();
    const { samples, events = [], cursor } = batch;
    let bytes = WRITE_BYTES;
    try {
      transact(this.#db, "write", this.#onStep, () => {
        for (const sample of samples) {
          if (!marks.advance(sample.partition, sample.offset, sample.position)) continue;
          fields.push(this.#devices.intern(sample.device), sample.atMs, sample.values);
          bytes += ROW_BYTES + sample.values.length;
        }
        this.#hot.insert(fields);
        for (const event of events) {
          if (!eventMarks.advance(event.partition, event.offset, 0)) continue;
          this.#events.insert(event);
          bytes += EVENT_BYTES + event.body.length;
        }
        if (events.length > 0) this.#saveEventMarks.run(eventMarks.bytes());
        this.#saveProgress.run(cursor, marks.bytes());
      });
    } catch (fault) {
      this.#devices.forget();
      this.#eventNames.forget();
      throw fault;
    }
    this.#hot.accept(fields);
    this.#marks = marks;
    this.#eventMarks = eventMarks;
    this.#cursor = cursor;
    this.#walBytes += bytes;
  }

  #checkpointNow(): void {
    this.#onStep("checkpoint:before");
    this.#checkpoint.get();
    this.#walBytes = 0;
    this.#onStep("checkpoint:after");
  }
}
