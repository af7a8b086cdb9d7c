/** Backup and restore of the real process: made under load, restored elsewhere. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { DatabaseSync } from "node:sqlite";
import { readAcknowledged } from "../bench/load/acknowledged.ts";
import { type DeviceLogin, writeDevices } from "../bench/load/options.ts";
import { startLoad } from "../bench/load/start_load.ts";
import { SEQUENCE, SEQUENCE_MIN } from "../bench/load/payload.ts";
import { assertExactlyOnce, untilHandled } from "../chaos/verify.ts";
import { systemClock } from "../../runtime/clock.ts";
import { decodeMeta } from "../../runtime/log/tick_meta.ts";
import { BACKUP_FOLDER } from "../../runtime/store/work_folder.ts";
import { linesOf, type RunningProcess, startProcess } from "../support/process.ts";
import { OWNER_PASSWORD, startRoost, type TestRoost } from "../support/roost.ts";
import { RoostApi } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";

const ENTRY = fileURLToPath(new URL("../../deploy/backup/main.ts", import.meta.url));
const CONFIG = new URL("../../deno.json", import.meta.url);
const PASSPHRASE = "a passphrase of this test";
const DEVICES = 20;
const ACKNOWLEDGED_MIN = 3_000;
/** Above all that the load sends. */
const AFTER_RESTORE = SEQUENCE_MIN * 50;
const LOAD_MS_MAX = 120_000;

interface Ended {
  readonly code: number;
  readonly text: string;
}

/** With the permissions of the tasks. */
async function run(
  args: readonly string[],
  dataDir: string,
  env: Readonly<Record<string, string>> = { ROOST__BACKUP__PASSPHRASE: PASSPHRASE },
): Promise<Ended> {
  await using running = begin(args, dataDir, env);
  let text = "";
  for await (const line of linesOf(running.stdout)) text += `${line}\n`;
  const { code } = await running.ended;
  return { code, text: text + running.stderrText() };
}

function begin(
  args: readonly string[],
  dataDir: string,
  env: Readonly<Record<string, string>> = { ROOST__BACKUP__PASSPHRASE: PASSPHRASE },
): RunningProcess {
  const task: string = JSON.parse(Deno.readTextFileSync(CONFIG)).tasks.backup;
  const flags = task.split(" ").filter((word) => word.startsWith("--"));
  return startProcess(Deno.execPath(), ["run", ...flags, ENTRY, ...args], {
    env: { ROOST__DATA__DIR: dataDir, ...env },
  });
}

function tempFolder(): { readonly path: string } & Disposable {
  const path = Deno.makeTempDirSync({ prefix: "roost-backup-" });
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

async function refused(args: readonly string[], dataDir: string, why: RegExp): Promise<void> {
  const { code, text } = await run(args, dataDir);
  assert.equal(code, 1, text);
  assert.match(text, why);
}

/** Backs up in the middle of a load; returns what was acknowledged before it began. */
async function backUpUnderLoad(
  roost: TestRoost,
  devices: readonly DeviceLogin[],
  folder: string,
): Promise<number[][]> {
  writeDevices(`${folder}/devices`, devices);
  const acknowledgedFile = `${folder}/acknowledged`;
  await using load = startLoad({
    wire: "mqtt",
    host: "127.0.0.1",
    port: roost.mqttPort,
    devicesFile: `${folder}/devices`,
    inFlight: 4,
    ratePerSecond: 2_000,
    durationMs: LOAD_MS_MAX,
    firstSequence: SEQUENCE_MIN,
    acknowledgedFile,
    isReconnecting: true,
  });
  await load.connected;
  const counted = () => [...readAcknowledged(acknowledgedFile)];
  await waitFor(() => fileSize(acknowledgedFile) > 0 && counted().length >= ACKNOWLEDGED_MIN, {
    what: "enough acknowledged messages",
    withinMs: 30_000,
  });
  const before = counted();
  const { code, text } = await run(["backup", `${folder}/roost.backup`], roost.dataDir);
  assert.equal(code, 0, text);
  assert(counted().length > before.length, "the load went on while the backup was made");
  await roost.kill();
  const acknowledged = devices.map((): number[] => []);
  for (const { device, sequence } of before) acknowledged[device]!.push(sequence);
  return acknowledged;
}

function fileSize(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return 0;
    throw fault;
  }
}

Deno.test("a backup made under load is restored elsewhere, whole and without doubles", async () => {
  using folder = tempFolder();
  const file = `${folder.path}/roost.backup`;
  const startedMs = systemClock.nowMs();
  await using roost = await startRoost();
  const api = await (await roost.api()).asProgram(4);
  await api.createProduct({ key: "chaos" });
  const devices = await api.createDevices("chaos", DEVICES);
  const acknowledged = await backUpUnderLoad(roost, devices, folder.path);
  assert.equal(Deno.statSync(file).mode! & 0o777, 0o600);
  assert.deepEqual(
    [...Deno.readDirSync(roost.dataDir)].filter(({ name }) => name.includes("backup")),
    [],
    "copies are gone",
  );

  const target = `${folder.path}/restored`;
  const restored = await run(["restore", file], target);
  assert.equal(restored.code, 0, restored.text);
  const epoch = epochOf(target);
  await refused(["restore", file], target, /not empty.*log\.db|not empty/);
  await using elsewhere = await startRoost({ dataDir: target });
  const again = api.at(elsewhere.urls.http);
  const ledger = await untilHandled(again);
  assert.equal(ledger.total.rolledBack, 0);
  await RoostApi.login(elsewhere.urls.http, "owner", OWNER_PASSWORD);
  for (const [at, device] of devices.entries()) {
    const claim = { device, acknowledged: acknowledged[at]! };
    await assertExactlyOnce(again, claim, startedMs);
    // What comes now is fresh to actors and stores alike.
    await report(elsewhere, device, AFTER_RESTORE);
    claim.acknowledged.push(AFTER_RESTORE);
    await assertExactlyOnce(again, claim, startedMs);
  }
  await untilHandled(again);
  await elsewhere.kill();
  assert.equal(epochOf(target), epoch + 1, "the restored log is noticed");
});

