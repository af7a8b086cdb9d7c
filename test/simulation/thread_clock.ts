/**
 * The clock of one simulated thread: while a call holds the thread up, time passes for all others,
 * and nothing else happens on it. What waits for a stopped thread waits for ever.
 */
import type { Clock } from "../../runtime/clock.ts";
import { START_MS, type VirtualClock } from "./virtual_clock.ts";

export class ThreadClock implements Clock {
  readonly #world: VirtualClock;
  #freeAtMs = 0;
  #isStopped = false;

  constructor(world: VirtualClock) {
    this.#world = world;
  }

  nowMs(): number {
    return START_MS + Math.floor(this.monotonicMs());
  }

  /** Ahead of the world's while the thread is held up: where it will be when others see of it. */
  monotonicMs(): number {
    return Math.max(this.#world.monotonicMs(), this.#freeAtMs);
  }

  after(delayMs: number, callback: () => void): () => void {
    const run = () => {
      if (this.#isStopped) return;
      const leftMs = this.#heldUpMs();
      if (leftMs > 0) cancel = this.#world.after(leftMs, run);
      else callback();
    };
    let cancel = this.#world.after(this.#heldUpMs() + delayMs, run);
    return () => cancel();
  }

  soon(callback: () => void): void {
    this.after(0.01, callback);
  }

  /** What the thread does now takes so long. */
  holdUp(forMs: number): void {
    this.#freeAtMs = this.monotonicMs() + forMs;
  }

  /** Resolves when what the thread has done so far is to be seen by others, or it takes a call. */
  turn(): Promise<void> {
    if (!this.#isStopped && this.#heldUpMs() === 0) return Promise.resolve();
    return new Promise((resolve) => this.after(0, resolve));
  }

  stop(): void {
    this.#isStopped = true;
  }

  #heldUpMs(): number {
    return this.monotonicMs() - this.#world.monotonicMs();
  }
}
