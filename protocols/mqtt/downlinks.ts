/**
 * QoS 1 and 2 messages to one device in order: sent and not acknowledged, then queued. Sent again with
 * the same packet id when the session is resumed, as the standard wants.
 */
import { LIMITS } from "../../runtime/limits.ts";
import { NO_PROPERTIES } from "./publish_properties.ts";
import { type DownTopic, isCallTopic } from "./topic.ts";

/** A copy of a message of the device itself, now or when it was retained. */
export interface Copy {
  /** After the device's prefix. */
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly isRetained: boolean;
  /** Properties of MQTT 5 that are passed on. */
  readonly passedOn: Uint8Array;
  readonly subscriptionIds: readonly number[];
  /** From when on it is not sent any more, epoch milliseconds. */
  readonly expiresAtMs: number;
}

export interface QueuedDownlink extends Copy {
  readonly kind: "call" | "copy" | "other";
  /** 0 until it was sent once. */
  packetId: number;
  /** Sent on the present connection. */
  isSent: boolean;
  /** Sent before: the next time it has the DUP flag. */
  isRepeat: boolean;
  /** QoS 2: the device has it, and is told so by PUBREL until its PUBCOMP. */
  isReleased: boolean;
  /** QoS 2: the append that keeps its id; 0: none yet, `Infinity`: on its way. */
  storedBy: number;
}

export class Downlinks {
  #items: QueuedDownlink[] | undefined;
  #nextId = 1;

  get length(): number {
    return this.#items?.length ?? 0;
  }

  /**
   * Queues a message. A desired state replaces one that waits: each has all that differs. A call that
   * is not acknowledged yet is the same call again: nothing is queued.
   * @returns False if the bound refuses it.
   */
  push(
    topic: DownTopic,
    payload: Uint8Array,
    expiresAtMs = Infinity,
    subscriptionIds: readonly number[] = [],
  ): boolean {
    const items = this.#items ??= [];
    const kind = isCallTopic(topic) ? "call" : "other";
    if (kind === "call") {
      if (items.some((other) => other.kind === kind && other.topic === topic)) return true;
      if (this.#count(kind) >= LIMITS.callsPerDeviceMax) return false;
    } else if (topic === "properties/set") {
      const waiting = items.findIndex((other) =>
        other.kind === kind && other.topic === topic && other.packetId === 0
      );
      if (waiting >= 0) items.splice(waiting, 1);
    } else if (this.#count(kind) >= LIMITS.mqttDownlinksMax) return false;
    const message = { topic, payload, qos: 1, isRetained: false, passedOn: NO_PROPERTIES } as const;
    items.push(queued({ ...message, expiresAtMs, subscriptionIds }, kind));
    return true;
  }

  /** Queues a copy of QoS 1 or 2. @returns False if the bound refuses it. */
  pushCopy(copy: Copy): boolean {
    if (this.#count("copy") >= LIMITS.mqttCopiesMax) return false;
    const { copyBytes } = this;
    if (copyBytes > 0 && copyBytes + bytesOf(copy) > LIMITS.mqttCopyBytesMax) return false;
    (this.#items ??= []).push(queued(copy, "copy"));
    return true;
  }

  /** Bytes of copies that wait. */
  get copyBytes(): number {
    if (this.#items === undefined) return 0;
    let bytes = 0;
    for (const item of this.#items) if (item.kind === "copy") bytes += bytesOf(item);
    return bytes;
  }

  /**
   * A QoS 2 message that a gateway before this one sent: its content is gone, but the device may have
   * its id, which must not become another message's.
   */
  restore(packetId: number): void {
    const lost = { topic: "", payload: NO_PROPERTIES, qos: 2, isRetained: false } as const;
    const rest = { passedOn: NO_PROPERTIES, subscriptionIds: [], expiresAtMs: Infinity };
    const item = queued({ ...lost, ...rest }, "copy");
    (this.#items ??= []).push({ ...item, packetId, isRepeat: true, isReleased: true });
  }

  /** Takes back what was not sent on the present connection. */
  drop(topic: DownTopic): void {
    this.#items = this.#items?.filter((item) =>
      item.isSent || item.kind === "copy" || item.topic !== topic
    );
  }

  /**
   * The next message to send if fewer than `window` are unacknowledged; has its packet id.
   * @param nowMs Epoch milliseconds.
   */
  next(window: number, nowMs: number): QueuedDownlink | undefined {
    // A copy whose delivery has begun goes on (5: 4.3.3-7, 4.4.0-1); a call that is over does not.
    const hasBegun = (item: QueuedDownlink) =>
      item.kind === "copy" && (item.isRepeat || item.storedBy !== 0);
    const isOver = (item: QueuedDownlink) =>
      !item.isSent && item.expiresAtMs <= nowMs && !hasBegun(item);
    if (this.#items?.some(isOver)) this.#items = this.#items.filter((item) => !isOver(item));
    let sent = 0;
    for (const item of this.#items ?? []) {
      if (item.isSent) {
        if (++sent >= window) return undefined;
      } else {
        if (item.packetId === 0) item.packetId = this.#freeId();
        return item;
      }
    }
    return undefined;
  }

  /** PUBREC of a QoS 2 message. @returns False if there is none that it belongs to. */
  receive(packetId: number): boolean {
    const item = this.#items?.find((item) =>
      item.qos === 2 && item.isSent && item.packetId === packetId
    );
    if (item !== undefined) item.isReleased = true;
    return item !== undefined;
  }

  /** PUBACK, PUBCOMP, or a PUBREC with an error. @param qos Of the message that it belongs to. */
  acknowledge(packetId: number, qos: 1 | 2 = 1): boolean {
    const index = (this.#items ?? []).findIndex((item) =>
      item.isSent && item.qos === qos && item.packetId === packetId
    );
    if (index < 0) return false;
    this.#items!.splice(index, 1);
    if (this.#items!.length === 0) this.#items = undefined;
    return true;
  }

  /** The connection is gone: everything is to be sent on the next one. */
  rewind(): void {
    for (const item of this.#items ?? []) item.isSent = false;
  }

  #count(kind: QueuedDownlink["kind"]): number {
    return (this.#items ?? []).filter((item) => item.kind === kind).length;
  }

  #freeId(): number {
    while (this.#items?.some((item) => item.packetId === this.#nextId)) this.#step();
    const id = this.#nextId;
    this.#step();
    return id;
  }

  #step(): void {
    this.#nextId = this.#nextId % 0xffff + 1;
  }
}

export function bytesOf({ payload, passedOn }: Copy): number {
  return payload.length + passedOn.length;
}

function queued(copy: Copy, kind: QueuedDownlink["kind"]): QueuedDownlink {
  const fresh = { packetId: 0, isSent: false, isRepeat: false, isReleased: false, storedBy: 0 };
  return { ...copy, kind, ...fresh };
}
