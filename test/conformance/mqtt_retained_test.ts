/**
 * Retained messages of a device under its own prefix. Numbers are of MQTT 5 unless they begin with
 * "3: ".
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { IConnectPacket, IPublishPacket, ISubscription } from "mqtt-packet";
import { MQTT_LIMITS } from "../../runtime/mqtt_limits.ts";
import { rowsOfDevice } from "../../protocols/mqtt/rows_of_device.ts";
import { type MqttFixture, startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const PREFIX = "v1/p/d1/";
const ROW = "mqtt-retained/p/d1";
const LASTING: Partial<IConnectPacket> = {
  clean: false,
  properties: { sessionExpiryInterval: 1_000 },
};

async function connect(
  fixture: MqttFixture,
  more: Partial<IConnectPacket> = {},
  version: 4 | 5 = 5,
  device = "d1",
): Promise<RawMqtt> {
  const peer = await RawMqtt.open(fixture.gateway.port, { version });
  await peer.login(device, more);
  return peer;
}

function publish(
  peer: RawMqtt,
  suffix: string,
  payload: string,
  more: Partial<IPublishPacket> = {},
) {
  const packet = { topic: PREFIX + suffix, payload, qos: 0 as const, dup: false, retain: true };
  peer.send({ cmd: "publish", ...packet, ...more });
}

/** Subscribes and tells what comes after the SUBACK: topic, payload, QoS, retain flag. */
async function subscribe(
  peer: RawMqtt,
  more: Partial<ISubscription> = {},
  subscriptionIdentifier?: number,
): Promise<string[]> {
  const subscriptions = [{ topic: `${PREFIX}#`, qos: 2 as const, ...more }];
  const properties = subscriptionIdentifier === undefined ? {} : { subscriptionIdentifier };
  peer.send({ cmd: "subscribe", messageId: 900, subscriptions, properties });
  await peer.next("suback");
  return await published(peer);
}

async function published(peer: RawMqtt): Promise<string[]> {
  await peer.roundTrip();
  return peer.packets.splice(0).flatMap((packet) => {
    if (packet.cmd !== "publish") return [];
    const topic = packet.topic.slice(PREFIX.length);
    return [`${topic} ${packet.payload} ${packet.qos} ${packet.retain}`];
  });
}

Deno.test("[MQTT-3.3.1-5] a retained message replaces the one before, durable with its message", async () => {
  for (const version of [4, 5] as const) {
    await using fixture = await startMqttFixture({ isAutomatic: false });
    const { ingress } = fixture;
    using peer = await RawMqtt.open(fixture.gateway.port, { version });
    await peer.login("d1");
    // PUBLISH in raw bytes: QoS 1, RETAIN.
    const topic = Buffer.from(`${PREFIX}own`);
    const body = [0, topic.length, ...topic, 0, 1, ...(version === 5 ? [0] : []), 65];
    peer.sendBytes(Buffer.from([0x33, body.length, ...body]));
    publish(peer, "own", "B", { qos: 1, messageId: 2 });
    await peer.roundTrip();
    assert.deepEqual([peer.packets, ingress.rows.size], [[], 0], "neither acknowledged nor kept");
    ingress.settle();
    for (const id of [1, 2]) assert.equal((await peer.next("puback")).messageId, id);
    assert.deepEqual([...ingress.rows.keys()], [ROW]);
    ingress.isAutomatic = true;
    assert.deepEqual(await subscribe(peer), ["own B 1 true"]);
    assert.deepEqual([fixture.gateway.figures.retained, fixture.refusals], [1, []]);
  }
});

