/** MQTT as devices see it, on real sockets: acknowledgements, topics, refusals and QoS 2. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { NOW_MS, startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const PREFIX = "v1/p/d1/";
const PROPERTIES = `${PREFIX}properties`;

Deno.test("a message is acknowledged when it is durable and not before", async () => {
  for (const version of [4, 5] as const) {
    await using fixture = await startMqttFixture({ isAutomatic: false });
    const { gateway, ingress } = fixture;
    using peer = await RawMqtt.open(gateway.port, { version });
    await peer.login("d1");
    peer.sendBytes(peer.publish(PROPERTIES, '{"a":1}', 1, 7));
    await peer.roundTrip();
    assert.deepEqual(ingress.bodies("properties"), [{
      type: "properties",
      samples: [{ values: { a: 1 } }],
    }]);
    assert.equal(ingress.messages.at(-1)!.to, "device/p/d1");
    assert.equal(peer.packets.length, 0);
    ingress.settle();
    assert.equal((await peer.next("puback")).messageId, 7);
  }
});

Deno.test("acknowledgements keep the order of arrival whatever became of the messages", async () => {
  await using fixture = await startMqttFixture({ isAutomatic: false });
  const { gateway, ingress } = fixture;
  using peer = await RawMqtt.open(gateway.port, { version: 5 });
  await peer.login("d1");
  const first = ingress.seal() + 1;
  peer.sendBytes(peer.publish(PROPERTIES, '{"a":1}', 1, 1));
  peer.sendBytes(peer.publish(PROPERTIES, "not json", 1, 2));
  peer.sendBytes(peer.publish(PROPERTIES, '{"a":2}', 0));
  peer.send({
    cmd: "subscribe",
    messageId: 3,
    subscriptions: [{ topic: `${PREFIX}shadow`, qos: 1 }],
  });
  peer.sendBytes(peer.publish("v1/p/other/properties", '{"a":3}', 1, 4));
  await peer.roundTrip();
  ingress.seal();
  peer.sendBytes(peer.publish(`${PREFIX}events/opened`, '{"by":"x"}', 1, 5));
  peer.sendBytes(peer.publish(`${PREFIX}anything/else`, "??", 1, 6));
  await peer.roundTrip();
  assert.deepEqual(peer.packets, []);
  const chunks = peer.chunks.length;
  ingress.settle(first);
  const seen = [];
  for (const kind of ["puback", "puback", "suback", "puback"] as const) {
    const packet = await peer.next(kind);
    seen.push([packet.messageId, packet.reasonCode ?? packet.granted[0]]);
  }
  assert.deepEqual(seen, [[1, 0], [2, 0x99], [3, 1], [4, 0x87]]);
  assert.equal(peer.chunks.length, chunks + 1, "one write for all");
  ingress.settle();
  assert.equal((await peer.next("puback")).messageId, 5);
  assert.equal((await peer.next("puback")).messageId, 6);
  assert.deepEqual(fixture.refusals, ["malformed", "outside_prefix"]);
  assert.equal(gateway.figures.unrouted, 1);
});

Deno.test("a refused message is acknowledged on 3.1.1 and told on errors", async () => {
  await using fixture = await startMqttFixture();
  using peer = await RawMqtt.open(fixture.gateway.port);
  await peer.login("d1");
  peer.send({
    cmd: "subscribe",
    messageId: 1,
    subscriptions: [{ topic: `${PREFIX}errors`, qos: 1 }],
  });
  await peer.next("suback");
  peer.sendBytes(peer.publish(PROPERTIES, '{"t":1e999}', 1, 2));
  const told = await peer.next("publish");
  assert.equal(told.topic, `${PREFIX}errors`);
  const { topic, code, detail } = JSON.parse(told.payload.toString());
  assert.deepEqual([topic, code], [PROPERTIES, "malformed"]);
  assert.match(detail, /not finite/);
  assert.equal((await peer.next("puback")).messageId, 2);
  assert.equal(fixture.ingress.bodies("properties").length, 0);
});

Deno.test("a partly refused message is kept but for the refused paths, which are told", async () => {
  await using fixture = await startMqttFixture();
  using peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  await peer.login("d1");
  peer.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: `${PREFIX}+`, qos: 0 }] });
  await peer.next("suback");
  peer.sendBytes(peer.publish(PROPERTIES, '{"t":101,"a":1}', 1, 2));
  const told = JSON.parse((await peer.next("publish")).payload.toString());
  assert.equal(told.code, "partially_refused");
  assert.match(told.detail, /^t: Cannot accept 101: max is 100$/);
  assert.equal((await peer.next("puback")).reasonCode, 0);
  assert.deepEqual(fixture.ingress.bodies("properties")[0].samples, [{ values: { a: 1 } }]);
  peer.sendBytes(peer.publish("v1/p/other/x", "{}", 1, 3));
  const outside = JSON.parse((await peer.next("publish")).payload.toString());
  assert.deepEqual([outside.topic, outside.code], ["v1/p/other/x", "outside_prefix"]);
  assert.equal((await peer.next("puback")).reasonCode, 0x87);
  assert.deepEqual(fixture.refusals, ["point_max", "outside_prefix"]);
  assert.equal(fixture.gateway.figures.pointsRefused, 1);
});

Deno.test("a 3.1.1 publish outside the own prefix closes the socket", async () => {
  await using fixture = await startMqttFixture();
  using peer = await RawMqtt.open(fixture.gateway.port);
  await peer.login("d1");
  peer.sendBytes(peer.publish("v1/p/d1x/properties", '{"a":1}', 1, 2));
  await peer.closed();
  assert.deepEqual(fixture.refusals, ["outside_prefix"]);
  assert.equal(fixture.ingress.bodies("properties").length, 0);
});

Deno.test("filters outside the own prefix are refused, wildcards within it are not", async () => {
  for (const version of [4, 5] as const) {
    await using fixture = await startMqttFixture();
    using peer = await RawMqtt.open(fixture.gateway.port, { version });
    await peer.login("d1");
    const topics = ["#", "v1/p/+/shadow", "v1/p/d2/#", `$share/g/${PREFIX}#`, `${PREFIX}a#`];
    const subscriptions = [...topics, `${PREFIX}+/set`, `${PREFIX}errors`].map((topic) => ({
      topic,
      qos: 2 as const,
    }));
    peer.send({ cmd: "subscribe", messageId: 9, subscriptions });
    const { granted } = await peer.next("suback");
    const refused = version === 5 ? [0x87, 0x87, 0x87, 0x9e, 0x8f] : [128, 128, 128, 128, 128];
    assert.deepEqual(granted, [...refused, 2, 2]);
    const unsubscriptions = [`${PREFIX}errors`, `${PREFIX}none`];
    peer.send({ cmd: "unsubscribe", messageId: 10, unsubscriptions });
    const unsuback = await peer.next("unsuback");
    if (version === 5) assert.deepEqual(unsuback.granted, [0, 0x11]);
  }
});

Deno.test("an event, a shadow request and unknown topics reach what they should", async () => {
  await using fixture = await startMqttFixture();
  const { ingress } = fixture;
  using peer = await RawMqtt.open(fixture.gateway.port);
  await peer.login("d1");
  peer.sendBytes(peer.publish(`${PREFIX}events/opened`, '{"by":"x"}', 1, 1));
  const at = NOW_MS - 5;
  peer.sendBytes(peer.publish(`${PREFIX}events/opened`, `{"at":${at},"data":[1]}`, 1, 2));
  peer.sendBytes(peer.publish(`${PREFIX}shadow/get`, "", 1, 3));
  peer.sendBytes(peer.publish(`${PREFIX}events/a b`, "{}", 1, 4));
  for (const id of [1, 2, 3, 4]) assert.equal((await peer.next("puback")).messageId, id);
  assert.deepEqual(ingress.bodies("event"), [
    { type: "event", event: "opened", data: { by: "x" } },
    { type: "event", event: "opened", at, data: [1] },
  ]);
  const [{ session }] = ingress.bodies("connected");
  assert.deepEqual(ingress.bodies("shadowGet"), [{ type: "shadowGet", session }]);
  assert.deepEqual(fixture.refusals, ["malformed"]);
});

Deno.test("the time is answered at once, also while nothing becomes durable", async () => {
  await using fixture = await startMqttFixture({ isAutomatic: false });
  using peer = await RawMqtt.open(fixture.gateway.port);
  await peer.login("d1");
  peer.send({
    cmd: "subscribe",
    messageId: 1,
    subscriptions: [{ topic: `${PREFIX}time`, qos: 0 }],
  });
  await peer.next("suback");
  peer.sendBytes(peer.publish(PROPERTIES, '{"a":1}', 1, 2));
  peer.sendBytes(peer.publish(`${PREFIX}time/get`, '{"sent":5}', 0));
  const { payload } = await peer.next("publish");
  assert.deepEqual(JSON.parse(payload.toString()), { sent: 5, received: NOW_MS, replied: NOW_MS });
  peer.sendBytes(peer.publish(`${PREFIX}time/get`, "null", 0));
  await peer.roundTrip();
  assert.deepEqual(fixture.refusals, ["malformed"]);
});

Deno.test("downlinks go to who subscribed, a shadow to the connection that asked", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, ingress } = fixture;
  using peer = await RawMqtt.open(gateway.port, { version: 5 });
  const set = { type: "propertySet", version: 3, values: { on: false } } as const;
  assert.equal(gateway.deliver("p", "d1", set), false);
  await peer.login("d1");
  assert.equal(gateway.deliver("p", "d1", set), false);
  peer.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: `${PREFIX}#`, qos: 1 }] });
  await peer.next("suback");
  const [{ session }] = ingress.bodies("connected");
  assert.deepEqual(ingress.bodies("deliver"), [{ type: "deliver", session, calls: true }]);
  assert.equal(gateway.deliver("p", "d1", set), true);
  const sent = await peer.next("publish");
  assert.deepEqual([sent.topic, sent.qos], [`${PREFIX}properties/set`, 1]);
  assert.deepEqual(JSON.parse(sent.payload.toString()), { version: 3, values: { on: false } });
  peer.send({ cmd: "puback", messageId: sent.messageId });
  const shadow = { version: 3, desired: {}, reported: { a: { value: 1, at: 2 } } };
  assert.equal(gateway.deliver("p", "d1", { type: "shadow", session: "old.1", shadow }), false);
  assert.equal(gateway.deliver("p", "d1", { type: "shadow", session, shadow }), true);
  const answer = await peer.next("publish");
  assert.equal(answer.topic, `${PREFIX}shadow`);
  assert.deepEqual(JSON.parse(answer.payload.toString()), shadow);
  await waitFor(() => gateway.figures.downlinksAcknowledged === 1, {
    what: "the PUBACK of the device",
    withinMs: 1_000,
  });
});

Deno.test("a QoS 2 message is taken once, also over a restart of the gateway", async () => {
  for (const version of [4, 5] as const) {
    const lasting = version === 5
      ? { clean: false, properties: { sessionExpiryInterval: 100 } }
      : { clean: false };
    await using before = await startMqttFixture({ isAutomatic: false });
    using peer = await RawMqtt.open(before.gateway.port, { version });
    await peer.login("d1", lasting);
    peer.sendBytes(peer.publish(PROPERTIES, '{"a":1}', 2, 5));
    await peer.roundTrip();
    assert.equal(peer.packets.length, 0, "PUBREC waits for the log");
    before.ingress.settle();
    assert.equal((await peer.next("pubrec")).messageId, 5);
    assert.match(new TextDecoder().decode(before.ingress.rows.get("mqtt/p/d1")), /"qos2":\[5\]/);

    // As after kill -9: another gateway on what was durable.
    await using after = await startMqttFixture({ ingress: before.ingress });
    before.ingress.isAutomatic = true;
    using again = await RawMqtt.open(after.gateway.port, { version });
    assert.equal(
      (await again.login("d1", lasting) as { sessionPresent: boolean }).sessionPresent,
      true,
    );
    again.sendBytes(again.publish(PROPERTIES, '{"a":1}', 2, 5));
    assert.equal((await again.next("pubrec")).messageId, 5);
    again.send({ cmd: "pubrel", messageId: 5 });
    assert.equal((await again.next("pubcomp")).messageId, 5);
    assert.equal(before.ingress.bodies("properties").length, 1);
    again.sendBytes(again.publish(PROPERTIES, '{"a":2}', 2, 5));
    assert.equal((await again.next("pubrec")).messageId, 5);
    assert.equal(before.ingress.bodies("properties").length, 2, "the id is free again");
    again.send({ cmd: "pubrel", messageId: 77 });
    const unknown = await again.next("pubcomp");
    if (version === 5) assert.equal(unknown.reasonCode, 0x92);
  }
});

Deno.test("a crash between any two appends neither repeats nor loses a QoS 2 message", async () => {
  for (let crashAt = 0, last = 1; crashAt <= last; crashAt++) {
    await using before = await startMqttFixture({ isAutomatic: false });
    before.ingress.isSealingEach = true;
    using peer = await RawMqtt.open(before.gateway.port);
    await peer.login("d1", { clean: false });
    const messages = [5, 6].map((id) => peer.publish(PROPERTIES, `{"a":${id}}`, 2, id));
    peer.sendBytes(Buffer.concat(messages));
    await peer.roundTrip();
    last = before.ingress.messages.at(-1)!.append;

    await using after = await startMqttFixture({ ingress: before.ingress.crashedAt(crashAt) });
    using again = await RawMqtt.open(after.gateway.port);
    await again.login("d1", { clean: false });
    again.sendBytes(Buffer.concat(messages));
    for (const id of [5, 6]) assert.equal((await again.next("pubrec")).messageId, id);
    for (const id of [5, 6]) again.send({ cmd: "pubrel", messageId: id });
    for (const id of [5, 6]) assert.equal((await again.next("pubcomp")).messageId, id);
    const seen = after.ingress.bodies("properties").map(({ samples }) => samples[0].values.a);
    assert.deepEqual(seen, [5, 6], `crash at append ${crashAt}`);
  }
});

Deno.test("a PUBCOMP waits until the freed id is durable", async () => {
  await using fixture = await startMqttFixture({ isAutomatic: false });
  using peer = await RawMqtt.open(fixture.gateway.port);
  await peer.login("d1", { clean: false });
  peer.sendBytes(peer.publish(PROPERTIES, '{"a":1}', 2, 5));
  await peer.roundTrip();
  fixture.ingress.settle();
  await peer.next("pubrec");
  peer.send({ cmd: "pubrel", messageId: 5 });
  await peer.roundTrip();
  assert.equal(peer.packets.length, 0);
  fixture.ingress.settle();
  await peer.next("pubcomp");
});

Deno.test("bytes cut anywhere are the same packets", async () => {
  await using fixture = await startMqttFixture();
  using peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  const all = Buffer.concat([
    peer.bytesOf(peer.connectPacket("d1")),
    peer.publish(PROPERTIES, '{"a":1}', 1, 1),
    peer.publish(PROPERTIES, `{"a":"${"ä".repeat(300)}"}`, 1, 2),
    peer.publish(`${PREFIX}events/e`, "{}", 1, 3),
    peer.publish(PROPERTIES, '{"a":4}', 1, 4),
  ]);
  for (let at = 0, step = 1; at < all.length; step = step % 7 + 1) {
    peer.sendBytes(all.subarray(at, at + step));
    at += step;
    if (at % 5 === 0) await new Promise((resolve) => peer.socket.write("", resolve));
  }
  await peer.next("connack");
  for (const id of [1, 2, 3, 4]) assert.equal((await peer.next("puback")).messageId, id);
  assert.equal(fixture.ingress.bodies("properties").length, 3);
});

Deno.test("what a peer sent before it closed its side is handled and acknowledged", async () => {
  await using fixture = await startMqttFixture({ isAutomatic: false });
  using peer = await RawMqtt.open(fixture.gateway.port);
  peer.send(peer.connectPacket("d1", { clean: false }));
  peer.sendBytes(peer.publish(PROPERTIES, '{"a":1}', 1, 1));
  peer.socket.end();
  await waitFor(() => fixture.ingress.bodies("properties").length === 1, {
    what: "the message",
    withinMs: 2_000,
  });
  fixture.ingress.settle();
  await peer.next("connack");
  assert.equal((await peer.next("puback")).messageId, 1);
  await peer.closed();
});
