/**
 * QoS 1 messages to one device in order: sent and not acknowledged, then queued. Sent again with the
 * same packet id when the session is resumed, as the standard wants.
 */
import { LIMITS } from "../../runtime/limits.ts";
import { type DownTopic, isCallTopic } from "./topic.ts";

export interface QueuedDownlink {
  readonly topic: DownTopic;
  readonly payload: Uint8Array;
  /** From when on it is not sent any more, epoch milliseconds. */
  readonly expiresAtMs: number;
  /** 0 until it was sent once. */
  packetId: number;
  /** Sent on the present connection. */
  isSent: boolean;
  /** Sent before: the next time it has the DUP flag. */
  isRepeat: boolean;
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
  push(topic: DownTopic, payload: Uint8Array, expiresAtMs = Infinity): boolean {
    const items = this.#items ??= [];
    if (isCallTopic(topic)) {
      if (items.some((other) => other.topic === topic)) return true;
      const calls = items.filter((other) => isCallTopic(other.topic)).length;
      if (calls >= LIMITS.callsPerDeviceMax) return false;
    } else if (topic === "properties/set") {
      const waiting = items.findIndex((other) => other.topic === topic && other.packetId === 0);
      if (waiting >= 0) items.splice(waiting, 1);
    } else {
      const others = items.filter((other) => !isCallTopic(other.topic)).length;
      if (others >= LIMITS.mqttDownlinksMax) return false;
    }
    items.push({ topic, payload, expiresAtMs, packetId: 0, isSent: false, isRepeat: false });
    return true;
  }

  /** Takes back what was not sent on the present connection. */
  drop(topic: DownTopic): void {
    this.#items = this.#items?.filter((item) => item.isSent || item.topic !== topic);
  }

  /**
   * The next message to send if fewer than `window` are unacknowledged; has its packet id.
   * @param nowMs Epoch milliseconds.
   */
  next(window: number, nowMs: number): QueuedDownlink | undefined {
    if (this.#items?.some((item) => !item.isSent && item.expiresAtMs <= nowMs)) {
      this.#items = this.#items.filter((item) => item.isSent || item.expiresAtMs > nowMs);
    }
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

  acknowledge(packetId: number): boolean {
    const index = (this.#items ?? []).findIndex((item) =>
      item.isSent && item.packetId === packetId
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
