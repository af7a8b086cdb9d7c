/** What every partition log has to do, whatever stores it. Run by the test of each implementation. */
import assert from "node:assert/strict";
import type { Partition } from "../../runtime/actor/address.ts";
import type { DeadLetter, PartitionCommit, Reminder } from "../../runtime/actor/batch.ts";
import { type Clock, systemClock } from "../../runtime/clock.ts";
import type {
  Append,
  PartitionLog,
  Pending,
  Segment,
  SegmentClass,
} from "../../runtime/log/partition_log.ts";
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

async function readAll(log: PartitionLog, after: number, classes: SegmentClass[]) {
  const bodies: string[] = [];
  let cursor = after;
  for (;;) {
    const read = await log.readTicks(cursor, classes, 1);
    for (const { segments } of read.ticks) bodies.push(...bodiesOf(segments));
    if (read.cursor === cursor) return { bodies, cursor };
    cursor = read.cursor;
  }
}

type Body = (fixture: LogFixture) => Promise<void>;

export function testPartitionLog(name: string, make: () => Promise<LogFixture>): void {
  const test = (sentence: string, body: Body) =>
    Deno.test(`${name}: ${sentence}`, async () => {
      await using fixture = await make();
      await body(fixture);
    });
  testAppends(test);
  testCommits(test);
  testSends(test);
  testReminders(test);
  testDeadLetters(test);
  testReaders(test);
  testFaults(test);
}

type Test = (sentence: string, body: Body) => void;

function testAppends(test: Test): void {
  test("appended records are pending in order, their time never falls", async ({ open, clock }) => {
    const log = await open();
    assert.deepEqual(await log.append(appendOf("g", 1, { 0: ["a", "b"], 2: ["x"] })), {
      ok: true,
      isRepeat: false,
    });
    clock.atMs -= 5_000;
    await log.append(appendOf("g", 2, { 0: ["c"] }));
    const pending = await log.pending(0, 0, WHOLE);
    assert.deepEqual(bodiesOf(pending.segments), ["a", "b", "c"]);
    assert.deepEqual(pending.segments.map((segment) => segment.firstOffset), [0, 2]);
    assert.deepEqual(pending.segments.map((segment) => segment.acceptedAtMs), [1e6, 1e6]);
    assert.equal(pending.isEndOfLog, true);
    assert.equal(pending.nextCursor, 3);
    assert.deepEqual(log.ready(0), [0, 2]);
    assertBalanced(log);
    assert.equal(log.ledger().total.pending, 4);
  });

  test("the same append again is a repeat, at once, later and after a crash", async (fixture) => {
    let log = await fixture.open();
    const append = appendOf("g", 1, { 1: ["a"] });
    const both = await Promise.all([log.append(append), log.append(append)]);
    assert.deepEqual(both, [{ ok: true, isRepeat: false }, { ok: true, isRepeat: true }]);
    await log.append(appendOf("other", 1, { 1: ["b"] }));
    assert.deepEqual(await log.append(append), { ok: true, isRepeat: true });
    log = await fixture.open();
    assert.deepEqual(await log.append(append), { ok: true, isRepeat: true });
    assert.deepEqual(await pendingBodies(log, 1), ["a", "b"]);
    assert.equal(log.ledger().total.accepted, 2);
    assertBalanced(log);
  });

  test("what is asked in one turn is one durable step", async ({ open }) => {
    const log = await open();
    const token = await log.acquire([0, 1]);
    const before = log.head().tick;
    await Promise.all([
      log.append(appendOf("g", 1, { 0: ["a"] })),
      log.append(appendOf("h", 1, { 0: ["b"], 1: ["c"] })),
      log.commit(token, [commitOf(1, 0, 0, { records: [ownRecord(1, "e")] })]),
    ]);
    assert.equal(log.head().tick, before + 1);
    assert.deepEqual(await pendingBodies(log, 0), ["a", "b"]);
    assert.deepEqual(await pendingBodies(log, 1), ["c"]);
  });

  test("a malformed append is rejected alone", async ({ open }) => {
    const log = await open();
    const bad = { ...appendOf("g", 1, { 0: ["x"] }), incarnation: "" };
    const outside = appendOf("g", 1, { [PARTITIONS_OF_TEST]: ["x"] });
    const results = await Promise.allSettled([
      log.append(bad),
      log.append(appendOf("h", 1, { 0: ["good"] })),
      log.append(outside),
    ]);
    assert.deepEqual(results.map((r) => r.status), ["rejected", "fulfilled", "rejected"]);
    assert.deepEqual(await pendingBodies(log, 0), ["good"]);
    assertBalanced(log);
  });

  test("ingress is refused at its bounds, commits are not", async ({ open, clock }) => {
    let free = 1e12;
    const log = await open({ pendingRecordsMax: 10, freeDiskBytes: () => free });
    const token = await log.acquire([0]);
    await log.append(appendOf("g", 1, { 0: ["1", "2", "3", "4", "5", "6", "7"] }));
    const refused = await log.append(appendOf("g", 2, { 0: ["8"] }));
    assert.equal(!refused.ok && refused.code, "overloaded");
    await log.commit(token, [commitOf(0, 0, 1, { processed: 1 })]);
    assert.equal((await log.append(appendOf("g", 2, { 0: ["8"] }))).ok, true);
    free = 1;
    clock.atMs += 2_000;
    const scarce = await log.append(appendOf("h", 1, { 0: ["9"] }));
    assert.equal(!scarce.ok && scarce.code, "disk_reserve");
    const [committed] = await log.commit(token, [commitOf(0, 1, 2, { processed: 1 })]);
    assert.equal(committed!.ok, true);
    assertBalanced(log);
  });

  test("ingress is refused when the log holds too many bytes", async ({ open }) => {
    const log = await open({ logBytesMax: 2_000 });
    await log.append(appendOf("g", 1, { 0: ["x".repeat(1_400)] }));
    const refused = await log.append(appendOf("g", 2, { 0: ["y"] }));
    assert.equal(!refused.ok && refused.code, "overloaded");
  });

  test("rows of gateways are written and deleted with the append", async (fixture) => {
    let log = await fixture.open();
    await log.append(appendOf("g", 1, {}, [
      { key: "mqtt/p/a", value: bytesOf("1") },
      { key: "mqtt/p/b", value: bytesOf("2") },
    ]));
    await log.append(appendOf("g", 2, {}, [{ key: "mqtt/p/a" }]));
    log = await fixture.open();
    assert.equal(await log.gatewayRow("mqtt/p/a"), undefined);
    assert.deepEqual(await log.gatewayRow("mqtt/p/b"), bytesOf("2"));
  });
}

