/**
 * The disk of the simulated log: it outlives the process, fails, holds its thread up for seconds, and
 * the process dies at its steps. A slow write under way when the process dies is durable, or not.
 */
import { createMemoryHead, type LogHead } from "../../runtime/log/head_file.ts";
import { createMemoryStore, type MemoryContent } from "../../runtime/log/memory_store.ts";
import type { TickStore } from "../../runtime/log/tick_store.ts";
import type { ThreadClock } from "./thread_clock.ts";
import type { Faults } from "./world.ts";

/** Of a process that opened the disk. */
export interface DiskUser {
  readonly thread: ThreadClock;
  readonly isDead: boolean;
}

const SLOW_WRITE_MS = 2_000;
const SLOW_READ_MS = 50;

export class LogDisk {
  readonly #faults: Faults;
  /** Ticks up to this one were deleted. */
  readonly #onTrim: (throughTick: number) => void;
  #store = createMemoryStore();
  #head = createMemoryHead();
  /** What is restored if the process dies before the write has returned. */
  #slowWrite: {
    readonly untilMs: number;
    readonly content: MemoryContent;
    readonly head: ReturnType<LogHead["read"]>;
  } | undefined;

  constructor(faults: Faults, onTrim: (throughTick: number) => void) {
    this.#faults = faults;
    this.#onTrim = onTrim;
  }

  /** What is on it. */
  get store(): TickStore {
    return this.#store;
  }

  /** The newest tick that has records; later ones wake no reader. */
  get lastTick(): number {
    return Math.max(0, ...this.#store.content.ticks.keys());
  }

  get head(): LogHead {
    return this.#head;
  }

  /** As one process sees it. */
  open(user: DiskUser): TickStore {
    return new Proxy(this.#store, {
      get: (_, key: keyof TickStore) => {
        if (key === "close") return () => {};
        if (key === "write") return (...args: [never]) => this.#write(user, ...args);
        if (key === "trim") return (...args: [never, never]) => this.#trim(user, ...args);
        return (...args: unknown[]) => {
          check(user);
          if (this.#faults.happens(0.002)) this.#holdUp(user, SLOW_READ_MS);
          const method = this.#store[key] as (...args: unknown[]) => unknown;
          return method.apply(this.#store, args);
        };
      },
    });
  }

  /** The process is gone. */
  crashed(): void {
    const slow = this.#slowWrite;
    this.#slowWrite = undefined;
    if (slow === undefined || this.#faults.nowMs() >= slow.untilMs) return;
    if (!this.#faults.happens(0.5)) return;
    this.#faults.note("the slow write was not durable yet");
    this.#store = createMemoryStore({ content: slow.content });
    this.#head = createMemoryHead();
    if (slow.head !== undefined) this.#head.write(slow.head);
  }

  #trim(user: DiskUser, throughTick: number, limit: number): ReturnType<TickStore["trim"]> {
    check(user);
    const trimmed = this.#store.trim(throughTick, limit);
    if (trimmed.ticks > 0) this.#onTrim(throughTick);
    return trimmed;
  }

  #write(user: DiskUser, step: Parameters<TickStore["write"]>[0]): void {
    const faults = this.#faults;
    check(user);
    if (faults.happens(0.02)) throw new Error("store failed before");
    if (faults.happens(0.015)) {
      faults.crash("before a write");
      check(user);
    }
    this.#slowWrite = undefined;
    if (faults.happens(0.02)) this.#beginSlowWrite(user);
    this.#store.write(step);
    if (faults.happens(0.015)) {
      faults.crash("after a write");
      check(user);
    }
    if (faults.happens(0.01)) throw new Error("store failed after");
  }

  #beginSlowWrite(user: DiskUser): void {
    const content = this.#store.copy();
    const head = this.#head.read();
    const tookMs = this.#holdUp(user, SLOW_WRITE_MS);
    this.#slowWrite = { untilMs: user.thread.monotonicMs(), content, head };
    this.#faults.count("slow write");
    this.#faults.note(`a write takes ${tookMs.toFixed(0)} ms`);
    if (this.#faults.happens(0.3)) this.#faults.crashIn(tookMs, "in the slow write");
  }

  #holdUp(user: DiskUser, upToMs: number): number {
    const tookMs = this.#faults.fraction() * upToMs;
    user.thread.holdUp(tookMs);
    return tookMs;
  }
}

function check(user: DiskUser): void {
  if (user.isDead) throw new Error("the process is dead");
}
