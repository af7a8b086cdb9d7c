/**
 * A device that only sends what its actor cannot handle, in the real program: its actor is suspended,
 * its dead letters reach their bound, and then both gateways refuse it until an operator replays one.
 */
import assert from "node:assert/strict";
import mqtt from "mqtt";
import { LIMITS } from "../../runtime/limits.ts";
import { basic } from "../support/http_harness.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import { ApiError, type RoostApi } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";
import { assertBalanced, untilHandled } from "./verify.ts";

const PRODUCT = "pump";
const BAD = "bad";
const GOOD = "good";
const SECRET = "a-secret-of-both";
const QUOTA_EXCEEDED = 0x97;
const TOLD_MS = 10_000;
/** What may be under way between the bound and the refusal. */
const IN_FLIGHT = 50;
const FLAPS = 5;

Deno.test("a device at the bound of its dead letters is refused until one is replayed", async () => {
  await using roost = await startRoost({ entry: "test/support/faulty_main.ts" });
  const api = await roost.api();
  await api.createProduct({ key: PRODUCT });
  for (const name of [BAD, GOOD]) await api.createDevice(PRODUCT, name, { secret: SECRET });
  const bad = await connect(roost, BAD);
  const good = await connect(roost, GOOD);
  try {
    for (let i = 0; i < LIMITS.parksMax; i++) {
      assert.equal(await publish(bad, BAD, { fault: "throw" }), 0);
    }
    const refusedAt = await publishUntilRefused(bad);
    assert.ok(
      refusedAt >= LIMITS.deadLettersPerActorMax &&
        refusedAt <= LIMITS.deadLettersPerActorMax + 2 * IN_FLIGHT,
      `refused after ${refusedAt}, the bound is ${LIMITS.deadLettersPerActorMax}`,
    );
    assert.equal(await post(roost), 409);
    assert.equal(await publish(good, GOOD, { n: 1 }), 0, "another device is not refused");
    const { total, refused } = await untilHandled(api);
    assert.ok((refused["suspended"] ?? 0) >= 2);
    assert.ok(total.deadLettered >= LIMITS.deadLettersPerActorMax);
    await replayOne(api);
    await untilAccepted(bad, 9_001);
    await untilValue(api, 9_001);
    assert.equal(await post(roost), 202);
  } finally {
    await Promise.all([bad.endAsync(true), good.endAsync(true)]);
  }
});

Deno.test("connections and questions add no letters at the bound; presence is true once resumed", async () => {
  await using roost = await startRoost({ entry: "test/support/faulty_main.ts" });
  const api = await roost.api();
  await api.createProduct({ key: PRODUCT });
  await api.createDevice(PRODUCT, BAD, { secret: SECRET });
  let bad = await connect(roost, BAD);
  const fill = async () => {
    for (let i = 0; i < LIMITS.parksMax; i++) await publish(bad, BAD, { fault: "throw" });
    await publishUntilRefused(bad);
    return (await untilHandled(api)).total.deadLettered;
  };
  const flap = async () => {
    for (let i = 0; i < FLAPS; i++) {
      await bad.endAsync();
      bad = await connect(roost, BAD);
    }
  };
  try {
    const letters = await fill();
    await flap();
    await assert.rejects(
      api.desire(PRODUCT, BAD, { on: true }),
      (fault) => fault instanceof ApiError && fault.status === 409 && /suspended/.test(fault.body),
    );
    await bad.endAsync();
    assert.equal((await untilHandled(api)).total.deadLettered, letters);
    assert.equal(await statusOf(api), "online", "its actor was not told");
    await replayOne(api);
    await untilStatus(api, "offline");

    bad = await connect(roost, BAD);
    await untilStatus(api, "online");
    await fill();
    await flap();
    await replayOne(api);
    await untilAccepted(bad, 9_001);
    await api.desire(PRODUCT, BAD, { on: true });
    assert.equal(await statusOf(api), "online");
    await bad.endAsync();
    await untilStatus(api, "offline");
  } finally {
    await bad.endAsync(true);
  }
});

Deno.test("a discard of all letters does not leave the device refused for ever", async () => {
  await using roost = await startRoost({ entry: "test/support/faulty_main.ts" });
  const api = await roost.api();
  await api.createProduct({ key: PRODUCT });
  await api.createDevice(PRODUCT, BAD, { secret: SECRET });
  const bad = await connect(roost, BAD);
  try {
    for (let i = 0; i < LIMITS.parksMax; i++) await publish(bad, BAD, { fault: "throw" });
    await publishUntilRefused(bad);
    await untilHandled(api);
    await discardAll(api);
    assert.equal((await untilHandled(api)).total.deadLettered, 0);
    // Let in to become a letter again: what an operator resumes it by.
    assert.equal(await publish(bad, BAD, { n: 9_001 }), 0);
    await waitFor(async () => await publish(bad, BAD, { n: 9_002 }) === QUOTA_EXCEEDED, {
      what: "the device to be refused again",
      withinMs: TOLD_MS,
    });
    await replayOne(api);
    await untilAccepted(bad, 9_003);
    await untilValue(api, 9_003);
  } finally {
    await bad.endAsync(true);
  }
});

