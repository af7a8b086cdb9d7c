/** Damage done on purpose to what is stored: each is noticed, and stays where it is. */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import {
  appendOf,
  assertBalanced,
  bodiesOf,
  bytesOf,
  commitOf,
  createTestClock,
  letterOf,
  partitionOfTest,
  PARTITIONS_OF_TEST,
  pendingBodies,
  READERS,
  untilPending,
  WHOLE,
} from "../../test/contract/log_fixture.ts";
import { createMemoryHead, openHeadFile } from "./head_file.ts";
import { createMemoryStore, type MemoryContent } from "./memory_store.ts";
import type { PartitionLog } from "./partition_log.ts";
import { openSqliteStore } from "./sqlite_store.ts";
import { decodeMeta, encodeMeta, type PartitionMeta } from "./tick_meta.ts";
import { type LogFault, openTickLog, type TickLogOptions } from "./tick_log.ts";
import type { StepHook } from "./tick_store.ts";

const COMMON = {
  partitions: PARTITIONS_OF_TEST,
  partitionOf: partitionOfTest,
  readers: READERS,
} as const;

function openMemory(content: MemoryContent, rest: Partial<TickLogOptions> = {}, onStep?: StepHook) {
  const faults: LogFault[] = [];
  const store = createMemoryStore({ content, ...(onStep && { onStep }) });
  const log = openTickLog({
    ...COMMON,
    store,
    head: createMemoryHead(),
    clock: createTestClock(),
    onFault: (fault) => faults.push(fault),
    ...rest,
  });
  return { log, faults };
}

/** Partition 0: "a" in one tick, "b" in the next; partition 1: "x" beside "a", "y" beside "b". */
async function filled(): Promise<MemoryContent> {
  const store = createMemoryStore();
  await using log = openMemory(store.content).log;
  await log.append(appendOf("g", 1, { 0: ["a"], 1: ["x"] }));
  await log.append(appendOf("g", 2, { 0: ["b"], 1: ["y"] }));
  return store.copy();
}

function flip(bytes: Uint8Array, at: number): void {
  bytes[at] = bytes[at]! ^ 0x10;
}

Deno.test("a flipped bit in a record stops its partition there, the others go on", async () => {
  const content = await filled();
  const body = content.ticks.get(2)!.body;
  flip(body, body.findIndex((byte) => byte === "b".charCodeAt(0)));
  const { log, faults } = openMemory(content);
  await using _ = log;
  const before = await log.pending(0, 0, WHOLE);
  assert.deepEqual(bodiesOf(before.segments), ["a"]);
  assert.equal(before.nextCursor, 1);
  assert.equal(before.isEndOfLog, false);
  const stopped = await log.pending(0, 1, WHOLE);
  assert.deepEqual(stopped.segments, []);
  assert.match(stopped.corrupt!, /offset 1 of tick 2 does not match its checksum/);
  assert.deepEqual(await pendingBodies(log, 1), ["x", "y"]);
  assert.deepEqual(log.ready(0), [0, 1]);
  const token = await log.acquire([0, 1]);
  await log.commit(token, [commitOf(0, 0, 1, { processed: 1 })]);
  assert.deepEqual(log.ready(0), [1]);
  assert.match(log.ledger().partitions[0]!.corrupt!, /checksum/);
  assert.equal(log.ledger().partitions[1]!.corrupt, undefined);
  assert.equal(faults.filter((fault) => fault.type === "corrupt").length, 1);
  await log.append(appendOf("g", 3, { 0: ["c"], 1: ["z"] }));
  assert.deepEqual(await pendingBodies(log, 1), ["x", "y", "z"]);
  assertBalanced(log);
});

Deno.test("a reader goes on past a damaged segment, which stops its partition", async () => {
  const content = await filled();
  const body = content.ticks.get(1)!.body;
  flip(body, body.findIndex((byte) => byte === "x".charCodeAt(0)));
  const { log } = openMemory(content);
  await using _ = log;
  const { ticks } = await log.readTicks(0, ["ingress"], 1e6);
  assert.deepEqual(ticks.flatMap((tick) => bodiesOf(tick.segments)), ["a", "b", "y"]);
  assert.match((await log.pending(1, 0, WHOLE)).corrupt!, /offset 0/);
  assert.deepEqual(await pendingBodies(log, 0), ["a", "b"]);
});

