/**
 * What a device gets of what it publishes on topics of its own, by the options of its subscriptions,
 * and how: QoS 2, expiry, properties. Numbers are of MQTT 5 unless they begin with "3: ".
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { IConnectPacket, IPublishPacket, ISubscription } from "mqtt-packet";
import { LIMITS } from "../../runtime/limits.ts";
import { FakeIngress } from "../support/fake_ingress.ts";
import { type MqttFixture, startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const PREFIX = "v1/p/d1/";
const LASTING: Partial<IConnectPacket> = {
  clean: false,
  properties: { sessionExpiryInterval: 100 },
};

async function connect(
  fixture: MqttFixture,
  more: Partial<IConnectPacket> = {},
  version: 4 | 5 = 5,
): Promise<RawMqtt> {
  const peer = await RawMqtt.open(fixture.gateway.port, { version });
  await peer.login("d1", more);
  return peer;
}

async function subscribe(
  peer: RawMqtt,
  subscriptions: ISubscription[],
  subscriptionIdentifier?: number,
): Promise<void> {
  const properties = subscriptionIdentifier === undefined ? {} : { subscriptionIdentifier };
  peer.send({ cmd: "subscribe", messageId: 900, subscriptions, properties });
  await peer.next("suback");
}

function publish(peer: RawMqtt, more: Partial<IPublishPacket> = {}): void {
  const packet = { topic: `${PREFIX}own/a`, payload: "x", qos: 0 as const, dup: false };
  peer.send({ cmd: "publish", retain: false, ...packet, ...more });
}

/** Topics of all PUBLISH packets until all that was sent is handled. */
async function received(peer: RawMqtt): Promise<string[]> {
  await peer.roundTrip();
  const packets = peer.packets.splice(0);
  return packets.flatMap((packet) => packet.cmd === "publish" ? [packet.topic] : []);
}

Deno.test("[MQTT-3.3.4-2] a device gets one copy of its own message, by the highest QoS that matches", async () => {
  for (const version of [4, 5] as const) {
    await using fixture = await startMqttFixture();
    using peer = await connect(fixture, {}, version);
    const filters = [[`${PREFIX}#`, 0], [`${PREFIX}own/+`, 1], [`${PREFIX}other`, 2]] as const;
    await subscribe(peer, filters.map(([topic, qos]) => ({ topic, qos })));
    for (const [qos, granted] of [[0, 0], [1, 1], [2, 1]] as const) {
      publish(peer, { qos, messageId: qos });
      const copy = await peer.next("publish");
      assert.deepEqual([copy.topic, copy.qos, copy.retain], [`${PREFIX}own/a`, granted, false]);
      assert.equal(copy.payload.toString(), "x");
      if (copy.qos > 0) peer.send({ cmd: "puback", messageId: copy.messageId });
      if (qos > 0) await peer.next(qos === 1 ? "puback" : "pubrec");
    }
    assert.deepEqual(await received(peer), [], "one copy each");
    assert.equal(fixture.gateway.figures.unrouted, 3);
  }
});

Deno.test("what the platform takes does not come back: properties, events, answers", async () => {
  await using fixture = await startMqttFixture();
  using peer = await connect(fixture);
  await subscribe(peer, [{ topic: `${PREFIX}#`, qos: 0 }]);
  const reply = `${PREFIX}services/s/c/reply`;
  for (const [topic, payload] of [["properties", '{"a":1}'], ["events/e", "{}"]] as const) {
    publish(peer, { topic: PREFIX + topic, payload });
  }
  publish(peer, { topic: reply, payload: '{"ok":true,"output":{}}' });
  assert.deepEqual(await received(peer), []);
  assert.equal(fixture.ingress.messages.length >= 4, true);
});

