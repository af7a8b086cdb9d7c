/** Wrong credentials by network of the peer: at the bound, further attempts wait for the window's end. */
import type { Clock } from "../../runtime/clock.ts";

export interface FailureBound {
  /** Failures within `windowMs` that close the gate. */
  readonly failuresMax: number;
  readonly windowMs: number;
  /** Addresses kept; the oldest window is forgotten first. */
  readonly addressesMax: number;
}

export const FAILURE_BOUND: FailureBound = {
  failuresMax: 10,
  windowMs: 60_000,
  addressesMax: 10_000,
};

export class FailureGate {
  readonly #windows = new Map<string, { failures: number; endsAtMs: number }>();
  readonly #clock: Clock;
  readonly #bound: FailureBound;

  constructor(clock: Clock, bound: FailureBound = FAILURE_BOUND) {
    this.#clock = clock;
    this.#bound = bound;
  }

  /** Milliseconds until attempts of the address are looked at again; 0: now. */
  closedForMs(address: string): number {
    const window = this.#windows.get(address);
    if (window === undefined) return 0;
    const leftMs = window.endsAtMs - this.#clock.monotonicMs();
    if (leftMs <= 0) {
      this.#windows.delete(address);
      return 0;
    }
    return window.failures >= this.#bound.failuresMax ? leftMs : 0;
  }

  fail(address: string): void {
    const nowMs = this.#clock.monotonicMs();
    const window = this.#windows.get(address);
    if (window !== undefined && window.endsAtMs > nowMs) {
      window.failures++;
      return;
    }
    this.#windows.delete(address);
    if (this.#windows.size >= this.#bound.addressesMax) {
      this.#windows.delete(this.#windows.keys().next().value!);
    }
    this.#windows.set(address, { failures: 1, endsAtMs: nowMs + this.#bound.windowMs });
  }
}