for (const [what, tick] of [["first", 1], ["last", 2]] as const) {
  Deno.test(`a damaged header of the ${what} tick stops the partitions that miss offsets`, async () => {
    const content = await filled();
    flip(content.ticks.get(tick)!.header, 20);
    const { log, faults } = openMemory(content);
    await using _ = log;
    const types = faults.map((fault) => fault.type);
    assert.deepEqual(types.sort(), [
      "corrupt",
      "corrupt",
      "corrupt_tick",
      "unbalanced",
      "unbalanced",
    ]);
    const expected = tick === 1 ? [] : ["a"];
    assert.deepEqual(await pendingBodies(log, 0), expected);
    assert.match((await log.pending(0, tick - 1, WHOLE)).corrupt!, /are missing/);
    assert.equal((await log.pending(2, 0, WHOLE)).corrupt, undefined);
    await log.append(appendOf("g", 3, { 2: ["free"] }));
    assert.deepEqual(log.ready(0), tick === 1 ? [2] : [0, 1, 2]);
  });
}

for (
  const term of ["accepted", "processed", "deadLettered", "rolledBack", "cursor"] as const
) {
  Deno.test(`a ledger whose ${term} was changed in the store is noticed at open`, async () => {
    const store = createMemoryStore();
    const { log } = openMemory(store.content);
    await log.append(appendOf("g", 1, { 2: ["a", "b", "c"] }));
    const token = await log.acquire([2]);
    await log.commit(token, [commitOf(2, 0, 1, { deadLetters: [letterOf(2, "a")] })]);
    const content = store.copy();
    const meta = decodeMeta(content.meta!);
    const own = meta.partitions[2] as PartitionMeta;
    own[term]++;
    content.meta = encodeMeta(meta);
    const damaged = openMemory(content);
    assert.deepEqual(
      damaged.faults.map((fault) => fault.type === "unbalanced" && fault.partition),
      [2],
    );
    const wrong = damaged.log.ledger().partitions.filter((partition) => !partition.isBalanced);
    assert.deepEqual(wrong.map((partition) => partition.partition), [2]);
    assertBalanced(log);
  });
}

Deno.test("pending is counted from the records: one that is gone is noticed", async () => {
  const content = await filled();
  content.ticks.delete(2);
  const { log, faults } = openMemory(content);
  await using _ = log;
  assert.equal(log.ledger().partitions[0]!.pending, 1);
  assert.equal(log.ledger().partitions[0]!.isBalanced, false);
  assert.deepEqual(faults.filter((fault) => fault.type === "corrupt").length, 2);
});

Deno.test("a damaged meta row refuses to open", async () => {
  const content = await filled();
  flip(content.meta!, 12);
  assert.throws(() => openMemory(content), /checksum of its meta row/);
});

Deno.test("a store made with other partitions refuses to open", async () => {
  const content = await filled();
  assert.throws(() => openMemory(content, { partitions: 5 }), /made with 4 partitions, not 5/);
});

Deno.test("a write that was applied and whose answer was lost is a success", async () => {
  const store = createMemoryStore();
  let isLost = false;
  const { log } = openMemory(store.content, {}, (step) => {
    if (isLost && step === "write:after") throw new Error("answer lost");
  });
  await using _ = log;
  isLost = true;
  assert.equal((await log.append(appendOf("g", 1, { 0: ["a"] }))).ok, true);
  isLost = false;
  assert.deepEqual(await log.append(appendOf("g", 1, { 0: ["a"] })), { ok: true, isRepeat: true });
  assert.deepEqual(await pendingBodies(log, 0), ["a"]);
  assertBalanced(log);
});