Deno.test("[MQTT-3.8.3-3] a No Local subscription gets nothing that the device published", async () => {
  await using fixture = await startMqttFixture();
  using peer = await connect(fixture);
  // SUBSCRIBE id 1, no properties, one filter with options No Local and QoS 1.
  const filter = Buffer.from(`${PREFIX}#`);
  const body = [0, 1, 0, 0, filter.length, ...filter, 0x05];
  peer.sendBytes(Buffer.from([0x82, body.length, ...body]));
  assert.deepEqual((await peer.next("suback")).granted, [1]);
  publish(peer);
  assert.deepEqual(await received(peer), []);
  await subscribe(peer, [{ topic: `${PREFIX}own/a`, qos: 0 }]);
  publish(peer);
  assert.deepEqual(await received(peer), [`${PREFIX}own/a`], "the other subscription does");
  fixture.gateway.deliver("p", "d1", { type: "propertySet", version: 1, values: { a: 1 } });
  assert.equal((await peer.next("publish")).topic, `${PREFIX}properties/set`);
});

Deno.test("[MQTT-3.3.4-3] a message tells the identifiers of all subscriptions that match it", async () => {
  await using fixture = await startMqttFixture();
  using peer = await connect(fixture, LASTING);
  await subscribe(peer, [{ topic: `${PREFIX}#`, qos: 0 }], 1);
  await subscribe(peer, [{ topic: `${PREFIX}own/+`, qos: 0 }], 268_435_455);
  await subscribe(peer, [{ topic: `${PREFIX}properties/set`, qos: 1 }]);
  const values = { type: "propertySet", version: 1, values: { a: 1 } } as const;
  const idsOf = async (): Promise<unknown> => {
    const { properties } = await peer.next("publish");
    return properties?.subscriptionIdentifier;
  };
  publish(peer);
  assert.deepEqual(await idsOf(), [1, 268_435_455]);
  fixture.gateway.deliver("p", "d1", values);
  assert.deepEqual(await idsOf(), 1);
  // The same filter again replaces what it had (3.8.4-3), also its identifier.
  await subscribe(peer, [{ topic: `${PREFIX}own/+`, qos: 0 }]);
  publish(peer);
  assert.deepEqual(await idsOf(), 1);
  const row = new TextDecoder().decode(fixture.ingress.rows.get("mqtt/p/d1"));
  assert.match(row, /"id":1/, "kept with the session");
});

Deno.test("[MQTT-4.3.3-2] QoS 2 to a device: PUBLISH, PUBREC, PUBREL, PUBCOMP, each in raw bytes", async () => {
  for (const version of [4, 5] as const) {
    await using fixture = await startMqttFixture();
    using peer = await connect(fixture, {}, version);
    await subscribe(peer, [{ topic: `${PREFIX}own/#`, qos: 2 }]);
    publish(peer, { qos: 2, messageId: 77 });
    const copy = await peer.next("publish");
    assert.deepEqual([copy.qos, copy.dup, copy.messageId], [2, false, 1]);
    await peer.next("pubrec");
    peer.chunks.length = 0;
    peer.sendBytes(Buffer.of(0x50, 2, 0, 1)); // PUBREC
    await peer.next("pubrel");
    assert.deepEqual([...Buffer.concat(peer.chunks)], [0x62, 2, 0, 1]);
    peer.sendBytes(Buffer.of(0x70, 2, 0, 1)); // PUBCOMP
    await waitFor(() => fixture.gateway.figures.downlinksAcknowledged === 1, {
      what: "the end of it",
      withinMs: 2_000,
    });
    peer.chunks.length = 0;
    peer.sendBytes(Buffer.of(0x50, 2, 0, 9)); // Of no message.
    await peer.next("pubrel");
    const unknown = version === 5 ? [0x62, 3, 0, 9, 0x92] : [0x62, 2, 0, 9];
    assert.deepEqual([...Buffer.concat(peer.chunks)], unknown);
  }
});

Deno.test("[MQTT-4.3.3-4] a PUBREC with an error ends a QoS 2 message without a PUBREL", async () => {
  await using fixture = await startMqttFixture();
  using peer = await connect(fixture);
  await subscribe(peer, [{ topic: `${PREFIX}own/#`, qos: 2 }]);
  publish(peer, { qos: 2, messageId: 77 });
  await peer.next("publish");
  await peer.next("pubrec");
  peer.sendBytes(Buffer.of(0x50, 3, 0, 1, 0x83));
  await peer.roundTrip();
  assert.equal(peer.packets.length, 0);
  assert.equal(fixture.gateway.figures.downlinksAcknowledged, 1);
});