async function report(
  roost: TestRoost,
  { product, device, secret }: DeviceLogin,
  sequence: number,
): Promise<void> {
  const answer = await fetch(`${roost.urls.http}/ingest/v1/${product}/${device}/properties`, {
    method: "POST",
    headers: {
      authorization: `Basic ${btoa(`${product}/${device}:${secret}`)}`,
      "content-type": "application/json",
    },
    body: JSON.stringify({ [SEQUENCE]: sequence }),
  });
  assert.equal(answer.status, 202, await answer.text());
}

function epochOf(dataDir: string): number {
  using db = new DatabaseSync(`${dataDir}/log.db`, { readOnly: true });
  const row = db.prepare("SELECT value FROM meta WHERE id = 1").get()!;
  return decodeMeta(row["value"] as Uint8Array).epoch;
}

Deno.test("a restore verifies first, writes into an empty directory only, and is whole", async () => {
  using folder = tempFolder();
  const file = `${folder.path}/roost.backup`;
  const target = `${folder.path}/restored`;
  await using roost = await startRoost();
  await (await roost.api()).createProduct({ key: "pump" });
  await refused(["backup"], roost.dataDir, /Use: deno task backup FILE/);
  assert.match((await run(["backup", file], roost.dataDir, {})).text, /set ROOST__BACKUP__PASS/);
  await refused(["backup", file], folder.path, /there is no telemetry\.db in it/);
  await roost.kill();
  const made = await run(["backup", file], roost.dataDir);
  assert.equal(made.code, 0, made.text);
  await refused(["backup", file], roost.dataDir, /it exists/);
  const whole = await run(["restore", "--verify", file], target);
  assert.match(whole.text, /^Whole: of node-1, /);
  assert.equal(made.text.match(/sha256 (\w+)/)?.[1], whole.text.match(/sha256 (\w+)/)?.[1]);

  const bytes = Deno.readFileSync(file);
  const master = Deno.readTextFileSync(`${roost.dataDir}/master.key`).split("\n")[1]!;
  assert(!new TextDecoder("latin1").decode(bytes).includes(master), "the master key is sealed");
  const damaged = `${folder.path}/damaged.backup`;
  bytes[bytes.length >> 1]! ^= 1;
  Deno.writeFileSync(damaged, bytes);
  await refused(["restore", damaged], target, /its chunk \d+ is damaged: it was changed/);
  bytes[bytes.length >> 1]! ^= 1;
  Deno.writeFileSync(damaged, bytes.subarray(0, bytes.length - 1));
  await refused(["restore", damaged], target, /is damaged: it ends too early/);
  const other = { ROOST__BACKUP__PASSPHRASE: "another passphrase" };
  assert.match((await run(["restore", file], target, other)).text, /another passphrase or key/);
  assert.throws(() => Deno.statSync(target), Deno.errors.NotFound, "nothing was written");

  Deno.mkdirSync(target);
  Deno.writeTextFileSync(`${target}/mine`, "kept");
  await refused(["restore", file], target, /it is not empty, it has mine/);
  assert.deepEqual([...Deno.readDirSync(target)].map(({ name }) => name).sort(), ["lock", "mine"]);
  Deno.renameSync(`${target}/mine`, `${target}/restore.unfinished`);
  await refused(["restore", file], target, /a restore into it was not finished/);
  await assert.rejects(startRoost({ dataDir: target }), /a restore into it was not finished/);
  await refused(["restore", file], roost.dataDir, /not empty/);
});

function has(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return false;
    throw fault;
  }
}

Deno.test("a backup that is ended early leaves nothing, and what a killed one left goes at a start", async () => {
  using folder = tempFolder();
  const file = `${folder.path}/roost.backup`;
  await using roost = await startRoost();
  const copies = `${roost.dataDir}/${BACKUP_FOLDER}`;
  const beginWriting = async () => {
    const running = begin(["backup", file], roost.dataDir);
    await waitFor(() => has(`${file}.partial`), { what: "the file to begin", withinMs: 20_000 });
    return running;
  };
  {
    await using ended = await beginWriting();
    ended.signal("SIGTERM");
    assert.equal((await ended.ended).code, 130, ended.stderrText());
  }
  assert.ok(!has(copies), "its copies are gone");
  assert.deepEqual([...Deno.readDirSync(folder.path)], [], "and what it wrote");

  {
    await using killed = await beginWriting();
    killed.signal("SIGKILL");
    await killed.ended;
  }
  assert.ok(has(copies), "nobody could remove them");
  await roost.restart();
  assert.ok(!has(copies), "the start did");
  assert.match(roost.stderrText, /left over folders removed/);
  const { code, text } = await run(["backup", file], roost.dataDir);
  assert.equal(code, 0, text);
});
