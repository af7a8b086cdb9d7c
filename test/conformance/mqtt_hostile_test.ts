/** Malformed, oversize, half-open and slow MQTT peers: each ends by itself, honest ones go on. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { LIMITS } from "../../runtime/limits.ts";
import { seededRandom } from "../../runtime/random.ts";
import { startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { readSeed } from "../support/seed.ts";
import { waitFor } from "../support/wait.ts";

const PREFIX = "v1/p/d1/";
const PROPERTIES = `${PREFIX}properties`;

Deno.test("a socket without a CONNECT is closed after ten seconds, one that drips it too", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, clock } = fixture;
  using mute = await RawMqtt.open(gateway.port);
  using slow = await RawMqtt.open(gateway.port);
  const bytes = slow.bytesOf(slow.connectPacket("d1"));
  slow.sendBytes(bytes.subarray(0, 9));
  await waitFor(() => gateway.figures.sockets === 2, { what: "both", withinMs: 2_000 });
  await clock.advance(9_000);
  slow.sendBytes(bytes.subarray(9, 12));
  assert.equal(gateway.figures.sockets, 2);
  await clock.advance(2_000);
  await Promise.all([mute.closed(), slow.closed()]);
  assert.equal(gateway.figures.closed.connect_timeout, 2);
});

Deno.test("what begins with anything but a bounded CONNECT is closed at once", async () => {
  await using fixture = await startMqttFixture();
  const { gateway } = fixture;
  const long = Buffer.from([0x10, 0x80, 0x40, 0, 4]); // Announces 8 KiB.
  const openings = [
    Buffer.from("POST / HTTP/1.1\r\n\r\n"),
    Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
    Buffer.from([0xc0, 0]),
    Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff, 1]),
    Buffer.from([0x10, 2, 0, 4]),
    Buffer.from([0x10, 0]),
    long,
  ];
  for (const bytes of openings) {
    using peer = await RawMqtt.open(gateway.port);
    peer.sendBytes(bytes);
    await peer.closed();
    assert.equal(peer.chunks.length, 0);
  }
  assert.deepEqual({ ...gateway.figures.closed }, { malformed: 6, packet_too_large: 1 });
});

Deno.test("packets that break the rules are answered with their reason", async () => {
  await using fixture = await startMqttFixture();
  const topic = [...Buffer.from(PROPERTIES)];
  const publish = (flags: number, rest: number[]) => {
    const body = [0, topic.length, ...topic, ...rest];
    return [0x30 | flags, body.length, ...body];
  };
  const cases: [string, number[], number][] = [
    ["QoS 3", publish(6, [0, 1, 0, 65]), 0x81],
    ["DUP with QoS 0", publish(8, [0, 65]), 0x81],
    ["packet id 0", publish(2, [0, 0, 0, 65]), 0x82],
    ["no room for the packet id", publish(2, []), 0x81],
    ["topic alias 0", publish(0, [3, 0x23, 0, 0]), 0x94],
    ["a topic alias beyond our maximum", publish(0, [3, 0x23, 0, 17]), 0x94],
    ["a topic alias that was not set", [0x30, 6, 0, 0, 3, 0x23, 0, 1], 0x82],
    ["a property that comes again", publish(0, [4, 1, 0, 1, 0]), 0x82],
    ["payload format 2", publish(0, [2, 1, 2]), 0x82],
    ["a response topic with a wildcard", publish(0, [4, 8, 0, 1, 35]), 0x81],
    ["a subscription id", publish(0, [2, 0x0b, 1]), 0x82],
    ["an unknown property", publish(0, [2, 0x7f, 1]), 0x81],
    ["properties beyond the end", publish(0, [100, 1, 1]), 0x81],
    ["a property cut short", publish(0, [2, 2, 0]), 0x81],
    ["a topic beyond the end", [0x30, 3, 0, 9, 65], 0x81],
    ["no topic", [0x30, 3, 0, 0, 0], 0x82],
    ["a wildcard topic", [0x30, 4, 0, 1, 35, 0], 0x90],
    ["a topic that is not UTF-8", [0x30, 4, 0, 1, 0xff, 0], 0x90],
    ["SUBSCRIBE without topics", [0x82, 3, 0, 1, 0], 0x82],
    ["SUBSCRIBE with wrong flags", [0x80, 7, 0, 1, 0, 0, 1, 35, 0], 0x81],
    ["SUBSCRIBE with packet id 0", [0x82, 7, 0, 0, 0, 0, 1, 35, 0], 0x82],
    ["SUBSCRIBE with id 0", [0x82, 9, 0, 1, 2, 0x0b, 0, 0, 1, 35, 0], 0x82],
    ["SUBSCRIBE with two ids", [0x82, 11, 0, 1, 4, 0x0b, 1, 0x0b, 2, 0, 1, 35, 0], 0x82],
    ["SUBSCRIBE with a property of CONNECT", [0x82, 10, 0, 1, 3, 0x21, 0, 1, 0, 1, 35, 0], 0x81],
    ["SUBSCRIBE with reserved option bits", [0x82, 7, 0, 1, 0, 0, 1, 35, 0xc0], 0x81],
    ["SUBSCRIBE with QoS 3", [0x82, 7, 0, 1, 0, 0, 1, 35, 3], 0x81],
    ["SUBSCRIBE with Retain Handling 3", [0x82, 7, 0, 1, 0, 0, 1, 35, 0x30], 0x81],
    ["No Local for a share", [0x82, 16, 0, 1, 0, 0, 10, ...Buffer.from("$share/g/a"), 4], 0x82],
    ["DISCONNECT with its expiry twice", [0xe0, 12, 0, 10, 17, 0, 0, 0, 9, 17, 0, 0, 0, 9], 0x82],
    ["UNSUBSCRIBE without topics", [0xa2, 3, 0, 1, 0], 0x82],
    ["a PINGREQ with a body", [0xc0, 1, 0], 0x81],
    ["a PUBACK without an id", [0x40, 0], 0x81],
    ["a PUBREL with wrong flags", [0x60, 2, 0, 1], 0x81],
    ["a PUBREL with packet id 0", [0x62, 2, 0, 0], 0x82],
    ["AUTH", [0xf0, 0], 0x82],
    ["a packet of a server", [0xd0, 0], 0x82],
    ["an endless length", [0x30, 0xff, 0xff, 0xff, 0xff], 0x81],
    ["a packet beyond our maximum", [0x32, 0xff, 0xff, 0x7f], 0x95],
    ["a type that does not exist", [0, 0], 0x81],
  ];
  for (const [name, bytes, reason] of cases) {
    using peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
    await peer.login("d1");
    peer.sendBytes(Buffer.from(bytes));
    const { reasonCode } = await peer.next("disconnect");
    assert.ok(
      reasonCode === reason || (name === "AUTH" && reasonCode === 0x81),
      `${name}: 0x${reasonCode.toString(16)}`,
    );
    await peer.closed();
  }
  assert.equal(fixture.ingress.bodies("properties").length, 0);
  assert.deepEqual(fixture.errors, []);
});

Deno.test("a second CONNECT closes the connection", async () => {
  await using fixture = await startMqttFixture();
  using peer = await RawMqtt.open(fixture.gateway.port);
  await peer.login("d1");
  peer.send(peer.connectPacket("d1"));
  await peer.closed();
  assert.deepEqual({ ...fixture.gateway.figures.closed }, { protocol_error: 1 });
});

Deno.test("all properties of MQTT 5 that a device may send are passed over", async () => {
  await using fixture = await startMqttFixture();
  using peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  await peer.login("d1");
  peer.send({
    cmd: "publish",
    topic: PROPERTIES,
    payload: '{"a":1}',
    qos: 1,
    messageId: 1,
    dup: false,
    retain: false,
    properties: {
      payloadFormatIndicator: true,
      messageExpiryInterval: 60,
      responseTopic: "r",
      correlationData: Buffer.from("c"),
      contentType: "application/json",
      userProperties: { a: "b", c: ["d", "e"] },
    },
  });
  assert.equal((await peer.next("puback")).reasonCode, 0);
  assert.equal(fixture.ingress.bodies("properties").length, 1);
});

Deno.test("the largest payload is taken, a byte more is refused, and the connection goes on", async () => {
  await using fixture = await startMqttFixture();
  using peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  await peer.login("d1");
  const fill = (bytes: number) => `{"a":"${"x".repeat(bytes - 8)}"}`;
  peer.sendBytes(peer.publish(PROPERTIES, fill(LIMITS.payloadBytesMax), 1, 1));
  peer.sendBytes(peer.publish(PROPERTIES, fill(LIMITS.payloadBytesMax + 1), 1, 2));
  assert.equal((await peer.next("puback")).reasonCode, 0);
  assert.equal((await peer.next("puback")).reasonCode, 0x99);
  assert.deepEqual(fixture.refusals, ["too_large"]);
});

Deno.test("random bytes end their own connection only, and leave nothing behind", async () => {
  const seed = readSeed();
  const random = seededRandom(seed);
  await using fixture = await startMqttFixture();
  const { gateway } = fixture;
  using honest = await RawMqtt.open(gateway.port, { version: 5 });
  await honest.login("honest");
  for (let round = 0; round < 60; round++) {
    using peer = await RawMqtt.open(gateway.port, { version: round % 2 === 0 ? 5 : 4 });
    await peer.login("d1");
    const valid = peer.publish(PROPERTIES, '{"a":1}', 1, 1);
    const subscribe = peer.bytesOf({
      cmd: "subscribe",
      messageId: 2,
      subscriptions: [{ topic: `${PREFIX}#`, qos: 1 }],
    });
    const bytes = Buffer.concat([valid, subscribe, valid]);
    for (let i = 0; i < 4; i++) {
      bytes[Math.floor(random.fraction() * bytes.length)] = random.bytes(1)[0]!;
    }
    peer.sendBytes(bytes);
    peer.sendBytes(random.bytes(50));
    peer.socket.end();
    await waitFor(() => gateway.connections === 1, {
      what: `round ${round} of seed ${seed} to end`,
      withinMs: 5_000,
    });
  }
  await honest.roundTrip();
  assert.deepEqual(fixture.errors, [], `seed ${seed}`);
});

Deno.test("connections that vanish in the middle of a packet leave no bytes behind", async () => {
  await using fixture = await startMqttFixture();
  const { gateway } = fixture;
  for (let i = 0; i < 20; i++) {
    using peer = await RawMqtt.open(gateway.port);
    await peer.login("d1");
    const message = peer.publish(PROPERTIES, `{"a":"${"x".repeat(60_000)}"}`, 1, 1);
    peer.sendBytes(message.subarray(0, message.length - 1));
    await new Promise((resolve) => peer.socket.write("", resolve));
    peer.socket.resetAndDestroy();
  }
  await waitFor(() => gateway.figures.sockets === 0, { what: "their ends", withinMs: 5_000 });
  assert.equal(gateway.figures.bufferedBytes, 0);
});

Deno.test("a fault in handling a message costs its connection only", async () => {
  await using fixture = await startMqttFixture();
  using honest = await RawMqtt.open(fixture.gateway.port);
  await honest.login("honest");
  using unlucky = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  await unlucky.login("d1");
  fixture.directory.accepts = () => {
    throw new Error("planted");
  };
  unlucky.sendBytes(unlucky.publish(PROPERTIES, '{"a":1}', 1, 1));
  assert.equal((await unlucky.next("disconnect")).reasonCode, 0x80);
  await honest.roundTrip();
  assert.equal(fixture.errors.length, 1);
  assert.match(fixture.errors[0]!, /planted/);
});
