/** MQTT when the log has no room or a peer has no manners: push back, never drop, stay bounded. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { LIMITS } from "../../runtime/limits.ts";
import { type MqttFixture, startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const PREFIX = "v1/p/d1/";
const PROPERTIES = `${PREFIX}properties`;

async function open(fixture: MqttFixture, version: 4 | 5, more: object = {}): Promise<RawMqtt> {
  const peer = await RawMqtt.open(fixture.gateway.port, { version });
  await peer.login("d1", more);
  return peer;
}

Deno.test("without room in the log messages wait in order while PINGREQ is answered", async () => {
  for (const version of [4, 5] as const) {
    await using fixture = await startMqttFixture();
    const { ingress } = fixture;
    using peer = await open(fixture, version);
    ingress.hasRoom = false;
    peer.sendBytes(peer.publish(PROPERTIES, '{"a":1}', 1, 1));
    peer.sendBytes(peer.publish(PROPERTIES, "refused", 1, 2));
    peer.sendBytes(peer.publish(PROPERTIES, '{"a":2}', 0));
    peer.send({ cmd: "subscribe", messageId: 3, subscriptions: [{ topic: `${PREFIX}#`, qos: 1 }] });
    peer.sendBytes(peer.publish(PROPERTIES, '{"a":3}', 2, 4));
    await peer.roundTrip();
    await peer.roundTrip();
    assert.deepEqual(peer.packets, []);
    assert.equal(fixture.gateway.figures.holding, 1);
    assert.equal(ingress.refusedOffers, 1, "nobody asks again before there is room");
    ingress.makeRoom();
    assert.equal((await peer.next("puback")).messageId, 1);
    assert.equal((await peer.next("puback")).messageId, 2);
    assert.equal((await peer.next("suback")).messageId, 3);
    assert.equal((await peer.next("pubrec")).messageId, 4);
    const values = ingress.bodies("properties").map(({ samples }) => samples[0].values.a);
    assert.deepEqual(values, [1, 2, 3]);
    assert.equal(fixture.gateway.figures.holding, 0);
  }
});

Deno.test("logins, ends and rows wait for room too, and come in order", async () => {
  await using fixture = await startMqttFixture();
  const { ingress, gateway } = fixture;
  ingress.hasRoom = false;
  using old = await open(fixture, 5, { clean: false, properties: { sessionExpiryInterval: 9 } });
  old.sendBytes(old.publish(PROPERTIES, '{"a":1}', 1, 1));
  await old.roundTrip();
  using fresh = await open(fixture, 4);
  fresh.sendBytes(fresh.publish(PROPERTIES, '{"a":2}', 1, 1));
  await fresh.roundTrip();
  assert.equal(gateway.figures.heldPacketsLost, 1, "it was never acknowledged");
  ingress.makeRoom();
  await fresh.next("puback");
  const kinds = ingress.messages.map(({ body }) => body.type);
  assert.deepEqual(kinds, ["connected", "disconnected", "connected", "properties"]);
  assert.equal(ingress.rows.size, 0, "the clean session removed the row of the one before");
});

Deno.test("room is shared: every connection that waits has its turn", async () => {
  await using fixture = await startMqttFixture();
  const { ingress, gateway } = fixture;
  const peers: RawMqtt[] = [];
  for (let i = 0; i < 5; i++) {
    const peer = await RawMqtt.open(gateway.port);
    await peer.login(`d${i}`);
    peers.push(peer);
  }
  ingress.hasRoom = false;
  for (const [i, peer] of peers.entries()) {
    peer.sendBytes(peer.publish(`v1/p/d${i}/properties`, '{"a":1}', 1, 1));
    await peer.roundTrip();
  }
  assert.equal(gateway.figures.holding, 5);
  ingress.makeRoom();
  for (const peer of peers) await peer.next("puback");
  for (const peer of peers) peer[Symbol.dispose]();
});

Deno.test("a client beyond our Receive Maximum is disconnected", async () => {
  await using fixture = await startMqttFixture({ isAutomatic: false });
  using peer = await open(fixture, 5);
  const messages = [];
  const max = LIMITS.mqttReceiveMaximum;
  for (let id = 1; id <= max + 1; id++) messages.push(peer.publish(PROPERTIES, '{"a":1}', 1, id));
  for (const round of [1, 2]) {
    peer.sendBytes(Buffer.concat(messages.slice(0, max)));
    await peer.roundTrip();
    fixture.ingress.settle();
    const acknowledged = () => peer.packets.filter(({ cmd }) => cmd === "puback").length;
    await waitFor(() => acknowledged() === round * max, {
      what: `round ${round}`,
      withinMs: 5_000,
      actual: acknowledged,
    });
  }
  peer.packets.length = 0;
  peer.sendBytes(Buffer.concat(messages));
  assert.equal((await peer.next("disconnect")).reasonCode, 0x93);
});

Deno.test("a 3.1.1 client with too many unacknowledged messages is not read, nor timed out", async () => {
  await using fixture = await startMqttFixture({ isAutomatic: false });
  const { gateway, ingress, clock } = fixture;
  using peer = await open(fixture, 4, { keepalive: 2 });
  const count = 20_000;
  const message = (id: number) => peer.publish(PROPERTIES, `{"a":"${"x".repeat(200)}"}`, 1, id);
  const all = Buffer.concat(Array.from({ length: count }, (_, i) => message(i + 1)));
  peer.sendBytes(all);
  await waitFor(() => ingress.bodies("properties").length > LIMITS.mqttUnackedMax, {
    what: "the bound",
    withinMs: 5_000,
  });
  await clock.advance(5_000);
  const read = ingress.bodies("properties").length;
  assert.ok(read < 3_000, `${read} were read`);
  assert.equal(gateway.connections, 1);
  ingress.isAutomatic = true;
  ingress.settle();
  await waitFor(() => peer.packets.length === count, {
    what: "all acknowledgements",
    withinMs: 20_000,
    actual: () => peer.packets.length,
  });
  const ids = peer.packets.map((packet) => packet.messageId);
  assert.deepEqual(ids, Array.from({ length: count }, (_, i) => i + 1));
  await clock.advance(4_000);
  await peer.closed();
  assert.deepEqual({ ...gateway.figures.closed }, { keepalive_timeout: 1 });
});

Deno.test("held packets are bounded by not reading", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, ingress } = fixture;
  using peer = await open(fixture, 5);
  ingress.hasRoom = false;
  const count = 600;
  const one = peer.publish(PROPERTIES, `{"a":"${"x".repeat(50_000)}"}`, 0);
  peer.sendBytes(Buffer.alloc(one.length * count, one));
  await waitFor(() => gateway.figures.holding === 1, { what: "it to wait", withinMs: 5_000 });
  using honest = await RawMqtt.open(gateway.port);
  await honest.login("d2");
  for (let i = 0; i < 50; i++) await honest.roundTrip();
  assert.ok(peer.socket.writableLength > 0, "the peer is pushed back");
  const { bufferedBytes } = gateway.figures;
  assert.ok(bufferedBytes < LIMITS.mqttHeldBytesMax + 200_000, `${bufferedBytes} are kept`);
  ingress.makeRoom();
  await waitFor(() => ingress.bodies("properties").length === count, {
    what: "all messages",
    withinMs: 20_000,
    actual: () => ingress.bodies("properties").length,
  });
});

Deno.test("a connection that waits too long for an acknowledgement is closed", async () => {
  await using fixture = await startMqttFixture({ isAutomatic: false });
  const { gateway, clock } = fixture;
  using waiting = await open(fixture, 5);
  using idle = await RawMqtt.open(gateway.port);
  await idle.login("d2");
  waiting.sendBytes(waiting.publish(PROPERTIES, '{"a":1}', 1, 1));
  await waiting.roundTrip();
  await clock.advance(10_000);
  await waiting.roundTrip();
  await clock.advance(2_000);
  assert.equal((await waiting.next("disconnect")).reasonCode, 0x89);
  await waiting.closed();
  await idle.roundTrip();
});

Deno.test("a silent client is closed after one and a half keep-alives, others are not", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, clock } = fixture;
  using silent = await open(fixture, 5, { keepalive: 10 });
  using lively = await RawMqtt.open(gateway.port);
  await lively.login("d2", { keepalive: 10 });
  using none = await RawMqtt.open(gateway.port);
  await none.login("d3", { keepalive: 0 });
  await clock.advance(14_000);
  await lively.roundTrip();
  assert.equal(gateway.connections, 3);
  await clock.advance(3_000);
  assert.equal((await silent.next("disconnect")).reasonCode, 0x8d);
  await lively.roundTrip();
  await none.roundTrip();
  assert.equal(gateway.connections, 2);
});

Deno.test("a peer that does not read its answers is not read, and then closed", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, clock } = fixture;
  using peer = await open(fixture, 4, { keepalive: 0 });
  using honest = await RawMqtt.open(gateway.port);
  await honest.login("d2");
  peer.socket.pause();
  const pings = Buffer.alloc(1_000_000, Uint8Array.of(0xc0, 0));
  const isStuck = () => peer.socket.writableLength > 0 && pauses > 20;
  let pauses = 0;
  for (let i = 0; i < 40 && !isStuck(); i++) {
    peer.sendBytes(pings);
    await honest.roundTrip();
    pauses = peer.socket.writableLength > 0 ? pauses + 1 : 0;
  }
  await honest.roundTrip();
  await clock.advance(1_000);
  await clock.advance(11_000);
  await waitFor(() => gateway.figures.closed.stalled === 1, {
    what: "the close",
    withinMs: 5_000,
    actual: () => gateway.figures.closed,
  });
  await honest.roundTrip();
});

Deno.test("a QoS 2 message waits for room with its id, and is taken once", async () => {
  await using fixture = await startMqttFixture();
  const { ingress } = fixture;
  using peer = await open(fixture, 4, { clean: false });
  ingress.hasRoom = false;
  peer.sendBytes(peer.publish(PROPERTIES, '{"a":1}', 2, 1));
  peer.sendBytes(peer.publish(PROPERTIES, '{"a":2}', 1, 2));
  await peer.roundTrip();
  assert.deepEqual([peer.packets, ingress.bodies("properties")], [[], []]);
  ingress.makeRoom();
  assert.equal((await peer.next("pubrec")).messageId, 1);
  assert.equal((await peer.next("puback")).messageId, 2);
  peer.sendBytes(peer.publish(PROPERTIES, '{"a":1}', 2, 1));
  await peer.next("pubrec");
  const values = ingress.bodies("properties").map(({ samples }) => samples[0].values.a);
  assert.deepEqual(values, [1, 2]);
});

Deno.test("room that nobody announced is no way past what the gateway owes", async () => {
  await using fixture = await startMqttFixture();
  const { ingress, gateway } = fixture;
  ingress.hasRoom = false;
  using peer = await open(fixture, 4);
  ingress.hasRoom = true;
  peer.sendBytes(peer.publish(PROPERTIES, '{"a":1}', 1, 1));
  await peer.next("puback");
  ingress.hasRoom = false;
  using other = await RawMqtt.open(gateway.port);
  await other.login("d2");
  ingress.hasRoom = true;
  other.send({ cmd: "disconnect" });
  await waitFor(() => gateway.connections === 1, { what: "its end", withinMs: 2_000 });
  ingress.makeRoom();
  await waitFor(() => ingress.bodies("disconnected").length === 1, {
    what: "the end in the log",
    withinMs: 2_000,
  });
  const kinds = ingress.messages.map(({ body }) => body.type);
  assert.deepEqual(kinds, ["connected", "properties", "connected", "disconnected"]);
});

Deno.test("an acknowledgement is late by its own wait, not by that of the append it joined", async () => {
  await using fixture = await startMqttFixture({ isAutomatic: false });
  const { clock, gateway, ingress } = fixture;
  using early = await open(fixture, 5);
  using late = await RawMqtt.open(gateway.port, { version: 5 });
  await late.login("d2");
  ingress.settle(); // The logins.
  const pass = async (seconds: number) => {
    for (let i = 0; i < seconds; i++) await clock.advance(1_000);
  };
  early.sendBytes(early.publish(PROPERTIES, '{"a":1}', 1, 1));
  await early.roundTrip();
  await pass(LIMITS.acknowledgeMsMax / 1_000 - 1);
  late.sendBytes(late.publish("v1/p/d2/properties", '{"a":2}', 1, 1));
  await late.roundTrip();
  await pass(2);
  assert.equal((await early.next("disconnect")).reasonCode, 0x89);
  await late.roundTrip();
  assert.deepEqual(late.packets, []);
  ingress.settle();
  assert.equal((await late.next("puback")).messageId, 1);
});
