/** The part of the contract about damaged records: what stops, what goes on, and the way back. */
import assert from "node:assert/strict";
import { systemClock } from "../../runtime/clock.ts";
import type { PartitionLog } from "../../runtime/log/partition_log.ts";
import {
  appendOf,
  assertBalanced,
  bytesOf,
  commitOf,
  handleAll,
  letterOf,
  type LogFixture,
  ownRecord,
  pendingBodies,
  readAll,
  type Test,
  trimAll,
  WHOLE,
} from "./log_fixture.ts";

const DECODER = new TextDecoder();

/** Twelve ticks: "a1" to "a12" of partition 0, beside "b1" to "b12" of partition 1. */
async function fill(fixture: LogFixture): Promise<PartitionLog> {
  const log = await fixture.open();
  for (let i = 1; i <= 12; i++) {
    await log.append(appendOf("g", i, { 0: [`a${i}.`], 1: [`b${i}.` + "x".repeat(1_000)] }));
  }
  return log;
}

function texts(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, i) => `a${from + i}.`);
}

/** Partition 0 is stopped before "a5.", which is at offset 4. */
async function stopped(fixture: LogFixture): Promise<PartitionLog> {
  await fill(fixture);
  fixture.flipBitIn("a5.");
  const log = await fixture.open();
  assert.deepEqual(await handleAll(log, 0), texts(1, 4));
  assert.equal(log.stopped()[0]!.offset, 4);
  return log;
}

async function peekAll(log: PartitionLog, limit: number) {
  const found: string[] = [];
  for (let offset: number | undefined = 0; offset !== undefined;) {
    const page = await log.peekPending(0, offset, limit);
    assert.ok(page.records.length <= limit);
    for (const { damage, body } of page.records) {
      found.push(damage === undefined ? DECODER.decode(body) : `damage: ${damage}`);
    }
    offset = page.nextOffset;
  }
  return found;
}

