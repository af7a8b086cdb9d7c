/** Wills (3.1.1: 3.1.2.5; 5: 3.1.2.5, 3.1.3.2): on any end but a DISCONNECT, once, in time. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { IConnectPacket } from "mqtt-packet";
import { LIMITS } from "../../runtime/limits.ts";
import { FakeIngress } from "../support/fake_ingress.ts";
import { type MqttFixture, startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const PREFIX = "v1/p/d1/";
const ROW = "mqtt-will/p/d1";
const STEP_MS = 1_000;

type Will = NonNullable<IConnectPacket["will"]>;

function willOf(delaySeconds = 0, more: Partial<Will> = {}): Will {
  const properties = delaySeconds === 0 ? {} : { willDelayInterval: delaySeconds };
  const will = { topic: `${PREFIX}events/lost`, payload: Buffer.from('{"by":"will"}'), properties };
  return { ...will, qos: 1, retain: false, ...more };
}

function lastingFor(seconds: number): Partial<IConnectPacket> {
  return { clean: false, properties: { sessionExpiryInterval: seconds } };
}

async function connect(
  fixture: MqttFixture,
  more: Partial<IConnectPacket> = {},
  version: 4 | 5 = 5,
): Promise<RawMqtt> {
  const peer = await RawMqtt.open(fixture.gateway.port, { version });
  await peer.login("d1", more);
  return peer;
}

async function gone(fixture: MqttFixture, peer: RawMqtt): Promise<void> {
  peer.socket.resetAndDestroy();
  await untilAway(fixture);
}

async function untilAway(fixture: MqttFixture): Promise<void> {
  await waitFor(() => fixture.gateway.connections === 0, { what: "the end", withinMs: 5_000 });
  await fixture.clock.settle();
}

const PUBLISHED = {
  type: "event",
  event: "lost",
  data: { by: "will" },
  carried: { isWill: true },
};

Deno.test("[MQTT-3.1.2-8] a will is published once, however the connection ends, but for a DISCONNECT", async () => {
  const ends: [string, (fixture: MqttFixture, peer: RawMqtt) => void | Promise<void>, boolean][] = [
    ["a reset", (_, peer) => void peer.socket.resetAndDestroy(), true],
    ["a close without DISCONNECT", (_, peer) => void peer.socket.end(), true],
    ["a protocol error", (_, peer) => peer.sendBytes(Buffer.of(0xc1, 0)), true],
    ["keep-alive", ({ clock }) => clock.advance(91_000), true],
    ["an operator", ({ directory }) => directory.revoke("d1", "device_disabled"), true],
    ["a DISCONNECT", (_, peer) => peer.sendBytes(Buffer.of(0xe0, 0)), false],
  ];
  for (const version of [4, 5] as const) {
    for (const [what, end, isPublished] of ends) {
      await using fixture = await startMqttFixture();
      using peer = await connect(fixture, { will: willOf() }, version);
      assert.deepEqual([...fixture.ingress.rows.keys()], [ROW], "durable before its CONNACK");
      await end(fixture, peer);
      await untilAway(fixture);
      await fixture.clock.advance(STEP_MS);
      const events = fixture.ingress.bodies("event");
      assert.deepEqual(events, isPublished ? [PUBLISHED] : [], `${what} of version ${version}`);
      assert.equal(fixture.ingress.rows.size, 0, what);
      assert.equal(fixture.gateway.figures.willsPublished, isPublished ? 1 : 0);
    }
  }
});

Deno.test("wills are in the trace of their device, taken, taken in part or refused", async () => {
  await using fixture = await startMqttFixture();
  const { traces, ingress } = fixture;
  const properties = { userProperties: { shift: "night" } };
  const wills = [
    willOf(0, { properties }),
    willOf(0, { topic: `${PREFIX}properties`, payload: Buffer.from('{"a":1,"t":200}') }),
    willOf(0, { topic: `${PREFIX}properties`, payload: Buffer.from("{") }),
  ];
  for (const will of wills) await gone(fixture, await connect(fixture, { will }));
  const [third, second, first] = traces.list("p/d1", 10, ingress.settled)!.messages;
  assert.deepEqual(
    [first, second, third].map((message) => [message!.topic, message!.reason, message!.isWill]),
    [
      ["events/lost", undefined, true],
      ["properties", "partially_refused", true],
      ["properties", "malformed", true],
    ],
  );
  assert.deepEqual(first!.userProperties, [["shift", "night"]]);
  assert.ok(first!.append > 0 && second!.append > 0);
  assert.deepEqual([third!.append, third!.bytes], [0, 1]);
});

Deno.test("[MQTT-3.14.4-3] a DISCONNECT drops the will with reason 0x00, and no other", async () => {
  for (const [bytes, count] of [[[0xe0, 2, 0, 0], 0], [[0xe0, 2, 4, 0], 1], [[0xe0, 1, 0x80], 1]]) {
    await using fixture = await startMqttFixture();
    using peer = await connect(fixture, { will: willOf() });
    peer.sendBytes(Buffer.from(bytes as number[]));
    await untilAway(fixture);
    assert.equal(fixture.ingress.bodies("event").length, count, `${bytes}`);
  }
});

Deno.test("[MQTT-3.1.2-8] a CONNACK promises the will: it is sent when the will is durable", async () => {
  await using fixture = await startMqttFixture({ isAutomatic: false });
  const { ingress, gateway } = fixture;
  using peer = await RawMqtt.open(gateway.port, { version: 5 });
  peer.send(peer.connectPacket("d1", { will: willOf() }));
  peer.sendBytes(peer.publish(`${PREFIX}properties`, '{"a":1}', 1, 1));
  await waitFor(() => ingress.offered === 1, { what: "the row", withinMs: 2_000 });
  await fixture.clock.settle();
  assert.deepEqual([peer.packets, ingress.messages], [[], []]);
  ingress.settle();
  assert.equal((await peer.next("connack")).reasonCode, 0);
  await waitFor(() => ingress.bodies("properties").length === 1, {
    what: "what came behind the CONNECT",
    withinMs: 2_000,
  });
});

Deno.test("[MQTT-3.1.3-9] a delayed will waits, and a connection that resumes its session cancels it", async () => {
  await using fixture = await startMqttFixture();
  const { ingress, clock } = fixture;
  await gone(fixture, await connect(fixture, { ...lastingFor(100), will: willOf(10) }));
  await clock.advance(9_000);
  assert.equal(ingress.bodies("event").length, 0);
  using back = await connect(fixture, lastingFor(100));
  await clock.advance(60_000);
  assert.equal(ingress.bodies("event").length, 0);
  assert.equal(ingress.rows.has(ROW), false);
  back.send({ cmd: "disconnect" });
  await untilAway(fixture);

  await gone(fixture, await connect(fixture, { ...lastingFor(100), will: willOf(10) }));
  await clock.advance(10_000 + STEP_MS);
  assert.deepEqual(ingress.bodies("event"), [PUBLISHED]);
  await clock.advance(60_000);
  assert.deepEqual(ingress.bodies("event").length, 1, "once");
});

Deno.test("[MQTT-3.1.2-8] the end of its session publishes a will before its delay", async () => {
  await using fixture = await startMqttFixture();
  const { ingress, clock } = fixture;
  await gone(fixture, await connect(fixture, { will: willOf(50) }));
  assert.equal(ingress.bodies("event").length, 1, "a session that ends with its connection");
  await gone(fixture, await connect(fixture, { ...lastingFor(5), will: willOf(50) }));
  await clock.advance(5_000 + STEP_MS);
  assert.equal(ingress.bodies("event").length, 2, "one that expired");
  await gone(fixture, await connect(fixture, { ...lastingFor(100), will: willOf(50) }));
  using _clean = await connect(fixture);
  assert.equal(ingress.bodies("event").length, 3, "one that a clean start ended");
  const types = ingress.messages.map(({ body }) => body.type).slice(-2);
  assert.deepEqual(types, ["event", "connected"], "before the connection is told");
});

Deno.test("[MQTT-3.1.4-3] a takeover publishes the will, unless it goes on with the session in time", async () => {
  const cases: [number, Partial<IConnectPacket>, number][] = [
    [0, lastingFor(100), 1],
    [10, lastingFor(100), 0],
    [10, { clean: true }, 1],
  ];
  for (const [delaySeconds, next, count] of cases) {
    await using fixture = await startMqttFixture();
    using old = await connect(fixture, { ...lastingFor(100), will: willOf(delaySeconds) });
    using fresh = await connect(fixture, next);
    assert.equal((await old.next("disconnect")).reasonCode, 0x8e);
    await fixture.clock.advance(60_000);
    await fresh.roundTrip();
    assert.equal(fixture.ingress.bodies("event").length, count, `delay ${delaySeconds}`);
  }
});

Deno.test("a will survives its node and is published by the next start, whatever the crash kept", async () => {
  const ingress = new FakeIngress({ isAutomatic: false });
  ingress.isSealingEach = true;
  ingress.isAutomatic = true;
  await using first = await startMqttFixture({ ingress });
  using _peer = await connect(first, { ...lastingFor(100), will: willOf(10) });
  const crashed = ingress.crashedAt(ingress.settled);
  {
    await using second = await startMqttFixture({ ingress: crashed });
    await second.clock.advance(9_000);
    assert.equal(crashed.bodies("event").length, 0);
    await second.clock.advance(1_000 + STEP_MS);
    assert.deepEqual(crashed.bodies("event"), [PUBLISHED]);
    assert.equal(crashed.rows.has(ROW), false, "in the append of its message");
  }
  await using third = await startMqttFixture({ ingress: crashed });
  await third.clock.advance(60_000);
  assert.equal(crashed.bodies("event").length, 1, "once");
});

Deno.test("a delay ends with its session when a node dies too, however long it is", async () => {
  for (const [expirySeconds, waitMs] of [[0, 0], [20, 20_000]] as const) {
    await using first = await startMqttFixture();
    using _peer = await connect(first, { ...lastingFor(expirySeconds), will: willOf(0xffffffff) });
    const crashed = first.ingress.crashedAt(first.ingress.settled);
    await using second = await startMqttFixture({ ingress: crashed });
    if (waitMs > 0) await second.clock.advance(waitMs - STEP_MS);
    assert.equal(crashed.bodies("event").length, 0);
    await second.clock.advance(2 * STEP_MS);
    assert.deepEqual(crashed.bodies("event"), [PUBLISHED]);
  }
});

Deno.test("a gateway that ends leaves its wills to the next one, which a device in time cancels", async () => {
  const ingress = new FakeIngress({ isAutomatic: true });
  for (const [delaySeconds, count] of [[10, 0], [0, 1]] as const) {
    {
      await using first = await startMqttFixture({ ingress });
      await connect(first, { ...lastingFor(100), will: willOf(delaySeconds) });
    }
    assert.equal(ingress.bodies("event").length, 0);
    await using second = await startMqttFixture({ ingress });
    using back = await connect(second, lastingFor(100));
    await second.clock.advance(60_000);
    await back.roundTrip();
    assert.equal(ingress.bodies("event").length, count, `delay ${delaySeconds}`);
  }
});

Deno.test("a will is a message of its device: properties, events, and topics of its own", async () => {
  await using fixture = await startMqttFixture();
  const { ingress } = fixture;
  const topics: [string, string, string][] = [
    ["properties", '{"on":false}', "properties"],
    ["status", "offline", "message"],
    ["properties", "no json", "none"],
    ["properties", '{"t":101}', "none"],
  ];
  for (const [suffix, text] of topics) {
    const will = willOf(0, { topic: PREFIX + suffix, payload: Buffer.from(text) });
    await gone(fixture, await connect(fixture, { will }, 4));
  }
  assert.deepEqual(ingress.bodies("properties"), [
    { type: "properties", samples: [{ values: { on: false } }], carried: { isWill: true } },
  ]);
  assert.deepEqual(ingress.bodies("message"), [
    { type: "message", topic: "status", text: "offline", carried: { isWill: true } },
  ]);
  assert.deepEqual(fixture.refusals, ["malformed", "off_model"]);
  assert.equal(ingress.rows.size, 0);
});

Deno.test("a will outside the own prefix, or on what is no topic, refuses the connection", async () => {
  await using fixture = await startMqttFixture();
  const wrong: [string, number, number | undefined][] = [
    ["v1/p/d2/events/lost", 0x87, 5],
    ["v1/p/d1/", 0x87, 5],
    ["v1/p/d1/shadow", 0x87, 5],
    ["v1/p/d1/+", 0x90, undefined],
    ["v1/p/d1/" + "x".repeat(LIMITS.mqttFilterCharactersMax), 0x90, undefined],
  ];
  for (const [topic, reasonCode, returnCode] of wrong) {
    const will = willOf(0, { topic });
    using peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
    const bytes = peer.bytesOf(
      peer.connectPacket("d1", { will: { ...will, topic: "x".repeat(topic.length) } }),
    );
    bytes.write(topic, bytes.indexOf("x".repeat(topic.length)));
    peer.sendBytes(bytes);
    assert.equal((await peer.next("connack")).reasonCode, reasonCode, topic);
    await peer.closed();
    using old = await RawMqtt.open(fixture.gateway.port);
    const bytes4 = old.bytesOf(
      old.connectPacket("d1", { will: { ...will, topic: "x".repeat(topic.length) } }),
    );
    bytes4.write(topic, bytes4.indexOf("x".repeat(topic.length)));
    old.sendBytes(bytes4);
    await old.closed();
    assert.equal(
      (old.packets[0] as { returnCode?: number } | undefined)?.returnCode,
      returnCode,
      topic,
    );
  }
  assert.equal(fixture.ingress.messages.length, 0);
  assert.equal(fixture.ingress.rows.size, 0);
});

Deno.test("the will of a suspended device is refused, of a deleted one forgotten", async () => {
  await using fixture = await startMqttFixture({ suspended: new Set(["device/p/d1"]) });
  await gone(fixture, await connect(fixture, { will: willOf() }));
  assert.deepEqual(fixture.refusals, ["suspended"]);
  const { ingress, directory, gateway } = fixture;
  assert.equal(ingress.rows.size, 0);
  using other = await RawMqtt.open(gateway.port, { version: 5 });
  const topic = "v1/p/d2/events/lost";
  await other.login("d2", { ...lastingFor(100), will: willOf(10, { topic }) });
  directory.revoke("d2", "device_deleted");
  await other.closed();
  await fixture.clock.advance(60_000);
  assert.equal(ingress.bodies("event").length, 0);
});

Deno.test("without room in the log a will waits, and nothing of its device passes it", async () => {
  await using fixture = await startMqttFixture();
  const { ingress } = fixture;
  const peer = await connect(fixture, { will: willOf() });
  ingress.hasRoom = false;
  await gone(fixture, peer);
  assert.equal(ingress.bodies("event").length, 0);
  ingress.makeRoom();
  await waitFor(() => ingress.bodies("event").length === 1, { what: "the will", withinMs: 2_000 });
  await fixture.clock.settle();
  assert.equal(ingress.rows.size, 0);
});
