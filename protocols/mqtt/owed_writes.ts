/**
 * What the gateway itself has to hand to the log (a connection came or went, a session ended) and the
 * log had no room for. In order; nothing of a connection may pass it. Bounded by `isFull`, at which no
 * more logins are taken: each one owes at most a few.
 */
import type { Ingress, IngressTarget } from "../../runtime/log/ingress.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { type Session, sessionKey } from "./session.ts";

/** `key`: `{product}/{device}`. */
type OwedWrite =
  | {
    readonly type: "message";
    readonly key: string;
    readonly target: IngressTarget;
    readonly body: Uint8Array;
  }
  | {
    readonly type: "row";
    readonly key: string;
    readonly value: Uint8Array | undefined;
    readonly session: Session | undefined;
  };

export class OwedWrites {
  readonly #ingress: Ingress;
  #queue: OwedWrite[] = [];

  constructor(ingress: Ingress) {
    this.#ingress = ingress;
  }

  get length(): number {
    return this.#queue.length;
  }

  get isFull(): boolean {
    return this.#queue.length >= 2 * LIMITS.mqttAwaySessionsMax;
  }

  message(
    device: { readonly key: string; readonly target: IngressTarget },
    body: Uint8Array,
  ): void {
    this.#add({ type: "message", key: device.key, target: device.target, body });
  }

  /** The session row of a device; no value removes it. @param session Learns the append of its row. */
  row(key: string, value: Uint8Array | undefined, session?: Session): void {
    if (session !== undefined) {
      session.rowAppend = Infinity;
      session.hasRow = value !== undefined;
    }
    this.#add({ type: "row", key, value, session });
  }

  /** A device was deleted: nothing of it may come after its removal. */
  forget(key: string): void {
    if (this.#queue.length > 0) this.#queue = this.#queue.filter((write) => write.key !== key);
  }

  /** Hands over what is owed; false if something still is. */
  flush(): boolean {
    let count = 0;
    while (count < this.#queue.length && this.#write(this.#queue[count]!)) count++;
    if (count > 0) this.#queue.splice(0, count);
    return this.#queue.length === 0;
  }

  #add(write: OwedWrite): void {
    if (this.#queue.length > 0 || !this.#write(write)) this.#queue.push(write);
  }

  #write(write: OwedWrite): boolean {
    const append = write.type === "message"
      ? this.#ingress.offer(write.target, [write.body])
      : this.#ingress.offerRow(sessionKey(write.key), write.value);
    if (append === undefined) return false;
    if (write.type === "row" && write.session !== undefined) write.session.rowAppend = append;
    return true;
  }
}