function ownRecord(partition: Partition, text: string, kind: "record" | "view" = "record") {
  const from = `device/${partition}-a`;
  return { class: kind, from, body: bytesOf(text), traceId: "1-0-0" };
}

function testCommits(test: Test): void {
  test("a commit applies states, cursor and counters together", async (fixture) => {
    let log = await fixture.open();
    await log.append(appendOf("g", 1, { 0: ["a", "b", "c"] }));
    const token = await log.acquire([0]);
    const addresses = ["device/0-a", "device/0-b", "device/0-none"];
    const states = addresses.slice(0, 2).map((address) => ({ address, state: bytesOf(address) }));
    const activity = { id: "1-0-0/0", kind: "webhook", from: "device/0-a", input: { to: 1 } };
    const commit = commitOf(0, 0, 2, { states, processed: 2, activities: [activity] });
    assert.deepEqual(await log.commit(token, [commit]), [{ ok: true, isRepeat: false }]);
    for (const reopen of [false, true]) {
      if (reopen) log = await fixture.open();
      assert.equal(log.cursor(0), 2);
      assert.deepEqual(await log.loadStates(addresses), [
        bytesOf("device/0-a"),
        bytesOf("device/0-b"),
        undefined,
      ]);
      assert.deepEqual(await pendingBodies(log, 0), ["c"]);
      assert.deepEqual(await log.activities(9), [
        { id: "1-0-0/0", kind: "webhook", from: "device/0-a", input: '{"to":1}' },
      ]);
      assertBalanced(log);
      assert.equal(log.ledger().partitions[0]!.processed, 2);
    }
    await log.finishActivity("1-0-0/0");
    const gone = commitOf(0, 2, 3, { states: [{ address: "device/0-a" }], processed: 1 });
    await log.commit(await log.acquire([0]), [gone]);
    assert.deepEqual(await log.loadStates(["device/0-a"]), [undefined]);
    assert.deepEqual(await log.activities(9), []);
  });

  test("an old token is fenced, another partition's commit goes on", async ({ open }) => {
    const log = await open();
    await log.append(appendOf("g", 1, { 0: ["a"], 1: ["b"] }));
    const old = await log.acquire([0, 1]);
    const token = await log.acquire([0]);
    assert.ok(token > old);
    const state = [{ address: "device/0-a", state: bytesOf("late") }];
    const outcomes = await log.commit(old, [
      commitOf(0, 0, 1, { states: state, processed: 1 }),
      commitOf(1, 0, 1, { processed: 1 }),
    ]);
    assert.equal(!outcomes[0]!.ok && outcomes[0]!.code, "fenced");
    assert.equal(outcomes[1]!.ok, true);
    assert.equal(log.cursor(0), 0);
    assert.deepEqual(await log.loadStates(["device/0-a"]), [undefined]);
    assertBalanced(log);
  });

  test("a commit from another cursor is stale, a repeat is a success", async (fixture) => {
    let log = await fixture.open();
    await log.append(appendOf("g", 1, { 0: ["a", "b", "c"] }));
    const token = await log.acquire([0]);
    const commit = commitOf(0, 0, 2, { processed: 2, records: [ownRecord(0, "event")] });
    await log.commit(token, [commit]);
    assert.deepEqual(await log.commit(token, [commit]), [{ ok: true, isRepeat: true }]);
    log = await fixture.open();
    assert.deepEqual(await log.commit(token, [commit]), [{ ok: true, isRepeat: true }]);
    for (const stale of [commitOf(0, 1, 3), commitOf(0, 0, 3), commitOf(0, 1, 2)]) {
      const [outcome] = await log.commit(token, [stale]);
      assert.equal(!outcome!.ok && outcome!.code, "stale");
    }
    assert.deepEqual((await readAll(log, 0, ["record"])).bodies, ["event"]);
    assertBalanced(log);
  });

  test("a commit of reminders alone is done once, the next one is another", async ({ open }) => {
    const log = await open();
    const token = await log.acquire([0]);
    const commit = (text: string) => {
      const reminders = [setReminder(reminderOf(0, "tick", 5))];
      return commitOf(0, 0, 0, { records: [ownRecord(0, text)], reminders });
    };
    await log.commit(token, [commit("one")]);
    assert.deepEqual(await log.commit(token, [commit("one")]), [{ ok: true, isRepeat: true }]);
    assert.deepEqual(await log.commit(token, [commit("two")]), [{ ok: true, isRepeat: false }]);
    assert.deepEqual((await readAll(log, 0, ["record"])).bodies, ["one", "two"]);
  });

  test("pending keeps its bounds and passes over records for readers", async ({ open }) => {
    const log = await open();
    await log.append(appendOf("g", 1, { 0: ["a", "b", "c"] }));
    const token = await log.acquire([0]);
    const read = (from: number, recordsMax: number, bytesMax = 1e6): Promise<Pending> =>
      log.pending(0, from, { recordsMax, bytesMax });
    const two = await read(0, 2);
    assert.deepEqual([bodiesOf(two.segments), two.isEndOfLog, two.nextCursor], [
      ["a", "b"],
      false,
      2,
    ]);
    assert.deepEqual(bodiesOf((await read(0, 9, 1)).segments), ["a"]);
    assert.deepEqual(bodiesOf((await read(1, 1)).segments), ["b"]);
    await log.commit(token, [
      commitOf(0, 0, 3, {
        processed: 3,
        records: [ownRecord(0, "own"), ownRecord(0, "v", "view")],
      }),
    ]);
    await log.append(appendOf("g", 2, { 0: ["d"] }));
    const next = await read(3, 9);
    assert.deepEqual(bodiesOf(next.segments), ["d"]);
    assert.equal(next.segments[0]!.firstOffset, 5);
    await log.commit(token, [commitOf(0, 3, next.nextCursor, { processed: 1 })]);
    const end = await read(6, 9);
    assert.deepEqual([end.segments, end.isEndOfLog, end.nextCursor], [[], true, 6]);
    assert.deepEqual(log.ready(Infinity), []);
    assertBalanced(log);
  });

  test("attempt marks are durable and end with the commit behind them", async (fixture) => {
    let log = await fixture.open();
    await log.append(appendOf("g", 1, { 0: ["a", "b"] }));
    const token = await log.acquire([0]);
    const mark = { partition: 0, fromOffset: 0, toOffset: 2, deaths: 1 };
    await log.markAttempts(token, [mark]);
    await log.markAttempts(token, [{ ...mark, toOffset: 1, deaths: 2 }]);
    await assert.rejects(log.markAttempts(token - 1, [mark]), /token/);
    log = await fixture.open();
    assert.deepEqual(log.attempts(), [{ ...mark, toOffset: 1, deaths: 2 }]);
    await log.commit(token, [commitOf(0, 0, 1, { processed: 1 })]);
    assert.deepEqual(log.attempts(), []);
  });
}

