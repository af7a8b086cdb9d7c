/** Counts failed logins by address within a minute; bounded, the oldest address gives way. */
import { LIMITS } from "../../runtime/limits.ts";

const WINDOW_MS = 60_000;

interface Failures {
  count: number;
  readonly sinceMs: number;
}

export class LoginThrottle {
  readonly #failures: Map<string, Failures> = new Map();

  /** @param nowMs Monotonic milliseconds, as in `fail`. */
  isBlocked(address: string, nowMs: number): boolean {
    const failures = this.#failures.get(networkOf(address));
    return failures !== undefined && failures.count >= LIMITS.loginFailuresMax &&
      nowMs - failures.sinceMs < WINDOW_MS;
  }

  fail(address: string, nowMs: number): void {
    const network = networkOf(address);
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

/** An IPv4 address, or the /64 of an IPv6 address, which is what one peer has at its disposal. */
export function networkOf(address: string): string {
  if (address.startsWith("::ffff:") && address.includes(".")) return address.slice(7);
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("%")[0]!.split("::");
  const first = head === "" ? [] : head.split(":");
  const last = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - first.length - last.length);
  return [...first, ...Array(zeros).fill("0"), ...last].slice(0, 4).join(":");
}