export function testStops(test: Test): void {
  test("a damaged record stops its partition for good, and no other", async (fixture) => {
    let log = await stopped(fixture);
    for (const isReopened of [false, true]) {
      if (isReopened) log = await fixture.open();
      const [stop, ...more] = log.stopped(); // Known before anybody reads.
      assert.deepEqual([stop!.partition, stop!.offset, more], [0, 4, []]);
      assert.match(stop!.detail, /offset 4 of tick \d+ does not match its checksum/);
      const { corrupt, corruptOffset, pending } = log.ledger().partitions[0]!;
      assert.deepEqual([corrupt, corruptOffset, pending], [stop!.detail, 4, 8]);
      assert.equal((await log.pending(0, 4, WHOLE)).corrupt, stop!.detail);
      assertBalanced(log);
    }
    assert.deepEqual(log.ready(Infinity), [1]);
    assert.equal((await handleAll(log, 1)).length, 12);
    assert.equal((await log.append(appendOf("g", 13, { 0: ["late"], 1: ["c"] }))).ok, true);
    assert.deepEqual(await pendingBodies(log, 1), ["c"]);
    assertBalanced(log);
  });

  test("listeners hear of a stop and of its end", async (fixture) => {
    await fill(fixture);
    fixture.flipBitIn("a1.");
    const log = await fixture.open();
    const heard: number[] = [];
    const unlisten = log.onStopsChanged(() => heard.push(log.stopped().length));
    await log.pending(0, 0, WHOLE);
    await new Promise<void>((resolve) => systemClock.soon(resolve));
    await log.skipDamage(0, 0);
    await new Promise<void>((resolve) => systemClock.soon(resolve));
    unlisten();
    assert.deepEqual(heard, [1, 0]);
  });

  test("the log is trimmed around what a stopped partition needs", async (fixture) => {
    let log = await stopped(fixture);
    await handleAll(log, 1);
    const before = {
      bytes: log.head().logBytes,
      ledger: log.ledger(),
      list: await peekAll(log, 3),
    };
    await trimAll(log);
    assert.ok(log.head().logBytes < before.bytes / 10, `${log.head().logBytes} B are left`);
    for (const isReopened of [false, true]) {
      const { logBytes } = log.head();
      if (isReopened) log = await fixture.open();
      assert.equal(log.head().logBytes, logBytes);
      assert.deepEqual(log.ledger(), before.ledger);
      assert.deepEqual(await peekAll(log, 5), before.list);
      assert.deepEqual((await readAll(log, 0, ["ingress"])).bodies, texts(6, 12));
      await trimAll(log); // Again: nothing more goes.
      assert.equal(log.head().logBytes, logBytes);
    }
    // Others come and go behind it.
    for (let i = 1; i <= 3; i++) {
      await log.append(appendOf("h", i, { 1: ["later"] }));
      await handleAll(log, 1);
      await trimAll(log);
    }
    assert.deepEqual((await readAll(log, 0, ["ingress"])).bodies, texts(6, 12));
    await log.skipDamage(0, 4);
    assert.deepEqual(await handleAll(log, 0), texts(6, 12));
    await trimAll(log);
    assert.equal(log.head().logBytes, 0);
    assertBalanced(log);
  });

  test("of two stopped partitions one is put back, and what it needed goes", async (fixture) => {
    await fill(fixture);
    for (const text of ["a1.", "b1."]) fixture.flipBitIn(text);
    const log = await fixture.open();
    for (const partition of [0, 1]) await handleAll(log, partition);
    await trimAll(log);
    assert.equal((await readAll(log, 0, ["ingress"])).bodies.length, 22);
    await log.skipDamage(1, 0);
    assert.equal((await handleAll(log, 1)).length, 11);
    await trimAll(log);
    assert.deepEqual((await readAll(log, 0, ["ingress"])).bodies, texts(2, 12));
    await log.skipDamage(0, 0);
    await handleAll(log, 0);
    await trimAll(log);
    assert.equal(log.head().logBytes, 0);
  });

  test("a trim that the store refuses is made later", async (fixture) => {
    const log = await stopped(fixture);
    await handleAll(log, 1);
    await log.append(appendOf("g", 13, { 2: ["free"] })); // The cursors below are stored with it.
    const { logBytes } = log.head();
    fixture.failWrites(1);
    await assert.rejects(trimAll(log));
    assert.equal(log.head().logBytes, logBytes);
    await trimAll(log);
    assert.ok(log.head().logBytes < logBytes / 10);
    assert.deepEqual((await readAll(log, 0, ["ingress"])).bodies, [...texts(6, 12), "free"]);
  });

  test("own records among those set aside make no hole at the next start", async (fixture) => {
    let log = await fixture.open();
    await log.append(appendOf("g", 1, { 0: ["one", "two"] }));
    const token = await log.acquire([0]);
    const records = [ownRecord(0, "mine"), ownRecord(0, "shown", "view")];
    await log.commit(token, [commitOf(0, 0, 1, { processed: 1, records })]);
    await log.append(appendOf("g", 2, { 0: ["three"], 1: ["other"] }));
    fixture.flipBitIn("two");
    log = await fixture.open();
    await log.pending(0, 1, WHOLE);
    await handleAll(log, 1);
    await trimAll(log);
    log = await fixture.open();
    assert.deepEqual(await log.skipDamage(0, 1), { ok: true, fromOffset: 1, toOffset: 2, lost: 1 });
    log = await fixture.open();
    assert.deepEqual(log.stopped(), []);
    assert.deepEqual(await handleAll(log, 0), ["three"]);
    assertBalanced(log);
  });

  test("damage of what was handled stops nobody", async (fixture) => {
    let log = await fill(fixture);
    await handleAll(log, 0);
    fixture.flipBitIn("a5.");
    log = await fixture.open();
    assert.equal((await readAll(log, 0, ["ingress"])).bodies.length, 23);
    assert.deepEqual(log.stopped(), []);
    assertBalanced(log);
  });

  test("what is pending can be looked at, page by page, damage included", async (fixture) => {
    const log = await stopped(fixture);
    const expected = ["damage: the bytes do not match their checksum", ...texts(6, 12)];
    for (const limit of [1, 3, 500]) assert.deepEqual(await peekAll(log, limit), expected);
    const [damaged, next] = (await log.peekPending(0, 4, 2)).records;
    assert.deepEqual([damaged!.offset, damaged!.count, damaged!.class], [4, 1, "ingress"]);
    assert.ok(DECODER.decode(damaged!.body).includes("device/0-a"), "its bytes as they are");
    assert.deepEqual([next!.offset, next!.to, next!.acceptedAtMs], [5, "device/0-a", 1e6]);
    assert.deepEqual(await log.peekPending(2, 0, 9), { records: [] });
    await assert.rejects(log.peekPending(99, 0, 9), /partition 99/);
  });
}

