/** What an operator allows a connection, a device, an address and a project (`mqttLimits`). */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type MqttFixture, startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const PREFIX = "v1/p/d1/";
const PROPERTIES = `${PREFIX}properties`;

async function open(fixture: MqttFixture, version: 4 | 5 = 5): Promise<RawMqtt> {
  return await RawMqtt.open(fixture.gateway.port, { version });
}

/** Sends messages 1 to `count` of QoS 1 in one write. */
function send(peer: RawMqtt, count: number, device = "d1"): void {
  const topic = `v1/p/${device}/properties`;
  const messages = Array.from(
    { length: count },
    (_, i) => peer.publish(topic, `{"a":${i + 1}}`, 1, i + 1),
  );
  peer.sendBytes(Buffer.concat(messages));
}

/** Ids of the PUBACKs so far, while a PINGREQ is answered. */
async function acknowledged(peer: RawMqtt): Promise<number[]> {
  await peer.roundTrip();
  return peer.packets.splice(0).map((packet) => {
    assert.equal(packet.cmd, "puback");
    const { messageId, reasonCode = 0 } = packet as { messageId: number; reasonCode?: number };
    assert.equal(reasonCode, 0, "[MQTT-4.4.0-2] never an error for load");
    return messageId;
  });
}

/** Time goes on in the steps in which held connections are looked at. */
async function pass({ clock }: MqttFixture, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 20) await clock.advance(20);
}

