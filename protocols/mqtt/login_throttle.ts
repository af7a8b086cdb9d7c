/** Counts failed logins by network (`networkOf`) within a minute. */
import { LIMITS } from "../../runtime/limits.ts";
import { MinuteCounts } from "./minute_counts.ts";

export class LoginThrottle {
  readonly #failures = new MinuteCounts();

  /** @param nowMs Monotonic milliseconds, as in `fail`. */
  isBlocked(network: string, nowMs: number): boolean {
    return this.#failures.of(network, nowMs) >= LIMITS.loginFailuresMax;
  }

  fail(network: string, nowMs: number): void {
    this.#failures.add(network, nowMs);
  }
}
