/** The doctor as a person runs it, on hosts and data that are broken on purpose. */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { freePort } from "../../test/support/free_port.ts";
import { linesOf, startProcess } from "../../test/support/process.ts";
import { startRoost } from "../../test/support/roost.ts";
import { mountRefusal, SmallDisk } from "../../test/support/small_disk.ts";
import { waitFor } from "../../test/support/wait.ts";
import { DOCTOR_PREFIX } from "../../runtime/store/work_folder.ts";
import type { Finding } from "./finding.ts";

const ENTRY = fileURLToPath(new URL("main.ts", import.meta.url));
const MIB = 1024 * 1024;
const noDisk = await mountRefusal();
if (noDisk !== undefined) {
  const line = `doctor on a full disk: SKIPPED, a tmpfs cannot be mounted (${noDisk})\n`;
  Deno.stderr.writeSync(new TextEncoder().encode(line));
}

interface Outcome {
  readonly code: number;
  readonly findings: readonly Finding[];
  readonly measures?: Readonly<Record<string, number>>;
}

interface DoctorRun {
  readonly env?: Readonly<Record<string, string>>;
  readonly wrapper?: readonly string[];
  readonly args?: readonly string[];
}

/** `--json --quick` unless told otherwise. */
async function doctor({ env = {}, wrapper = [], args = ["--quick"] }: DoctorRun): Promise<Outcome> {
  const words = [...wrapper, Deno.execPath(), "run", "-A", "--cached-only", ENTRY, "--json"];
  const [command, ...rest] = [...words, ...args];
  await using running = startProcess(command!, rest, {
    env: {
      ROOST__HTTP__PORT: String(freePort()),
      ROOST__MQTT__PORT: String(freePort()),
      ...env,
    },
  });
  let text = "";
  for await (const line of linesOf(running.stdout)) text += `${line}\n`;
  const { code } = await running.ended;
  assert(text !== "", running.stderrText());
  const report = JSON.parse(text);
  assert.equal(report.exitCode, code);
  for (const { level, fix } of report.findings as Finding[]) {
    assert.equal(fix === undefined, level === "ok", "what is not fine has a fix");
  }
  return { code, findings: report.findings, measures: report.measures };
}

function levelOf({ findings }: Outcome, check: string): string | undefined {
  return findings.find((finding) => finding.check === check)?.level;
}

function foundOf({ findings }: Outcome, check: string): string {
  return findings.find((finding) => finding.check === check)?.found ?? "";
}

function faultsOf({ findings }: Outcome): string[] {
  return findings.filter(({ level }) => level === "fault").map(({ check }) => check);
}

function namesIn(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name);
}

