/**
 * Backoff for failed logins, by a key such as an address or a name. Nothing is locked for good: the
 * wait doubles with each failure beyond the free ones, and is forgotten after a quiet time.
 */
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";

export interface LockoutOptions {
  readonly clock: Clock;
  /** Failures that cost nothing. */
  readonly freeFailures: number;
  /** Wait after the first failure that is not free; doubled for each one after it. */
  readonly firstWaitMs: number;
  readonly waitMsMax: number;
  /** Failures are forgotten after this time without one. At least `waitMsMax`. */
  readonly forgetMs: number;
}

interface Failures {
  count: number;
  lastAtMs: number;
  openAtMs: number;
}

export class Lockout {
  readonly #options: LockoutOptions;
  /** In order of the last failure; at most `lockoutEntriesMax`. */
  readonly #failures = new Map<string, Failures>();

  constructor(options: LockoutOptions) {
    this.#options = options;
  }

  /** Milliseconds until `key` may try again; 0: now. */
  waitMs(key: string): number {
    const failures = this.#current(key);
    if (failures === undefined) return 0;
    return Math.max(0, Math.ceil(failures.openAtMs - this.#options.clock.monotonicMs()));
  }

  failed(key: string): void {
    const { clock, freeFailures, firstWaitMs, waitMsMax } = this.#options;
    const nowMs = clock.monotonicMs();
    const count = (this.#current(key)?.count ?? 0) + 1;
    const doublings = Math.min(count - freeFailures - 1, 30);
    const waitMs = doublings < 0 ? 0 : Math.min(waitMsMax, firstWaitMs * 2 ** doublings);
    this.#failures.delete(key);
    if (this.#failures.size >= LIMITS.lockoutEntriesMax) {
      this.#failures.delete(this.#failures.keys().next().value!);
    }
    this.#failures.set(key, { count, lastAtMs: nowMs, openAtMs: nowMs + waitMs });
  }

  succeeded(key: string): void {
    this.#failures.delete(key);
  }

  /** Keys that are remembered. */
  get size(): number {
    return this.#failures.size;
  }

  #current(key: string): Failures | undefined {
    const failures = this.#failures.get(key);
    if (failures === undefined) return undefined;
    const { clock, forgetMs } = this.#options;
    if (clock.monotonicMs() - failures.lastAtMs < forgetMs) return failures;
    this.#failures.delete(key);
    return undefined;
  }
}
