/** The part of the contract about what is read, kept and survived. */
import assert from "node:assert/strict";
import { systemClock } from "../../runtime/clock.ts";
import { recordsOf } from "../../runtime/log/record.ts";
import {
  appendOf,
  assertBalanced,
  bytesOf,
  commitOf,
  letterOf,
  ownRecord,
  pendingBodies,
  readAll,
  reminderOf,
  setReminder,
  type Test,
  WHOLE,
} from "./log_fixture.ts";

export function testReminders(test: Test): void {
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

export function testDeadLetters(test: Test): void {
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
    assert.deepEqual(letters[2], {
      ...letterOf(0, "a"),
      bodyBytes: 1,
      id: 1,
      partition: 0,
      parkedAtMs: 1e6,
    });
    assert.equal((await log.deadLetters({ limit: 9, beforeId: 2 })).length, 1);
    assert.equal((await log.deadLetters({ limit: 9, address: "device/0-z" })).length, 0);
    const older = await log.deadLetters({ limit: 2, afterId: 0 });
    assert.deepEqual(older.map(({ id }) => id), [1, 2], "oldest first");
    assert.deepEqual((await log.deadLetters({ limit: 9, afterId: 2 })).map(({ id }) => id), [3]);
    assert.equal(await log.countDeadLetters(), 3);
    assert.equal(await log.countDeadLetters("device/0-a"), 3);
    assert.equal(await log.countDeadLetters("device/0-z"), 0);
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

export function testReaders(test: Test): void {
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

export function testFaults(test: Test): void {
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
      firstOffsets: [1],
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