function tempData(): { readonly path: string } & Disposable {
  const path = Deno.makeTempDirSync({ prefix: "roost-doctor-" });
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

Deno.test("the doctor measures an empty host, finds no fault and leaves nothing behind", async () => {
  using data = tempData();
  const outcome = await doctor({ env: { ROOST__DATA__DIR: data.path }, args: [] });
  assert.deepEqual(faultsOf(outcome), []);
  assert(outcome.code < 2);
  const rates = Object.values(outcome.measures ?? {});
  assert.equal(rates.length, 3);
  assert(rates.every((rate) => rate > 0), JSON.stringify(outcome.measures));
  assert.deepEqual([...Deno.readDirSync(data.path)], []);
});

Deno.test("the doctor examines the data of a running node and does not disturb it", async () => {
  await using roost = await startRoost();
  const env = {
    ROOST__DATA__DIR: roost.dataDir,
    ROOST__HTTP__PORT: String(roost.httpPort),
    ROOST__MQTT__PORT: String(roost.mqttPort),
  };
  const outcome = await doctor({ env });
  assert.deepEqual(faultsOf(outcome), []);
  assert.match(foundOf(outcome, "port http.port"), /held by the running Roost/);
  assert.match(foundOf(outcome, "port mqtt.port"), new RegExp(String(roost.pid)));
  for (const file of ["log.db", "registry.db", "telemetry.db", "views.db"]) {
    assert.match(foundOf(outcome, `database ${file}`), /whole/);
  }
  assert.match(foundOf(outcome, "master key"), /read from/);
  const api = await roost.api();
  await api.createProduct({ key: "pump", name: "Pump", mode: "open" });

  await roost.kill();
  Deno.renameSync(`${roost.dataDir}/master.key`, `${roost.dataDir}/away.key`);
  assert.deepEqual(faultsOf(await doctor({ env })), ["master key"]);
  Deno.writeTextFileSync(`${roost.dataDir}/master.key`, "A".repeat(43) + "\n");
  assert.deepEqual(faultsOf(await doctor({ env })), ["master key"], "another key");
  Deno.renameSync(`${roost.dataDir}/away.key`, `${roost.dataDir}/master.key`);
  Deno.chmodSync(`${roost.dataDir}/master.key`, 0o644);
  assert.equal(levelOf(await doctor({ env }), "master key"), "warning");
  await roost.start();
});

Deno.test("the doctor finds a port that another process has", async () => {
  using data = tempData();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: freePort() });
  const port = String(listener.addr.port);
  const outcome = await doctor({
    env: { ROOST__DATA__DIR: data.path, ROOST__MQTT__PORT: port },
  });
  assert.equal(outcome.code, 2);
  assert.deepEqual(faultsOf(outcome), ["port mqtt.port"]);
  assert.match(foundOf(outcome, "port mqtt.port"), new RegExp(`^${port} is in use`));
});

Deno.test("the doctor finds a wrong configuration in the words of a start", async () => {
  const outcome = await doctor({ env: { ROOST__HTTP__PORT: "70000", ROOST__HTPP__PORT: "1" } });
  assert.equal(outcome.code, 2);
  assert.deepEqual(faultsOf(outcome), ["configuration"]);
  const found = foundOf(outcome, "configuration");
  assert.match(found, /ROOST__HTTP__PORT 70000: it must be 0 to 65535/);
  assert.match(found, /Unknown setting ROOST__HTPP__PORT/);
});

Deno.test("the doctor finds a database that is damaged, and one that is none", async () => {
  using data = tempData();
  const path = `${data.path}/telemetry.db`;
  {
    using db = new DatabaseSync(path);
    db.exec("CREATE TABLE a (id INTEGER PRIMARY KEY, value TEXT); CREATE INDEX b ON a (value)");
    const insert = db.prepare("INSERT INTO a (value) VALUES (?)");
    db.exec("BEGIN");
    for (let row = 0; row < 5_000; row++) insert.run(`value ${row % 77}`);
    db.exec("COMMIT");
  }
  const bytes = Deno.readFileSync(path);
  bytes.fill(0xff, bytes.length >> 1, (bytes.length >> 1) + 8_192);
  Deno.writeFileSync(path, bytes);
  Deno.writeTextFileSync(`${data.path}/views.db`, "no database at all ".repeat(500));
  const outcome = await doctor({ env: { ROOST__DATA__DIR: data.path } });
  assert.equal(outcome.code, 2);
  assert.deepEqual(faultsOf(outcome), ["database telemetry.db", "database views.db"]);
});

Deno.test("the doctor finds a clock that is behind the data", async () => {
  using data = tempData();
  {
    using _ = new DatabaseSync(`${data.path}/views.db`);
  }
  Deno.writeFileSync(`${data.path}/views.db`, new Uint8Array());
  const year = 365 * 86_400;
  const aheadSeconds = Math.floor(Deno.statSync(data.path).mtime!.getTime() / 1_000) + year;
  Deno.utimeSync(`${data.path}/views.db`, aheadSeconds, aheadSeconds);
  assert.deepEqual(faultsOf(await doctor({ env: { ROOST__DATA__DIR: data.path } })), ["clock"]);
});