Deno.test("a relay that is repeated after a crash changes nothing", async () => {
  const store = createMemoryStore();
  const first = openMemory(store.content, { relay: "deferred" }).log;
  await first.append(appendOf("g", 1, { 0: ["a"] }));
  const token = await first.acquire([0, 1]);
  const send = { to: "device/1-a", body: bytesOf("sent"), budget: 3, traceId: "1-0-0" };
  await first.commit(token, [commitOf(0, 0, 1, { processed: 1, sends: [send] })]);
  const beforeRelay = store.copy();
  await untilPending(first, 1, 1);
  await first[Symbol.asyncDispose]();
  const afterRelay = store.copy();
  assert.equal(beforeRelay.outbox.size, 1);
  assert.equal(afterRelay.outbox.size, 0);
  // The crash came between the relay and the removal from the outbox.
  for (const [key, entry] of beforeRelay.outbox) afterRelay.outbox.set(key, entry);
  for (const content of [beforeRelay, afterRelay]) {
    await using log = openMemory(content, { relay: "deferred" }).log;
    while (await log.relay()) { /* until the outbox is empty */ }
    assert.deepEqual(await untilPending(log, 1, 1), ["sent"]);
    assert.equal(content.outbox.size, 0);
  }
});

Deno.test("the oldest incarnations are forgotten, memory stays bounded", async () => {
  const store = createMemoryStore();
  await using log = openMemory(store.content).log;
  for (let i = 0; i < 200; i++) await log.append(appendOf(`gateway-${i}`, 1, {}));
  assert.ok(decodeMeta(store.content.meta!).incarnations.size <= 64);
  assert.deepEqual(await log.append(appendOf("gateway-199", 1, {})), { ok: true, isRepeat: true });
});

/** SQLite files with a head, in a directory of their own. */
function sqliteFiles() {
  const directory = Deno.makeTempDirSync();
  const path = `${directory}/log.db`;
  const faults: LogFault[] = [];
  const clock = createTestClock();
  return {
    path,
    faults,
    open: (onStep?: StepHook) =>
      openTickLog({
        ...COMMON,
        store: openSqliteStore(path, onStep),
        head: openHeadFile(`${directory}/log.head`, clock),
        clock,
        onFault: (fault) => faults.push(fault),
      }),
    /** What a crash at this moment leaves: files that nobody closes. */
    copy: (name: string) => Deno.copyFileSync(path, `${directory}/${name}`),
    restore(name: string) {
      Deno.copyFileSync(`${directory}/${name}`, path);
      for (const suffix of ["-wal", "-shm"]) {
        try {
          Deno.removeSync(path + suffix);
        } catch (fault) {
          if (!(fault instanceof Deno.errors.NotFound)) throw fault;
        }
      }
    },
    [Symbol.dispose]: () => Deno.removeSync(directory, { recursive: true }),
  };
}

async function handleAll(log: PartitionLog, partition: number): Promise<void> {
  const token = await log.acquire([partition]);
  const { cursor, segments, nextCursor } = await log.pending(partition, 0, WHOLE);
  const processed = segments.reduce((sum, segment) => sum + segment.count, 0);
  const [outcome] = await log.commit(token, [
    commitOf(partition, cursor, nextCursor, { processed }),
  ]);
  assert.equal(outcome!.ok, true);
}

Deno.test("a log that lost its tail goes on above it, counts the loss and says so", async () => {
  using files = sqliteFiles();
  let log = files.open();
  await log.append(appendOf("g", 1, { 0: ["kept"] }));
  const token = await log.acquire([0]);
  await log[Symbol.asyncDispose]();
  files.copy("old.db");
  log = files.open();
  await log.append(appendOf("g", 2, { 0: ["lost 1", "lost 2"], 1: ["lost 3"] }));
  const before = log.head().tick;
  await log[Symbol.asyncDispose]();
  files.restore("old.db");
  log = files.open();
  assert.deepEqual(files.faults, [{
    type: "rolled_back",
    epoch: 2,
    storeTick: 2,
    headTick: before,
    lostRecords: 3,
  }]);
  assert.equal(log.epoch, 2);
  assert.ok(log.head().tick > before);
  assertBalanced(log);
  const { accepted, pending, rolledBack } = log.ledger().total;
  assert.deepEqual([accepted, pending, rolledBack], [4, 1, 3]);
  await log.append(appendOf("g", 3, { 0: ["fresh"] }));
  const { segments } = await log.pending(0, 0, WHOLE);
  assert.deepEqual(segments.map((s) => [s.epoch, s.firstOffset]), [[1, 0], [2, 3]]);
  assert.ok(await log.acquire([2]) > token);
  await log[Symbol.asyncDispose]();
  log = files.open(); // The gap is known: no damage, and not rolled back again.
  assert.equal(files.faults.length, 1);
  assert.deepEqual(await pendingBodies(log, 0), ["kept", "fresh"]);
  await handleAll(log, 0);
  await log[Symbol.asyncDispose]();
  log = files.open();
  assert.equal(log.epoch, 2);
  assert.deepEqual(files.faults.length, 1);
  assertBalanced(log);
  await log[Symbol.asyncDispose]();
});