function testSends(test: Test): void {
  test("sends reach their partition once, in order, and are counted apart", async (fixture) => {
    let log = await fixture.open();
    await log.append(appendOf("g", 1, { 0: ["a", "b"] }));
    const token = await log.acquire([0, 1, 2]);
    const sends = (texts: string[]) =>
      texts.map((text) => ({
        to: `rule/${text[0]}-r`,
        body: bytesOf(text),
        budget: 7,
        traceId: "1-0-0",
      }));
    const first = commitOf(0, 0, 1, { processed: 1, sends: sends(["1x", "2x", "1y"]) });
    await log.commit(token, [first]);
    await log.commit(token, [first]);
    await log.commit(token, [commitOf(0, 1, 2, { processed: 1, sends: sends(["1z"]) })]);
    assert.deepEqual(await untilPending(log, 1, 3), ["1x", "1y", "1z"]);
    assert.deepEqual(await untilPending(log, 2, 1), ["2x"]);
    log = await fixture.open();
    assert.deepEqual(await untilPending(log, 1, 3), ["1x", "1y", "1z"]);
    const [segment] = (await log.pending(1, 0, WHOLE)).segments;
    const [record] = recordsOf(segment!);
    assert.equal(record!.isIngress, false);
    assert.equal(record!.budget, 7);
    assert.equal(record!.traceId, "1-0-0");
    assert.equal(log.ledger().total.pending, 0);
    assertBalanced(log);
  });
}

