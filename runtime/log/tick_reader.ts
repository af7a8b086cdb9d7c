/**
 * Reads durable ticks: what a partition has to handle next, and whole ticks for readers. Bytes that
 * come from the store are checked; a damaged segment stops its partition there, the others go on.
 */
import type { Partition } from "../actor/address.ts";
import { CodecError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Pending, Segment, SegmentClass, Tick } from "./partition_log.ts";
import type { PendingEntry, PendingIndex } from "./pending_index.ts";
import { recordEnd } from "./record.ts";
import { isReadable, missing } from "./stored_segment.ts";
import { decodeRanges, segmentAt, type TickRange } from "./tick_blob.ts";
import { type LoadedTick, ReadTicks, RecentTicks } from "./tick_cache.ts";
import type { TickBlob, TickStore } from "./tick_store.ts";

/** Where a partition is stopped: nothing at or above `offset` is handled. */
export interface Stop {
  readonly offset: number;
  readonly detail: string;
}

export interface ReadBound {
  readonly recordsMax: number;
  readonly bytesMax: number;
}

const CACHE_BYTES = LIMITS.tickCacheBytesMax / 2;
/** One read spans few enough ticks that those of the other partitions find them in the cache. */
const SPAN_BYTES = CACHE_BYTES / 2;

export class TickReader {
  /** The lowest damage known of each; what lies behind it is found when it is read. */
  readonly stops = new Map<Partition, Stop>();
  /** Called after `stops` got another entry. */
  onStopped: () => void = () => {};
  readonly #store: TickStore;
  readonly #recent: RecentTicks;
  #read = new ReadTicks(CACHE_BYTES);
  readonly #onStop: (partition: Partition, stop: Stop) => void;
  readonly #onDamagedTick: (tick: number, detail: string) => void;
  readonly #damagedTicks = new Set<number>();

  constructor(
    store: TickStore,
    headTick: number,
    onStop: (partition: Partition, stop: Stop) => void,
    onDamagedTick: (tick: number, detail: string) => void,
  ) {
    this.#store = store;
    this.#recent = new RecentTicks(CACHE_BYTES, headTick);
    this.#onStop = onStop;
    this.#onDamagedTick = onDamagedTick;
  }

  /** A tick that was just made durable. */
  add(tick: number, ranges: readonly TickRange[], body: Uint8Array): void {
    this.#recent.add({ tick, ranges, body, isVerified: true });
  }

  stop(partition: Partition, offset: number, detail: string): void {
    const before = this.stops.get(partition);
    if (before !== undefined && before.offset <= offset) return;
    const stop = { offset, detail };
    this.stops.set(partition, stop);
    this.#onStop(partition, stop);
    this.onStopped();
  }

  /** The partition goes on; bytes that stopped it are not read from memory again. */
  lift(partition: Partition): void {
    this.stops.delete(partition);
    this.#read = new ReadTicks(CACHE_BYTES);
  }

  /** Whether the records of an entry are whole: in memory, as they were written, or in the store. */
  canRead(partition: Partition, entry: PendingEntry): boolean {
    return this.#recent.get(entry.tick) !== undefined || isReadable(this.#store, partition, entry);
  }

  /** Ranges of a header; undefined, and reported once, if it is damaged. */
  ranges(tick: number, header: Uint8Array): TickRange[] | undefined {
    try {
      return decodeRanges(header);
    } catch (fault) {
      if (!(fault instanceof CodecError)) throw fault;
      this.#reportOnce(tick, fault.message);
      return undefined;
    }
  }

  pending(
    partition: Partition,
    index: PendingIndex,
    from: number,
    nextOffset: number,
    bound: ReadBound,
  ): Omit<Pending, "cursor"> {
    const segments: Segment[] = [];
    let records = 0;
    let bytes = 0;
    let spanned = 0;
    let spannedTick = 0;
    for (let i = index.find(from); i < index.length; i++) {
      const entry = index.at(i);
      const offset = Math.max(entry.firstOffset, from);
      const isFull = records >= bound.recordsMax || bytes >= bound.bytesMax ||
        spanned >= SPAN_BYTES;
      if (isFull) return { segments, isEndOfLog: false, nextCursor: offset };
      const segment = this.#segmentOf(partition, entry, index.cursor, offset, bound);
      if (segment === undefined) return this.#stopped(partition, segments, offset);
      const isTooMuch = records + segment.count > bound.recordsMax ||
        bytes + segment.bytes.length > bound.bytesMax;
      if (segments.length > 0 && isTooMuch) {
        return { segments, isEndOfLog: false, nextCursor: offset };
      }
      segments.push(segment);
      records += segment.count;
      bytes += segment.bytes.length;
      if (spannedTick !== entry.tick) spanned += this.#load(entry.tick)?.body.length ?? 0;
      spannedTick = entry.tick;
      const end = segment.firstOffset + segment.count;
      if (end < entry.endOffset) return { segments, isEndOfLog: false, nextCursor: end };
    }
    // Stopped before the last start, at what the store has no more.
    if (this.stops.has(partition)) return this.#stopped(partition, segments, nextOffset);
    return { segments, isEndOfLog: true, nextCursor: nextOffset };
  }

  /** @param pending By partition: damage that no actor waits for stops nobody. */
  readTicks(
    after: number,
    classes: readonly SegmentClass[],
    bytesMax: number,
    headTick: number,
    pending: readonly PendingIndex[],
  ): { ticks: Tick[]; cursor: number } {
    const ticks: Tick[] = [];
    // A cursor above the head is of a log that is gone: reading all again is harmless, skipping not.
    let cursor = after > headTick ? 0 : after;
    let bytes = 0;
    for (const loaded of this.#ticksAbove(cursor, bytesMax)) {
      if (bytes >= bytesMax) return { ticks, cursor };
      cursor = loaded.tick;
      bytes += loaded.body.length;
      const segments = this.#segmentsOf(loaded, classes, pending);
      if (segments.length > 0) ticks.push({ tick: loaded.tick, segments });
    }
    return { ticks, cursor: bytes >= bytesMax ? cursor : Math.max(cursor, headTick) };
  }

