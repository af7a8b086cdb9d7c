/**
 * Damage to the log's file while the product is down. A flipped bit in a record stops the partition
 * of that record, and nothing else, until an operator skips it; a lost tail is found by the head file
 * and counted.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { DatabaseSync } from "node:sqlite";
import { partitionOfActor } from "../../actors/behaviours.ts";
import { systemClock } from "../../runtime/clock.ts";
import { basic } from "../support/http_harness.ts";
import { memoryOfTree } from "../support/process_tree.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import { isBalanced, type LedgerView, type RoostApi } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";
import { assertBalanced, untilHandled } from "./verify.ts";

const DEVICES = 8;
/** Ten digits that stand nowhere else in the file; with the last bit flipped still a number. */
const MARKED = 7777777777;
const HANDLED_MS = 20_000;

interface DamagedLedger extends LedgerView {
  readonly epoch: number;
  readonly partitions: readonly (LedgerView["partitions"][number] & {
    corrupt?: string;
    corruptOffset?: number;
  })[];
}

/** Bytes of the log that the others write while one partition is stopped. */
const FLOOD_BYTES = 4 * 1024 * 1024;
const PADDING = "x".repeat(8_000);

Deno.test("a flipped bit stops one partition, which an operator puts back into service", async () => {
  await using roost = await startRoost();
  const names = await provision(roost, DEVICES);
  const marked = names[0]!;
  const partition = partitionOfActor(`device/p/${marked}`);
  const others = names.filter((name) => partitionOfActor(`device/p/${name}`) !== partition);
  assert.ok(others.length > 0, "all devices are in one partition");
  await damageOne(roost, names, marked);

  await roost.start();
  let api = await roost.api();
  const stopped = await untilStopped(api, partition);
  const { corrupt, corruptOffset } = stopped.partitions[partition]!;
  assert.match(corrupt!, /does not match its checksum/);
  assert.equal(stopped.partitions.filter((own) => own.corrupt !== undefined).length, 1);
  assert.equal(stopped.epoch, 1);
  assert.match(roost.stderrText, /log fault.*corrupt/);
  assert.match(await api.metrics(), /^roost_ledger_corrupt_partitions 1$/m);

  await assertRefused(roost, marked, 2);
  await othersGoOn(roost, api, others);
  await untilTrimmed(api);
  const before = await ledgerOf(api);
  assert.ok(before.refused["partition_stopped"]! >= 3, JSON.stringify(before.refused));
  assert.match(await api.metrics(), /^roost_refused_messages{reason="partition_stopped"} [3-9]/m);
  assert.equal(before.partitions[partition]!.pending, stopped.partitions[partition]!.pending);
  assert.deepEqual(await api.properties("p", marked), {});

  await roost.restart();
  api = await roost.api();
  const after = await ledgerOf(api);
  assertBalanced(after);
  assert.deepEqual(after.partitions[partition], before.partitions[partition]);
  await assertRefused(roost, marked, 3);

  const waiting = await pendingOf(api, partition);
  assert.equal(waiting[0]!.offset, corruptOffset);
  assert.ok(waiting[0]!.damage !== null && waiting.slice(1).every(({ damage }) => damage === null));
  await assertSkipRefused(api, partition, corruptOffset! + 1, /it is stopped at offset/);
  const elsewhere = partitionOfActor(`device/p/${others[0]}`);
  await assertSkipRefused(api, elsewhere, 0, /it is not stopped/);
  const skipped = await api.request<{ lost: number }>("POST", skipPath(partition), {
    offset: corruptOffset,
  });
  assert.equal(skipped.lost, waiting[0]!.count);
  await assertSkipRefused(api, partition, corruptOffset!, /it is not stopped/);
  assert.match(roost.stderrText, /damaged records skipped by request/);

  const { total, partitions } = await untilHandled(api);
  assert.equal(total.rolledBack, skipped.lost);
  assert.equal(partitions[partition]!.rolledBack, skipped.lost);
  const values = await api.properties("p", marked);
  assert.equal(values["seq"]?.value, 30, "what waited behind the damage was handled, in order");
  await send(roost, marked, [31]);
  await waitFor(async () => (await api.properties("p", marked)).seq?.value === 31, {
    what: `the last value of ${marked}`,
    withinMs: HANDLED_MS,
  });
  assert.deepEqual(await history(api, marked, 4), [10, 20, 30, 31], "nothing is invented");
  assert.equal((await ledgerOf(api)).partitions[partition]!.corrupt, undefined);
});