function testReminders(test: Test): void {
  test("reminders are due in order, replaced, cancelled and durable", async (fixture) => {
    let log = await fixture.open();
    const token = await log.acquire([0, 1]);
    assert.equal(log.nextDueMs(), undefined);
    const set = ["c:30", "a:10", "b:20"].map((text) => {
      const [name, due] = text.split(":");
      return setReminder(reminderOf(0, name!, Number(due)));
    });
    await log.commit(token, [commitOf(0, 0, 0, { reminders: set })]);
    const other = [setReminder(reminderOf(1, "x", 15))];
    await log.commit(token, [commitOf(1, 0, 0, { reminders: other })]);
    assert.equal(log.nextDueMs(), 10);
    assert.deepEqual(log.ready(9), []);
    assert.deepEqual(log.ready(10), [0]);
    const names = async (untilMs: number, limit = 9) =>
      (await log.dueReminders(0, untilMs, limit)).map((reminder) => reminder.name);
    assert.deepEqual(await names(20), ["a", "b"]);
    assert.deepEqual(await names(99, 1), ["a"]);
    assert.deepEqual(await log.dueReminders(1, 99, 9), [reminderOf(1, "x", 15)]);
    const changed = [
      { to: "device/0-a", name: "a" },
      setReminder(reminderOf(0, "b", 40)),
    ];
    await log.commit(token, [commitOf(0, 0, 0, { reminders: changed })]);
    log = await fixture.open();
    assert.deepEqual(await names(99), ["c", "b"]);
    assert.equal(log.nextDueMs(), 15);
  });
}

