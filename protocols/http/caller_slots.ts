/** Requests of one kind that a caller may have under way: what takes long is shared among callers. */
import type { Caller } from "./ports.ts";
import { ProblemError } from "./problem.ts";

const RETRY_MS = 1_000;

export class CallerSlots {
  /** Under way, of callers that have any. */
  readonly #taken = new Map<string, number>();
  readonly #what: string;
  readonly #max: number;

  /** @param what They are, for people. */
  constructor(what: string, max: number) {
    this.#what = what;
    this.#max = max;
  }

  /** @throws {ProblemError} 429. */
  async within<Value>({ type, id }: Caller, work: () => Promise<Value>): Promise<Value> {
    const name = `${type}:${id}`;
    const taken = this.#taken.get(name) ?? 0;
    if (taken >= this.#max) {
      const detail =
        `Cannot take more ${this.#what} at once: ${taken} of this caller are under way`;
      throw new ProblemError("rate-limited", detail, { retryAfterMs: RETRY_MS });
    }
    this.#taken.set(name, taken + 1);
    try {
      return await work();
    } finally {
      const left = this.#taken.get(name)! - 1;
      if (left === 0) this.#taken.delete(name);
      else this.#taken.set(name, left);
    }
  }
}