Deno.test("[MQTT-4.4.0-1] QoS 2 to a device goes on at reconnect: the PUBLISH with DUP, or the PUBREL", async () => {
  await using fixture = await startMqttFixture();
  const first = await connect(fixture, LASTING);
  await subscribe(first, [{ topic: `${PREFIX}own/#`, qos: 2 }]);
  for (const id of [1, 2]) publish(first, { qos: 2, messageId: id, payload: String(id) });
  for (let i = 0; i < 4; i++) await waitFor(() => first.packets.shift(), PACKET);
  first.sendBytes(Buffer.of(0x50, 2, 0, 1));
  await first.next("pubrel");
  first.socket.resetAndDestroy();
  await waitFor(() => fixture.gateway.connections === 0, { what: "the end", withinMs: 2_000 });

  using again = await connect(fixture, LASTING);
  assert.equal((await again.next("pubrel")).messageId, 1);
  const copy = await again.next("publish");
  assert.deepEqual([copy.messageId, copy.dup, copy.payload.toString()], [2, true, "2"]);
});

const PACKET = { what: "a packet", withinMs: 5_000 };

Deno.test("[MQTT-4.3.3-5] the id of a QoS 2 message to a device outlives its gateway until PUBCOMP", async () => {
  await using before = await startMqttFixture({ isAutomatic: false });
  using peer = await RawMqtt.open(before.gateway.port, { version: 5 });
  await peer.login("d1", LASTING);
  const filters = [{ topic: `${PREFIX}own/#`, qos: 2 as const }];
  peer.send({ cmd: "subscribe", messageId: 900, subscriptions: filters });
  await peer.roundTrip();
  before.ingress.settle();
  await peer.next("suback");
  publish(peer, { qos: 2, messageId: 7 });
  assert.deepEqual(await received(peer), [], "not before its id is durable");
  before.ingress.settle();
  const packets = [await waitFor(() => peer.packets.shift(), PACKET)];
  packets.push(await waitFor(() => peer.packets.shift(), PACKET));
  assert.deepEqual(packets.map(({ cmd }) => cmd).sort(), ["publish", "pubrec"]);

  await using after = await startMqttFixture({
    ingress: before.ingress.crashedAt(before.ingress.settled),
  });
  using again = await connect(after, LASTING);
  assert.equal((await again.next("pubrel")).messageId, 1, "its content is gone, its id is not");
  publish(again, { qos: 2, messageId: 8 });
  assert.equal((await again.next("pubrec")).messageId, 8);
  assert.equal((await again.next("publish")).messageId, 2, "an id in use is not taken");
  again.sendBytes(Buffer.of(0x70, 2, 0, 1));
  const row = () => new TextDecoder().decode(after.ingress.rows.get("mqtt/p/d1"));
  await waitFor(() => row().includes('"outgoing":[2]'), { what: "the freed id", withinMs: 2_000 });
});

Deno.test("[MQTT-3.3.2-6] a message has the time that is left when it is sent, counted in seconds", async () => {
  await using fixture = await startMqttFixture();
  const away = await connect(fixture, {
    ...LASTING,
    properties: { sessionExpiryInterval: 5_000, receiveMaximum: 1 },
  });
  await subscribe(away, [{ topic: `${PREFIX}own/#`, qos: 1 }]);
  const expiring = (messageExpiryInterval: number, payload: string) =>
    publish(away, { qos: 1, messageId: 1, payload, properties: { messageExpiryInterval } });
  expiring(600, "first");
  assert.equal((await away.next("publish")).properties.messageExpiryInterval, 600);
  await away.next("puback");
  expiring(100, "second");
  await away.next("puback");
  expiring(10, "third");
  await away.next("puback");
  await fixture.clock.advance(60_500);
  away.sendBytes(Buffer.of(0x40, 2, 0, 1));
  const second = await away.next("publish");
  assert.deepEqual(
    [second.payload.toString(), second.properties.messageExpiryInterval],
    ["second", 40],
  );
  away.sendBytes(Buffer.of(0x40, 2, second.messageId >> 8, second.messageId & 255));
  assert.deepEqual(await received(away), [], "[MQTT-3.3.2-5] what is over is deleted");
});

