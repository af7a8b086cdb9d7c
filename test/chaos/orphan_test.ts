/**
 * Nothing of a node outlives a `kill -9` of it: no engine that starts, that idles or that is caught
 * in an endless loop, in the main lane or in quarantine. `kill` waits for all of its processes.
 */
import assert from "node:assert/strict";
import mqtt from "mqtt";
import { LIMITS } from "../../runtime/limits.ts";
import { cpuMsOf } from "../support/process_tree.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import { waitFor } from "../support/wait.ts";

const DEVICE = { product: "pump", device: "p-1", secret: "a-secret-of-p-1" };
const WITHIN_MS = 60_000;
/** CPU time that tells a loop from nothing; less than what an engine uses before it ends itself. */
const LOOP_CPU_MS = LIMITS.engineLoopCpuMs / 2;

Deno.test("an idle engine ends with its node", async () => {
  await using roost = await startRoost();
  await untilEngine(roost);
  await roost.kill();
});

Deno.test("an engine that is starting ends with its node", async () => {
  await using roost = await startRoost();
  for (let round = 0; round < 3; round++) {
    await roost.kill();
    await roost.start({ isReadyAwaited: false });
    await untilEngine(roost);
  }
  await roost.kill();
});

Deno.test("an engine in an endless loop ends with its node", async () => {
  await using roost = await startRoost({ entry: "test/support/faulty_main.ts" });
  await prepare(roost);
  const engine = await untilEngine(roost);
  const idleMs = cpuMsOf(engine);
  await loop(roost);
  await waitFor(() => cpuMsOf(engine) >= idleMs + LOOP_CPU_MS, {
    what: "the engine to loop",
    withinMs: WITHIN_MS,
    everyMs: 5,
    actual: () => cpuMsOf(engine) - idleMs,
  });
  await roost.kill();
});

Deno.test("a quarantine engine in an endless loop ends with its node", async () => {
  await using roost = await startRoost({ entry: "test/support/faulty_main.ts" });
  await prepare(roost);
  const main = await untilEngine(roost);
  const startMs = cpuMsOf(main); // Of an engine that has started and handled nothing else.
  for (let messages = 0; messages < 4; messages++) await loop(roost);
  await waitFor(() => {
    // The main engine was replaced by now: the younger of two is the one in quarantine.
    const [, quarantine] = enginesOf(roost);
    return quarantine !== undefined && cpuMsOf(quarantine) >= startMs + LOOP_CPU_MS;
  }, { what: "the quarantine engine to loop", withinMs: WITHIN_MS, everyMs: 5 });
  assert(!roost.tree().includes(main), "the loop has cost the main engine");
  await roost.kill();
});

/** All processes below the node, by age. */
function enginesOf(roost: TestRoost): number[] {
  return roost.tree().filter((pid) => pid !== roost.pid).sort((a, b) => a - b);
}

async function untilEngine(roost: TestRoost): Promise<number> {
  return await waitFor(() => enginesOf(roost)[0], {
    what: "an engine process",
    withinMs: WITHIN_MS,
    everyMs: 5,
  });
}

async function prepare(roost: TestRoost): Promise<void> {
  const api = await roost.api();
  await api.createProduct({ key: DEVICE.product });
  await api.createDevice(DEVICE.product, DEVICE.device, { secret: DEVICE.secret });
}

/** Resolves when the message is acknowledged: it is handled from then on. */
async function loop(roost: TestRoost): Promise<void> {
  const client = await mqtt.connectAsync(roost.urls.mqtt, {
    username: `${DEVICE.product}/${DEVICE.device}`,
    password: DEVICE.secret,
    reconnectPeriod: 0,
  });
  const topic = `v1/${DEVICE.product}/${DEVICE.device}/properties`;
  await client.publishAsync(topic, JSON.stringify({ fault: "loop" }), { qos: 1 });
  await client.endAsync(true);
}
