/**
 * What the gateway itself has to hand to the log (a connection came or went, a session ended) and the
 * log had no room for. In order; nothing of a connection may pass it. Bounded by `isFull`, at which no
 * more logins are taken: each one owes at most a few.
 */
import type { Ingress, IngressTarget } from "../../runtime/log/ingress.ts";
import type { GatewayRow } from "../../runtime/log/partition_log.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { type Session, sessionKey } from "./session.ts";

/** `key`: `{product}/{device}`. */
type OwedWrite =
  | {
    readonly type: "message";
    readonly key: string;
    readonly target: IngressTarget;
    readonly parts: readonly Uint8Array[];
    readonly rows: readonly GatewayRow[];
    readonly onWritten: ((append: number) => void) | undefined;
  }
  | {
    readonly type: "row";
    readonly key: string;
    readonly rowKey: string;
    readonly value: Uint8Array | undefined;
    readonly onWritten: ((append: number) => void) | undefined;
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

  /**
   * @param rows Written with the message, or not at all.
   * @param onWritten Told the append that has it, straight after it was offered.
   */
  message(
    device: { readonly key: string; readonly target: IngressTarget },
    parts: readonly Uint8Array[],
    rows: readonly GatewayRow[] = [],
    onWritten?: (append: number) => void,
  ): void {
    this.#add({ type: "message", key: device.key, target: device.target, parts, rows, onWritten });
  }

  /** The session row of a device; no value removes it. @param session Learns the append of its row. */
  row(key: string, value: Uint8Array | undefined, session?: Session): void {
    if (session !== undefined) {
      session.rowAppend = Infinity;
      session.hasRow = value !== undefined;
    }
    const onWritten = session === undefined
      ? undefined
      : (append: number) => void (session.rowAppend = append);
    this.put(key, sessionKey(key), value, onWritten);
  }

  /** Any row of a device; no value removes it. @param onWritten Told the append that has it. */
  put(
    key: string,
    rowKey: string,
    value: Uint8Array | undefined,
    onWritten?: (append: number) => void,
  ): void {
    this.#add({ type: "row", key, rowKey, value, onWritten });
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
      ? this.#ingress.offerWithRows(write.target, write.parts, write.rows)
      : this.#ingress.offerRow(write.rowKey, write.value);
    if (append === undefined) return false;
    write.onWritten?.(append);
    return true;
  }
}
