/**
 * A device is deleted and made again, in the real program: it finds no session of the one before,
 * whether that was connected, away, or the gateway or the process died around the deletion.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import type { RoostApi } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";
import { untilHandled } from "./verify.ts";

const PRODUCT = "pump";
const DEVICE = "p-1";
const SECRET = "a-secret-of-p-1";
const SET = `v1/${PRODUCT}/${DEVICE}/properties/set`;
const BACK_MS = 20_000;
const DEATH_MS = 20_000;

Deno.test("a device that was made again has no session of the deleted one", async () => {
  await using roost = await startRoost();
  const api = await roost.api();
  await api.createProduct({ key: PRODUCT });
  await makeDevice(api);
  {
    using connected = await connect(roost);
    await subscribe(connected, api);
    await deleteDevice(api);
    await connected.closed();
  }
  await makeDevice(api);
  await assertFresh(roost, api);

  await deviceWithSession(roost, api);
  await deleteDevice(api);
  await makeDevice(api);
  await assertFresh(roost, api);

  await deviceWithSession(roost, api);
  await api.killChild("gateways/mqtt");
  await deleteDevice(api);
  await makeDevice(api);
  await assertFresh(roost, api);
});

Deno.test("a kill around a deletion leaves no session of the deleted device", async () => {
  await using roost = await startRoost();
  await (await roost.api()).createProduct({ key: PRODUCT });
  await makeDevice(await roost.api());
  // The second append of a start is the removal: the first takes the partitions over.
  for (const failPoint of ["append:2", "commit:1"]) {
    await deviceWithSession(roost, await roost.api());
    const env = { ROOST_TEST_FAIL_POINT: failPoint };
    await roost.restart({ entry: "test/support/faulty_main.ts", env });
    try {
      await deleteDevice(await roost.api());
    } catch (fault) {
      if (!(fault instanceof TypeError)) throw fault; // How fetch says that the server died.
    }
    await roost.ended(DEATH_MS);
    await roost.start({ env: {} });
    await deleteDevice(await roost.api());
    await makeDevice(await roost.api());
    await assertFresh(roost, await roost.api());
  }
});

/** Away, with a session that would deliver. */
async function deviceWithSession(roost: TestRoost, api: RoostApi): Promise<void> {
  using device = await connect(roost);
  await subscribe(device, api);
  await postOnce(roost);
  device.send({ cmd: "disconnect" });
  await waitFor(async () => (await api.device(PRODUCT, DEVICE)).status !== "online", {
    what: "the device to be away",
    withinMs: BACK_MS,
  });
}

/** The gateway may be starting. */
async function connect(roost: TestRoost): Promise<RawMqtt> {
  return await waitFor(async () => {
    try {
      return await RawMqtt.open(roost.mqttPort);
    } catch (fault) {
      if ((fault as { code?: string }).code === "ECONNREFUSED") return undefined;
      throw fault;
    }
  }, { what: "the gateway", withinMs: BACK_MS });
}

async function login(peer: RawMqtt): Promise<boolean> {
  const connack = await peer.login(DEVICE, {
    clean: false,
    keepalive: 0,
    username: `${PRODUCT}/${DEVICE}`,
    password: Buffer.from(SECRET),
  });
  return (connack as { sessionPresent: boolean }).sessionPresent;
}

async function subscribe(peer: RawMqtt, api: RoostApi): Promise<void> {
  await login(peer);
  peer.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: SET, qos: 1 }] });
  await peer.next("suback");
  await untilHandled(api);
}

/** What the answer says of a post before it under the same key. */
async function postOnce(roost: TestRoost): Promise<string | null> {
  const answer = await fetch(`${roost.urls.http}/ingest/v1/${PRODUCT}/${DEVICE}/properties`, {
    method: "POST",
    headers: {
      "Authorization": `Basic ${btoa(`${PRODUCT}/${DEVICE}:${SECRET}`)}`,
      "Idempotency-Key": "the same",
    },
    body: '{"t":1}',
  });
  assert.equal(answer.status, 202, await answer.text());
  return answer.headers.get("idempotent-replayed");
}

async function deleteDevice(api: RoostApi): Promise<void> {
  await api.request("DELETE", `/api/v1/devices/${PRODUCT}/${DEVICE}`);
}

async function makeDevice(api: RoostApi): Promise<void> {
  await api.createDevice(PRODUCT, DEVICE, { secret: SECRET });
}

async function assertFresh(roost: TestRoost, api: RoostApi): Promise<void> {
  using device = await connect(roost);
  assert.equal(await login(device), false, "a session is present");
  assert.equal(await postOnce(roost), null, "a key of the deleted device is known");
  await api.desire(PRODUCT, DEVICE, { on: true });
  await untilHandled(api);
  assert.equal((await api.device(PRODUCT, DEVICE)).status, "online");
  await device.roundTrip();
  assert.deepEqual(device.packets, [], "an old subscription delivers");
}
