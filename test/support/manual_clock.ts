/** A clock that stands still until a test moves it; the one owner of fake time in that test. */
import type { Clock } from "../../runtime/clock.ts";

export interface ManualClock extends Clock {
  /** Moves time, firing due timers in order; between two of them, what is ready runs. */
  advance(byMs: number): Promise<void>;
  /** Lets all that is ready run, without time passing. */
  settle(): Promise<void>;
  /** Timers that wait. */
  pending(): number;
}

export function createManualClock(startMs = 0): ManualClock {
  let nowMs = startMs;
  let sequence = 0;
  const timers = new Map<number, { atMs: number; callback: () => void }>();
  const settle = async () => {
    for (let turn = 0; turn < 200; turn++) await Promise.resolve();
  };
  const earliest = () => [...timers].sort(([a, x], [b, y]) => x.atMs - y.atMs || a - b)[0];
  return {
    nowMs: () => nowMs,
    monotonicMs: () => nowMs - startMs,
    after(delayMs, callback) {
      const id = sequence++;
      timers.set(id, { atMs: nowMs + Math.max(0, delayMs), callback });
      return () => void timers.delete(id);
    },
    soon: (callback) => queueMicrotask(callback),
    async advance(byMs) {
      const endMs = nowMs + byMs;
      await settle();
      for (let next = earliest(); next && next[1].atMs <= endMs; next = earliest()) {
        timers.delete(next[0]);
        nowMs = Math.max(nowMs, next[1].atMs);
        next[1].callback();
        await settle();
      }
      nowMs = endMs;
    },
    settle,
    pending: () => timers.size,
  };
}