Deno.test("[MQTT-4.9.0-3] beyond a device's message rate PUBACKs are withheld, PINGREQ is answered", async () => {
  for (const version of [4, 5] as const) {
    await using fixture = await startMqttFixture({ limits: { deviceMessagesPerSecond: 10 } });
    const { figures } = fixture.gateway;
    using peer = await open(fixture, version);
    await peer.login("d1");
    using other = await open(fixture, version);
    await other.login("d2");
    send(peer, 25);
    assert.deepEqual(await acknowledged(peer), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert.deepEqual([figures.heldByDeviceMessages, figures.holding], [1, 1]);
    send(other, 10, "d2");
    assert.equal((await acknowledged(other)).length, 10, "others go on");
    await pass(fixture, 500);
    assert.deepEqual(await acknowledged(peer), [11, 12, 13, 14, 15]);
    await pass(fixture, 1_000);
    assert.deepEqual((await acknowledged(peer)).at(-1), 25);
    assert.deepEqual([figures.holding, fixture.refusals], [0, []], "nothing is refused for it");
    assert.equal(fixture.ingress.bodies("properties").length, 35, "nothing is lost");
  }
});

Deno.test("a device that reconnects goes on with the rates that it had used up", async () => {
  const payload = JSON.stringify({ a: "x".repeat(150) });
  for (const limits of [{ deviceMessagesPerSecond: 10 }, { deviceBytesPerSecond: 2_000 }]) {
    await using fixture = await startMqttFixture({ limits });
    const { bodies } = fixture.ingress;
    const count = () => bodies.call(fixture.ingress, "properties").length;
    let peer = await open(fixture);
    await peer.login("d1");
    for (let round = 0; round < 4; round++) {
      for (let id = 1; id <= 15; id++) peer.sendBytes(peer.publish(PROPERTIES, payload, 1, id));
      await peer.roundTrip();
      const old = peer;
      if (round % 2 === 1) { // Else the next connection takes over.
        old.socket.resetAndDestroy();
        await waitFor(() => fixture.gateway.connections === 0, {
          what: "its end",
          withinMs: 2_000,
        });
      }
      peer = await open(fixture);
      await peer.login("d1");
      old[Symbol.dispose]();
    }
    assert.ok(count() >= 9 && count() <= 12, `one second's worth, not four: ${count()}`);
    peer[Symbol.dispose]();
    await waitFor(() => fixture.gateway.connections === 0, { what: "its end", withinMs: 2_000 });
    await pass(fixture, 2_000);
    using rested = await open(fixture);
    await rested.login("d1");
    const before = count();
    for (let id = 1; id <= 5; id++) rested.sendBytes(rested.publish(PROPERTIES, payload, 1, id));
    await rested.roundTrip();
    assert.equal(count() - before, 5, "its rate is level again");
  }
});

Deno.test("a device's bytes are limited as its messages are, one larger than a second's worth too", async () => {
  await using fixture = await startMqttFixture({ limits: { deviceBytesPerSecond: 1_000 } });
  using peer = await open(fixture);
  await peer.login("d1");
  const payload = JSON.stringify({ a: "x".repeat(1_900) });
  for (const id of [1, 2]) peer.sendBytes(peer.publish(PROPERTIES, payload, 1, id));
  assert.deepEqual(await acknowledged(peer), [1]);
  assert.equal(fixture.gateway.figures.heldByDeviceBytes, 1);
  await pass(fixture, 1_100);
  assert.deepEqual(await acknowledged(peer), [2]);
});

Deno.test("a project's message rate is shared by its devices, and each has its turn", async () => {
  await using fixture = await startMqttFixture({ limits: { projectMessagesPerSecond: 50 } });
  const devices = ["d1", "d2", "d3"];
  const peers: RawMqtt[] = [];
  for (const device of devices) {
    const peer = await open(fixture);
    peers.push(peer);
    await peer.login(device);
    send(peer, 100, device);
    await peer.roundTrip();
  }
  const countOf = (device: string) =>
    fixture.ingress.messages.filter(({ to, body }) =>
      to === `device/p/${device}` && body.type === "properties"
    ).length;
  assert.equal(devices.reduce((sum, device) => sum + countOf(device), 0), 50);
  await pass(fixture, 2_000);
  const counts = devices.map(countOf);
  const total = counts.reduce((sum, count) => sum + count);
  assert.ok(total >= 145 && total <= 155, `${counts}`);
  assert.ok(counts[1]! >= 30 && counts[2]! >= 30, `each has its turn: ${counts}`);
  assert.ok(fixture.gateway.figures.heldByProjectMessages > 0);
  for (const peer of peers) peer[Symbol.dispose]();
});

Deno.test("a message that waits for its rate waits for room too, and is taken once", async () => {
  await using fixture = await startMqttFixture({ limits: { deviceMessagesPerSecond: 2 } });
  const { ingress, gateway } = fixture;
  using peer = await open(fixture);
  await peer.login("d1");
  send(peer, 4);
  assert.deepEqual(await acknowledged(peer), [1, 2]);
  ingress.hasRoom = false;
  await pass(fixture, 1_000);
  assert.deepEqual(await acknowledged(peer), []);
  ingress.makeRoom();
  await waitFor(() => ingress.bodies("properties").length >= 3, { what: "room", withinMs: 2_000 });
  await pass(fixture, 2_000);
  assert.deepEqual(await acknowledged(peer), [3, 4]);
  assert.deepEqual([ingress.bodies("properties").length, gateway.figures.holding], [4, 0]);
});

Deno.test("a connection that ends while it is held back leaves nothing behind", async () => {
  await using fixture = await startMqttFixture({ limits: { deviceMessagesPerSecond: 1 } });
  const { figures } = fixture.gateway;
  const peer = await open(fixture);
  await peer.login("d1");
  send(peer, 5);
  await peer.roundTrip();
  assert.equal(figures.holding, 1);
  peer.socket.resetAndDestroy();
  await waitFor(() => figures.connections === 0, { what: "the end", withinMs: 2_000 });
  await pass(fixture, 100);
  assert.deepEqual([figures.holding, figures.bufferedBytes, figures.heldPacketsLost], [0, 0, 4]);
});

Deno.test("a connection with too many packets is disconnected with 0x96", async () => {
  for (const version of [4, 5] as const) {
    await using fixture = await startMqttFixture({ limits: { connectionPacketsPerSecond: 5 } });
    using peer = await open(fixture, version);
    await peer.login("d1");
    for (let i = 0; i < 50; i++) peer.sendBytes(Buffer.of(0xc0, 0));
    await waitFor(() => peer.packets.length === 50, { what: "50 answers", withinMs: 2_000 });
    peer.packets.length = 0;
    peer.sendBytes(Buffer.of(0xc0, 0));
    if (version === 5) assert.equal((await peer.next("disconnect")).reasonCode, 0x96);
    await peer.closed();
    assert.deepEqual(fixture.refusals, ["packet_rate"]);
  }
});

Deno.test("logins of one address and one device are limited by the minute, with 0x9F", async () => {
  await using fixture = await startMqttFixture({
    limits: { addressConnectsPerMinute: 5, deviceConnectsPerMinute: 2 },
  });
  const login = async (device: string, version: 4 | 5 = 5): Promise<number> => {
    using peer = await open(fixture, version);
    peer.send(peer.connectPacket(device));
    if (version === 5) return (await peer.next("connack")).reasonCode;
    await peer.closed();
    return -1;
  };
  assert.deepEqual([await login("d1"), await login("d1"), await login("d1")], [0, 0, 0x9f]);
  assert.deepEqual([await login("d2"), await login("d3"), await login("d4")], [0, 0, 0x9f]);
  assert.equal(await login("d4", 4), -1);
  const reasons = ["device_connects", "address_connects", "address_connects"];
  assert.deepEqual(fixture.refusals, reasons);
  await fixture.clock.advance(60_000);
  assert.equal(await login("d1"), 0);
});

Deno.test("connections of one address and one project are limited, with 0x97, a takeover is none more", async () => {
  for (const limits of [{ addressConnections: 2 }, { projectConnections: 2 }]) {
    await using fixture = await startMqttFixture({ limits });
    const peers: RawMqtt[] = [];
    const login = async (device: string, version: 4 | 5 = 5): Promise<number> => {
      const peer = await open(fixture, version);
      peers.push(peer);
      peer.send(peer.connectPacket(device));
      if (version === 5) return (await peer.next("connack")).reasonCode;
      await peer.closed();
      return -1;
    };
    assert.deepEqual([await login("d1"), await login("d2"), await login("d3")], [0, 0, 0x97]);
    assert.deepEqual([await login("d3", 4), await login("d2")], [-1, 0]);
    const reason = "addressConnections" in limits ? "address_connections" : "project_connections";
    assert.deepEqual(fixture.refusals, [reason, reason]);
    peers[0]!.socket.resetAndDestroy();
    await waitFor(() => fixture.gateway.connections === 1, { what: "the end", withinMs: 2_000 });
    assert.equal(await login("d3"), 0);
    for (const peer of peers) peer[Symbol.dispose]();
  }
});

Deno.test("subscriptions of one device are limited, with 0x97 in the SUBACK", async () => {
  for (const version of [4, 5] as const) {
    await using fixture = await startMqttFixture({ limits: { deviceSubscriptions: 2 } });
    using peer = await open(fixture, version);
    await peer.login("d1");
    const topics = ["a", "b", "c", "a"].map((topic) => ({
      topic: PREFIX + topic,
      qos: 0 as const,
    }));
    peer.send({ cmd: "subscribe", messageId: 1, subscriptions: topics });
    const { granted } = await peer.next("suback");
    assert.deepEqual(granted, [0, 0, version === 5 ? 0x97 : 0x80, 0]);
    assert.deepEqual(fixture.refusals, ["subscriptions_full"]);
  }
});