Deno.test("[MQTT-3.3.1-6] an empty payload deletes what is retained, and is a message all the same", async () => {
  for (const version of [4, 5] as const) {
    await using fixture = await startMqttFixture();
    const { ingress } = fixture;
    using peer = await connect(fixture, {}, version);
    for (const suffix of ["own", "events/e", "properties"]) publish(peer, suffix, '{"a":1}');
    await peer.roundTrip();
    assert.equal(fixture.gateway.figures.retained, 3);
    for (const suffix of ["own", "events/e", "properties", "own"]) publish(peer, suffix, "");
    await peer.roundTrip();
    assert.deepEqual([fixture.gateway.figures.retained, ingress.rows.size], [0, 0]);
    assert.equal(ingress.bodies("message").length, 3, "on a topic of its own");
    const taken = [...ingress.bodies("event"), ...ingress.bodies("properties")];
    assert.deepEqual([taken.length, fixture.refusals], [2, []], "no event is empty: only deleted");
    assert.deepEqual(await subscribe(peer), []);
    publish(peer, "properties", "", { qos: 2, messageId: 5 });
    assert.equal((await peer.next("pubrec")).reasonCode ?? 0, 0);
    peer.send({ cmd: "pubrel", messageId: 5 });
    assert.equal((await peer.next("pubcomp")).reasonCode ?? 0, 0);
  }
});

Deno.test("[MQTT-3.3.1-8] a message without the flag neither replaces nor deletes what is retained", async () => {
  await using fixture = await startMqttFixture();
  using peer = await connect(fixture);
  publish(peer, "own", "kept");
  publish(peer, "own", "passing", { retain: false });
  publish(peer, "own", "", { retain: false });
  assert.deepEqual(await subscribe(peer), ["own kept 0 true"]);
});

Deno.test("[MQTT-3.3.1-9] Retain Handling 0 sends what is retained with each SUBSCRIBE, at the lower QoS", async () => {
  await using fixture = await startMqttFixture();
  using peer = await connect(fixture);
  for (const qos of [0, 1, 2] as const) publish(peer, `own/${qos}`, "x", { qos, messageId: 9 });
  await published(peer);
  const all = ["own/0 x 0 true", "own/1 x 1 true", "own/2 x 1 true"];
  assert.deepEqual(await subscribe(peer, { qos: 1, rh: 0 }), all);
  assert.deepEqual(await subscribe(peer, { qos: 1, rh: 0 }), all, "the same again");
  const { properties } = await (async () => {
    peer.send({
      cmd: "subscribe",
      messageId: 901,
      subscriptions: [{ topic: `${PREFIX}own/0`, qos: 0 }],
      properties: { subscriptionIdentifier: 7 },
    });
    await peer.next("suback");
    return await peer.next("publish");
  })();
  assert.equal(properties.subscriptionIdentifier, 7, "of the subscription that it is for");
});

Deno.test("[MQTT-3.3.1-10] Retain Handling 1 sends what is retained to a subscription that is new", async () => {
  await using fixture = await startMqttFixture();
  using peer = await connect(fixture, LASTING);
  publish(peer, "own", "x");
  assert.deepEqual(await subscribe(peer, { rh: 1 }), ["own x 0 true"]);
  assert.deepEqual(await subscribe(peer, { rh: 1 }), []);
  peer.send({ cmd: "disconnect" });
  await peer.closed();
  using again = await connect(fixture, LASTING);
  assert.deepEqual(await subscribe(again, { rh: 1 }), [], "the session knows it");
  again.send({ cmd: "unsubscribe", messageId: 1, unsubscriptions: [`${PREFIX}#`] });
  await again.next("unsuback");
  assert.deepEqual(await subscribe(again, { rh: 1 }), ["own x 0 true"]);
});

Deno.test("[MQTT-3.3.1-11] Retain Handling 2 sends nothing that is retained", async () => {
  await using fixture = await startMqttFixture();
  using peer = await connect(fixture);
  publish(peer, "own", "x");
  assert.deepEqual(await subscribe(peer, { rh: 2 }), []);
});

Deno.test("[MQTT-3.3.1-12] without Retain As Published a subscription that was there gets flag 0", async () => {
  for (const version of [4, 5] as const) {
    await using fixture = await startMqttFixture();
    using peer = await connect(fixture, {}, version);
    await subscribe(peer, version === 5 ? { rap: false } : {});
    publish(peer, "own", "x");
    publish(peer, "own", "");
    assert.deepEqual(await published(peer), ["own x 0 false", "own  0 false"]);
  }
});

Deno.test("[MQTT-3.3.1-13] with Retain As Published a copy has the flag of its message", async () => {
  await using fixture = await startMqttFixture();
  using peer = await connect(fixture);
  await subscribe(peer, { rap: true });
  publish(peer, "own", "x");
  publish(peer, "own", "y", { retain: false });
  assert.deepEqual(await published(peer), ["own x 0 true", "own y 0 false"]);
});

