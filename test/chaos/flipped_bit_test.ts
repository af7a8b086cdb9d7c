/**
 * Damage to the log's file while the product is down. A flipped bit in a record stops the partition
 * of that record, and nothing else; a lost tail is found by the head file and counted.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { DatabaseSync } from "node:sqlite";
import { partitionOfActor } from "../../actors/behaviours.ts";
import { systemClock } from "../../runtime/clock.ts";
import { memoryOfTree } from "../support/process_tree.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import { isBalanced, type LedgerView, type RoostApi } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";
import { assertBalanced } from "./verify.ts";

const DEVICES = 8;
/** Ten digits that stand nowhere else in the file; with the last bit flipped still a number. */
const MARKED = 7777777777;
const HANDLED_MS = 20_000;

interface DamagedLedger extends LedgerView {
  readonly epoch: number;
  readonly partitions: readonly (LedgerView["partitions"][number] & { corrupt?: string })[];
}

Deno.test("a flipped bit stops the partition of its record, says so, and nothing else", async () => {
  await using roost = await startRoost();
  const names = await provision(roost, DEVICES);
  const marked = names[0]!;
  const partition = partitionOfActor(`device/p/${marked}`);
  const others = names.filter((name) => partitionOfActor(`device/p/${name}`) !== partition);
  assert.ok(others.length > 0, "all devices are in one partition");

  const engine = memoryOfTree(roost.pid).processes
    .find(({ command }) => command.endsWith("engine_main.ts"))!;
  Deno.kill(engine.pid, "SIGSTOP"); // What is accepted from here on stays pending.
  for (const name of names) await send(roost, name, [name === marked ? MARKED : 1]);
  const killed = roost.kill();
  Deno.kill(engine.pid, "SIGKILL"); // A stopped process does not see that its parent is gone.
  await killed;
  flipBit(roost.dataDir, String(MARKED));
  for (const end of ["", "-wal", "-shm"]) { // History is read from the log again, damage included.
    Deno.removeSync(`${roost.dataDir}/telemetry.db${end}`);
  }

  await roost.start();
  const api = await roost.api();
  const stopped = await waitFor(async () => {
    const ledger = await ledgerOf(api);
    assertBalanced(ledger);
    const isDrained = ledger.partitions.every((own) =>
      own.pending === 0 || own.partition === partition
    );
    return isDrained && ledger.partitions[partition]!.corrupt !== undefined ? ledger : undefined;
  }, { what: "the partition to be stopped and the others to be drained", withinMs: HANDLED_MS });
  assert.match(stopped.partitions[partition]!.corrupt!, /does not match its checksum/);
  assert.equal(stopped.partitions.filter((own) => own.corrupt !== undefined).length, 1);
  assert.ok(stopped.partitions[partition]!.pending >= 1);
  assert.equal(stopped.epoch, 1);
  assert.match(roost.stderrText, /log fault.*corrupt/);
  assert.match(await api.metrics(), /^roost_ledger_corrupt_partitions 1$/m);

  for (const name of names) await send(roost, name, [2]); // PUBACKs go on, also of that partition.
  for (const name of others) {
    assert.deepEqual(await history(api, name, 2), [1, 2], name);
    await waitFor(async () => (await api.properties("p", name)).seq?.value === 2, {
      what: `the last value of ${name}`,
      withinMs: HANDLED_MS,
    });
  }
  assert.deepEqual(await history(api, marked, 1), [2], "nothing is invented");
  assert.deepEqual(await api.properties("p", marked), {});
  const after = await ledgerOf(api);
  assertBalanced(after);
  assert.ok(after.partitions[partition]!.pending > stopped.partitions[partition]!.pending);
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

/** In the last byte of `text`, which stands once in the file. The WAL is moved into it before. */
function flipBit(dataDir: string, text: string): void {
  const path = `${dataDir}/log.db`;
  const database = new DatabaseSync(path);
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  database.close();
  const bytes = Buffer.from(Deno.readFileSync(path));
  const at = bytes.indexOf(text);
  assert.ok(at >= 0 && bytes.indexOf(text, at + 1) < 0, "the text stands in the file once");
  bytes[at + text.length - 1]! ^= 1;
  Deno.writeFileSync(path, bytes);
}
