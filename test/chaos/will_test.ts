/** A will over `kill -9`, in the real program: published by the next start, once. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import { waitFor } from "../support/wait.ts";
import { untilHandled } from "./verify.ts";

const PRODUCT = "p";
const LEFT = "left";
const BACK_MS = 20_000;
/** Wills are published in order of their rows: the last one says that those before are. */
const LOST = ["lost-1", "lost-2", "lost-3"];

Deno.test("a will survives the death of its node, and one that was dropped does not", async () => {
  await using roost = await startRoost();
  const api = await roost.api();
  await api.createProduct({ key: PRODUCT });
  for (const device of [LEFT, ...LOST]) {
    await api.createDevice(PRODUCT, device, { secret: `secret-of-${device}` });
  }
  using left = await connect(roost, LEFT);
  left.send({ cmd: "disconnect" });
  await untilOffline(roost, LEFT);
  for (const [round, device] of LOST.entries()) {
    using _lost = await connect(roost, device);
    await roost.kill();
    await roost.start();
    const again = await roost.api();
    await waitFor(async () => (await again.properties(PRODUCT, device))["alive"]?.value === false, {
      what: `the will of ${device}`,
      withinMs: BACK_MS,
    });
    const { total } = await untilHandled(again);
    assert.equal(total.deadLettered, 0);
    for (const known of LOST.slice(0, round + 1)) {
      const { series } = await again.telemetry(PRODUCT, known, { keys: "alive" });
      assert.equal(series["alive"]!.length, 1, `${known} after ${round + 1} deaths`);
    }
    assert.deepEqual(await again.properties(PRODUCT, LEFT), {});
    await untilOffline(roost, device);
  }
});

async function connect(roost: TestRoost, device: string): Promise<RawMqtt> {
  const peer = await RawMqtt.open(roost.mqttPort);
  const payload = Buffer.from('{"alive":false}');
  const topic = `v1/${PRODUCT}/${device}/properties`;
  await peer.login(device, { will: { topic, payload, qos: 1, retain: false } });
  return peer;
}

async function untilOffline(roost: TestRoost, device: string): Promise<void> {
  const api = await roost.api();
  await waitFor(async () => (await api.device(PRODUCT, device)).status === "offline", {
    what: `${device} to be offline`,
    withinMs: BACK_MS,
  });
}
