/** Time in the browser: the only module that reads its clock or sets its timers. */

export function nowMs(): number {
  return Date.now();
}

/** From an arbitrary origin, for measuring. */
export function monotonicMs(): number {
  return performance.now();
}

/** Calls back once. Returns a function that cancels. */
export function after(delayMs: number, callback: () => void): () => void {
  const timer = setTimeout(callback, delayMs);
  return () => clearTimeout(timer);
}

/** Calls back again and again. Returns a function that cancels. */
export function everyMs(periodMs: number, callback: () => void): () => void {
  const timer = setInterval(callback, periodMs);
  return () => clearInterval(timer);
}
