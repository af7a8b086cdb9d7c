/**
 * Deletes what nobody needs any more of the oldest ticks, in small steps. A stopped partition does not
 * hold up the others: of a tick that it alone needs, its own segments are kept, as they are, and the
 * rest goes.
 */
import type { Partition } from "../actor/address.ts";
import { CodecError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { PendingIndex } from "./pending_index.ts";
import { decodeRanges, repackTick, type TickRange } from "./tick_blob.ts";
import type { Stop } from "./tick_reader.ts";
import type { StoredTick, TickStore } from "./tick_store.ts";

export interface TrimBound {
  /** Ticks up to it are needed by nobody but the partitions in `aside`. */
  readonly throughTick: number;
  /** Offset from which each stopped partition needs what is stored, whatever its class. */
  readonly aside: ReadonlyMap<Partition, number>;
}

/** @param readers Their cursors. @param pending By partition. */
export function trimBoundOf(
  headTick: number,
  readers: Iterable<number>,
  pending: readonly PendingIndex[],
  stops: ReadonlyMap<Partition, Stop>,
): TrimBound {
  let throughTick = Math.min(headTick, ...readers);
  const aside = new Map<Partition, number>();
  pending.forEach((index, partition) => {
    const stop = stops.get(partition);
    // One that has still to handle what comes before its stop is waited for, as any other.
    if (hasRecordsBefore(index, stop)) throughTick = Math.min(throughTick, index.at(0).tick - 1);
    else if (stop !== undefined) aside.set(partition, stop.offset);
  });
  return { throughTick, aside };
}

/** Whether there is something to handle that no damage keeps from it. */
export function hasRecordsBefore(index: PendingIndex, stop: Stop | undefined): boolean {
  if (index.length === 0 || stop === undefined) return index.length > 0;
  return Math.max(index.at(0).firstOffset, index.cursor) < stop.offset;
}

export interface Trimmed {
  /** Bytes that are free now. */
  readonly bytes: number;
  readonly hasMore: boolean;
}

export class Trimming {
  readonly #store: TickStore;
  /** Ticks up to here have nothing left but what is set aside. */
  #doneTick = 0;

  constructor(store: TickStore) {
    this.#store = store;
  }

  /** What is set aside has changed: look at all ticks again. */
  restart(): void {
    this.#doneTick = 0;
  }

  /** One small step. */
  step({ throughTick, aside }: TrimBound): Trimmed {
    if (aside.size === 0) {
      const { ticks, bytes } = this.#store.trim(throughTick, LIMITS.trimTicksMax);
      return { bytes, hasMore: ticks === LIMITS.trimTicksMax };
    }
    if (throughTick <= this.#doneTick) return { bytes: 0, hasMore: false };
    const headers = this.#store.readHeaders(this.#doneTick, LIMITS.trimTicksMax);
    const gone: number[] = [];
    const reduced: StoredTick[] = [];
    let hasMore = headers.length === LIMITS.trimTicksMax;
    let doneTick = this.#doneTick;
    let readBytes = 0;
    for (const { tick, header } of headers) {
      const isBeyond = tick > throughTick;
      if (isBeyond || readBytes >= LIMITS.setAsideBytesMax) {
        hasMore = !isBeyond;
        break;
      }
      doneTick = tick;
      const ranges = rangesOf(header);
      const kept = ranges.filter(({ partition, firstOffset, count }) =>
        firstOffset + count > (aside.get(partition) ?? Infinity)
      );
      if (kept.length === ranges.length && kept.length > 0) continue;
      if (kept.length === 0) {
        gone.push(tick);
        continue;
      }
      const { body } = this.#store.readTick(tick)!;
      readBytes += body.length;
      reduced.push({ tick, ...repackTick(kept, body) });
    }
    const isChanged = gone.length + reduced.length > 0;
    const bytes = isChanged ? this.#store.reduce(gone, reduced) : 0;
    this.#doneTick = hasMore ? doneTick : throughTick;
    return { bytes, hasMore };
  }
}

/** None of a damaged header: what it had is missing, whether the rest is kept or not. */
function rangesOf(header: Uint8Array): readonly TickRange[] {
  try {
    return decodeRanges(header);
  } catch (fault) {
    if (!(fault instanceof CodecError)) throw fault;
    return [];
  }
}
