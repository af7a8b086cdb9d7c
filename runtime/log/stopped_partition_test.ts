/** Partitions stopped by damage that the contract cannot make: headers, ticks in memory, repairs. */
import assert from "node:assert/strict";
import { crc32 } from "node:zlib";
import {
  appendOf,
  assertBalanced,
  bodiesOf,
  commitOf,
  createTestClock,
  handleAll,
  partitionOfTest,
  PARTITIONS_OF_TEST,
  pendingBodies,
  readAll,
  READERS,
  trimAll,
  WHOLE,
  withFlippedBit,
} from "../../test/contract/log_fixture.ts";
import { createMemoryHead } from "./head_file.ts";
import { createMemoryStore, type MemoryContent } from "./memory_store.ts";
import { decodeMeta, encodeMeta } from "./tick_meta.ts";
import { openTickLog, type TickLog } from "./tick_log.ts";

function openMemory(content: MemoryContent): TickLog {
  return openTickLog({
    partitions: PARTITIONS_OF_TEST,
    partitionOf: partitionOfTest,
    readers: READERS,
    store: createMemoryStore({ content }),
    head: createMemoryHead(),
    clock: createTestClock(),
  });
}

/** A tick each for "a1" to "a5" of partition 0, with "b1" to "b5" of partition 1: ticks 1 to 5. */
async function filled(): Promise<MemoryContent> {
  const store = createMemoryStore();
  await using log = openMemory(store.content);
  for (let i = 1; i <= 5; i++) await log.append(appendOf("g", i, { 0: [`a${i}`], 1: [`b${i}`] }));
  return store.copy();
}

function flipHeader(content: MemoryContent, tick: number): void {
  const { header, body } = content.ticks.get(tick)!;
  const flipped = header.slice();
  flipped[9]! ^= 4;
  content.ticks.set(tick, { header: flipped, body });
}

function flipBody(content: MemoryContent, tick: number, text: string): void {
  const { header, body } = content.ticks.get(tick)!;
  content.ticks.set(tick, { header, body: withFlippedBit(body, text)! });
}

Deno.test("each hole of damaged headers stops, is skipped, and counts what the ledger misses", async () => {
  const content = await filled();
  for (const tick of [2, 4, 5]) flipHeader(content, tick);
  let log = openMemory(content);
  assert.deepEqual(log.stopped().map(({ offset }) => offset), [1, 1]);
  assert.match(log.stopped()[0]!.detail, /offsets 1 to 1 are missing/);
  assert.deepEqual(await handleAll(log, 0), ["a1"]);
  await log.append(appendOf("g", 6, { 0: ["a6"] })); // A step with the partition in it.
  log = openMemory(content);
  assert.deepEqual(log.stopped().map(({ partition, offset }) => [partition, offset]), [
    [0, 1],
    [1, 1],
  ]);
  const [missed] = (await log.peekPending(0, 0, 9)).records;
  assert.deepEqual([missed!.offset, missed!.count, missed!.body.length], [1, 1, 0]);
  assert.match(missed!.damage!, /missing/);
  assert.equal((await log.skipDamage(0, 1)).ok, true);
  assert.deepEqual(await handleAll(log, 0), ["a3"]);
  assert.equal(log.stopped().find(({ partition }) => partition === 0)!.offset, 3);
  log = openMemory(content);
  assert.deepEqual(await log.skipDamage(0, 3), { ok: true, fromOffset: 3, toOffset: 5, lost: 2 });
  assert.deepEqual(await handleAll(log, 0), ["a6"]);
  assert.equal(log.ledger().partitions[0]!.rolledBack, 3);
  assert.equal(log.ledger().partitions[0]!.isBalanced, true);
  await handleAll(log, 1);
  await log.skipDamage(1, 1);
  await handleAll(log, 1);
  await log.skipDamage(1, 3); // At the end of the log.
  assert.deepEqual(await handleAll(log, 1), []);
  await trimAll(log);
  assert.equal(log.head().logBytes, 0);
  log = openMemory(content);
  assert.deepEqual(log.stopped(), []);
  assert.equal(log.ledger().total.rolledBack, 6);
  assertBalanced(log);
});

