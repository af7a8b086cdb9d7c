/** Time in the browser: the only module that reads its clock or sets its timers. */
import { onScopeDispose, type Ref, ref } from "vue";

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

export function waitMs(delayMs: number): Promise<void> {
  return new Promise((resolve) => after(delayMs, resolve));
}

/** Calls back again and again until the scope ends. */
export function every(periodMs: number, callback: () => void): void {
  const timer = setInterval(callback, periodMs);
  onScopeDispose(() => clearInterval(timer));
}

const now = ref(nowMs());
setInterval(() => now.value = nowMs(), 1_000);

/** The time now, a second at a time; one timer for all. */
export function useNow(): Readonly<Ref<number>> {
  return now;
}
