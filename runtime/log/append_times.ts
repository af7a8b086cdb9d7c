/**
 * When the records of an append were handled and stored, by partition: of the newest appends, in
 * numbers. All records of one append and partition have the times of the last of them.
 */
import { type Partition, PARTITIONS } from "../actor/address.ts";
import { DEVICE_LIMITS } from "../device_limits.ts";
import type { Append, AppendOutcome } from "./partition_log.ts";

/** Of an append in one partition; 0: not yet. */
export interface AppendTimes {
  readonly firstOffset: number;
  readonly handledAtMs: number;
  /** When the store of the reader was known to have all that came of it. */
  readonly storedAtMs: number;
}

/** `passed`: it is older than what is remembered, and was stored. Null: nothing is known of it. */
export type AppendTrace = AppendTimes | "passed" | null;

const ENTRIES = DEVICE_LIMITS.appendsRemembered;

/** Appends of one partition, of rising number and offset; the oldest gives way. */
class Lane {
  readonly #sequences = new Float64Array(ENTRIES);
  readonly #first = new Float64Array(ENTRIES);
  readonly #end = new Float64Array(ENTRIES);
  /** Head of the log when it was handled: what came of it is not above it. */
  readonly #tick = new Float64Array(ENTRIES);
  readonly #handledAt = new Float64Array(ENTRIES);
  readonly #storedAt = new Float64Array(ENTRIES);
  /** Appends so far; number n stands at `n % ENTRIES`. `#stored <= #handled <= #count`. */
  #count = 0;
  #handled = 0;
  #stored = 0;

  add(sequence: number, first: number, count: number): void {
    const at = this.#count++ % ENTRIES;
    this.#sequences[at] = sequence;
    this.#first[at] = first;
    this.#end[at] = first + count;
    this.#handledAt[at] = 0;
    this.#storedAt[at] = 0;
    const oldest = this.#count - ENTRIES;
    this.#handled = Math.max(this.#handled, oldest);
    this.#stored = Math.max(this.#stored, oldest);
  }

  handle(cursor: number, tick: number, atMs: number): void {
    for (; this.#handled < this.#count; this.#handled++) {
      const at = this.#handled % ENTRIES;
      if (this.#end[at]! > cursor) return;
      this.#tick[at] = tick;
      this.#handledAt[at] = atMs;
    }
  }

  store(tick: number, atMs: number): void {
    for (; this.#stored < this.#handled; this.#stored++) {
      const at = this.#stored % ENTRIES;
      if (this.#tick[at]! > tick) return;
      this.#storedAt[at] = atMs;
    }
  }

  find(sequence: number): AppendTrace {
    const oldest = Math.max(0, this.#count - ENTRIES);
    let [low, high] = [oldest, this.#count];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#sequences[middle % ENTRIES]! < sequence) low = middle + 1;
      else high = middle;
    }
    const at = low % ENTRIES;
    if (low < this.#count && this.#sequences[at] === sequence) {
      return {
        firstOffset: this.#first[at]!,
        handledAtMs: this.#handledAt[at]!,
        storedAtMs: this.#storedAt[at]!,
      };
    }
    // Cursors only rise: with the oldest that is known, those before it were passed.
    return oldest > 0 && low === oldest && this.#stored > oldest ? "passed" : null;
  }
}

export class AppendTimesOfLog {
  readonly #lanes = Array.from({ length: PARTITIONS }, () => new Lane());
  /** Appends before it were another worker's. */
  #since = Infinity;

  /** @param cursorOf Of the actors: they may have been faster. */
  appended(
    { sequence, segments }: Append,
    outcome: AppendOutcome,
    cursorOf: (partition: Partition) => number,
    tick: number,
    atMs: number,
  ): void {
    if (!outcome.ok || outcome.firstOffsets === undefined) return;
    this.#since = Math.min(this.#since, sequence);
    for (let i = 0; i < segments.length; i++) {
      const { partition, count } = segments[i]!;
      const lane = this.#lanes[partition]!;
      lane.add(sequence, outcome.firstOffsets[i]!, count);
      lane.handle(cursorOf(partition), tick, atMs);
    }
  }

  /** @param tick Head of the log. */
  handled(partition: Partition, cursor: number, tick: number, atMs: number): void {
    this.#lanes[partition]!.handle(cursor, tick, atMs);
  }

  /** @param tick Up to which the reader's store has all. */
  stored(tick: number, atMs: number): void {
    for (const lane of this.#lanes) lane.store(tick, atMs);
  }

  of(partition: Partition, sequences: readonly number[]): AppendTrace[] {
    const lane = this.#lanes[partition]!;
    return sequences.map((sequence) => sequence < this.#since ? null : lane.find(sequence));
  }
}
