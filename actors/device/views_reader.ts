/**
 * The reader "views": takes projections from the log into the views store. It never gives up: what
 * the store refuses is tried again, and holds up nothing but itself.
 */
import type { Clock } from "../../runtime/clock.ts";
import { messageOf } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { SegmentClass, Tick } from "../../runtime/log/partition_log.ts";
import type { TickSource } from "../../runtime/log/reader_port.ts";
import { recordsOf } from "../../runtime/log/record.ts";
import type { ViewsStore, ViewWrite } from "./views.ts";

export interface ViewsReader extends AsyncDisposable {
  /** Every row up to here is in the store. */
  readonly cursor: number;
  /** Resolves when it is there, or after a second: a list is then as old as it is. */
  reach(tick: number): Promise<void>;
  /** Records that could not be read as a projection, and were skipped. */
  readonly skipped: number;
}

export interface ViewsReaderOptions {
  readonly source: TickSource;
  readonly store: ViewsStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

const CLASSES: readonly SegmentClass[] = ["view"];
const READ_BYTES_MAX = 1024 * 1024;
/**
 * Collects what comes meanwhile, where nobody waits: a list may be this much behind, and the fsync of a
 * write makes that of the log wait.
 */
const PAUSE_MS = 100;
/** Ticks without rows move the stored cursor this often only, so that the log can be trimmed. */
const SAVE_EVERY_MS = 1_000;
const REACH_MS_MAX = 1_000;
const BACKOFF_MS = 250;
const BACKOFF_MS_MAX = 30_000;

export function startViewsReader(options: ViewsReaderOptions): ViewsReader {
  const loop = new ReaderLoop(options);
  const done = loop.run();
  return {
    get cursor() {
      return loop.cursor;
    },
    reach: (tick) => loop.reach(tick),
    get skipped() {
      return loop.skipped;
    },
    async [Symbol.asyncDispose]() {
      loop.stop();
      await done;
    },
  };
}

class ReaderLoop {
  readonly #options: ViewsReaderOptions;
  readonly #stopped: Promise<void>;
  #stop!: () => void;
  #isStopping = false;
  #savedAtMs: number;
  readonly #reaching = new Set<{ readonly tick: number; readonly resolve: () => void }>();
  /** Ends the pause between two writes. */
  #hurry: () => void = () => {};
  /** Ticks up to here were read; those after the store's cursor had no rows. */
  #read: number;
  skipped = 0;

  constructor(options: ViewsReaderOptions) {
    this.#options = options;
    this.#read = options.store.cursor;
    this.#savedAtMs = options.clock.monotonicMs();
    this.#stopped = new Promise((resolve) => this.#stop = resolve);
  }

  get cursor(): number {
    return this.#read;
  }

  reach(tick: number): Promise<void> {
    if (this.#read >= tick) return Promise.resolve();
    return new Promise((resolve) => {
      const waiting = {
        tick,
        resolve: () => {
          cancel();
          this.#reaching.delete(waiting);
          resolve();
        },
      };
      const cancel = this.#options.clock.after(REACH_MS_MAX, waiting.resolve);
      this.#reaching.add(waiting);
      this.#hurry();
    });
  }

  stop(): void {
    this.#isStopping = true;
    this.#stop();
    for (const { resolve } of this.#reaching) resolve();
  }

  async run(): Promise<void> {
    const { logger } = this.#options;
    let faults = 0;
    while (!this.#isStopping) {
      try {
        if (!await this.#step()) await this.#waitForMore();
        faults = 0;
        if (this.#reaching.size === 0) await this.#pause(PAUSE_MS, "hurried");
      } catch (fault) {
        const delayMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** Math.min(faults++, 10));
        logger.warn("views could not be written", { fault: messageOf(fault), delayMs });
        await this.#pause(delayMs);
      }
    }
  }

  /** False: there was nothing to read. */
  async #step(): Promise<boolean> {
    const { source, clock } = this.#options;
    const { ticks, cursor } = await source.readTicks(this.#read, CLASSES, READ_BYTES_MAX);
    if (cursor === this.#read) return false;
    const writes = this.#decode(ticks);
    if (writes.length > 0 || clock.monotonicMs() - this.#savedAtMs >= SAVE_EVERY_MS) {
      await this.#save(writes, cursor);
    }
    this.#read = cursor;
    for (const { tick, resolve } of this.#reaching) if (tick <= cursor) resolve();
    return true;
  }

  /**
   * Until there is more to read. Where nothing comes, the cursor is stored behind ticks without rows, too:
   * others wait for it.
   */
  async #waitForMore(): Promise<void> {
    const { source, store, clock } = this.#options;
    const more = source.waitForMore(this.#read);
    if (this.#read > store.cursor) {
      let cancel = () => {};
      const idle = new Promise<void>((resolve) => {
        cancel = clock.after(SAVE_EVERY_MS, resolve);
      });
      await Promise.race([more, this.#stopped, idle]);
      cancel();
      const isDue = clock.monotonicMs() - this.#savedAtMs >= SAVE_EVERY_MS;
      if (isDue && !this.#isStopping) await this.#save([], this.#read);
    }
    await Promise.race([more, this.#stopped]);
  }

  async #save(writes: readonly ViewWrite[], cursor: number): Promise<void> {
    const { source, store, clock } = this.#options;
    await store.write({ writes, cursor });
    await source.saveCursor(cursor);
    this.#savedAtMs = clock.monotonicMs();
  }

  #decode(ticks: readonly Tick[]): ViewWrite[] {
    const writes: ViewWrite[] = [];
    for (const { segments } of ticks) {
      for (const segment of segments) {
        for (const record of recordsOf(segment)) {
          const write = decodeViewWrite(record.body);
          if (write !== undefined) {
            writes.push(write);
            continue;
          }
          this.skipped++;
          const { logger } = this.#options;
          logger.error("projection skipped: it cannot be read", { from: record.to });
        }
      }
    }
    return writes;
  }

  async #pause(delayMs: number, by?: "hurried"): Promise<void> {
    if (this.#isStopping) return;
    let cancel = () => {};
    const waited = new Promise<void>((resolve) => {
      cancel = this.#options.clock.after(delayMs, resolve);
      if (by === "hurried") this.#hurry = resolve;
    });
    await Promise.race([waited, this.#stopped]);
    cancel();
  }
}

/** Undefined: the body is not a projection. */
export function decodeViewWrite(body: Uint8Array): ViewWrite | undefined {
  let write: Partial<ViewWrite>;
  try {
    write = JSON.parse(new TextDecoder().decode(body));
  } catch {
    return undefined; // Not JSON: told apart from a projection by the caller.
  }
  const isWrite = typeof write === "object" && write !== null &&
    typeof write.view === "string" && typeof write.key === "string" &&
    typeof write.version === "number" && typeof write.at === "number";
  return isWrite ? write as ViewWrite : undefined;
}
