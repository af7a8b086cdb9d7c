/** Opens what a store holds: meta, lost tail, index of what is pending, and the checks of all that. */
import { type Partition, PARTITIONS } from "../actor/address.ts";
import { InvalidError } from "../errors.ts";
import { headOf } from "./head_file.ts";
import { ledgerOf } from "./ledger.ts";
import type { LedgerTerms } from "./partition_log.ts";
import { isCountedClass, isHandledClass, PendingIndex } from "./pending_index.ts";
import { isBehind, type Rollback, rollForward } from "./rollback.ts";
import { createMeta, decodeMeta, decodeRelay, encodeMeta, type LogMeta } from "./tick_meta.ts";
import type { TickLogOptions } from "./tick_log.ts";
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

/** Reads headers only. Offsets that nobody has and no rollback explains stop their partition. */
function indexPending(store: TickStore, meta: LogMeta, reader: TickReader): PendingIndex[] {
  const pending = meta.partitions.map(({ cursor }) => {
    const index = new PendingIndex();
    index.advance(cursor);
    return index;
  });
  const expected = meta.partitions.map((own) => own.pendingFrom);
  const check = (partition: Partition, firstOffset: number) => {
    const from = afterGaps(meta, partition, expected[partition]!);
    if (firstOffset <= from) return;
    reader.stop(partition, from, `offsets ${from} to ${firstOffset - 1} are missing`);
  };
  let after = meta.pendingFromTick - 1;
  for (;;) {
    const headers = store.readHeaders(after, HEADERS_PER_READ);
    for (const { tick, header } of headers) {
      after = tick;
      for (const range of reader.ranges(tick, header) ?? []) {
        const { partition, firstOffset, count } = range;
        const index = pending[partition];
        if (index === undefined || firstOffset + count <= expected[partition]!) continue;
        check(partition, firstOffset);
        expected[partition] = firstOffset + count;
        if (!isHandledClass(range.class)) continue;
        index.add(tick, firstOffset, count, isCountedClass(range.class));
      }
    }
    if (headers.length < HEADERS_PER_READ) break;
  }
  meta.partitions.forEach((own, partition) => check(partition, own.nextOffset));
  return pending;
}

/** First offset at or above `offset` that a rollback has not taken. */
function afterGaps(meta: LogMeta, partition: Partition, offset: number): number {
  let at = offset;
  for (const gap of meta.gaps) {
    if (gap.partition === partition && gap.from <= at && at < gap.to) at = gap.to;
  }
  return at;
}