Deno.test("a deleted log is noticed by its head", async () => {
  using files = sqliteFiles();
  let log = files.open();
  await log.append(appendOf("g", 1, { 0: ["a"], 3: ["b"] }));
  await log[Symbol.asyncDispose]();
  Deno.removeSync(files.path);
  log = files.open();
  assert.equal(log.epoch, 2);
  assert.equal(log.ledger().total.rolledBack, 2);
  assertBalanced(log);
  await log[Symbol.asyncDispose]();
});

Deno.test("a damaged slot of the head leaves the other one", () => {
  using files = sqliteFiles();
  const path = `${files.path}.head`;
  const clock = createTestClock();
  const head = openHeadFile(path, clock);
  head.read();
  const mark = (tick: number) => ({ epoch: 1, tick, nextOffsets: [tick], accepted: [tick] });
  for (let tick = 1; tick <= 4; tick++) head.write(mark(tick));
  head.close();
  const again = openHeadFile(path, clock);
  assert.deepEqual(again.read(), mark(4));
  again.write(mark(5));
  again.close();
  const bytes = Deno.readFileSync(path);
  for (const slot of [0, 8_192]) {
    const damaged = bytes.slice();
    flip(damaged, slot + 9);
    Deno.writeFileSync(path, damaged);
    const reopened = openHeadFile(path, clock);
    assert.equal(reopened.read()!.tick, slot === 0 ? 4 : 5);
    reopened.close();
  }
});

Deno.test("a flipped bit in log.db stops one partition", async () => {
  using files = sqliteFiles();
  let log = files.open();
  await log.append(appendOf("g", 1, { 0: ["MARK"], 1: ["other"] }));
  await log[Symbol.asyncDispose]();
  const database = new DatabaseSync(files.path);
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  database.close();
  const bytes = Deno.readFileSync(files.path);
  const at = new TextDecoder("latin1").decode(bytes).indexOf("MARK");
  assert.ok(at > 0);
  flip(bytes, at);
  Deno.writeFileSync(files.path, bytes);
  log = files.open();
  assert.match((await log.pending(0, 0, WHOLE)).corrupt!, /checksum/);
  assert.deepEqual(await pendingBodies(log, 1), ["other"]);
  await log[Symbol.asyncDispose]();
});

Deno.test("checkpoint and trim that fail change nothing and are tried again", async () => {
  using files = sqliteFiles();
  let failing = "";
  const log = files.open((step) => {
    if (step.startsWith(failing) && failing !== "") throw new Error("I/O error");
  });
  const token = await log.acquire([0]);
  for (let sequence = 1; sequence <= 6; sequence++) {
    await log.append(appendOf("g", sequence, { 0: ["x".repeat(900_000)] }));
  }
  await log.commit(token, [commitOf(0, 0, 6, { processed: 6 })]);
  for (const reader of READERS) await log.saveCursor(reader, log.head().tick);
  for (failing of ["trim:before-commit", "checkpoint:before"]) {
    await assert.rejects(log.maintain(), /I\/O error/);
  }
  failing = "";
  while (await log.maintain()) { /* in small steps */ }
  assert.equal(log.head().logBytes, 0);
  assert.equal((await log.append(appendOf("g", 7, { 0: ["y"] }))).ok, true);
  assert.ok(Deno.statSync(`${files.path}`).size > 5_000_000, "the checkpoint has run");
  assertBalanced(log);
  await log[Symbol.asyncDispose]();
});
