/**
 * Work that is looked for when something woke it, one pass at a time: woken during a pass, it looks
 * once more. After a fault, or when a pass says so, it wakes by itself.
 */
import type { Clock } from "./clock.ts";

export interface BackgroundTask extends AsyncDisposable {
  /** There may be something to do. */
  wake(): void;
  /** Resolves when nothing is left to do, or the rest is done later. */
  idle(): Promise<void>;
}

export interface BackgroundTaskOptions {
  readonly clock: Clock;
  /**
   * One pass; it ends soon once `isStopping` says so.
   * @returns Milliseconds after which to look again unasked; `Infinity`: never.
   */
  readonly pass: (isStopping: () => boolean) => Promise<number>;
  readonly onFault: (fault: unknown) => void;
  /** From a fault to the next pass. */
  readonly retryMs: number;
}

/** The first pass begins at once. Disposing waits for the one under way. */
export function startBackgroundTask(options: BackgroundTaskOptions): BackgroundTask {
  const { clock, pass, onFault, retryMs } = options;
  let running: Promise<void> | undefined;
  let isDue = false;
  let isStopping = false;
  let cancelTimer = () => {};

  const run = async () => {
    cancelTimer();
    let againMs = Infinity;
    while (isDue && !isStopping) {
      isDue = false;
      try {
        againMs = await pass(() => isStopping);
      } catch (fault) {
        onFault(fault);
        againMs = retryMs;
      }
    }
    running = undefined;
    if (!isStopping && againMs !== Infinity) cancelTimer = clock.after(againMs, wake);
  };
  const wake = () => {
    if (isStopping) return;
    isDue = true;
    running ??= run();
  };
  wake();
  return {
    wake,
    idle: async () => {
      while (running !== undefined) await running;
    },
    async [Symbol.asyncDispose]() {
      isStopping = true;
      cancelTimer();
      await running;
    },
  };
}
