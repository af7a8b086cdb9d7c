/** Opens what a store holds: meta, lost tail, index of what is pending, and the checks of all that. */
import { type Address, type Partition, PARTITIONS } from "../actor/address.ts";
import type { Clock } from "../clock.ts";
import { InvalidError } from "../errors.ts";
import { headOf, type LogHead } from "./head_file.ts";
import { ledgerOf } from "./ledger.ts";
import type { LedgerTerms } from "./partition_log.ts";
import { isCountedClass, isHandledClass, PendingIndex } from "./pending_index.ts";
import { isBehind, type Rollback, rollForward } from "./rollback.ts";
import { missing } from "./stored_segment.ts";
import { createMeta, decodeMeta, decodeRelay, encodeMeta, type LogMeta } from "./tick_meta.ts";
import { TickReader } from "./tick_reader.ts";
import type { OutboxEntry, TickStore } from "./tick_store.ts";

/** What an operator has to know. */
export type LogFault =
  /** The store lost its tail: acknowledged records are gone, and counted in `rolledBack`. */
  | Rollback
  /** The partition is stopped before this offset; the others go on. */
  | {
    readonly type: "corrupt";
    readonly partition: Partition;
    readonly offset: number;
    readonly detail: string;
  }
  | { readonly type: "corrupt_tick"; readonly tick: number; readonly detail: string }
  /** The ledger of a partition does not add up: a bug, or a damaged store. */
  | { readonly type: "unbalanced"; readonly partition: Partition; readonly terms: LedgerTerms }
  /** A step was refused by the store; nothing of it is kept. */
  | { readonly type: "store_failed"; readonly detail: string }
  | { readonly type: "head_failed"; readonly detail: string };

export interface TickLogOptions {
  readonly store: TickStore;
  readonly head: LogHead;
  readonly clock: Clock;
  /** Of all groups; fixed when the store is made. Default `PARTITIONS`. */
  readonly partitions?: number;
  readonly partitionOf: (address: Address) => Partition;
  /** Names of the readers: the log is trimmed only behind all of them. */
  readonly readers: readonly string[];
  /** Bytes free where the store is; asked at most once a second. Default: never scarce. */
  readonly freeDiskBytes?: () => number;
  /** Called for what an operator has to know; the log goes on. */
  readonly onFault?: (fault: LogFault) => void;
  /** The outcome of a write is unknown: all calls are refused until the log is opened again. */
  readonly onUnusable?: () => void;
  /**
   * `inline` (default): sends of a commit are appended to their targets in the same step. `deferred`:
   * kept in an outbox and relayed by later steps, as a store of several parts has to.
   */
  readonly relay?: "inline" | "deferred";
  /** Default `LIMITS`. */
  readonly pendingRecordsMax?: number;
  readonly logBytesMax?: number;
}

export interface LoadedLog {
  readonly meta: LogMeta;
  readonly seen: Float64Array;
  readonly pending: PendingIndex[];
  readonly reader: TickReader;
  readonly outbox: OutboxEntry[];
  readonly logBytes: number;
}

const HEADERS_PER_READ = 512;

/**
 * @throws {CodecError} The meta row is damaged.
 * @throws {InvalidError} The store was made with another number of partitions.
 */
export function loadLog(options: TickLogOptions): LoadedLog {
  const { store, head } = options;
  const report = options.onFault ?? (() => {});
  const partitions = options.partitions ?? PARTITIONS;
  const stored = store.loadMeta();
  let meta = stored === undefined ? createMeta(partitions) : decodeMeta(stored);
  if (meta.partitions.length !== partitions) {
    throw new InvalidError(
      `Cannot open the log: it was made with ${meta.partitions.length} partitions, not ${partitions}`,
    );
  }
  const mark = head.read();
  if (mark !== undefined && isBehind(meta, mark)) {
    const rolled = rollForward(meta, mark);
    meta = rolled.meta;
    store.write({ ...EMPTY_WRITE, tick: meta.tick, meta: encodeMeta(meta) });
    report(rolled.fault);
  }
  head.write(headOf(meta));
  const relay = store.loadRelay();
  const reader = new TickReader(
    store,
    meta.tick,
    (partition, stop) => report({ type: "corrupt", partition, ...stop }),
    (tick, detail) => report({ type: "corrupt_tick", tick, detail }),
  );
  for (const { partition, offset, detail } of meta.stops) reader.stop(partition, offset, detail);
  const pending = indexPending(store, meta, reader);
  for (const { partition, isBalanced, ...terms } of ledgerOf(meta, pending, new Map()).partitions) {
    if (!isBalanced) report({ type: "unbalanced", partition, terms });
  }
  return {
    meta,
    seen: relay === undefined
      ? new Float64Array(partitions * partitions)
      : decodeRelay(relay, partitions),
    pending,
    reader,
    outbox: store.loadOutbox(),
    logBytes: store.tickBytes(),
  };
}

const EMPTY_WRITE = {
  kinds: ["append"],
  states: [],
  reminders: [],
  deadLetters: [],
  deadLettersGone: [],
  rows: [],
  activities: [],
  activitiesGone: [],
  outbox: [],
  outboxGone: [],
} as const;

/** Reads headers only. Offsets that nobody has and no gap explains stop their partition. */
function indexPending(store: TickStore, meta: LogMeta, reader: TickReader): PendingIndex[] {
  const pending = meta.partitions.map(({ cursor }) => {
    const index = new PendingIndex();
    index.advance(cursor);
    return index;
  });
  const expected = meta.partitions.map((own) => own.pendingFrom);
  const check = (tick: number, partition: Partition, firstOffset: number) => {
    if (firstOffset <= expected[partition]!) return;
    for (const [from, to] of holesIn(meta, partition, expected[partition]!, firstOffset)) {
      pending[partition]!.addMissing(tick, from, to - from);
      reader.stop(partition, from, missing(from, to));
    }
  };
  let after = meta.pendingFromTick - 1;
  for (;;) {
    const headers = store.readHeaders(after, HEADERS_PER_READ);
    for (const { tick, header } of headers) {
      after = tick;
      for (const range of reader.ranges(tick, header) ?? []) {
        const { partition, firstOffset, count } = range;
        const index = pending[partition];
        const endOffset = firstOffset + count;
        if (index === undefined || endOffset <= expected[partition]!) continue;
        check(tick, partition, firstOffset);
        expected[partition] = endOffset;
        const isSkipped = isInGap(meta, partition, Math.max(firstOffset, index.cursor), endOffset);
        if (isSkipped || !isHandledClass(range.class)) continue;
        index.add(tick, firstOffset, count, isCountedClass(range.class));
      }
    }
    if (headers.length < HEADERS_PER_READ) break;
  }
  meta.partitions.forEach((own, partition) => check(meta.tick, partition, own.nextOffset));
  return pending;
}

/** Parts of `[from, to)` that no gap explains. */
function* holesIn(
  meta: LogMeta,
  partition: Partition,
  from: number,
  to: number,
): Generator<readonly [from: number, to: number]> {
  const gaps = meta.gaps.filter((gap) => gap.partition === partition && gap.to > from)
    .sort((a, b) => a.from - b.from);
  let at = from;
  for (const gap of gaps) {
    if (gap.from >= to) break;
    if (gap.from > at) yield [at, gap.from];
    at = Math.max(at, gap.to);
  }
  if (at < to) yield [at, to];
}

/** Whether all of `[from, to)` was skipped as damaged. */
function isInGap(meta: LogMeta, partition: Partition, from: number, to: number): boolean {
  return meta.gaps.some((gap) => gap.partition === partition && gap.from <= from && to <= gap.to);
}
