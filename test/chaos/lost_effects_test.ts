/**
 * The log's thread ends between a commit and its effects, in the real program, while a device stays
 * connected: it gets its desired value all the same, and its presence stays as it is.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { isThere } from "../support/fail_point.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { startRoost } from "../support/roost.ts";
import { ApiError, type RoostApi } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";
import { untilHandled } from "./verify.ts";

const PRODUCT = "pump";
const DEVICE = "p-1";
const SECRET = "a-secret-of-p-1";
const PREFIX = `v1/${PRODUCT}/${DEVICE}/`;
const STOPPED_MS = 10_000;
const OFFERED_MS = 20_000;
const OUTCOME_UNKNOWN = 504;

Deno.test("a desired value whose effects died with the log is offered again", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "roost-test-" });
  const stopFile = `${directory}/stop`;
  try {
    await using roost = await startRoost({
      entry: "test/support/faulty_main.ts",
      env: { ROOST_TEST_STOP_FILE: stopFile },
    });
    const api = await roost.api();
    await api.createProduct({ key: PRODUCT });
    await api.createDevice(PRODUCT, DEVICE, { secret: SECRET });
    using device = await connect(roost.mqttPort);
    await untilHandled(api);

    Deno.writeTextFileSync(stopFile, "");
    const desired = desireUnanswered(api, { on: true });
    await waitFor(() => isThere(`${stopFile}.stopped`), {
      what: "the log to stop after the commit",
      withinMs: STOPPED_MS,
    });
    assert.deepEqual(device.packets, [], "its effects are not out");
    await api.killChild("storage/log");
    await desired;
    const offered = await waitFor(() => device.packets.shift(), {
      what: "the desired value",
      withinMs: OFFERED_MS,
      actual: () => device.isClosed ? "closed" : "nothing",
    });
    assert.ok(offered.cmd === "publish" && offered.topic === `${PREFIX}properties/set`);
    assert.deepEqual(JSON.parse(offered.payload.toString()), { version: 1, values: { on: true } });
    assert.equal((await api.device(PRODUCT, DEVICE)).status, "online");
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

async function connect(port: number): Promise<RawMqtt> {
  const device = await RawMqtt.open(port);
  const who = { username: `${PRODUCT}/${DEVICE}`, password: Buffer.from(SECRET), keepalive: 0 };
  await device.login(DEVICE, who);
  const subscriptions = [{ topic: `${PREFIX}properties/set`, qos: 1 as const }];
  device.send({ cmd: "subscribe", messageId: 1, subscriptions });
  await device.next("suback");
  return device;
}

/** The reply dies with the effects: the caller is told that the outcome is unknown. */
async function desireUnanswered(api: RoostApi, values: Record<string, unknown>): Promise<void> {
  await assert.rejects(
    api.desire(PRODUCT, DEVICE, values),
    (fault) => fault instanceof ApiError && fault.status === OUTCOME_UNKNOWN,
  );
}