Deno.test("3: [MQTT-3.3.1-7] a retained message of QoS 0 replaces one of QoS 1", async () => {
  await using fixture = await startMqttFixture();
  using peer = await connect(fixture, {}, 4);
  publish(peer, "own", "one", { qos: 1, messageId: 1 });
  publish(peer, "own", "two");
  await peer.next("puback");
  assert.deepEqual(await subscribe(peer), ["own two 0 true"]);
});

Deno.test("3: [MQTT-3.1.2.7] retained messages are no part of a session, and survive a restart", async () => {
  await using fixture = await startMqttFixture();
  const first = await connect(fixture, { clean: true }, 4);
  publish(first, "own", "x", { qos: 1, messageId: 1 });
  await first.next("puback");
  first.socket.resetAndDestroy();
  await waitFor(() => fixture.gateway.connections === 0, { what: "the end", withinMs: 2_000 });
  using clean = await connect(fixture, { clean: true }, 4);
  assert.deepEqual(await subscribe(clean), ["own x 1 true"]);

  const { ingress } = fixture;
  await using after = await startMqttFixture({ ingress: ingress.crashedAt(ingress.settled) });
  using again = await connect(after);
  assert.deepEqual(await subscribe(again), ["own x 1 true"]);
  using other = await connect(after, {}, 5, "d2");
  const topic = `v1/p/d2/#`;
  assert.deepEqual(await subscribe(other, { topic }), [], "they are of their device alone");
});

Deno.test("[MQTT-3.3.2-5] a retained message whose time is over is sent to nobody, and deleted", async () => {
  await using fixture = await startMqttFixture();
  const { clock, gateway, ingress } = fixture;
  using peer = await connect(fixture, { keepalive: 0 });
  publish(peer, "own/a", "x", { properties: { messageExpiryInterval: 100 } });
  publish(peer, "own/b", "y", { properties: { messageExpiryInterval: 20, contentType: "text" } });
  publish(peer, "own/c", "z");
  await peer.roundTrip();
  await clock.advance(30_000);
  peer.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: `${PREFIX}#`, qos: 0 }] });
  await peer.next("suback");
  const { properties } = await peer.next("publish");
  assert.equal(properties.messageExpiryInterval, 70, "[MQTT-3.3.2-6] the time that is left");
  assert.deepEqual(await published(peer), ["own/c z 0 true"]);
  assert.equal(gateway.figures.retained, 3);
  await clock.advance(MQTT_LIMITS.retainedExpiryMs);
  assert.equal(gateway.figures.retained, 2);
  assert.doesNotMatch(new TextDecoder().decode(ingress.rows.get(ROW)), /own\/b/);
  await clock.advance(2 * MQTT_LIMITS.retainedExpiryMs);
  assert.equal(gateway.figures.retained, 1);
});

Deno.test("[MQTT-3.1.2-15] a will with the flag is retained when it is published, and not before", async () => {
  await using fixture = await startMqttFixture();
  const will = { topic: `${PREFIX}own/state`, payload: Buffer.from("off"), qos: 1, retain: true };
  const first = await connect(fixture, { will: { ...will, qos: 1 } });
  publish(first, "own/state", "on");
  assert.deepEqual(await subscribe(first), ["own/state on 0 true"]);
  first.socket.resetAndDestroy();
  await waitFor(() => fixture.gateway.figures.willsPublished === 1, {
    what: "the will",
    withinMs: 2_000,
  });
  using again = await connect(fixture, { will: { ...will, qos: 0, payload: Buffer.alloc(0) } });
  assert.deepEqual(await subscribe(again), ["own/state off 1 true"]);
  again.socket.resetAndDestroy();
  await waitFor(() => fixture.gateway.figures.willsPublished === 2, {
    what: "the will that deletes it",
    withinMs: 2_000,
  });
  assert.deepEqual([fixture.gateway.figures.retained, fixture.ingress.rows.has(ROW)], [0, false]);
});

