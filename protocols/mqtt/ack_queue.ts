/**
 * Acknowledgements of one connection in order of arrival, each waiting for an append. A ring of
 * numbers, since one is pushed per message.
 */
export const ACK = { puback: 0, pubrec: 1, pubcomp: 2, encoded: 3 } as const;
export type AckKind = typeof ACK[keyof typeof ACK];

/** Append number, word (kind, reason, packet id) and bytes of a message. */
const STRIDE = 3;
const EMPTY = new Float64Array(0);
const SLOTS_MIN = 16;

export class AckQueue {
  #ring: Float64Array = EMPTY;
  #head = 0;
  #length = 0;
  #bytes = 0;

  get length(): number {
    return this.#length;
  }

  /** Message bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param append Number that must be durable first; 0: none. */
  push(append: number, kind: AckKind, reason: number, packetId: number, bytes: number): void {
    if (this.#length * STRIDE === this.#ring.length) this.#grow();
    const slot = (this.#head + this.#length) % (this.#ring.length / STRIDE) * STRIDE;
    this.#ring[slot] = append;
    this.#ring[slot + 1] = kind << 24 | reason << 16 | packetId;
    this.#ring[slot + 2] = bytes;
    this.#length++;
    this.#bytes += bytes;
  }

  /** How many at the head may be sent: those before the first whose append is above `settled`. */
  ready(settled: number): number {
    let count = 0;
    while (count < this.#length && this.#ring[this.#slot(count)]! <= settled) count++;
    return count;
  }

  kindAt(index: number): AckKind {
    return this.#ring[this.#slot(index) + 1]! >> 24 as AckKind;
  }

  reasonAt(index: number): number {
    return this.#ring[this.#slot(index) + 1]! >> 16 & 0xff;
  }

  packetIdAt(index: number): number {
    return this.#ring[this.#slot(index) + 1]! & 0xffff;
  }

  drop(count: number): void {
    for (let i = 0; i < count; i++) this.#bytes -= this.#ring[this.#slot(i) + 2]!;
    this.#length -= count;
    this.#head = this.#length === 0 ? 0 : (this.#head + count) % (this.#ring.length / STRIDE);
    // A burst must not leave its ring behind on an idle connection.
    if (this.#length === 0 && this.#ring.length > SLOTS_MIN * STRIDE) this.#ring = EMPTY;
  }

  clear(): void {
    this.#ring = EMPTY;
    this.#head = this.#length = this.#bytes = 0;
  }

  #slot(index: number): number {
    return (this.#head + index) % (this.#ring.length / STRIDE) * STRIDE;
  }

  #grow(): void {
    const slots = Math.max(SLOTS_MIN, this.#ring.length / STRIDE * 2);
    const ring = new Float64Array(slots * STRIDE);
    for (let i = 0; i < this.#length; i++) {
      const from = this.#slot(i);
      ring.set(this.#ring.subarray(from, from + STRIDE), i * STRIDE);
    }
    this.#ring = ring;
    this.#head = 0;
  }
}