Deno.test("[MQTT-3.3.2-5] a message whose time is over is deleted while its device is away", async () => {
  await using fixture = await startMqttFixture();
  const first = await connect(fixture, {
    ...LASTING,
    properties: { sessionExpiryInterval: 5_000, receiveMaximum: 1 },
  });
  await subscribe(first, [{ topic: `${PREFIX}own/#`, qos: 1 }]);
  for (const seconds of [20, 20, 600]) {
    const properties = { messageExpiryInterval: seconds };
    publish(first, { qos: 1, messageId: seconds, payload: String(seconds), properties });
  }
  await first.roundTrip();
  first.socket.resetAndDestroy();
  await waitFor(() => fixture.gateway.connections === 0, { what: "the end", withinMs: 2_000 });
  await fixture.clock.advance(30_000);
  using again = await connect(fixture, LASTING);
  const begun = await again.next("publish");
  assert.deepEqual([begun.dup, begun.properties.messageExpiryInterval], [true, 1], "4.4.0-1");
  const { payload, properties } = await again.next("publish");
  assert.deepEqual([payload.toString(), properties.messageExpiryInterval], ["600", 570]);
  assert.deepEqual(await received(again), []);
});

Deno.test("[MQTT-3.3.2-12] a topic alias stands for its topic on its connection, until it is set anew", async () => {
  await using fixture = await startMqttFixture();
  const { ingress } = fixture;
  using peer = await connect(fixture);
  const aliased = (topic: string, payload: string) =>
    publish(peer, { topic, payload, properties: { topicAlias: LIMITS.mqttTopicAliasMax } });
  aliased(`${PREFIX}properties`, '{"a":1}');
  aliased("", '{"a":2}');
  aliased(`${PREFIX}events/e`, '{"b":1}');
  aliased("", '{"b":2}');
  await peer.roundTrip();
  assert.deepEqual(ingress.bodies("properties").map(({ samples }) => samples[0].values.a), [1, 2]);
  assert.deepEqual(ingress.bodies("event").map(({ data }) => data.b), [1, 2]);
  // An alias with a content type: the two do not take each other for a repeat.
  const properties = { topicAlias: 1, contentType: "json" };
  publish(peer, { topic: `${PREFIX}events/e`, payload: "{}", properties });
  await peer.roundTrip();
  using next = await connect(fixture); // [MQTT-3.3.2-7] It is of its connection.
  publish(next, { topic: "", payload: "{}", properties: { topicAlias: 1 } });
  assert.equal((await next.next("disconnect")).reasonCode, 0x82);
});

Deno.test("an alias does not open what its topic is denied", async () => {
  await using fixture = await startMqttFixture();
  using peer = await connect(fixture);
  const properties = { topicAlias: 3 };
  publish(peer, { topic: "v1/p/d2/own", qos: 1, messageId: 1, properties });
  assert.equal((await peer.next("puback")).reasonCode, 0x87);
  publish(peer, { topic: "", qos: 1, messageId: 2, properties });
  assert.equal((await peer.next("puback")).reasonCode, 0x87);
  assert.deepEqual(fixture.refusals, ["outside_prefix", "outside_prefix"]);
});

Deno.test("[MQTT-3.3.2-18] user properties go on unaltered and in order, with the others of a message", async () => {
  await using fixture = await startMqttFixture();
  using peer = await connect(fixture);
  await subscribe(peer, [{ topic: `${PREFIX}own/#`, qos: 0 }]);
  const text = (value: string) => [0, value.length, ...Buffer.from(value)];
  const properties = [
    ...[0x26, ...text("b"), ...text("1")],
    ...[0x01, 1],
    ...[0x26, ...text("a"), ...text("2")],
    ...[0x03, ...text("text/plain")],
    ...[0x26, ...text("b"), ...text("3")],
    ...[0x08, ...text("v1/p/d1/x")],
    ...[0x09, 0, 2, 0, 255],
  ];
  const topic = text(`${PREFIX}own/a`);
  const body = [...topic, properties.length, ...properties, 65];
  peer.chunks.length = 0;
  peer.sendBytes(Buffer.from([0x30, body.length, ...body]));
  await peer.next("publish");
  assert.deepEqual([...Buffer.concat(peer.chunks)], [0x30, body.length, ...body]);
  const [{ carried }] = fixture.ingress.bodies("message");
  assert.deepEqual(carried, {
    userProperties: [["b", "1"], ["a", "2"], ["b", "3"]],
    contentType: "text/plain",
    responseTopic: "v1/p/d1/x",
    correlation: "AP8=",
  });
});

