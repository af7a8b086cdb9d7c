/**
 * Reader "telemetry": takes ticks from the log, writes their samples and events to the store, and tells
 * the log how far it is. Replays are not read, since the first record of each was. In between, and when
 * nothing comes, it compacts and removes what is too old.
 *
 * Order: a batch and its cursor are durable in the store before the log is told the cursor. A store
 * that fails is tried again with the same batch, for ever: it holds up this reader only, until the
 * log reaches its bound.
 */
import type { Clock } from "../../runtime/clock.ts";
import { CodecError, messageOf } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { SegmentClass } from "../../runtime/log/partition_log.ts";
import type { TickSource, TicksRead } from "../../runtime/log/reader_port.ts";
import { DAY_MS, dayOf } from "./bounds.ts";
import { KEEP_ALL, type RetentionPlan } from "./retention_plan.ts";
import { SampleDecoder } from "./sample_decoder.ts";
import { SteadyClock } from "./steady_clock.ts";
import type { SampleBatch, StoredEvent, StoredSample, TelemetryStore } from "./store.ts";

export interface TelemetryReaderOptions {
  readonly source: TickSource;
  readonly store: TelemetryStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long history is kept, counted in whole UTC days; absent: for ever. */
  readonly retention?: RetentionPlan;
}

export interface ReaderFigures {
  /** Cursor of the last tick that was read. */
  readonly cursor: number;
  readonly samples: number;
  readonly events: number;
  /** Messages or samples without the shape of one: passed over. */
  readonly malformed: number;
  /** Segments that could not be decoded to their end: what was left of them is passed over. */
  readonly damaged: number;
  /** Writes that failed and were tried again. */
  readonly retries: number;
}

export interface TelemetryReader extends AsyncDisposable {
  /** Settles when the reader has stopped; rejects if the source failed. */
  readonly done: Promise<void>;
  figures(): ReaderFigures;
  /** From now on history is kept so. */
  setRetention(plan: RetentionPlan): void;
}

const CLASSES: readonly SegmentClass[] = ["ingress"];
/** Bytes of ticks read at once: several thousand samples. */
const READ_BYTES = 1024 * 1024;
/** Longest pause between two looks at what compaction and retention have to do. */
const IDLE_MS = 1_000;
/** Longest that steps of compaction hold up a look for news. */
const IDLE_STEPS_MS = 20;
/** Time for compaction after each write, as a share of the time the write took, and at least. */
const COMPACTION_SHARE = 3;
const COMPACTION_MS_MIN = 4;
/** Close to the head: what comes meanwhile is one write and one fsync, which appends need as well. */
const GATHER_MS = 30;
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 10_000;
const EXPIRE_EVERY_MS = 60_000;
const EXPIRE_SLICE_CHUNKS = 256;

export function startTelemetryReader(options: TelemetryReaderOptions): TelemetryReader {
  const loop = new ReaderLoop(options);
  const done = loop.run();
  return {
    done,
    figures: () => loop.figures(),
    setRetention: (plan) => loop.setRetention(plan),
    async [Symbol.asyncDispose]() {
      loop.stop();
      await done.catch(() => {}); // Whoever started it watches `done`.
    },
  };
}

function isFull(found: TicksRead): boolean {
  let bytes = 0;
  for (const { segments } of found.ticks) {
    for (const segment of segments) bytes += segment.bytes.length;
  }
  return bytes >= READ_BYTES / 2;
}

class ReaderLoop {
  readonly #options: TelemetryReaderOptions;
  readonly #decoder = new SampleDecoder();
  #isStopped = false;
  /** Ends the wait under way. There is one at a time, so that nothing piles up on long waits. */
  #wake: () => void = () => {};
  #isWaitingForMore = false;
  #cursor: number;
  #samples = 0;
  #events = 0;
  #damaged = 0;
  #retries = 0;
  /** Cursor that the log was told. */
  #savedCursor = 0;
  #isSaving = false;
  /** Of telling the cursor, or of waiting for news: ends the loop. */
  #sourceFault: { readonly cause: unknown } | undefined;
  #nextExpireMs = 0;
  #retention: RetentionPlan;
  readonly #steady: SteadyClock;

