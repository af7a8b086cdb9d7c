/** Retained messages over `kill -9`, in the real program, until their device is deleted. */
import assert from "node:assert/strict";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";

const PRODUCT = "p";
const DEVICE = "d1";
const PREFIX = `v1/${PRODUCT}/${DEVICE}/`;
const SECRET = `secret-of-${DEVICE}`;

Deno.test("what was acknowledged is retained after kill -9, and gone with its device", async () => {
  await using roost = await startRoost();
  const api = await roost.api();
  await api.createProduct({ key: PRODUCT });
  await api.createDevice(PRODUCT, DEVICE, { secret: SECRET });
  for (const round of [1, 2, 3]) {
    using device = await connect(roost);
    assert.deepEqual(await retained(device), round === 1 ? [] : [`state ${round - 1}`]);
    await retain(device, "state", String(round), 1);
    await retain(device, "passing", "x", 2);
    await retain(device, "passing", "", 3);
    await roost.kill();
    await roost.start();
  }
  {
    using device = await connect(roost);
    assert.deepEqual(await retained(device), ["state 3"]);
    await (await roost.api()).request("DELETE", `/api/v1/devices/${PRODUCT}/${DEVICE}`);
    await device.closed();
  }
  await (await roost.api()).createDevice(PRODUCT, DEVICE, { secret: SECRET });
  using again = await connect(roost);
  assert.deepEqual(await retained(again), []);
  await roost.kill();
  await roost.start();
  using later = await connect(roost);
  assert.deepEqual(await retained(later), []);
});

async function connect(roost: TestRoost): Promise<RawMqtt> {
  const peer = await RawMqtt.open(roost.mqttPort, { version: 5 });
  await peer.login(DEVICE, { keepalive: 0 });
  return peer;
}

async function retain(peer: RawMqtt, topic: string, payload: string, messageId: number) {
  const message = { topic: PREFIX + topic, payload, qos: 1 as const, dup: false, retain: true };
  peer.send({ cmd: "publish", ...message, messageId });
  assert.equal((await peer.next("puback")).reasonCode ?? 0, 0);
}

/** Asks by a subscription, which is taken back. */
async function retained(peer: RawMqtt): Promise<string[]> {
  peer.send({ cmd: "subscribe", messageId: 9, subscriptions: [{ topic: `${PREFIX}+`, qos: 0 }] });
  await peer.next("suback");
  await peer.roundTrip();
  const found = peer.packets.splice(0).map((packet) => {
    assert.equal(packet.cmd === "publish" && packet.retain, true);
    const { topic, payload } = packet as { topic: string; payload: Uint8Array };
    return `${topic.slice(PREFIX.length)} ${payload}`;
  });
  peer.send({ cmd: "unsubscribe", messageId: 10, unsubscriptions: [`${PREFIX}+`] });
  await peer.next("unsuback");
  return found;
}
