/** What the tests of partition logs share: a log that can crash, its clock, records and commits. */
import assert from "node:assert/strict";
import type { Partition } from "../../runtime/actor/address.ts";
import type { DeadLetter, PartitionCommit, Reminder } from "../../runtime/actor/batch.ts";
import { type Clock, systemClock } from "../../runtime/clock.ts";
import type {
  Append,
  PartitionLog,
  Segment,
  SegmentClass,
} from "../../runtime/log/partition_log.ts";
import { isCountedClass } from "../../runtime/log/pending_index.ts";
import { packRecord, recordsOf } from "../../runtime/log/record.ts";

export const READERS = ["telemetry", "views"] as const;
export const PARTITIONS_OF_TEST = 4;
/** `{kind}/{partition}-{rest}`. */
export const partitionOfTest = (address: string): Partition =>
  Number(address.slice(address.indexOf("/") + 1, address.indexOf("-")));

/** A log that can be crashed, refused and opened again. */
export interface LogFixture extends AsyncDisposable {
  /** Opens it on what was durable; the log before is thrown away without being closed. */
  open(options?: {
    readonly pendingRecordsMax?: number;
    readonly logBytesMax?: number;
    readonly freeDiskBytes?: () => number;
  }): Promise<PartitionLog>;
  /** The next `count` writes are refused by the store. */
  failWrites(count: number): void;
  /** Flips a bit in the body of a stored record, which is this text; from the next `open` on. */
  flipBitIn(text: string): void;
  readonly clock: TestClock;
}

export interface TestClock extends Clock {
  /** Epoch milliseconds that it shows; also its monotonic time. */
  atMs: number;
}

export function createTestClock(atMs = 1_000_000): TestClock {
  const clock: TestClock = {
    atMs,
    nowMs: () => clock.atMs,
    monotonicMs: () => clock.atMs,
    after: systemClock.after,
    soon: systemClock.soon,
  };
  return clock;
}

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder();
export const WHOLE = { recordsMax: 1_000, bytesMax: 1_000_000 };

export function bytesOf(text: string): Uint8Array {
  return ENCODER.encode(text);
}

/** Bodies by partition, to the actor `device/{partition}-a`. */
export function appendOf(
  incarnation: string,
  sequence: number,
  bodies: Readonly<Record<number, readonly string[]>>,
  rows: Append["rows"] = [],
): Append {
  const segments = Object.entries(bodies).map(([partition, texts]) => {
    const head = { to: `device/${partition}-a`, budget: 100 };
    const packed = texts.map((text) => packRecord(head, bytesOf(text)));
    const bytes = new Uint8Array(packed.reduce((sum, record) => sum + record.length, 0));
    let at = 0;
    for (const record of packed) {
      bytes.set(record, at);
      at += record.length;
    }
    return { partition: Number(partition), count: texts.length, bytes };
  });
  return { incarnation, sequence, segments, rows };
}

export function commitOf(
  partition: Partition,
  fromCursor: number,
  toCursor: number,
  rest: Partial<PartitionCommit> = {},
): PartitionCommit {
  return {
    partition,
    fromCursor,
    toCursor,
    states: [],
    sends: [],
    records: [],
    reminders: [],
    deadLetters: [],
    activities: [],
    processed: 0,
    effects: [],
    isPartial: false,
    ...rest,
  };
}

export function letterOf(partition: Partition, text: string, isIngress = true): DeadLetter {
  return {
    to: `device/${partition}-a`,
    body: bytesOf(text),
    isIngress,
    acceptedAtMs: 5,
    recordId: `1-${partition}-${text}`,
    reason: "threw",
    detail: "Error: no",
    traceId: `1-${partition}-${text}`,
  };
}

export function reminderOf(partition: Partition, name: string, dueAtMs: number): Reminder {
  return { to: `device/${partition}-a`, name, dueAtMs, budget: 9, body: bytesOf(`"${name}"`) };
}

export function setReminder(reminder: Reminder) {
  return { to: reminder.to, name: reminder.name, reminder };
}

export function bodiesOf(segments: readonly Segment[]): string[] {
  return segments.flatMap((segment) => [...recordsOf(segment)].map((r) => DECODER.decode(r.body)));
}

export async function pendingBodies(log: PartitionLog, partition: Partition): Promise<string[]> {
  return bodiesOf((await log.pending(partition, log.cursor(partition), WHOLE)).segments);
}

export function assertBalanced(log: PartitionLog): void {
  const wrong = log.ledger().partitions.filter((partition) => !partition.isBalanced);
  assert.deepEqual(wrong, [], "a partition's ledger does not add up");
}

/** Waits for sends that a deferred relay has on its way. */
export async function untilPending(
  log: PartitionLog,
  partition: Partition,
  count: number,
): Promise<string[]> {
  for (let turn = 0; turn < 200; turn++) {
    const bodies = await pendingBodies(log, partition);
    if (bodies.length >= count) return bodies;
    await new Promise<void>((resolve) => systemClock.soon(resolve));
  }
  throw new Error(`Partition ${partition} has not got ${count} records within 200 turns`);
}

export async function readAll(log: PartitionLog, after: number, classes: SegmentClass[]) {
  const bodies: string[] = [];
  let cursor = after;
  for (;;) {
    const read = await log.readTicks(cursor, classes, 1);
    for (const { segments } of read.ticks) bodies.push(...bodiesOf(segments));
    if (read.cursor === cursor) return { bodies, cursor };
    cursor = read.cursor;
  }
}

/** The bytes with one bit of `text` in them flipped; undefined if it is not there. */
export function withFlippedBit(bytes: Uint8Array, text: string): Uint8Array | undefined {
  const at = new TextDecoder("latin1").decode(bytes).indexOf(text);
  if (at < 0) return undefined;
  const copy = bytes.slice();
  copy[at + text.length - 1]! ^= 1;
  return copy;
}

/** Commits all that is pending of a partition, up to where it is stopped. Returns the bodies. */
export async function handleAll(log: PartitionLog, partition: Partition): Promise<string[]> {
  const token = await log.acquire([partition]);
  const bodies: string[] = [];
  for (;;) {
    const cursor = log.cursor(partition);
    const pending = await log.pending(partition, cursor, WHOLE);
    if (pending.nextCursor === cursor || pending.corrupt !== undefined) return bodies;
    const counted = pending.segments.filter((segment) => isCountedClass(segment.class));
    const processed = counted.reduce((sum, segment) => sum + segment.count, 0);
    const commit = commitOf(partition, cursor, pending.nextCursor, { processed });
    const [outcome] = await log.commit(token, [commit]);
    assert.equal(outcome!.ok, true);
    bodies.push(...bodiesOf(pending.segments));
  }
}

/** All readers have everything; trims until nothing is left to do. */
export async function trimAll(log: PartitionLog): Promise<void> {
  for (const reader of READERS) await log.saveCursor(reader, log.head().tick);
  while (await log.maintain()) { /* in small steps */ }
}

export function ownRecord(partition: Partition, text: string, kind: "record" | "view" = "record") {
  const from = `device/${partition}-a`;
  return { class: kind, from, body: bytesOf(text), traceId: "1-0-0" };
}

export type Body = (fixture: LogFixture) => Promise<void>;
/** Registers a test of the contract. */
export type Test = (sentence: string, body: Body) => void;
