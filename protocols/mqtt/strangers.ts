/** Sockets that have not logged in, counted by network: many devices share one, strangers are few. */
import { LIMITS } from "../../runtime/limits.ts";

export class Strangers {
  readonly #byNetwork = new Map<string, number>();
  #count = 0;

  /** Of all networks. */
  get count(): number {
    return this.#count;
  }

  /** @returns False at the bound: it is not counted. */
  add(network: string): boolean {
    const count = this.#byNetwork.get(network) ?? 0;
    if (count >= LIMITS.mqttStrangersPerNetworkMax) return false;
    this.#byNetwork.set(network, count + 1);
    this.#count++;
    return true;
  }

  /** One of the network has logged in, or gone. */
  remove(network: string): void {
    const count = this.#byNetwork.get(network)!;
    if (count > 1) this.#byNetwork.set(network, count - 1);
    else this.#byNetwork.delete(network);
    this.#count--;
  }
}