export function testSkips(test: Test): void {
  test("skipped damage is counted as lost, and the rest is handled in order", async (fixture) => {
    let log = await stopped(fixture);
    const before = log.ledger().partitions[0]!;
    assert.deepEqual(await log.skipDamage(0, 4), { ok: true, fromOffset: 4, toOffset: 5, lost: 1 });
    for (const isReopened of [false, true]) {
      if (isReopened) log = await fixture.open();
      const after = log.ledger().partitions[0]!;
      assert.deepEqual(
        [after.accepted, after.processed, after.pending, after.rolledBack, after.corrupt],
        [before.accepted, before.processed, before.pending - 1, 1, undefined],
      );
      assertBalanced(log);
      assert.deepEqual(await pendingBodies(log, 0), texts(6, 12));
      // A reader that comes by late finds it damaged still, and the actors do not care.
      assert.equal((await readAll(log, 0, ["ingress"])).bodies.length, 23);
      assert.deepEqual(log.stopped(), []);
    }
    assert.deepEqual(log.ready(0), [0, 1]);
    assert.deepEqual(await handleAll(log, 0), texts(6, 12));
    log = await fixture.open();
    assert.deepEqual(log.stopped(), []);
    assert.equal(log.ledger().partitions[0]!.rolledBack, 1);
    assertBalanced(log);
  });

  test("a skip names the damage that it means, or is refused", async (fixture) => {
    const log = await stopped(fixture);
    const before = log.ledger();
    const codeOf = async (partition: number, offset: number) => {
      const outcome = await log.skipDamage(partition, offset);
      return outcome.ok ? "ok" : outcome.code;
    };
    assert.equal(await codeOf(0, 5), "other_offset");
    assert.equal(await codeOf(1, 4), "not_stopped");
    await assert.rejects(log.skipDamage(99, 4), /partition 99/);
    assert.deepEqual(log.ledger(), before);
    const both = await Promise.all([codeOf(0, 4), codeOf(0, 4)]);
    assert.deepEqual(both, ["ok", "not_stopped"]);
    assert.equal(log.ledger().partitions[0]!.rolledBack, 1);
    assertBalanced(log);
  });

  test("a batch that was read before a skip is refused, and read again", async (fixture) => {
    await fill(fixture);
    const log = await fixture.open();
    const token = await log.acquire([0]);
    const inHand = await log.pending(0, 0, WHOLE);
    assert.equal(inHand.nextCursor, 12);
    fixture.flipBitIn("a1.");
    await readAll(log, 0, ["ingress"]);
    assert.equal(log.stopped()[0]!.offset, 0);
    assert.equal((await log.skipDamage(0, 0)).ok, true);
    const [late] = await log.commit(token, [commitOf(0, 0, 12, { processed: 12 })]);
    assert.equal(!late!.ok && late!.code, "stale");
    assert.deepEqual(await handleAll(log, 0), texts(2, 12));
    assertBalanced(log);
  });

  test("a skip waits for the records before the damage", async (fixture) => {
    await fill(fixture);
    fixture.flipBitIn("a5.");
    const log = await fixture.open();
    await readAll(log, 0, ["ingress"]);
    const early = await log.skipDamage(0, 4);
    assert.equal(!early.ok && early.code, "not_reached");
    assert.deepEqual(await handleAll(log, 0), texts(1, 4));
    assert.equal((await log.skipDamage(0, 4)).ok, true);
    assert.deepEqual(await handleAll(log, 0), texts(6, 12));
    assert.equal(log.ledger().partitions[0]!.rolledBack, 1);
    assertBalanced(log);
  });

  test("damage behind damage stops the partition again", async (fixture) => {
    await fill(fixture);
    for (const text of ["a5.", "a6.", "a9."]) fixture.flipBitIn(text);
    let log = await fixture.open();
    assert.deepEqual(await handleAll(log, 0), texts(1, 4));
    await log.skipDamage(0, 4);
    assert.deepEqual(await handleAll(log, 0), []);
    await log.skipDamage(0, 5);
    log = await fixture.open();
    assert.deepEqual(await handleAll(log, 0), texts(7, 8));
    await log.skipDamage(0, 8);
    assert.deepEqual(await handleAll(log, 0), texts(10, 12));
    assert.equal(log.ledger().partitions[0]!.rolledBack, 3);
    assertBalanced(log);
  });

  test("a skip that the store refuses leaves the partition stopped", async (fixture) => {
    const log = await stopped(fixture);
    const before = log.ledger();
    fixture.failWrites(1);
    await assert.rejects(log.skipDamage(0, 4));
    assert.deepEqual(log.ledger(), before);
    assert.equal(log.stopped().length, 1);
    assert.equal((await log.skipDamage(0, 4)).ok, true);
    assert.deepEqual(await handleAll(log, 0), texts(6, 12));
  });

  test("damage skipped before own records leaves no hole when they are trimmed", async (fixture) => {
    let log = await fixture.open();
    await log.append(appendOf("g", 1, { 0: ["one", "two"] }));
    const records = [ownRecord(0, "mine"), ownRecord(0, "shown", "view")];
    const commit = commitOf(0, 0, 1, { processed: 1, records });
    await log.commit(await log.acquire([0]), [commit]);
    fixture.flipBitIn("two");
    log = await fixture.open();
    await log.pending(0, 1, WHOLE);
    await log.skipDamage(0, 1);
    await trimAll(log);
    assert.equal(log.head().logBytes, 0);
    await log.append(appendOf("g", 2, { 1: ["other"] })); // The cursors are stored with it.
    log = await fixture.open();
    assert.deepEqual(log.stopped(), []);
    await log.append(appendOf("g", 3, { 0: ["three"] }));
    assert.deepEqual(await handleAll(log, 0), ["three"]);
    assertBalanced(log);
  });

  test("what can be read again is not skipped", async (fixture) => {
    let log = await stopped(fixture);
    fixture.flipBitIn("a5/"); // The same bit: as it was.
    log = await fixture.open();
    assert.equal(log.stopped().length, 1);
    assert.deepEqual(await log.skipDamage(0, 4), { ok: true, fromOffset: 4, toOffset: 4, lost: 0 });
    assert.deepEqual(await handleAll(log, 0), texts(5, 12));
    assert.equal(log.ledger().total.rolledBack, 0);
    assertBalanced(log);
  });

  test("a segment of many records is lost as a whole, its handled part is not", async (fixture) => {
    let log = await fixture.open();
    await log.append(appendOf("g", 1, { 0: ["one", "two", "three", "four"] }));
    const token = await log.acquire([0]);
    await log.commit(token, [commitOf(0, 0, 1, { processed: 1 })]);
    await log.append(appendOf("g", 2, { 0: ["five"], 1: ["other".repeat(1_000)] }));
    fixture.flipBitIn("three");
    log = await fixture.open();
    assert.match((await log.pending(0, 1, WHOLE)).corrupt!, /offset 1/);
    assert.deepEqual(log.ready(0), [1], "nothing to handle before the damage");
    const { logBytes } = log.head();
    await handleAll(log, 1);
    await trimAll(log);
    assert.ok(log.head().logBytes < logBytes / 2);
    assert.deepEqual(await log.skipDamage(0, 1), { ok: true, fromOffset: 1, toOffset: 4, lost: 3 });
    log = await fixture.open();
    assert.deepEqual(await handleAll(log, 0), ["five"]);
    const { processed, rolledBack } = log.ledger().partitions[0]!;
    assert.deepEqual([processed, rolledBack], [2, 3]);
    assertBalanced(log);
  });

  test("what comes for a stopped partition waits, and only ingress is lost", async (fixture) => {
    let log = await stopped(fixture);
    const token = await log.acquire([0, 1]);
    const send = (text: string) => ({
      to: "rule/0-r",
      body: bytesOf(text),
      budget: 7,
      traceId: "1-1-0",
    });
    const deadLetters = [letterOf(0, "again")];
    await log.commit(token, [commitOf(1, 0, 1, { processed: 1, sends: [send("sent 1")] })]);
    await log.commit(token, [commitOf(1, 1, 2, { processed: 1, sends: [send("sent 2")] })]);
    await log.append(appendOf("g", 13, { 0: ["slipped in"] }));
    await untilCounted(log, 15);
    fixture.flipBitIn("sent 1");
    log = await fixture.open();
    await handleAll(log, 1);
    await trimAll(log);
    await log.skipDamage(0, 4);
    assert.deepEqual(await handleAll(log, 0), texts(6, 12));
    const next = log.stopped()[0]!.offset;
    assert.deepEqual(await log.skipDamage(0, next), {
      ok: true,
      fromOffset: next,
      toOffset: next + 1,
      lost: 0, // Messages between actors are not part of the equation.
    });
    const rest = await handleAll(log, 0);
    assert.deepEqual(rest.sort(), ["sent 2", "slipped in"]);
    await log.commit(await log.acquire([0]), [commitOf(0, log.cursor(0), log.cursor(0), {
      deadLetters: deadLetters.map((letter) => ({ ...letter, isIngress: false })),
    })]);
    assert.equal(await log.replayDeadLetters([1]), 1);
    assert.deepEqual(await handleAll(log, 0), ["again"]);
    assertBalanced(log);
  });
}

/** Until a deferred relay has delivered: records to handle of partition 0, damage included. */
async function untilCounted(log: PartitionLog, count: number): Promise<void> {
  for (let turn = 0; turn < 200; turn++) {
    const { records } = await log.peekPending(0, 4, 500);
    if (records.length >= count - 4) return;
    await new Promise<void>((resolve) => systemClock.soon(resolve));
  }
  throw new Error(`Partition 0 has not got ${count} records within 200 turns`);
}
