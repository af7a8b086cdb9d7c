/**
 * Gathers what is asked in one turn of the event loop into steps. A call that is wrong is rejected
 * alone; a store that fails answers all calls of its step, and the next step begins anew.
 */
import { messageOf, UnavailableError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { LogStep } from "./log_step.ts";

export interface StepQueueOptions {
  readonly soon: (callback: () => void) => void;
  readonly begin: () => LogStep;
  /** Durable when it returns; throws `UnavailableError` if nothing was written. */
  readonly write: (step: LogStep) => void;
}

interface Operation {
  readonly bytes: number;
  apply(step: LogStep): void;
  settle(): void;
  fail(fault: unknown): void;
  reject(fault: unknown): void;
}

export class StepQueue {
  readonly #options: StepQueueOptions;
  #waiting: Operation[] = [];
  #isPlanned = false;
  #closed: string | undefined;

  constructor(options: StepQueueOptions) {
    this.#options = options;
  }

  /**
   * Resolves with what `apply` returned when its step is durable. `failed` makes an answer of a
   * store's refusal; without it the promise rejects with `UnavailableError`.
   */
  add<T>(
    bytes: number,
    apply: (step: LogStep) => T,
    failed?: (detail: string) => T,
  ): Promise<T> {
    if (this.#closed !== undefined) {
      return Promise.reject(new UnavailableError("log", this.#closed));
    }
    return new Promise<T>((resolve, reject) => {
      let outcome: T;
      this.#waiting.push({
        bytes,
        apply: (step) => void (outcome = apply(step)),
        settle: () => resolve(outcome),
        fail: (fault) => failed === undefined ? reject(fault) : resolve(failed(messageOf(fault))),
        reject,
      });
      this.#plan();
    });
  }

  /** Writes what waits and takes nothing more. */
  close(): void {
    while (this.#waiting.length > 0) this.#flush();
    this.#closed ??= "The log is closed";
  }

  /** Takes nothing more and rejects what waits. */
  refuse(reason: string): void {
    this.#closed = reason;
    for (const operation of this.#waiting.splice(0)) {
      operation.fail(new UnavailableError("log", reason));
    }
  }

  #plan(): void {
    if (this.#isPlanned || this.#waiting.length === 0) return;
    this.#isPlanned = true;
    this.#options.soon(() => {
      this.#isPlanned = false;
      this.#flush();
      this.#plan();
    });
  }

  #flush(): void {
    const operations = this.#take();
    try {
      const step = this.#decide(operations);
      if (step.isChanged) this.#options.write(step);
    } catch (fault) {
      for (const operation of operations) operation.fail(fault);
      return;
    }
    for (const operation of operations) operation.settle();
  }

  #take(): Operation[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#waiting.length && bytes < LIMITS.stepBytesMax) {
      bytes += this.#waiting[count++]!.bytes;
    }
    return this.#waiting.splice(0, count);
  }

  /** Takes out what throws; since it may leave a draft half changed, the others begin again. */
  #decide(operations: Operation[]): LogStep {
    for (;;) {
      const step = this.#options.begin();
      const wrong = operations.findIndex((operation) => {
        try {
          operation.apply(step);
          return false;
        } catch (fault) {
          operation.reject(fault);
          return true;
        }
      });
      if (wrong < 0) return step;
      operations.splice(wrong, 1);
    }
  }
}
