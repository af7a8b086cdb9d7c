/** What every partition log has to do, whatever stores it. Run by the test of each implementation. */
import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import type { Pending } from "../../runtime/log/partition_log.ts";
import { recordsOf } from "../../runtime/log/record.ts";
import {
  appendOf,
  assertBalanced,
  bodiesOf,
  type Body,
  bytesOf,
  commitOf,
  type LogFixture,
  ownRecord,
  PARTITIONS_OF_TEST,
  pendingBodies,
  readAll,
  reminderOf,
  setReminder,
  type Test,
  untilPending,
  WHOLE,
} from "./log_fixture.ts";
import { testSkips, testStops } from "./partition_log_damage_contract.ts";
import {
  testDeadLetters,
  testFaults,
  testReaders,
  testReminders,
} from "./partition_log_reading_contract.ts";

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
  testStops(test);
  testSkips(test);
}

function testAppends(test: Test): void {
  test("appended records are pending in order, their time never falls", async ({ open, clock }) => {
    const log = await open();
    assert.deepEqual(await log.append(appendOf("g", 1, { 0: ["a", "b"], 2: ["x"] })), {
      ok: true,
      isRepeat: false,
      firstOffsets: [0, 0],
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
    const first = { ok: true, isRepeat: false, firstOffsets: [0] };
    assert.deepEqual(both, [first, { ok: true, isRepeat: true }]);
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

  test("rows of gateways are read page by page, by prefix and in order", async ({ open }) => {
    const log = await open();
    const keys = ["mqtt/p/b", "mqtt/p/a", "coap/p/a", "mqtt/q/a", "mqtu/p/a", "mqtt/p/c"];
    const value = bytesOf("1");
    await log.append(appendOf("g", 1, {}, keys.map((key) => ({ key, value }))));
    const pages: string[][] = [];
    for (let after = "";;) {
      const rows = await log.gatewayRows({ prefix: "mqtt/", after, limit: 3 });
      if (rows.length === 0) break;
      assert.deepEqual(rows.map((row) => row.value), rows.map(() => value));
      pages.push(rows.map(({ key }) => key));
      after = rows.at(-1)!.key;
    }
    assert.deepEqual(pages, [["mqtt/p/a", "mqtt/p/b", "mqtt/p/c"], ["mqtt/q/a"]]);
  });

  test("a page of large rows ends at its bytes", async ({ open }) => {
    const log = await open();
    const value = new Uint8Array(60_000);
    for (const [i, row] of "abcdefghijkl".split("").entries()) {
      await log.append(appendOf("g", i + 1, {}, [{ key: `mqtt/p/${row}`, value }]));
    }
    const rows = await log.gatewayRows({ prefix: "mqtt/", after: "", limit: 100 });
    assert.equal(rows.length, Math.ceil(LIMITS.gatewayPageBytesMax / value.length));
  });
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

  test("states are read page by page, those of a kind and partition", async (fixture) => {
    let log = await fixture.open();
    await log.append(appendOf("g", 1, { 0: ["a"], 1: ["b"] }));
    const token = await log.acquire([0, 1]);
    const stateOf = (address: string) => ({ address, state: bytesOf(address) });
    const of = (partition: number) =>
      ["device/0-a", "device/0-b", "device/0-c", "device-x/0-d", "devica/0-e", "devicf/0-f"]
        .map((address) => stateOf(address.replace("0-", `${partition}-`)));
    await log.commit(token, [
      commitOf(0, 0, 1, { states: of(0), processed: 1 }),
      commitOf(1, 0, 1, { states: of(1), processed: 1 }),
    ]);
    for (const reopen of [false, true]) {
      if (reopen) log = await fixture.open();
      const found: string[] = [];
      for (let after = ""; after !== "device/0-c";) {
        const page = await log.statesAfter({ partition: 0, kind: "device", after, limit: 2 });
        assert.ok(page.length >= 1 && page.length <= 2);
        for (const { address, state } of page) assert.deepEqual(state, bytesOf(address));
        found.push(...page.map(({ address }) => address));
        after = found.at(-1)!;
      }
      assert.deepEqual(found, ["device/0-a", "device/0-b", "device/0-c"]);
      const query = { partition: 2, kind: "device", after: "", limit: 9 };
      assert.deepEqual(await log.statesAfter(query), []);
    }
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
