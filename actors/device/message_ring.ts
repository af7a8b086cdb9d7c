/** The last messages of one device, in one block of numbers: a message makes no object. */
import type { Partition } from "../../runtime/actor/address.ts";
import { DEVICE_LIMITS } from "../../runtime/device_limits.ts";

/** Facts that few messages have. */
export interface TraceFacts {
  readonly reason?: string;
  readonly detail?: string;
  readonly userProperties?: readonly (readonly [string, string])[];
  /** The gateway sent it for the device, whose connection was lost. */
  readonly isWill?: true;
}

export type TraceWire = "mqtt" | "http";

/** One message, as the ring has it. */
export interface TracedMessage extends TraceFacts {
  /** Rising, of this device. */
  readonly number: number;
  readonly wire: TraceWire;
  readonly topic: string;
  /** Of its payload. */
  readonly bytes: number;
  /** When it was accepted, or refused. */
  readonly atMs: number;
  /** Of the append that has it; 0: it was refused. */
  readonly append: number;
  /** Among the records of its partition in that append. */
  readonly index: number;
}

const SLOTS = DEVICE_LIMITS.tracedMessages;
const FIELDS = 4;
/** What stands where in a slot. */
const [AT, APPEND, INDEX, BYTES] = [0, 1, 2, 3];
/** What a ring takes beside its texts, about. */
export const RING_BYTES = SLOTS * FIELDS * 8 + SLOTS * 8 + 512;
/** What a topic may hold beside its characters: the string that it was cut from. */
const TEXT_BYTES = 320;

export class MessageRing {
  /** Second chance of a ring that is about to give way. */
  isTouched = true;
  /** Of topics and facts, about. */
  textBytes = 0;
  readonly #numbers = new Float64Array(SLOTS * FIELDS);
  readonly #topics: string[] = [];
  #facts: Map<number, TraceFacts> | undefined;
  /** One bit a slot: it came by HTTP. */
  #isHttp = 0;
  #count = 0;

  constructor(readonly partition: Partition) {}

  /** @param append 0: it was refused. */
  add(
    wire: TraceWire,
    topic: string,
    bytes: number,
    atMs: number,
    append: number,
    index: number,
    facts: TraceFacts | undefined,
  ): void {
    this.isTouched = true;
    const slot = this.#count++ % SLOTS;
    const at = slot * FIELDS;
    this.#numbers[at + AT] = atMs;
    this.#numbers[at + APPEND] = append;
    this.#numbers[at + INDEX] = index;
    this.#numbers[at + BYTES] = bytes;
    const before = this.#topics[slot];
    if (before !== topic) {
      this.textBytes += sizeOf(topic) - (before === undefined ? 0 : sizeOf(before));
      this.#topics[slot] = topic;
    }
    if (wire === "http") this.#isHttp |= 1 << slot;
    else this.#isHttp &= ~(1 << slot);
    if (facts !== undefined || this.#facts !== undefined) this.#tell(slot, facts);
  }

  /** Newest first; those whose append is above `settled` are not durable, and not there. */
  list(limit: number, settled: number): TracedMessage[] {
    const found: TracedMessage[] = [];
    const oldest = Math.max(0, this.#count - SLOTS);
    for (let number = this.#count - 1; number >= oldest && found.length < limit; number--) {
      const slot = number % SLOTS;
      const at = slot * FIELDS;
      const append = this.#numbers[at + APPEND]!;
      if (append > settled) continue;
      found.push({
        number,
        wire: (this.#isHttp >>> slot & 1) === 1 ? "http" : "mqtt",
        topic: this.#topics[slot]!,
        bytes: this.#numbers[at + BYTES]!,
        atMs: this.#numbers[at + AT]!,
        append,
        index: this.#numbers[at + INDEX]!,
        ...this.#facts?.get(slot),
      });
    }
    return found;
  }

  #tell(slot: number, facts: TraceFacts | undefined): void {
    const all = this.#facts ??= new Map();
    const before = all.get(slot);
    if (before !== undefined) this.textBytes -= sizeOfFacts(before);
    if (facts === undefined) all.delete(slot);
    else {
      all.set(slot, facts);
      this.textBytes += sizeOfFacts(facts);
    }
    if (all.size === 0) this.#facts = undefined;
  }
}

function sizeOf(topic: string): number {
  return TEXT_BYTES + 2 * topic.length;
}

function sizeOfFacts({ reason = "", detail = "", userProperties = [] }: TraceFacts): number {
  let bytes = TEXT_BYTES + 2 * (reason.length + detail.length);
  for (const [name, value] of userProperties) bytes += 128 + 2 * (name.length + value.length);
  return bytes;
}
