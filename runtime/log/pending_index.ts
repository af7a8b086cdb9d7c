/**
 * Where the records to handle of one partition stand: an entry per segment, in order of offset, in
 * typed columns (a backlog may have a million segments). Counts what the ledger calls pending from
 * the segments themselves.
 */
import type { SegmentClass } from "./partition_log.ts";

export interface PendingEntry {
  readonly tick: number;
  readonly firstOffset: number;
  /** Offset after its last record. */
  readonly endOffset: number;
  readonly isCounted: boolean;
  /** Its records are not in the store, nor where they should be: damage. Never counted. */
  readonly isMissing: boolean;
}

const STRIDE = 3;
/** Flags below the number of records in an entry's last column. */
const COUNTED = 1;
const MISSING = 2;
const FLAGS = 4;

/** Counted in `pending`: messages from outside, at first or again. */
export function isCountedClass(segmentClass: SegmentClass): boolean {
  return segmentClass === "ingress" || segmentClass === "replay";
}

/** Handed to actors; the other classes are for readers. */
export function isHandledClass(segmentClass: SegmentClass): boolean {
  return isCountedClass(segmentClass) || segmentClass === "sent";
}

export class PendingIndex {
  /** Per entry: tick, first offset, and records * 4 with the flags. */
  #columns = new Float64Array(16 * STRIDE);
  #first = 0;
  #end = 0;
  #cursor = 0;
  /** Counted records at or above the cursor. */
  counted = 0;

  get length(): number {
    return this.#end - this.#first;
  }

  /** Records below it are forgotten. */
  get cursor(): number {
    return this.#cursor;
  }

  /** `0 <= i < length`. */
  at(i: number): PendingEntry {
    const at = (this.#first + i) * STRIDE;
    const firstOffset = this.#columns[at + 1]!;
    const packed = this.#columns[at + 2]!;
    return {
      tick: this.#columns[at]!,
      firstOffset,
      endOffset: firstOffset + Math.floor(packed / FLAGS),
      isCounted: packed % MISSING === COUNTED,
      isMissing: packed % FLAGS >= MISSING,
    };
  }

  /** Entries in order of offset; one that lies below the cursor is ignored. */
  add(tick: number, firstOffset: number, count: number, isCounted: boolean): void {
    if (firstOffset + count <= this.#cursor) return;
    if ((this.#end + 1) * STRIDE > this.#columns.length) this.#makeRoom();
    const at = this.#end++ * STRIDE;
    this.#columns[at] = tick;
    this.#columns[at + 1] = firstOffset;
    this.#columns[at + 2] = count * FLAGS + (isCounted ? COUNTED : 0);
    if (isCounted) this.counted += firstOffset + count - Math.max(firstOffset, this.#cursor);
  }

  /** Records that should be in the store. @param tick Where they were missed. */
  addMissing(tick: number, firstOffset: number, count: number): void {
    if (firstOffset + count <= this.#cursor) return;
    this.add(tick, firstOffset, count, false);
    this.#columns[(this.#end - 1) * STRIDE + 2]! += MISSING;
  }

  /** Takes entry `i` out, as if it had never been here. `0 <= i < length`. */
  remove(i: number): void {
    const { firstOffset, endOffset, isCounted } = this.at(i);
    if (isCounted) this.counted -= endOffset - Math.max(firstOffset, this.#cursor);
    const from = this.#first * STRIDE;
    this.#columns.copyWithin(from + STRIDE, from, from + i * STRIDE);
    this.#first++;
    if (this.#first === this.#end) this.#first = this.#end = 0;
  }

  /** The entry of the record at `offset`; undefined if it is not one to handle. */
  entryAt(offset: number): { readonly i: number; readonly entry: PendingEntry } | undefined {
    const i = this.find(offset);
    const entry = i < this.length ? this.at(i) : undefined;
    return entry !== undefined && entry.firstOffset <= offset ? { i, entry } : undefined;
  }

  /** Forgets what lies below `cursor`. Never moves back. */
  advance(cursor: number): void {
    const before = this.#cursor;
    if (cursor <= before) return;
    for (let i = this.#first; i < this.#end; i++) {
      const at = i * STRIDE;
      const first = this.#columns[at + 1]!;
      const packed = this.#columns[at + 2]!;
      if (first >= cursor) break;
      const end = first + Math.floor(packed / FLAGS);
      if (packed % MISSING === COUNTED) {
        this.counted -= Math.min(end, cursor) - Math.max(first, before);
      }
      if (end <= cursor) this.#first = i + 1;
    }
    this.#cursor = cursor;
    if (this.#first === this.#end) this.#first = this.#end = 0;
  }

  /** Index of the first entry that ends above `offset`; `length` if there is none. */
  find(offset: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.at(middle).endOffset > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #makeRoom(): void {
    const live = this.length * STRIDE;
    const from = this.#first * STRIDE;
    if (live * 2 <= this.#columns.length) {
      this.#columns.copyWithin(0, from, from + live);
    } else {
      const larger = new Float64Array(this.#columns.length * 2);
      larger.set(this.#columns.subarray(from, from + live));
      this.#columns = larger;
    }
    this.#first = 0;
    this.#end = live / STRIDE;
  }
}
