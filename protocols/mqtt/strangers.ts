/**
 * Sockets that have not logged in, by network: many devices share one, strangers are few. Beyond the
 * bound the oldest gives way to a new one, if it had its time to say who it is: idle sockets can't hold
 * the slots of others behind their NAT, and a fleet that comes back all at once gets in.
 */
import { LIMITS } from "../../runtime/limits.ts";

interface Stranger {
  readonly network: string;
}

export interface StrangerLimits {
  readonly mqttStrangersPerNetworkMax: number;
  readonly mqttFreshStrangersPerNetworkMax: number;
  readonly mqttStrangerMs: number;
}

export class Strangers<Socket extends Stranger> {
  /** Monotonic milliseconds of the accept, oldest first. */
  readonly #byNetwork = new Map<string, Map<Socket, number>>();
  readonly #limits: StrangerLimits;
  #count = 0;

  constructor(limits: StrangerLimits = LIMITS) {
    this.#limits = limits;
  }

  /** Of all networks. */
  get count(): number {
    return this.#count;
  }

  /** @returns The one that has to give way; it is counted no more. */
  add(socket: Socket, nowMs: number): Socket | undefined {
    const { mqttStrangersPerNetworkMax, mqttFreshStrangersPerNetworkMax, mqttStrangerMs } =
      this.#limits;
    const sockets = this.#byNetwork.get(socket.network) ?? new Map<Socket, number>();
    if (sockets.size === 0) this.#byNetwork.set(socket.network, sockets);
    sockets.set(socket, nowMs);
    this.#count++;
    if (sockets.size <= mqttStrangersPerNetworkMax) return undefined;
    const [oldest, sinceMs] = sockets.entries().next().value!;
    const isFresh = nowMs - sinceMs < mqttStrangerMs;
    if (isFresh && sockets.size <= mqttFreshStrangersPerNetworkMax) return undefined;
    this.remove(oldest);
    return oldest;
  }

  /** It has logged in, or gone; one that is not counted is ignored. */
  remove(socket: Socket): void {
    const sockets = this.#byNetwork.get(socket.network);
    if (sockets?.delete(socket) !== true) return;
    this.#count--;
    if (sockets.size === 0) this.#byNetwork.delete(socket.network);
  }
}