Deno.test("access to retain is that to publish: not outside the prefix, not where the platform publishes", async () => {
  await using fixture = await startMqttFixture();
  using peer = await connect(fixture);
  publish(peer, "", "x", { topic: "v1/p/d2/own", qos: 1, messageId: 1 });
  assert.equal((await peer.next("puback")).reasonCode, 0x87);
  publish(peer, "shadow", "x", { qos: 1, messageId: 2 });
  assert.equal((await peer.next("puback")).reasonCode, 0x87);
  publish(peer, "properties", '{"t":101}', { qos: 1, messageId: 3 });
  assert.equal((await peer.next("puback")).reasonCode, 0x99, "what is refused is not retained");
  assert.deepEqual([fixture.gateway.figures.retained, fixture.ingress.rows.size], [0, 0]);
  using old = await connect(fixture, {}, 4);
  publish(old, "", "x", { topic: "v1/p/d2/own" });
  await old.closed();
});

Deno.test("retained messages are bounded per device: refused with 0x97, else taken and not kept", async () => {
  await using fixture = await startMqttFixture();
  const { figures } = fixture.gateway;
  const { retainedPerDeviceMax, retainedBytesPerDeviceMax } = MQTT_LIMITS;
  using peer = await connect(fixture);
  await subscribe(peer, { topic: `${PREFIX}errors`, qos: 0 });
  for (let i = 0; i < retainedPerDeviceMax; i++) publish(peer, `own/${i}`, "x");
  publish(peer, "own/more", "x", { qos: 1, messageId: 1 });
  assert.equal(JSON.parse((await peer.next("publish")).payload).code, "retained_full");
  assert.equal((await peer.next("puback")).reasonCode, 0x97);
  publish(peer, "own/3", "other", { qos: 1, messageId: 2 });
  assert.equal((await peer.next("puback")).reasonCode ?? 0, 0, "one that is there is replaced");
  const messages = () => fixture.ingress.bodies("message").length;
  const before = messages();
  publish(peer, "own/3", "x".repeat(retainedBytesPerDeviceMax));
  assert.equal(JSON.parse((await peer.next("publish")).payload).code, "retained_full");
  assert.equal(messages(), before + 1, "with QoS 0 it is taken");
  assert.equal(figures.retained, retainedPerDeviceMax - 1, "an older one would be wrong");
  assert.deepEqual(fixture.refusals, ["retained_full", "retained_full"]);
});

Deno.test("a deleted device's retained messages are gone with it", async () => {
  await using fixture = await startMqttFixture();
  const { ingress, directory } = fixture;
  using peer = await connect(fixture, LASTING);
  publish(peer, "own", "x", { qos: 1, messageId: 1 });
  await peer.next("puback");
  directory.revoke("d1", "device_deleted");
  await peer.closed();
  assert.equal(fixture.gateway.figures.retained, 0);
  assert.equal(
    rowsOfDevice("p/d1").some(({ key, value }) => key === ROW && value === undefined),
    true,
  );
  ingress.offerRow(ROW, undefined); // As the append of its removal does.
  using next = await connect(fixture);
  assert.deepEqual(await subscribe(next), []);
});

Deno.test("a row that cannot be read is left alone and counted", async () => {
  await using fixture = await startMqttFixture();
  const { ingress } = fixture;
  ingress.offerRow(ROW, new TextEncoder().encode('{"version":9}'));
  await fixture.clock.settle();
  await using after = await startMqttFixture({ ingress: ingress.crashedAt(ingress.settled) });
  using peer = await connect(after);
  assert.deepEqual(await subscribe(peer), []);
  assert.equal(after.gateway.figures.retainedRowsUnreadable, 1);
  assert.equal(after.ingress.rows.has(ROW), true);
});

Deno.test("without room in the log a retained message waits, and is kept once there is", async () => {
  await using fixture = await startMqttFixture();
  const { ingress, gateway } = fixture;
  using peer = await connect(fixture);
  ingress.hasRoom = false;
  publish(peer, "own", "x", { qos: 1, messageId: 1 });
  await peer.roundTrip();
  assert.deepEqual([gateway.figures.retained, gateway.figures.holding], [0, 1]);
  ingress.makeRoom();
  await peer.next("puback");
  assert.deepEqual([gateway.figures.retained, ingress.rows.has(ROW)], [1, true]);
});