Deno.test("a lost tail of the log raises the epoch, is counted, and is not built upon", async () => {
  await using roost = await startRoost();
  const names = await provision(roost, 2);
  let api = await roost.api();
  const sent = Array.from({ length: 20 }, (_, i) => i + 1);
  for (const value of sent) {
    for (const name of names) await send(roost, name, [value]);
  }
  for (const name of names) assert.deepEqual(await history(api, name, sent.length), sent);
  const before = await ledgerOf(api);
  assert.equal(before.epoch, 1);
  await roost.kill();
  const wal = `${roost.dataDir}/log.db-wal`;
  const { size } = Deno.statSync(wal);
  Deno.truncateSync(wal, Math.floor(size * 0.6));

  await roost.start();
  api = await roost.api();
  const ledger = await ledgerOf(api);
  assertBalanced(ledger);
  assert.equal(ledger.epoch, 2);
  assert.ok(ledger.total.rolledBack > 0, JSON.stringify(ledger.total));
  assert.ok(ledger.total.accepted >= before.total.accepted, "accepted as it was promised");
  assert.deepEqual(ledger.partitions.filter((own) => own.corrupt !== undefined), []);
  assert.match(roost.stderrText, /log fault.*rolled_back/);

  const fresh = [101, 102, 103];
  for (const name of names) {
    using peer = await RawMqtt.open(roost.mqttPort);
    await peer.login(name);
    let status = "";
    await waitFor(async () => (status = (await api.device("p", name)).status) === "online", {
      what: `${name} to be online`,
      withinMs: HANDLED_MS,
      actual: () => status,
    });
    await publishAll(peer, name, fresh);
    const points = await history(api, name, sent.length + fresh.length);
    assert.deepEqual(points, [...sent, ...fresh], "telemetry had what the log lost");
    await waitFor(async () => (await api.properties("p", name)).seq?.value === 103, {
      what: `the last value of ${name}`,
      withinMs: HANDLED_MS,
    });
  }
  const total = (await ledgerOf(api)).total;
  assert.ok(isBalanced(total), JSON.stringify(total));
  assert.equal(total.rolledBack, ledger.total.rolledBack);
});

/** Everything of `marked` is pending: the damaged message, and three behind it. */
async function damageOne(roost: TestRoost, names: string[], marked: string): Promise<void> {
  const engine = memoryOfTree(roost.pid).processes
    .find(({ command }) => command.endsWith("engine_main.ts"))!;
  Deno.kill(engine.pid, "SIGSTOP"); // What is accepted from here on stays pending.
  for (const name of names) await send(roost, name, [name === marked ? MARKED : 1]);
  await send(roost, marked, [10, 20, 30]);
  const killed = roost.kill();
  Deno.kill(engine.pid, "SIGKILL"); // A stopped process does not see that its parent is gone.
  await killed;
  flipBit(roost.dataDir, String(MARKED));
  for (const end of ["", "-wal", "-shm"]) { // History is read from the log again, damage included.
    Deno.removeSync(`${roost.dataDir}/telemetry.db${end}`);
  }
}

/** The partition is stopped, and the others have nothing left to do. */
function untilStopped(api: RoostApi, partition: number): Promise<DamagedLedger> {
  return waitFor(async () => {
    const ledger = await ledgerOf(api);
    assertBalanced(ledger);
    const isDrained = ledger.partitions.every((own) =>
      own.pending === 0 || own.partition === partition
    );
    return isDrained && ledger.partitions[partition]!.corrupt !== undefined ? ledger : undefined;
  }, { what: "the partition to be stopped and the others to be drained", withinMs: HANDLED_MS });
}

/** On both wires its device is told to keep its message: no acknowledgement, 503. */
async function assertRefused(roost: TestRoost, name: string, value: number): Promise<void> {
  const api = await roost.api();
  const before = (await ledgerOf(api)).refused["partition_stopped"] ?? 0;
  using peer = await RawMqtt.open(roost.mqttPort);
  peer.send(peer.connectPacket(name));
  peer.sendBytes(peer.publish(`v1/p/${name}/properties`, `{"seq": ${value}}`, 1, 1));
  await waitFor(async () => (await ledgerOf(api)).refused["partition_stopped"] === before + 1, {
    what: "the login to be counted as refused",
    withinMs: HANDLED_MS,
  });
  assert.deepEqual(peer.packets, []);
  const response = await fetch(`${roost.urls.http}/ingest/v1/p/${name}/properties`, {
    method: "POST",
    headers: { ...basic(`p/${name}`, `secret-of-${name}`), "content-type": "application/json" },
    body: `{"seq": ${value}}`,
  });
  assert.equal(response.status, 503);
  assert.equal((await response.json()).type, "urn:roost:problem:partition-stopped");
  assert.ok(Number(response.headers.get("retry-after")) > 0);
  const desired = await api.fetch("PATCH", `/api/v1/devices/p/${name}/shadow`, {
    desired: { on: true },
  });
  assert.equal(desired.status, 503);
  assert.match((await desired.json()).detail, /is stopped by damage/);
  const after = await ledgerOf(api);
  assertBalanced(after);
  assert.equal(after.refused["partition_stopped"], before + 3);
}

