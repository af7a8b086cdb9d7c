/** One owner of time for a simulation: events in order of time, ties in an order the seed decides. */
import { type Clock, systemClock } from "../../runtime/clock.ts";
import type { Random } from "../../runtime/random.ts";

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly callback: () => void;
  isCancelled: boolean;
}

/** Events of one run; most have about a thousand, few ten. More is a loop that gets nowhere. */
const EVENTS_MAX = 30_000;

/** Epoch milliseconds at which simulated time starts. */
export const START_MS = 1_700_000_000_000;

export class VirtualClock implements Clock {
  #elapsedMs = 0;
  #events: Event[] = [];
  #count = 0;
  constructor(readonly random: Random) {}

  nowMs(): number {
    return START_MS + Math.floor(this.#elapsedMs);
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    // Among events of one moment the seed decides; FIFO within what `soon` promises is not promised.
    const order = Math.floor(this.random.fraction() * 4) * 1e9 + this.#count++;
    const event = {
      atMs: this.#elapsedMs + Math.max(0, delayMs),
      order,
      callback,
      isCancelled: false,
    };
    this.#events.push(event);
    return () => event.isCancelled = true;
  }

  soon(callback: () => void): void {
    this.after(0.01, callback);
  }

  /** Runs events until `isDone`; throws after `untilMs` or `EVENTS_MAX`, or with nothing to do. */
  async run(isDone: () => boolean, untilMs: number, what: () => string): Promise<void> {
    for (let events = 0;; events++) {
      if (events > EVENTS_MAX) throw new Error(`No end after ${EVENTS_MAX} events: ${what()}`);
      await settled();
      if (isDone()) return;
      const event = this.#take();
      if (event === undefined) throw new Error(`Nothing left to happen while ${what()}`);
      if (event.atMs > untilMs) throw new Error(`Not done by ${untilMs} ms: ${what()}`);
      this.#elapsedMs = Math.max(this.#elapsedMs, event.atMs);
      event.callback();
    }
  }

  #take(): Event | undefined {
    this.#events = this.#events.filter((event) => !event.isCancelled);
    let best: Event | undefined;
    for (const event of this.#events) {
      const isBefore = best === undefined || event.atMs < best.atMs ||
        (event.atMs === best.atMs && event.order < best.order);
      if (isBefore) best = event;
    }
    if (best !== undefined) this.#events.splice(this.#events.indexOf(best), 1);
    return best;
  }
}

/** Until all promise callbacks have run: simulated code waits for nothing but the virtual clock. */
function settled(): Promise<void> {
  return new Promise((resolve) => systemClock.soon(resolve));
}
