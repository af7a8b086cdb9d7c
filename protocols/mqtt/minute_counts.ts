/** Counts by key within a minute that begins with the first; bounded, the oldest gives way. */
import { LIMITS } from "../../runtime/limits.ts";

const WINDOW_MS = 60_000;

interface Count {
  value: number;
  readonly sinceMs: number;
}

export class MinuteCounts {
  readonly #counts: Map<string, Count> = new Map();

  /** @param nowMs Monotonic milliseconds, as in `add`. */
  of(key: string, nowMs: number): number {
    const count = this.#counts.get(key);
    return count !== undefined && nowMs - count.sinceMs < WINDOW_MS ? count.value : 0;
  }

  add(key: string, nowMs: number): void {
    const count = this.#counts.get(key);
    if (count !== undefined && nowMs - count.sinceMs < WINDOW_MS) {
      count.value++;
      return;
    }
    this.#counts.delete(key);
    if (this.#counts.size >= LIMITS.loginFailureAddressesMax) {
      for (const oldest of this.#counts.keys()) {
        this.#counts.delete(oldest);
        break;
      }
    }
    this.#counts.set(key, { value: 1, sinceMs: nowMs });
  }
}
