/**
 * Segments as the store has them now, whatever is held in memory: for those who look at damage. Reads
 * change and stop nothing.
 */
import type { Partition } from "../actor/address.ts";
import type { LogRecord } from "../actor/batch.ts";
import { CodecError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { PendingPage, PendingRecord, Segment } from "./partition_log.ts";
import type { PendingEntry, PendingIndex } from "./pending_index.ts";
import { recordsOf } from "./record.ts";
import { decodeRanges, segmentAt, type TickRange } from "./tick_blob.ts";
import type { TickBlob, TickStore } from "./tick_store.ts";

type Stored =
  | { readonly segment: Segment; readonly records: readonly LogRecord[] }
  /** `range` and `bytes` as far as there are any. */
  | { readonly damage: string; readonly range?: TickRange; readonly bytes: Uint8Array };

const NO_BYTES = new Uint8Array();
/** Bytes of ticks read for one page: each append waits for it. */
const PAGE_BYTES_MAX = 4 * 1024 * 1024;

export function isReadable(store: TickStore, partition: Partition, entry: PendingEntry): boolean {
  return "records" in readStored(blobOf(store, entry), partition, entry);
}

/** See `PartitionLog.peekPending`. */
export function peekPending(
  store: TickStore,
  partition: Partition,
  index: PendingIndex,
  offset: number,
  limit: number,
): PendingPage {
  const records: PendingRecord[] = [];
  let bytes = 0;
  let from = Math.max(index.cursor, offset);
  for (let i = index.find(from); i < index.length; i++) {
    const entry = index.at(i);
    from = Math.max(from, entry.firstOffset);
    if (bytes > PAGE_BYTES_MAX) return { records, nextOffset: from };
    const blob = blobOf(store, entry);
    bytes += blob?.body.length ?? 0;
    for (const record of viewsOf(readStored(blob, partition, entry), entry, from)) {
      if (records.length === limit) return { records, nextOffset: record.offset };
      records.push(record);
    }
  }
  return { records };
}

function* viewsOf(stored: Stored, entry: PendingEntry, from: number): Generator<PendingRecord> {
  if ("records" in stored) {
    const { class: kind, acceptedAtMs } = stored.segment;
    for (const { offset, to, body } of stored.records) {
      // A copy: the view would take the whole tick with it to another thread.
      if (offset >= from) {
        yield { offset, count: 1, class: kind, acceptedAtMs, to, body: body.slice() };
      }
    }
    return;
  }
  const { damage, range, bytes } = stored;
  yield {
    offset: from,
    count: entry.endOffset - from,
    ...(range && { class: range.class, acceptedAtMs: range.acceptedAtMs }),
    body: bytes.slice(0, LIMITS.payloadBytesMax),
    damage,
  };
}

function blobOf(store: TickStore, entry: PendingEntry): TickBlob | undefined {
  return entry.isMissing ? undefined : store.readTick(entry.tick);
}

function readStored(
  blob: TickBlob | undefined,
  partition: Partition,
  entry: PendingEntry,
): Stored {
  const { firstOffset, endOffset, tick } = entry;
  if (entry.isMissing) return { damage: missing(firstOffset, endOffset), bytes: NO_BYTES };
  const range = blob && rangeOf(blob, partition, firstOffset);
  if (range === undefined) {
    return { damage: `tick ${tick}, which has the records, cannot be read`, bytes: NO_BYTES };
  }
  const bytes = blob!.body.subarray(range.at, range.at + range.length);
  const segment = segmentAt(blob!.body, range, false);
  if (segment === undefined) {
    return { damage: "the bytes do not match their checksum", range, bytes };
  }
  try {
    return { segment, records: [...recordsOf(segment)] };
  } catch (fault) {
    if (!(fault instanceof CodecError)) throw fault;
    return { damage: fault.message, range, bytes };
  }
}

function rangeOf(
  { header }: TickBlob,
  partition: Partition,
  firstOffset: number,
): TickRange | undefined {
  try {
    return decodeRanges(header).find((range) =>
      range.partition === partition && range.firstOffset === firstOffset
    );
  } catch (fault) {
    if (!(fault instanceof CodecError)) throw fault;
    return undefined;
  }
}

export function missing(from: number, to: number): string {
  return `offsets ${from} to ${to - 1} are missing`;
}
