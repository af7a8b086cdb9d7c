/**
 * A reader of the log in its own simulated thread: the product's loop, its way to the log, and a
 * store that outlives it. The store is weaker than the product's: rows may be durable without the
 * cursor that was written with them, since rows and points promise to know a repeat by themselves.
 */
import { type Clock, waitMs } from "../../runtime/clock.ts";
import {
  connectReaderPort,
  type ReadableLog,
  serveReaderPort,
  type TickSource,
} from "../../runtime/log/reader_port.ts";
import { createSimChannel } from "./sim_port.ts";
import { ThreadClock } from "./thread_clock.ts";
import type { VirtualClock } from "./virtual_clock.ts";
import type { Faults } from "./world.ts";

/** What a start of the loop gets. */
export interface Around {
  readonly source: TickSource;
  readonly clock: Clock;
  /** Of the store: durable. */
  cursor(): number;
  /** Does `apply` and moves the cursor, as slowly and as badly as a store may. */
  write(cursor: number, apply: () => Promise<void>): Promise<void>;
  /** The loop has ended by itself. */
  failed(fault: unknown): void;
}

/** Starts the loop; what it returns is asked for where it is. */
export type StartLoop = (around: Around) => { readonly cursor: number };

export interface ReaderOptions {
  readonly name: string;
  readonly world: VirtualClock;
  readonly faults: Faults;
  readonly start: StartLoop;
  /** For planted faults. */
  readonly plant: (source: TickSource) => TickSource;
}

/** One start of it. */
interface ReaderLife {
  readonly thread: ThreadClock;
  readonly server: Disposable;
  loop: { readonly cursor: number } | undefined;
}

interface LogSide {
  readonly log: ReadableLog;
  readonly thread: ThreadClock;
}

const SLOW_WRITE_MS = 200;

export class SimReader {
  readonly name: string;
  /** What its store has durably; what the log was told is not above it. */
  cursor = 0;
  readonly #options: ReaderOptions;
  #side: LogSide | undefined;
  #life: ReaderLife | undefined;

  constructor(options: ReaderOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** Where the loop is; behind `cursor` never. */
  get readTo(): number {
    return this.#life?.loop?.cursor ?? 0;
  }

  /** A process has started. */
  attach(side: LogSide): void {
    this.#side = side;
    this.#start();
  }

  /** The process, or the thread alone, is gone. */
  detach(): void {
    this.#side = undefined;
    this.#end();
  }

  #crash(where: string): void {
    const { faults, world } = this.#options;
    const side = this.#side;
    if (side === undefined) return;
    faults.note(`${this.name} CRASH ${where}`);
    faults.count("reader crash");
    this.#end();
    world.after(1 + faults.fraction() * 20, () => {
      if (this.#side === side && this.#life === undefined) this.#start();
    });
  }

  #end(): void {
    this.#life?.thread.stop();
    this.#life?.server[Symbol.dispose]();
    this.#life = undefined;
  }

  #start(): void {
    const { world, start, plant } = this.#options;
    const { log, thread: logThread } = this.#side!;
    const thread = new ThreadClock(world);
    const [near, far] = createSimChannel(world, thread, logThread);
    const server = serveReaderPort(far, this.#sliceOf(log), this.name);
    const life: ReaderLife = { thread, server, loop: undefined };
    this.#life = life;
    life.loop = start({
      source: plant(connectReaderPort(near)),
      clock: thread,
      cursor: () => this.cursor,
      write: (cursor, apply) => this.#write(life, cursor, apply),
      failed: (fault) => life === this.#life && this.#crash(`by itself: ${fault}`),
    });
  }

  #sliceOf(log: ReadableLog): ReadableLog {
    const { faults } = this.#options;
    return {
      readTicks: (after, classes, bytesMax) => {
        // A page of one tick now and then: what is read again may end before what was read before.
        return log.readTicks(after, classes, faults.fraction() < 0.6 ? 1 : bytesMax);
      },
      saveCursor: (reader, tick) => {
        if (tick > this.cursor) {
          faults.violated(`${reader} told the log ${tick}, its store has ${this.cursor}`);
        }
        return log.saveCursor(reader, tick);
      },
      onAppended: (listener) => log.onAppended(listener),
      head: () => log.head(),
    };
  }

  async #write(life: ReaderLife, cursor: number, apply: () => Promise<void>): Promise<void> {
    const { faults } = this.#options;
    if (cursor <= this.cursor) return;
    const upToMs = faults.happens(0.15) ? SLOW_WRITE_MS : 3;
    await waitMs(life.thread, faults.fraction() * upToMs);
    if (faults.happens(0.03)) throw new Error("store failed before");
    await apply();
    await this.#maybeCrash(life, "between rows and cursor");
    if (faults.happens(0.25)) throw new Error("store failed between rows and cursor");
    this.cursor = cursor;
    await this.#maybeCrash(life, "before it told the log");
    await waitMs(life.thread, faults.fraction());
    if (faults.happens(0.03)) throw new Error("store failed after");
  }

  async #maybeCrash(life: ReaderLife, where: string): Promise<void> {
    if (!this.#options.faults.happens(0.06) || life !== this.#life) return;
    this.#crash(where);
    await new Promise(() => {}); // A dead thread goes on with nothing.
  }
}
