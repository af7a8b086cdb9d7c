/** Counts failed logins by network (`networkOf`) within a minute; bounded, the oldest gives way. */
import { LIMITS } from "../../runtime/limits.ts";

const WINDOW_MS = 60_000;

interface Failures {
  count: number;
  readonly sinceMs: number;
}

export class LoginThrottle {
  readonly #failures: Map<string, Failures> = new Map();

  /** @param nowMs Monotonic milliseconds, as in `fail`. */
  isBlocked(network: string, nowMs: number): boolean {
    const failures = this.#failures.get(network);
    return failures !== undefined && failures.count >= LIMITS.loginFailuresMax &&
      nowMs - failures.sinceMs < WINDOW_MS;
  }

  fail(network: string, nowMs: number): void {
    const failures = this.#failures.get(network);
    if (failures !== undefined && nowMs - failures.sinceMs < WINDOW_MS) {
      failures.count++;
      return;
    }
    this.#failures.delete(network);
    if (this.#failures.size >= LIMITS.loginFailureAddressesMax) {
      for (const oldest of this.#failures.keys()) {
        this.#failures.delete(oldest);
        break;
      }
    }
    this.#failures.set(network, { count: 1, sinceMs: nowMs });
  }
}