  constructor(options: TelemetryReaderOptions) {
    this.#options = options;
    this.#cursor = options.store.cursor;
    this.#retention = options.retention ?? KEEP_ALL;
    this.#steady = new SteadyClock(
      options.clock,
      (aheadMs) =>
        options.logger.warn(
          "the clock jumped ahead: history is removed by its old time for a day",
          {
            aheadMs,
          },
        ),
    );
  }

  stop(): void {
    this.#isStopped = true;
    this.#wake();
  }

  setRetention(plan: RetentionPlan): void {
    this.#retention = plan;
    this.#nextExpireMs = 0;
  }

  figures(): ReaderFigures {
    return {
      cursor: this.#cursor,
      samples: this.#samples,
      events: this.#events,
      malformed: this.#decoder.malformed,
      damaged: this.#damaged,
      retries: this.#retries,
    };
  }

  async run(): Promise<void> {
    let next = this.#read();
    while (!this.#isStopped) {
      const found = await this.#wait(next);
      if (this.#sourceFault !== undefined) throw this.#sourceFault.cause;
      if (found === undefined) continue; // Stopped, or woken by news of an older wait.
      if (found.cursor > this.#cursor) {
        this.#cursor = found.cursor;
        if (isFull(found)) {
          next = this.#read(); // Fetched while this one is written.
          await this.#store(found);
        } else {
          await this.#store(found);
          await this.#wait(undefined, GATHER_MS);
          next = this.#read();
        }
      } else {
        await this.#idle();
        next = this.#read();
      }
      this.#save();
    }
  }

  #read(): Promise<TicksRead> {
    const read = this.#options.source.readTicks(this.#cursor, CLASSES, READ_BYTES);
    read.catch(() => {}); // Met by `#wait`, which may come later or, when stopped, never.
    return read;
  }

  async #store(found: TicksRead): Promise<void> {
    const { clock, logger } = this.#options;
    const samples: StoredSample[] = [];
    const events: StoredEvent[] = [];
    for (const { segments } of found.ticks) {
      for (const segment of segments) {
        try {
          this.#decoder.decode(segment, samples, events);
        } catch (fault) {
          if (!(fault instanceof CodecError)) throw fault;
          this.#damaged++;
          const { partition, firstOffset } = segment;
          logger.error("segment is damaged", { partition, firstOffset, fault });
        }
      }
    }
    // Ticks without either cost no write; `#idle` stores the cursor once it is quiet.
    if (samples.length === 0 && events.length === 0) return;
    const startMs = clock.monotonicMs();
    await this.#write({ samples, events, cursor: this.#cursor });
    const tookMs = clock.monotonicMs() - startMs;
    await this.#maintain(Math.max(COMPACTION_MS_MIN, tookMs * COMPACTION_SHARE));
  }

  async #write(batch: SampleBatch): Promise<void> {
    const { logger, store } = this.#options;
    for (let delayMs = RETRY_MS_MIN; !this.#isStopped;) {
      try {
        await store.write(batch);
        this.#samples += batch.samples.length;
        this.#events += batch.events?.length ?? 0;
        return;
      } catch (fault) {
        this.#retries++;
        logger.warn("telemetry write failed", { delayMs, fault: messageOf(fault) });
      }
      await this.#wait(undefined, delayMs);
      delayMs = Math.min(RETRY_MS_MAX, delayMs * 2);
    }
  }

  /** Nothing to read: does what is due, then waits for news, or for the next look. */
  async #idle(): Promise<void> {
    const { store } = this.#options;
    if (await this.#maintain(IDLE_STEPS_MS)) return; // There may be news by now.
    this.#waitForMore();
    await this.#wait(undefined, IDLE_MS);
    if (this.#isWaitingForMore && this.#cursor > store.cursor) {
      await this.#write({ samples: [], cursor: this.#cursor });
    }
  }

  #waitForMore(): void {
    if (this.#isWaitingForMore) return;
    this.#isWaitingForMore = true;
    const end = (fault?: { readonly cause: unknown }) => {
      this.#isWaitingForMore = false;
      this.#sourceFault ??= fault;
      this.#wake();
    };
    this.#options.source.waitForMore(this.#cursor).then(() => end(), (cause) => end({ cause }));
  }

  /** Small steps for about so long, others having their turn between them. True: there is more. */
  async #maintain(forMs: number): Promise<boolean> {
    const { clock, logger, store } = this.#options;
    const endMs = clock.monotonicMs() + forMs;
    try {
      for (;;) {
        const hasMore = await store.compact() || await this.#expire();
        if (!hasMore || this.#isStopped) return false;
        await new Promise<void>((resolve) => clock.soon(resolve));
        if (clock.monotonicMs() >= endMs) return true;
      }
    } catch (fault) { // Tried again at the next turn; a store that is full shows in its writes.
      logger.warn("telemetry maintenance failed", { fault: messageOf(fault) });
      return false;
    }
  }

  async #expire(): Promise<boolean> {
    const { clock, store } = this.#options;
    if (clock.monotonicMs() < this.#nextExpireMs) return false;
    const { days, products } = this.#retention;
    const today = dayOf(this.#steady.nowMs());
    const beforeMs = (kept: number) => (today - kept) * DAY_MS;
    if (days !== undefined && await store.expire(beforeMs(days), EXPIRE_SLICE_CHUNKS)) return true;
    const horizons = products.map(({ product, days }) => ({ product, beforeMs: beforeMs(days) }));
    // Also without any: a product that has none any more may not be finished.
    if (await store.expireProducts(horizons, EXPIRE_SLICE_CHUNKS)) return true;
    this.#nextExpireMs = clock.monotonicMs() + EXPIRE_EVERY_MS;
    return false;
  }

  /** Tells the log the store's cursor, one message at a time. */
  #save(): void {
    const { source, store } = this.#options;
    const cursor = store.cursor;
    if (this.#isSaving || cursor <= this.#savedCursor) return;
    this.#isSaving = true;
    source.saveCursor(cursor)
      .then(() => void (this.#savedCursor = cursor), (cause) => {
        this.#sourceFault ??= { cause };
        this.#wake();
      })
      .finally(() => this.#isSaving = false);
  }

  /** What `work` gives; undefined after the delay, or once the reader is woken or stopped. */
  #wait<T>(work?: Promise<T>, delayMs?: number): Promise<T | undefined> {
    if (this.#isStopped) return Promise.resolve(undefined);
    return new Promise<T | undefined>((resolve, reject) => {
      const cancel = delayMs === undefined
        ? () => {}
        : this.#options.clock.after(delayMs, () => this.#wake());
      const end = (settle: () => void) => {
        cancel();
        this.#wake = () => {};
        settle();
      };
      this.#wake = () => end(() => resolve(undefined));
      work?.then((value) => end(() => resolve(value)), (fault) => end(() => reject(fault)));
    });
  }
}
