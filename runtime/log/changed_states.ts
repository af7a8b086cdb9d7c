/** Which actors have a new committed state, each once however often: for a reader that keeps up. */
import type { Address } from "../actor/address.ts";
import { DEVICE_LIMITS } from "../device_limits.ts";

export interface TakenChanges {
  readonly addresses: readonly Address[];
  /** Some were lost at the bound: all states may have changed. */
  readonly isCut: boolean;
}

export class ChangedStates {
  readonly #addresses = new Set<Address>();
  readonly #max: number;
  #isCut = false;

  constructor(max: number = DEVICE_LIMITS.changedStatesMax) {
    this.#max = max;
  }

  add(address: Address): void {
    if (this.#addresses.size < this.#max) this.#addresses.add(address);
    else if (!this.#addresses.has(address)) this.#isCut = true;
  }

  /** The oldest ones; they are told once. */
  take(limit: number): TakenChanges {
    const addresses: Address[] = [];
    for (const address of this.#addresses) {
      if (addresses.length === limit) break;
      addresses.push(address);
      this.#addresses.delete(address);
    }
    const isCut = this.#isCut;
    this.#isCut = false;
    return { addresses, isCut };
  }
}