Deno.test("a header damaged while the log runs loses its segment, which is counted exactly", async () => {
  const content = await filled();
  const log = openMemory(content);
  flipHeader(content, 3);
  assert.deepEqual(await handleAll(log, 0), ["a1", "a2"]);
  assertBalanced(log);
  assert.deepEqual(await log.skipDamage(0, 2), { ok: true, fromOffset: 2, toOffset: 3, lost: 1 });
  assert.deepEqual(await handleAll(log, 0), ["a4", "a5"]);
  assertBalanced(log);
});

Deno.test("a batch in hand when its bytes are found damaged ends the stop", async () => {
  const content = await filled();
  const log = openMemory(content);
  const token = await log.acquire([0]);
  const inHand = await log.pending(0, 0, { ...WHOLE, recordsMax: 1 });
  assert.deepEqual(bodiesOf(inHand.segments), ["a1"]);
  flipBody(content, 1, "a1");
  await readAll(log, 0, ["ingress"]);
  assert.deepEqual(log.stopped().map(({ offset }) => offset), [0]);
  await log.commit(token, [commitOf(0, 0, 1, { processed: 1 })]);
  assert.deepEqual(log.stopped(), []);
  assert.deepEqual(await handleAll(log, 0), ["a2", "a3", "a4", "a5"]);
  assert.deepEqual(decodeMeta(content.meta!).stops, []);
  assertBalanced(log);
});

Deno.test("what memory has as it was written is not stopped by a damaged store", async () => {
  const content = await filled();
  const log = openMemory(content);
  await log.append(appendOf("g", 6, { 0: ["a6"] }));
  flipBody(content, 6, "a6");
  const { ticks } = await log.readTicks(0, ["ingress"], 1e6);
  assert.equal(ticks.flatMap(({ segments }) => bodiesOf(segments)).length, 10);
  assert.deepEqual(log.stopped(), []);
  assert.deepEqual((await handleAll(log, 0)).at(-1), "a6");
});

Deno.test("a segment repaired while the partition is stopped is handled after all", async () => {
  const content = await filled();
  const log = openMemory(content);
  const whole = content.ticks.get(2)!;
  flipBody(content, 2, "a2");
  assert.deepEqual(await handleAll(log, 0), ["a1"]);
  content.ticks.set(2, whole);
  assert.deepEqual(await log.skipDamage(0, 1), { ok: true, fromOffset: 1, toOffset: 1, lost: 0 });
  assert.deepEqual(await handleAll(log, 0), ["a2", "a3", "a4", "a5"]);
  assertBalanced(log);
});

Deno.test("setting aside keeps damaged bytes as they are", async () => {
  const content = await filled();
  flipBody(content, 2, "a2");
  const log = openMemory(content);
  for (const partition of [0, 1]) await handleAll(log, partition);
  const before = await log.peekPending(0, 1, 1);
  assert.ok(before.records[0]!.damage !== undefined);
  await trimAll(log);
  assert.deepEqual([...content.ticks.keys()], [2, 3, 4, 5]);
  assert.deepEqual(await log.peekPending(0, 1, 1), before);
  const again = openMemory(content);
  assert.match((await again.pending(0, 1, WHOLE)).corrupt!, /checksum/);
  assert.deepEqual(await pendingBodies(again, 1), []);
});

Deno.test("a log of the version before stops were stored is opened", async () => {
  const content = await filled();
  const bytes = encodeMeta(decodeMeta(content.meta!));
  const older = bytes.slice(0, -1); // The number of stops stands last, as one byte.
  older[4] = 1;
  new DataView(older.buffer).setUint32(0, crc32(older.subarray(4)), true);
  content.meta = older;
  const log = openMemory(content);
  assert.deepEqual(log.stopped(), []);
  assert.deepEqual(await pendingBodies(log, 0), ["a1", "a2", "a3", "a4", "a5"]);
  older[4] = 3;
  new DataView(older.buffer).setUint32(0, crc32(older.subarray(4)), true);
  assert.throws(() => decodeMeta(older), /version is 3, of 1 to 2/);
});