Deno.test("arguments that the doctor does not know are answered with those that it does", async () => {
  for (const args of [["--help"], ["--json", "--quik"], ["--demo"], ["data"]]) {
    const words = ["run", "-A", "--cached-only", ENTRY, ...args];
    await using running = startProcess(Deno.execPath(), words);
    const printed = await Array.fromAsync(linesOf(running.stdout));
    assert.deepEqual([(await running.ended).code, printed], [2, []]);
    assert.match(running.stderrText(), /^Use: deno task doctor \[--json\] \[--quick\]/);
  }
});

Deno.test("the doctor finds what a killed backup left, and leaves nothing when it is ended", async () => {
  using data = tempData();
  const env = { ROOST__DATA__DIR: data.path };
  Deno.mkdirSync(`${data.path}/backup.tmp`);
  Deno.writeTextFileSync(`${data.path}/backup.tmp/log.db`, "a copy");
  const outcome = await doctor({ env });
  assert.equal(levelOf(outcome, "left over"), "warning");
  assert.match(foundOf(outcome, "left over"), /^backup\.tmp/);
  Deno.removeSync(`${data.path}/backup.tmp`, { recursive: true });
  assert.equal(levelOf(await doctor({ env }), "left over"), "ok");

  await using ended = startProcess(Deno.execPath(), ["run", "-A", "--cached-only", ENTRY], { env });
  const isMeasuring = () =>
    namesIn(data.path).some((name) =>
      name.startsWith(DOCTOR_PREFIX) && namesIn(`${data.path}/${name}`).includes("log.db")
    );
  await waitFor(isMeasuring, { what: "the measures to begin", withinMs: 20_000 });
  ended.signal("SIGINT");
  assert.equal((await ended.ended).code, 130, ended.stderrText());
  assert.deepEqual(namesIn(data.path), []);
});

Deno.test("the doctor finds data that are no directory", async () => {
  using data = tempData();
  const path = `${data.path}/file`;
  Deno.writeTextFileSync(path, "");
  const outcome = await doctor({ env: { ROOST__DATA__DIR: path } });
  assert.deepEqual(faultsOf(outcome), ["owner of the data"]);
});

Deno.test({
  name: "the doctor finds data of another user, and opens nothing of them",
  ignore: Deno.uid() !== 0, // Giving a directory away takes root.
  fn: async () => {
    using data = tempData();
    {
      using _ = new DatabaseSync(`${data.path}/views.db`);
    }
    Deno.chownSync(data.path, 65_534, 65_534);
    const outcome = await doctor({ env: { ROOST__DATA__DIR: data.path } });
    assert.deepEqual(faultsOf(outcome), ["owner of the data"]);
    assert.equal(levelOf(outcome, "database views.db"), undefined);
  },
});

Deno.test({
  name: "the doctor finds a disk below its reserve, and measures nothing on it",
  ignore: noDisk !== undefined,
  fn: async () => {
    await using disk = await SmallDisk.mount(32 * MIB);
    const outcome = await doctor({ env: { ROOST__DATA__DIR: disk.path }, args: [] });
    assert.equal(outcome.code, 2);
    assert(faultsOf(outcome).includes("disk space"));
    assert.match(foundOf(outcome, "measures"), /no room/);
    assert.deepEqual([...Deno.readDirSync(disk.path)], []);
  },
});

Deno.test({
  name: "the doctor finds a low limit of descriptors",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    using data = tempData();
    const outcome = await doctor({
      env: { ROOST__DATA__DIR: data.path },
      wrapper: ["prlimit", "--nofile=256:256"],
    });
    assert.equal(outcome.code, 2);
    assert.deepEqual(faultsOf(outcome), ["file descriptors"]);
    assert.match(foundOf(outcome, "file descriptors"), /at most 256 .* 128 connections/);
  },
});
