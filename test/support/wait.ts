/** Waiting for conditions: the only place in the tests that may use a timer. */
import { systemClock, waitMs } from "../../runtime/clock.ts";

const POLL_MS = 20;

export interface WaitOptions {
  /** What is waited for, in words: the phase that a failure names. */
  readonly what: string;
  readonly withinMs: number;
  /** What was there instead, told when time is up. */
  readonly actual?: () => unknown;
  /** Default 20. */
  readonly everyMs?: number;
}

/**
 * Resolves with the condition's first value that is neither false nor undefined nor null.
 * Throws when `withinMs` passed, naming phase and actual value; a condition that throws ends the
 * wait at once.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  options: WaitOptions,
): Promise<Exclude<T, false | undefined | null>> {
  const untilMs = systemClock.monotonicMs() + options.withinMs;
  while (true) {
    const value = await condition();
    if (value !== false && value !== undefined && value !== null) {
      return value as Exclude<T, false | undefined | null>;
    }
    if (systemClock.monotonicMs() >= untilMs) {
      const actual = options.actual === undefined ? value : options.actual();
      throw new Error(
        `Gave up waiting for ${options.what} after ${options.withinMs} ms: ` +
          `actual ${JSON.stringify(actual)}`,
      );
    }
    await waitMs(systemClock, options.everyMs ?? POLL_MS);
  }
}

/** Time that has to pass because a client sends meanwhile: load before a kill. Not for conditions. */
export function letPass(durationMs: number): Promise<void> {
  return waitMs(systemClock, durationMs);
}

/** The promise's value, or an error that names the phase when `withinMs` passed first. */
export async function within<T>(promise: Promise<T>, what: string, withinMs: number): Promise<T> {
  let cancel = () => {};
  const late = new Promise<never>((_, reject) => {
    cancel = systemClock.after(withinMs, () => {
      reject(new Error(`Gave up waiting for ${what} after ${withinMs} ms`));
    });
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    cancel();
  }
}