Deno.test("user properties are kept with properties, events and wills, and bounded", async () => {
  await using fixture = await startMqttFixture();
  const { ingress } = fixture;
  const userProperties = { site: "north" };
  const carried = { userProperties: [["site", "north"]] };
  const will = { topic: `${PREFIX}events/lost`, payload: Buffer.from("{}"), qos: 0, retain: false };
  const properties = { userProperties, messageExpiryInterval: 5, payloadFormatIndicator: true };
  const peer = await connect(fixture, { will: { ...will, qos: 0, properties } });
  publish(peer, {
    topic: `${PREFIX}properties`,
    payload: '{"a":1}',
    properties: { userProperties },
  });
  publish(peer, { topic: `${PREFIX}events/e`, payload: "{}", properties: { userProperties } });
  const large = { userProperties: { key: "x".repeat(LIMITS.mqttCarriedBytesMax) } };
  publish(peer, {
    topic: `${PREFIX}properties`,
    payload: "{}",
    qos: 1,
    messageId: 1,
    properties: large,
  });
  assert.equal((await peer.next("puback")).reasonCode, 0x97);
  assert.deepEqual(fixture.refusals, ["properties_too_large"]);
  assert.deepEqual(ingress.bodies("properties").map((body) => body.carried), [carried]);
  peer.socket.resetAndDestroy();
  await waitFor(() => ingress.bodies("event").length === 2, { what: "the will", withinMs: 2_000 });
  const events = ingress.bodies("event").map((body) => body.carried);
  assert.deepEqual(events, [carried, { isWill: true, ...carried }]);
});

Deno.test("copies that wait are bounded by number and bytes, what is beyond is dropped and counted", async () => {
  await using fixture = await startMqttFixture();
  const { figures } = fixture.gateway;
  using peer = await connect(fixture);
  await subscribe(peer, [{ topic: `${PREFIX}own/#`, qos: 1 }]);
  const payload = "x".repeat(20_000);
  for (let i = 0; i < 5; i++) publish(peer, { qos: 1, messageId: 1 + i, payload });
  await peer.roundTrip();
  assert.equal(figures.downlinksDropped, 2, "64 KiB hold three");
  for (const { cmd, messageId } of peer.packets.splice(0)) {
    if (cmd === "publish") peer.send({ cmd: "puback", messageId: messageId! });
  }
  await peer.roundTrip();
  const before = figures.downlinksDropped;
  for (let i = 0; i < LIMITS.mqttCopiesMax + 3; i++) publish(peer, { qos: 1, messageId: 1 + i });
  await peer.roundTrip();
  assert.equal(figures.downlinksDropped - before, 3);
});

Deno.test("[MQTT-3.1.4-1] a CONNECT with a property twice, or one of another packet, is refused", async () => {
  await using fixture = await startMqttFixture({ ingress: new FakeIngress({ isAutomatic: true }) });
  const cases: [string, number[], number[], number][] = [
    ["Receive Maximum twice", [0x21, 0, 5, 0x21, 0, 6], [], 0x82],
    ["a topic alias", [0x23, 0, 1], [], 0x81],
    ["a will's expiry twice", [], [2, 0, 0, 0, 1, 2, 0, 0, 0, 1], 0x82],
    ["a session's expiry in a will", [], [17, 0, 0, 0, 1], 0x81],
  ];
  for (const [name, properties, willProperties, reason] of cases) {
    using peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
    const text = (value: string) => [0, value.length, ...Buffer.from(value)];
    const body = [...text("MQTT"), 5, 0xc6, 0, 60, properties.length, ...properties, ...text("id")];
    body.push(
      willProperties.length,
      ...willProperties,
      ...text(`${PREFIX}events/e`),
      ...text("{}"),
    );
    body.push(...text("p/d1"), ...text("secret-of-d1"));
    peer.sendBytes(Buffer.from([0x10, body.length, ...body]));
    assert.equal((await peer.next("connack")).reasonCode, reason, name);
    await peer.closed();
  }
});
