/**
 * Rates that devices had used up when their connection ended: one that comes back goes on with them, so
 * that no reconnect is a way past a limit. Level ones are forgotten; beyond the bound the oldest.
 */
import { MQTT_LIMITS } from "../../runtime/mqtt_limits.ts";
import type { DeviceRates } from "./rate_meter.ts";

export class AwayRates {
  /** By `{product}/{device}`, the longest away first. */
  readonly #rates = new Map<string, DeviceRates>();
  readonly #max: number;

  constructor(max: number = MQTT_LIMITS.awayRatesMax) {
    this.#max = max;
  }

  get size(): number {
    return this.#rates.size;
  }

  /** The connection ended. @param nowMs Monotonic milliseconds. */
  keep(key: string, rates: DeviceRates, nowMs: number): void {
    this.#rates.delete(key);
    if (isFull(rates, nowMs)) return;
    this.#rates.set(key, rates);
    for (const [oldest, other] of this.#rates) {
      if (this.#rates.size <= this.#max && !isFull(other, nowMs)) break;
      this.#rates.delete(oldest);
    }
  }

  /** A connection begins. Undefined: it has its rates anew. */
  take(key: string): DeviceRates | undefined {
    const rates = this.#rates.get(key);
    this.#rates.delete(key);
    return rates;
  }
}

function isFull({ messages, bytes }: DeviceRates, nowMs: number): boolean {
  return messages?.isFull(nowMs) !== false && bytes?.isFull(nowMs) !== false;
}