Deno.test("a device that is deleted at the bound and made again is accepted at once", async () => {
  await using roost = await startRoost({ entry: "test/support/faulty_main.ts" });
  const api = await roost.api();
  await api.createProduct({ key: PRODUCT });
  await api.createDevice(PRODUCT, BAD, { secret: SECRET });
  const bad = await connect(roost, BAD);
  try {
    for (let i = 0; i < LIMITS.parksMax; i++) await publish(bad, BAD, { fault: "throw" });
    await publishUntilRefused(bad);
  } finally {
    await bad.endAsync(true);
  }
  await api.request("DELETE", `/api/v1/devices/${PRODUCT}/${BAD}`);
  await api.createDevice(PRODUCT, BAD, { secret: SECRET });
  const made = await connect(roost, BAD);
  try {
    await untilAccepted(made, 9_001);
    await untilValue(api, 9_001);
    await untilStatus(api, "online");
  } finally {
    await made.endAsync(true);
  }
});

function connect(roost: TestRoost, name: string): Promise<mqtt.MqttClient> {
  return mqtt.connectAsync(roost.urls.mqtt, {
    protocolVersion: 5,
    username: `${PRODUCT}/${name}`,
    password: SECRET,
    reconnectPeriod: 0,
  });
}

/** Reason code of the PUBACK. */
async function publish(client: mqtt.MqttClient, name: string, values: unknown): Promise<number> {
  const topic = `v1/${PRODUCT}/${name}/properties`;
  try {
    await client.publishAsync(topic, JSON.stringify(values), { qos: 1 });
    return 0;
  } catch (fault) {
    const { code } = fault as { code?: unknown };
    if (typeof code !== "number") throw fault;
    return code;
  }
}

/** @returns How many were accepted before. */
async function publishUntilRefused(client: mqtt.MqttClient): Promise<number> {
  let accepted = 0;
  await waitFor(async () => {
    const codes = await Promise.all(
      Array.from({ length: IN_FLIGHT }, (_, i) => publish(client, BAD, { n: accepted + i })),
    );
    for (const code of codes) assert.ok(code === 0 || code === QUOTA_EXCEEDED, `code ${code}`);
    accepted += codes.filter((code) => code === 0).length;
    return codes.includes(QUOTA_EXCEEDED);
  }, { what: "a refusal", withinMs: 30_000, actual: () => accepted });
  return accepted;
}

async function post(roost: TestRoost): Promise<number> {
  const response = await fetch(`${roost.urls.http}/ingest/v1/${PRODUCT}/${BAD}/properties`, {
    method: "POST",
    headers: { ...basic(`${PRODUCT}/${BAD}`, SECRET), "content-type": "application/json" },
    body: '{"m":1}',
  });
  await response.body?.cancel();
  return response.status;
}

/** The newest letter is one of the harmless ones that came after the suspension. */
async function replayOne(api: RoostApi): Promise<void> {
  const [letter] = (await api.deadLetters({ limit: 1 })).items;
  assert.equal(letter?.reason, "suspended");
  await api.replayDeadLetters([letter!.id]);
}

async function discardAll(api: RoostApi): Promise<void> {
  for (;;) {
    const { items } = await api.deadLetters({ limit: 500 });
    if (items.length === 0) return;
    await api.discardDeadLetters(items.map(({ id }) => id));
    assertBalanced(await api.ledger());
  }
}

/** The resume is told after its commit: refused until then. */
async function untilAccepted(client: mqtt.MqttClient, n: number): Promise<void> {
  await waitFor(async () => await publish(client, BAD, { n }) === 0, {
    what: "the resumed device to be accepted",
    withinMs: TOLD_MS,
  });
}

async function statusOf(api: RoostApi): Promise<string> {
  return (await api.device(PRODUCT, BAD)).status;
}

async function untilStatus(api: RoostApi, wanted: string): Promise<void> {
  let status: string | undefined;
  await waitFor(async () => (status = await statusOf(api)) === wanted, {
    what: `the device to be ${wanted}`,
    withinMs: TOLD_MS,
    actual: () => status,
  });
}

async function untilValue(api: RoostApi, n: number): Promise<void> {
  let value: unknown;
  await waitFor(async () => {
    value = (await api.properties(PRODUCT, BAD))["n"]?.value;
    return value === n;
  }, { what: `${n} to be handled`, withinMs: TOLD_MS, actual: () => value });
}