  #stopped(partition: Partition, segments: Segment[], offset: number): Omit<Pending, "cursor"> {
    const end = segments.at(-1);
    // What is whole is handled first; the next read, which begins at the damage, says so.
    const nextCursor = end === undefined ? offset : end.firstOffset + end.count;
    if (end !== undefined) return { segments, isEndOfLog: false, nextCursor };
    const corrupt = this.stops.get(partition)!.detail;
    return { segments, isEndOfLog: false, nextCursor, corrupt };
  }

  /** From `offset` on, within the bound but at least a record; undefined: damaged, and stopped. */
  #segmentOf(
    partition: Partition,
    entry: PendingEntry,
    cursor: number,
    offset: number,
    bound: ReadBound,
  ): Segment | undefined {
    const stop = this.stops.get(partition);
    if (stop !== undefined && offset >= stop.offset) return undefined;
    // A checksum is over the whole segment: which of its records is damaged cannot be told.
    const from = Math.max(entry.firstOffset, cursor);
    if (entry.isMissing) {
      this.stop(partition, from, missing(from, entry.endOffset));
      return undefined;
    }
    const loaded = this.#load(entry.tick);
    const range = loaded?.ranges.find((candidate) =>
      candidate.partition === partition && candidate.firstOffset === entry.firstOffset
    );
    const whole = range && segmentAt(loaded!.body, range, loaded!.isVerified);
    if (whole === undefined) {
      const what = range === undefined ? "is missing" : "does not match its checksum";
      this.stop(partition, from, `segment at offset ${from} of tick ${entry.tick} ${what}`);
      return undefined;
    }
    const skip = offset - entry.firstOffset;
    const isWhole = skip === 0 && whole.count <= bound.recordsMax &&
      whole.bytes.length <= bound.bytesMax;
    try {
      const cut = isWhole ? whole : cutSegment(whole, skip, bound);
      // A view would keep its whole tick in memory, after the cache has let go of it.
      return loaded!.isVerified ? cut : { ...cut, bytes: cut.bytes.slice() };
    } catch (fault) {
      if (!(fault instanceof CodecError)) throw fault;
      this.stop(partition, from, `segment at offset ${from}: ${fault.message}`);
      return undefined;
    }
  }

  #segmentsOf(
    loaded: LoadedTick,
    classes: readonly SegmentClass[],
    pending: readonly PendingIndex[],
  ): Segment[] {
    const segments: Segment[] = [];
    for (const range of loaded.ranges) {
      if (!classes.includes(range.class)) continue;
      const segment = segmentAt(loaded.body, range, loaded.isVerified);
      if (segment !== undefined) segments.push(segment);
      else this.#passDamaged(loaded.tick, range, pending[range.partition]);
    }
    return segments;
  }

  /** A reader goes on past a damaged segment; actors that have nothing but it to handle stop. */
  #passDamaged(tick: number, range: TickRange, index: PendingIndex | undefined): void {
    const { partition, firstOffset } = range;
    const detail = `segment at offset ${firstOffset} of tick ${tick} does not match its checksum`;
    const from = Math.max(firstOffset, index?.cursor ?? 0);
    const isNeeded = index?.entryAt(from)?.entry.firstOffset === firstOffset &&
      this.#recent.get(tick) === undefined;
    if (isNeeded) this.stop(partition, from, detail);
    else this.#reportOnce(tick, `partition ${partition}: ${detail}`);
  }

  #reportOnce(tick: number, detail: string): void {
    if (this.#damagedTicks.has(tick)) return;
    this.#damagedTicks.add(tick);
    this.#onDamagedTick(tick, detail);
  }

  *#ticksAbove(after: number, bytesMax: number): Generator<LoadedTick> {
    if (after >= this.#recent.floor) return yield* this.#recent.above(after);
    for (const { tick, header, body } of this.#store.readTicks(after, bytesMax)) {
      // One that cannot be read still moves the cursor: its partitions stop, the reader goes on.
      const ranges = this.ranges(tick, header) ?? [];
      yield { tick, ranges, body, isVerified: false };
    }
  }

  #load(tick: number): LoadedTick | undefined {
    const held = this.#recent.get(tick) ?? this.#read.get(tick);
    if (held !== undefined) return held;
    const blob: TickBlob | undefined = this.#store.readTick(tick);
    const ranges = blob && this.ranges(tick, blob.header);
    if (ranges === undefined) return undefined;
    const loaded = { tick, ranges, body: blob!.body, isVerified: false };
    this.#read.add(loaded);
    return loaded;
  }
}

/** Without the first `skip` records, and within the bound but at least one record. */
function cutSegment(segment: Segment, skip: number, bound: ReadBound): Segment {
  const { bytes } = segment;
  let at = 0;
  for (let i = 0; i < skip; i++) at = recordEnd(bytes, at);
  let end = at;
  let count = 0;
  while (count < segment.count - skip && count < bound.recordsMax) {
    const next = recordEnd(bytes, end);
    if (count > 0 && next - at > bound.bytesMax) break;
    end = next;
    count++;
  }
  const firstOffset = segment.firstOffset + skip;
  return { ...segment, firstOffset, count, bytes: bytes.subarray(at, end) };
}