/** They are acknowledged and handled, and fill the log far beyond what the stopped one needs. */
async function othersGoOn(
  roost: TestRoost,
  api: RoostApi,
  names: readonly string[],
): Promise<void> {
  for (const name of names) {
    await send(roost, name, [2]);
    assert.deepEqual(await history(api, name, 2), [1, 2], name);
  }
  using peer = await RawMqtt.open(roost.mqttPort);
  const name = names[0]!;
  await peer.login(name);
  const body = `{"text": "${PADDING}"}`;
  for (let bytes = 0; bytes < FLOOD_BYTES; bytes += body.length) {
    peer.sendBytes(peer.publish(`v1/p/${name}/properties`, body, 1, 1));
    await peer.next("puback");
  }
  for (const each of names) {
    await waitFor(async () => (await api.properties("p", each)).seq?.value === 2, {
      what: `the last value of ${each}`,
      withinMs: HANDLED_MS,
    });
  }
}

async function untilTrimmed(api: RoostApi): Promise<void> {
  let bytes = Infinity;
  await waitFor(async () => {
    assertBalanced(await ledgerOf(api));
    bytes = Number(/^roost_log_bytes (\d+)$/m.exec(await api.metrics())![1]);
    return bytes < FLOOD_BYTES / 100;
  }, { what: "the log to be trimmed", withinMs: HANDLED_MS, actual: () => bytes });
  assert.ok(bytes > 0, "what the stopped partition needs is kept");
}

async function pendingOf(api: RoostApi, partition: number) {
  const { items } = await api.request<{
    items: { offset: number; count: number; body: string; damage: string | null }[];
  }>("GET", `/api/v1/cluster/partitions/${partition}/pending?limit=500`);
  return items;
}

async function assertSkipRefused(
  api: RoostApi,
  partition: number,
  offset: number,
  detail: RegExp,
): Promise<void> {
  const response = await api.fetch("POST", skipPath(partition), { offset });
  assert.equal(response.status, 409);
  assert.match((await response.json()).detail, detail);
}

function skipPath(partition: number): string {
  return `/api/v1/cluster/partitions/${partition}/skip-damage`;
}

async function provision(roost: TestRoost, count: number): Promise<string[]> {
  const api = await roost.api();
  await api.createProduct({ key: "p" });
  const names = Array.from({ length: count }, (_, i) => `d-${i}`);
  for (const name of names) await api.createDevice("p", name, { secret: `secret-of-${name}` });
  return names;
}

/** Publishes on a connection of its own; resolves when all are acknowledged. */
async function send(roost: TestRoost, name: string, values: readonly number[]): Promise<void> {
  using peer = await RawMqtt.open(roost.mqttPort);
  await peer.login(name);
  await publishAll(peer, name, values);
}

async function publishAll(peer: RawMqtt, name: string, values: readonly number[]): Promise<void> {
  for (const [i, value] of values.entries()) {
    peer.sendBytes(peer.publish(`v1/p/${name}/properties`, `{"seq": ${value}}`, 1, i + 1));
    assert.equal((await peer.next("puback")).messageId, i + 1);
  }
}

/** Values in history once there are at least so many. */
async function history(api: RoostApi, name: string, count: number): Promise<number[]> {
  const toMs = systemClock.nowMs() + 60_000;
  let found: number[] = [];
  await waitFor(async () => {
    const points = await api.history("p", name, "seq", { fromMs: toMs - 600_000, toMs });
    found = points.map((point) => point[1] as number);
    return found.length >= count;
  }, { what: `${count} points of ${name}`, withinMs: HANDLED_MS, actual: () => found });
  return found;
}

function ledgerOf(api: RoostApi): Promise<DamagedLedger> {
  return api.request("GET", "/api/v1/cluster/ledger");
}

/**
 * In the last byte of `text`, wherever it stands in the file: SQLite leaves old copies in free space.
 * The WAL is moved into the file before.
 */
function flipBit(dataDir: string, text: string): void {
  const path = `${dataDir}/log.db`;
  const database = new DatabaseSync(path);
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  database.close();
  const bytes = Buffer.from(Deno.readFileSync(path));
  let flipped = 0;
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) {
    bytes[at + text.length - 1]! ^= 1;
    flipped++;
  }
  assert.ok(flipped > 0, "the text stands in the file");
  Deno.writeFileSync(path, bytes);
}
