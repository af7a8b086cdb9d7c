/**
 * The last messages of devices: what gateways accepted and refused, on which wire. Kept in memory, of
 * the devices that spoke last; a restart forgets it.
 *
 * A gateway's duty: `accept` straight after the `offer` of a message, before any other, or with the
 * place that it was told then.
 */
import type { Partition } from "../../runtime/actor/address.ts";
import type { Issue } from "../../runtime/errors.ts";
import { DEVICE_LIMITS } from "../../runtime/device_limits.ts";
import type { Carried } from "./carried.ts";
import {
  MessageRing,
  RING_BYTES,
  type TracedMessage,
  type TraceFacts,
  type TraceWire,
} from "./message_ring.ts";
import { detailOf } from "./uplink.ts";

/** Whose message it is. */
export interface TracedDevice {
  /** `{product}/{device}`. */
  readonly key: string;
  readonly target: { readonly partition: Partition };
}

export interface TracedList {
  readonly partition: Partition;
  /** Newest first. */
  readonly messages: readonly TracedMessage[];
}

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder();

export class MessageTraces {
  readonly #rings = new Map<string, MessageRing>();
  readonly #lastIndex: () => number;
  #textBytes = 0;

  /** @param lastIndex See `GroupIngress.lastIndex`. */
  constructor(lastIndex: () => number) {
    this.#lastIndex = lastIndex;
  }

  /**
   * @param topic After the prefix of the device.
   * @param bytes Of the payload.
   * @param append That has it.
   * @param index Its place there. Default: of the message that was offered last.
   */
  accept(
    device: TracedDevice,
    wire: TraceWire,
    topic: string,
    bytes: number,
    atMs: number,
    append: number,
    facts?: TraceFacts,
    index = this.#lastIndex(),
  ): void {
    this.#add(device, wire, topic, bytes, atMs, append, index, facts);
  }

  refuse(
    device: TracedDevice,
    wire: TraceWire,
    topic: string,
    bytes: number,
    atMs: number,
    facts: TraceFacts,
  ): void {
    this.#add(device, wire, topic, bytes, atMs, 0, 0, facts);
  }

  /** @param settled Highest append that is durable. Undefined: nothing is remembered. */
  list(key: string, limit: number, settled: number): TracedList | undefined {
    const ring = this.#rings.get(key);
    if (ring === undefined) return undefined;
    return { partition: ring.partition, messages: ring.list(limit, settled) };
  }

  /** A device of the same name is another one. */
  forget(key: string): void {
    const ring = this.#rings.get(key);
    if (ring === undefined) return;
    this.#textBytes -= ring.textBytes;
    this.#rings.delete(key);
  }

  #add(
    { key, target }: TracedDevice,
    wire: TraceWire,
    topic: string,
    bytes: number,
    atMs: number,
    append: number,
    index: number,
    facts: TraceFacts | undefined,
  ): void {
    let ring = this.#rings.get(key);
    const isNew = ring === undefined;
    if (ring === undefined) this.#rings.set(key, ring = new MessageRing(target.partition));
    const before = ring.textBytes;
    ring.add(wire, bounded(topic), bytes, atMs, append, index, facts && boundedFacts(facts));
    if (!isNew && ring.textBytes === before) return;
    this.#textBytes += ring.textBytes - before;
    this.#makeRoom();
  }

  /** The oldest gives way, unless it had a message since it was looked at last. */
  #makeRoom(): void {
    while (this.#rings.size * RING_BYTES + this.#textBytes > DEVICE_LIMITS.traceBytesMax) {
      const [key, ring] = this.#rings.entries().next().value!;
      this.#rings.delete(key);
      if (ring.isTouched && this.#rings.size > 0) {
        ring.isTouched = false;
        this.#rings.set(key, ring);
      } else this.#textBytes -= ring.textBytes;
    }
  }
}

/** Of a message that was taken; undefined of almost all. */
export function factsOf(
  refused: readonly Issue[],
  { userProperties }: Pick<Carried, "userProperties"> = {},
): TraceFacts | undefined {
  if (refused.length === 0) return userProperties && { userProperties };
  const facts = { reason: "partially_refused", detail: detailOf(refused) };
  return userProperties === undefined ? facts : { ...facts, userProperties };
}

function boundedFacts(facts: TraceFacts): TraceFacts {
  return facts.detail === undefined ? facts : { ...facts, detail: bounded(facts.detail) };
}

/** A long text is copied: a slice would keep all of it. */
function bounded(text: string): string {
  const max = DEVICE_LIMITS.tracedTextCharacters;
  return text.length <= max ? text : DECODER.decode(ENCODER.encode(text.slice(0, max)));
}