function testDeadLetters(test: Test): void {
  test("a dead letter is replayed or discarded, and counted in each place", async (fixture) => {
    let log = await fixture.open();
    await log.append(appendOf("g", 1, { 0: ["a", "b", "c"] }));
    const token = await log.acquire([0]);
    const deadLetters = [letterOf(0, "a"), letterOf(0, "b"), letterOf(0, "sent", false)];
    await log.commit(token, [commitOf(0, 0, 3, { processed: 1, deadLetters })]);
    assertBalanced(log);
    assert.equal(log.ledger().total.deadLettered, 2);
    log = await fixture.open();
    const letters = await log.deadLetters({ limit: 9 });
    assert.deepEqual(letters.map((letter) => letter.recordId), ["1-0-sent", "1-0-b", "1-0-a"]);
    assert.deepEqual(letters[2], { ...letterOf(0, "a"), id: 1, partition: 0, parkedAtMs: 1e6 });
    assert.equal((await log.deadLetters({ limit: 9, beforeId: 2 })).length, 1);
    assert.equal((await log.deadLetters({ limit: 9, address: "device/0-z" })).length, 0);
    const replays = await Promise.all([
      log.replayDeadLetters([1, 77]),
      log.replayDeadLetters([1, 3]),
    ]);
    assert.deepEqual(replays, [1, 1]);
    assertBalanced(log);
    const { segments } = await log.pending(0, 3, WHOLE);
    assert.deepEqual(segments.map((segment) => segment.class), ["replay", "sent"]);
    const [again] = recordsOf(segments[0]!);
    assert.equal(again!.firstId, "1-0-a");
    assert.equal(again!.isIngress, true);
    assert.equal(await log.discardDeadLetters([2, 1]), 1);
    assertBalanced(log);
    const { accepted, processed, pending, deadLettered } = log.ledger().total;
    assert.deepEqual([accepted, processed, pending, deadLettered], [3, 2, 1, 0]);
    assert.deepEqual(await log.deadLetters({ limit: 9 }), []);
  });

  test("a dead letter with a long or strange identity can be replayed", async ({ open }) => {
    const log = await open();
    const token = await log.acquire([0]);
    const recordId = `device/0-${"x".repeat(240)}#name\nwith ü@123`;
    const letter = { ...letterOf(0, "r", false), recordId, traceId: recordId };
    await log.commit(token, [commitOf(0, 0, 0, { deadLetters: [letter] })]);
    assert.equal(await log.replayDeadLetters([1]), 1);
    const [record] = recordsOf((await log.pending(0, 0, WHOLE)).segments[0]!);
    assert.match(record!.firstId!, /^~x+#name_with___@123$|^~x+#name_with__@123$/);
  });
}

function testReaders(test: Test): void {
  test("readers get whole ticks of their classes after their cursor", async (fixture) => {
    let log = await fixture.open();
    const token = await log.acquire([0]);
    await log.append(appendOf("g", 1, { 0: ["a"] }));
    const commit = commitOf(0, 0, 1, {
      processed: 1,
      records: [ownRecord(0, "v", "view"), ownRecord(0, "e")],
    });
    await log.commit(token, [commit]);
    await log.append(appendOf("g", 2, { 0: ["b"], 1: ["c"] }));
    for (const reopen of [false, true]) {
      if (reopen) log = await fixture.open();
      const all = await readAll(log, 0, ["ingress", "record"]);
      assert.deepEqual(all.bodies, ["a", "e", "b", "c"]);
      assert.equal(all.cursor, log.head().tick);
      assert.deepEqual((await readAll(log, 0, ["view"])).bodies, ["v"]);
      const { ticks, cursor } = await log.readTicks(0, ["ingress", "record"], 1e6);
      assert.deepEqual(ticks.map((tick) => tick.segments.length), [1, 1, 2]);
      assert.equal(cursor, log.head().tick);
      // A cursor of a log that is gone: nothing may be skipped.
      const above = await log.readTicks(log.head().tick + 100, ["ingress", "record"], 1e6);
      assert.deepEqual(above, { ticks, cursor });
    }
  });

  test("the log is trimmed only behind all cursors", async (fixture) => {
    const log = await fixture.open();
    const token = await log.acquire([0, 1]);
    await log.append(appendOf("g", 1, { 0: ["a"] }));
    await log.append(appendOf("g", 2, { 1: ["b"] }));
    await log.append(appendOf("g", 3, { 0: ["c"] }));
    const trimAll = async () => {
      while (await log.maintain()) { /* in small steps */ }
      return (await readAll(log, 0, ["ingress"])).bodies;
    };
    const head = log.head().tick;
    await log.saveCursor("telemetry", head);
    assert.deepEqual(await trimAll(), ["a", "b", "c"]);
    await log.saveCursor("views", head);
    assert.deepEqual(await trimAll(), ["a", "b", "c"]);
    await log.commit(token, [commitOf(0, 0, 1, { processed: 1 })]);
    assert.equal(log.readerCursor("views"), head);
    const reopened = await fixture.open();
    assert.equal(reopened.readerCursor("telemetry"), head);
    const before = reopened.head().logBytes;
    await reopened.maintain();
    assert.deepEqual((await readAll(reopened, 0, ["ingress"])).bodies, ["b", "c"]);
    assert.ok(reopened.head().logBytes < before);
    await reopened.commit(token, [commitOf(0, 1, 2, { processed: 1 })]);
    await reopened.commit(token, [commitOf(1, 0, 1, { processed: 1 })]);
    await reopened.saveCursor("telemetry", reopened.head().tick);
    await reopened.maintain();
    assert.deepEqual((await readAll(reopened, 0, ["ingress"])).bodies, []);
    assert.equal(reopened.head().logBytes, 0);
    await assert.rejects(reopened.saveCursor("nobody", 1), /nobody/);
    assertBalanced(reopened);
  });

  test("listeners hear of what there is to read", async ({ open }) => {
    const log = await open();
    let heard = 0;
    const waiter = Promise.withResolvers<void>();
    const unlisten = log.onAppended(() => {
      heard++;
      waiter.resolve();
    });
    await log.append(appendOf("g", 1, { 0: ["a"] }));
    await waiter.promise;
    unlisten();
    await log.append(appendOf("g", 2, { 0: ["b"] }));
    await new Promise<void>((resolve) => systemClock.soon(resolve));
    assert.equal(heard, 1);
  });
}

function testFaults(test: Test): void {
  test("a crash keeps the whole content", async (fixture) => {
    const log = await fixture.open();
    const token = await log.acquire([0, 1]);
    await log.append(appendOf("g", 1, { 0: ["a", "b"], 1: ["c"] }));
    const rest = { processed: 0, deadLetters: [letterOf(0, "a")] };
    await log.commit(token, [commitOf(0, 0, 1, rest)]);
    await log.saveCursor("views", 1);
    await log.append(appendOf("g", 2, { 3: ["d"] }));
    const again = await fixture.open();
    assert.equal(again.epoch, log.epoch);
    assert.deepEqual(again.head(), log.head());
    assert.deepEqual(again.ledger(), log.ledger());
    assert.deepEqual(again.ready(0), [0, 1, 3]);
    assert.equal(again.readerCursor("views"), 1);
    for (const partition of [0, 1, 2, 3]) {
      const [now, before] = await Promise.all(
        [again, log].map((each) => each.pending(partition, each.cursor(partition), WHOLE)),
      );
      assert.deepEqual(now, before);
    }
    assert.equal((await again.commit(token, [commitOf(0, 1, 2, { processed: 1 })]))[0]!.ok, true);
  });

  test("a store that fails leaves everything as it was", async (fixture) => {
    const log = await fixture.open();
    const token = await log.acquire([0]);
    await log.append(appendOf("g", 1, { 0: ["a"] }));
    const before = { ledger: log.ledger(), head: log.head() };
    fixture.failWrites(1);
    const state = [{ address: "device/0-a", state: bytesOf("s") }];
    const commit = commitOf(0, 0, 1, {
      processed: 1,
      states: state,
      reminders: [setReminder(reminderOf(0, "r", 7))],
    });
    const [append, [outcome]] = await Promise.all([
      log.append(appendOf("g", 2, { 0: ["b"] })),
      log.commit(token, [commit]),
    ]);
    assert.equal(!append.ok && append.code, "store_failed");
    assert.equal(!outcome!.ok && outcome!.code, "store_failed");
    assert.deepEqual({ ledger: log.ledger(), head: log.head() }, before);
    assert.equal(log.nextDueMs(), undefined);
    assert.deepEqual(await log.loadStates(["device/0-a"]), [undefined]);
    fixture.failWrites(1);
    await assert.rejects(log.acquire([0]));
    assert.deepEqual(await log.commit(token, [commit]), [{ ok: true, isRepeat: false }]);
    assert.deepEqual(await log.append(appendOf("g", 2, { 0: ["b"] })), {
      ok: true,
      isRepeat: false,
    });
    assert.deepEqual(await pendingBodies(log, 0), ["b"]);
    assert.deepEqual((await fixture.open()).ledger(), log.ledger());
    assertBalanced(log);
  });

  test("a closed log refuses calls, and closing twice is harmless", async (fixture) => {
    const log = await fixture.open();
    const last = log.append(appendOf("g", 1, { 0: ["a"] }));
    await log[Symbol.asyncDispose]();
    await log[Symbol.asyncDispose]();
    assert.equal((await last).ok, true);
    await assert.rejects(log.append(appendOf("g", 2, { 0: ["b"] })), /closed/);
    await assert.rejects(log.pending(0, 0, WHOLE), /closed/);
    assert.deepEqual(await pendingBodies(await fixture.open(), 0), ["a"]);
  });
}
