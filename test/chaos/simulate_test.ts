/**
 * The simulator against the real process, which is killed with SIGKILL and restarted three times: the
 * simulator's report, the ledger and history agree.
 *
 * The long form, whose reports are printed: `deno test -A test/chaos/simulate_test.ts -- --long`.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { renderReport, type SimulateReport } from "../../protocols/simulate/report.ts";
import { linesOf, type RunningProcess, startProcess } from "../support/process.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import { letPass, waitFor, within } from "../support/wait.ts";

const MAIN = fileURLToPath(new URL("../../protocols/simulate/main.ts", import.meta.url));
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const KILLS = 3;
const END_MS = 300_000;
const AT_ONCE_MS = 10_000;
const IS_LONG = Deno.args.includes("--long");

for (const wire of ["mqtt", "http"] as const) {
  Deno.test(`report, ledger and history agree over ${KILLS} kills of the node, ${wire}`, async () => {
    await using roost = await startRoost();
    const key = await keyOf(roost);
    const report = await simulate(roost, [
      ...["--key", key, "--wire", wire, "--verify", "--dropouts", "120", "--keep"],
      ...sizeOf(wire),
    ]);
    if (IS_LONG) Deno.stdout.writeSync(new TextEncoder().encode(`${renderReport(report)}\n`));
    assert.deepEqual(report.verification?.faults, []);
    assert.equal(report.sent, report.acknowledged + report.refusedTotal + report.unanswered);
    assert.equal(report.readings, report.discarded + report.owed + report.acknowledged);
    assert.equal(report.owed, 0, "what was owed is delivered at the end");
    assert.ok(
      report.acknowledged > report.ratePerSecond * 5,
      `${report.acknowledged} acknowledged`,
    );
    assert.ok(report.resent > 0 && report.unanswered > 0, "the kills were felt");
    assert.ok(report.dropouts > 0);
    assert.ok(report.verification!.stored >= report.acknowledged);
    const api = await roost.api();
    const found = await api.request<{ count: number }>(
      "GET",
      `/api/v1/devices?product=${report.product}&count=true`,
    );
    assert.equal(found.count, report.devices, "--keep keeps the devices");
  });
}

Deno.test("the simulator removes what it made, and says what it cannot do", async () => {
  await using roost = await startRoost();
  const key = await keyOf(roost);
  const report = await simulate(roost, ["--key", key, "--devices", "3", "--duration", "1s"], 0);
  assert.equal(report.acknowledged, report.readings);
  const api = await roost.api();
  const gone = await api.fetch("GET", `/api/v1/products/${report.product}`);
  await gone.body?.cancel();
  assert.equal(gone.status, 404);
  await using refused = run(roost, ["--key", "roost_none", "--devices", "3"]);
  for await (const _line of linesOf(refused.stdout)) assert.fail("nothing is reported");
  assert.equal((await refused.ended).code, 2);
  assert.match(refused.stderrText(), /401/);
});

for (const wire of ["mqtt", "http"] as const) {
  Deno.test(`Ctrl-C in the middle reports what was done, and nothing stays, ${wire}`, async () => {
    await using roost = await startRoost();
    const args = ["--key", await keyOf(roost), "--devices", "20", "--rate", "200", "--wire", wire];
    await using simulator = run(roost, [...args, "--duration", "2h", "--verify"]);
    const read = Array.fromAsync(linesOf(simulator.stdout));
    await untilSaid(simulator, / s: 20 of 20 connected/);
    simulator.signal("SIGINT");
    const { code } = await within(simulator.ended, "the end of the simulator", END_MS);
    assert.equal(code, 0, simulator.stderrText());
    const report: SimulateReport = JSON.parse((await read).join(""));
    assert.ok(report.acknowledged > 0);
    assert.equal(report.acknowledged, report.readings);
    assert.deepEqual(report.verification?.faults, []);
    const gone = await (await roost.api()).fetch("GET", `/api/v1/products/${report.product}`);
    await gone.body?.cancel();
    assert.equal(gone.status, 404);
  });
}

Deno.test("Ctrl-C leaves at once where nothing was made, and the second one always does", async () => {
  await using roost = await startRoost();
  const args = ["--key", await keyOf(roost), "--devices", "3", "--duration", "2h"];
  await using simulator = run(roost, args);
  await untilSaid(simulator, / s: 3 of 3 connected/);
  await roost.kill();
  simulator.signal("SIGINT");
  await untilSaid(simulator, /Ending in order/);
  simulator.signal("SIGINT");
  const { code } = await within(simulator.ended, "the end at once", AT_ONCE_MS);
  assert.equal(code, 130);
  assert.match(simulator.stderrText(), /Product sim-\w+ and its devices may be there still/);

  await using early = run(roost, args);
  await untilSaid(early, /Waiting for the node at http/);
  early.signal("SIGINT");
  assert.equal((await within(early.ended, "the end at once", AT_ONCE_MS)).code, 130);
});

async function untilSaid(simulator: RunningProcess, what: RegExp): Promise<void> {
  await waitFor(() => simulator.hasEnded || what.test(simulator.stderrText()), {
    what: String(what),
    withinMs: 30_000,
    actual: () => simulator.stderrText().slice(-500),
  });
  assert.ok(!simulator.hasEnded, `ended early: ${simulator.stderrText()}`);
}

function sizeOf(wire: "mqtt" | "http"): string[] {
  const [devices, rate, duration] = wire === "mqtt"
    ? IS_LONG ? ["1000", "10000", "60s"] : ["200", "2000", "20s"]
    : IS_LONG
    ? ["500", "2000", "60s"]
    : ["100", "500", "15s"];
  return ["--devices", devices!, "--rate", rate!, "--duration", duration!];
}

async function keyOf(roost: TestRoost): Promise<string> {
  const scopes = "products:write devices:read devices:write jobs:read cluster:read";
  return await (await roost.api()).createKey("simulator", scopes.split(" "));
}

/** Runs the simulator to its end; the node is killed in the meantime. */
async function simulate(
  roost: TestRoost,
  args: readonly string[],
  kills = KILLS,
): Promise<SimulateReport> {
  await using simulator = run(roost, args);
  const lines: string[] = [];
  const read = (async () => {
    for await (const line of linesOf(simulator.stdout)) lines.push(line);
  })();
  for (let kill = 0; kill < kills; kill++) {
    // It makes its devices first, and is in the midst of sending at each kill.
    const from = simulator.stderrText().length;
    await waitFor(
      () => simulator.hasEnded || / s: .*\/s\)/.test(simulator.stderrText().slice(from)),
      {
        what: "a line of progress",
        withinMs: 30_000,
        actual: () => simulator.stderrText().slice(-500),
      },
    );
    assert.ok(!simulator.hasEnded, `ended early: ${simulator.stderrText()}`);
    await letPass(IS_LONG ? 12_000 : 1_300);
    await roost.restart();
  }
  await within(simulator.ended, "the end of the simulator", END_MS);
  await read;
  assert.equal(lines.length, 1, `one line of JSON, not: ${lines} ${simulator.stderrText()}`);
  return JSON.parse(lines[0]!);
}

function run(roost: TestRoost, args: readonly string[]) {
  const flags = ["run", "--no-prompt", "--allow-net", "--allow-read", "--no-check"];
  return startProcess(
    Deno.execPath(),
    [...flags, MAIN, "--url", roost.urls.http, "--json", ...args],
    { cwd: ROOT },
  );
}
