/**
 * Suspended actors that are full of dead letters: gateways refuse their ingress until an operator
 * replays one of the letters. Fed by events of durable commits. It may forget (its bound, a restart,
 * a discard): the engine says it again with the actor's next dead letter, so that one slips in.
 */
import { LIMITS } from "../limits.ts";
import type { Address } from "./address.ts";
import type { EngineEvent } from "./engine_events.ts";

/** What gateways need to know. */
export interface SuspendedAddresses {
  /** 0 nearly always: then no address has to be made for `has`. */
  readonly size: number;
  has(address: Address): boolean;
}

export class SuspendedActors implements SuspendedAddresses {
  /** Oldest first. */
  readonly #full = new Set<Address>();
  readonly #actorsMax: number;

  constructor(actorsMax: number = LIMITS.suspendedActorsMax) {
    this.#actorsMax = actorsMax;
  }

  get size(): number {
    return this.#full.size;
  }

  has(address: Address): boolean {
    return this.#full.has(address);
  }

  /** @returns Whether the event changed what is refused. */
  take(event: EngineEvent): boolean {
    if (event.type === "resumed") return this.#full.delete(event.address);
    if (event.type !== "suspended" || !event.isFull || this.#full.has(event.address)) return false;
    if (this.#full.size >= this.#actorsMax) this.#full.delete(this.#full.values().next().value!);
    this.#full.add(event.address);
    return true;
  }

  /**
   * Nothing is refused until the engine says so again. For a restart of the log, whose last events
   * may be lost, and after a discard: an actor without letters could never be replayed, so resumed.
   * @returns Those that were refused.
   */
  clear(): readonly Address[] {
    const addresses = [...this.#full];
    this.#full.clear();
    return addresses;
  }
}
