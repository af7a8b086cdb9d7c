/**
 * Other normative statements of both standards that concern a device gateway, in raw bytes on both
 * versions. Numbers are of MQTT 5; `docs/mqtt-conformance.md` has those of 3.1.1 too.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  connect,
  expectBytes,
  packet,
  PINGREQ,
  PINGRESP,
  publish,
  subscribe,
  takePacket,
  text,
  type Version,
} from "../support/mqtt_bytes.ts";
import { type MqttFixture, startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const PREFIX = "v1/p/d1/";
const OWN = `${PREFIX}own`;
const VERSIONS: readonly Version[] = [4, 5];

async function login(fixture: MqttFixture, version: Version): Promise<RawMqtt> {
  const peer = await RawMqtt.open(fixture.gateway.port, { version });
  peer.sendBytes(connect(version, "d1"));
  await takePacket(peer);
  return peer;
}

function suback(version: Version, id: number, ...codes: readonly number[]): Buffer {
  return packet(0x90, [0, id, ...version === 5 ? [0] : [], ...codes]);
}

function unsubscribe(version: Version, id: number, ...filters: readonly string[]): Buffer {
  return packet(0xa2, [0, id, ...version === 5 ? [0] : [], ...filters.flatMap(text)]);
}

function unsuback(version: Version, id: number, ...codes: readonly number[]): Buffer {
  return packet(0xb0, [0, id, ...version === 5 ? [0, ...codes] : []]);
}

/** Text whose bytes are not UTF-8, or are U+0000. */
function bytesText(...bytes: readonly number[]): number[] {
  return [0, bytes.length, ...bytes];
}

Deno.test("[MQTT-2.1.3-1] a packet with other flags than its type has closes the connection", async () => {
  for (const version of VERSIONS) {
    const filter = [...version === 5 ? [0] : [], ...text(OWN)];
    const cases: [string, Buffer][] = [
      ["PUBACK", Buffer.of(0x42, 2, 0, 1)],
      ["PUBREC", Buffer.of(0x51, 2, 0, 1)],
      ["PUBREL, 3.6.1-1", Buffer.of(0x60, 2, 0, 1)],
      ["PUBCOMP", Buffer.of(0x78, 2, 0, 1)],
      ["SUBSCRIBE, 3.8.1-1", packet(0x80, [0, 1, ...filter, 0])],
      ["UNSUBSCRIBE, 3.10.1-1", packet(0xa0, [0, 1, ...filter])],
      ["PINGREQ", Buffer.of(0xc2, 0)],
      ["DISCONNECT, 3.14.1-1", Buffer.of(0xe1, 0)],
      ["AUTH, 3.15.1-1", Buffer.of(0xf1, 0)],
      ["QoS 3, 3.3.1-4", publish(version, 0x36, OWN, 1, "x")],
      ["DUP with QoS 0, 3.3.1-2", publish(version, 0x38, OWN, 0, "x")],
    ];
    for (const [what, bytes] of cases) {
      await using fixture = await startMqttFixture();
      using peer = await login(fixture, version);
      peer.sendBytes(Buffer.concat([bytes, publish(version, 0x30, `${PREFIX}events/e`, 0, "{}")]));
      await peer.closed();
      const told = Buffer.concat(peer.chunks);
      if (version === 4) assert.equal(told.length, 0, what);
      else assert.ok(told[0] === 0xe0 && [0x81, 0x82].includes(told[2]!), what);
      assert.equal(fixture.ingress.bodies("event").length, 0, `${what}: nothing behind it`);
    }
  }
});

Deno.test("[MQTT-3.1.2-3] a CONNECT whose flags cannot be closes the connection", async () => {
  const cases: [string, number][] = [
    ["its reserved flag", 0xc3],
    ["Will QoS without a will, 3.1.2-11", 0xca],
    ["Will Retain without a will, 3.1.2-13", 0xe2],
    ["Will QoS 3, 3.1.2-12", 0xde],
    ["3.1.1: a password without a username, 3.1.2-22", 0x42],
  ];
  for (const version of VERSIONS) {
    for (const [what, flags] of cases) {
      if (what.startsWith("3.1.1") && version === 5) continue;
      await using fixture = await startMqttFixture();
      using peer = await RawMqtt.open(fixture.gateway.port, { version });
      const none = version === 5 ? [0] : [];
      const will = (flags & 4) === 0 ? [] : [...none, ...text(`${PREFIX}events/e`), ...text("{}")];
      const body = [...text("MQTT"), version, flags, 0, 0, ...none, ...text("any"), ...will];
      peer.sendBytes(packet(0x10, [...body, ...text("p/d1"), ...text("secret-of-d1")]));
      await peer.closed();
      assert.equal(fixture.gateway.figures.logins, 0, what);
    }
  }
});

Deno.test("[MQTT-1.5.4-1] text that is not UTF-8, or has U+0000, closes the connection", async () => {
  for (const version of VERSIONS) {
    for (const bad of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0x61, 0, 0x62]]) {
      const none = version === 5 ? [0] : [];
      const topic = bytesText(...Buffer.from(PREFIX), ...bad);
      for (
        const bytes of [
          packet(0x30, [...topic, ...none, 65]),
          packet(0x82, [0, 1, ...none, ...topic, 0]),
        ]
      ) {
        await using fixture = await startMqttFixture();
        using peer = await login(fixture, version);
        peer.sendBytes(bytes);
        await peer.closed();
        assert.equal(fixture.ingress.bodies("message").length, 0);
      }
    }
  }
});

Deno.test("[MQTT-1.5.4-3] a byte order mark in a topic stays, and topics are not normalized (4.7.3-4)", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    using peer = await login(fixture, version);
    const topics = [`${PREFIX}\ufeffa`, `${PREFIX}\u00e9`, `${PREFIX}e\u0301`, `${PREFIX}A`];
    for (const [i, topic] of topics.entries()) {
      peer.sendBytes(subscribe(version, 1, topic, 0));
      await expectBytes(peer, suback(version, 1, 0));
      for (const other of topics) peer.sendBytes(publish(version, 0x30, other, 0, `${i}`));
      await expectBytes(peer, publish(version, 0x30, topic, 0, `${i}`));
      peer.sendBytes(unsubscribe(version, 2, topic));
      await expectBytes(peer, unsuback(version, 2, 0));
    }
  }
});

Deno.test("[MQTT-3.8.4-5] a SUBSCRIBE of many is many: one SUBACK, a code for each, in order", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    using peer = await login(fixture, version);
    const filters = [[OWN, 2], ["v1/p/d2/#", 1], [`${PREFIX}a+`, 0], [OWN, 0], [`${PREFIX}+`, 1]];
    const body = filters.flatMap(([filter, qos]) => [...text(filter as string), qos as number]);
    peer.sendBytes(packet(0x82, [0, 5, ...version === 5 ? [0] : [], ...body]));
    const refused = version === 5 ? [0x87, 0x8f] : [0x80, 0x80];
    await expectBytes(peer, suback(version, 5, 2, ...refused, 0, 1));
    peer.sendBytes(publish(version, 0x34, OWN, 1, "x"));
    const copy = publish(version, 0x32, OWN, 1, "x"); // 3.8.4-3: QoS 2 was replaced; 3.8.4-8.
    await expectBytes(peer, copy, Buffer.of(0x50, 2, 0, 1));
  }
});

Deno.test("[MQTT-3.10.4-2] after UNSUBSCRIBE nothing new comes, what has begun is completed (3.10.4-3)", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    using peer = await login(fixture, version);
    peer.sendBytes(subscribe(version, 1, OWN, 2));
    await expectBytes(peer, suback(version, 1, 2));
    peer.sendBytes(publish(version, 0x34, OWN, 9, "begun"));
    await expectBytes(peer, publish(version, 0x34, OWN, 1, "begun"), Buffer.of(0x50, 2, 0, 9));
    peer.sendBytes(unsubscribe(version, 2, `${PREFIX}+`, OWN));
    await expectBytes(peer, unsuback(version, 2, 0x11, 0)); // 3.10.4-1: compared as they are.
    peer.sendBytes(publish(version, 0x30, OWN, 0, "new"));
    peer.sendBytes(Buffer.of(0x50, 2, 0, 1));
    await expectBytes(peer, Buffer.of(0x62, 2, 0, 1));
    peer.sendBytes(Buffer.of(0x70, 2, 0, 1));
    peer.sendBytes(unsubscribe(version, 3, OWN)); // 3.10.4-5: also where there is none.
    await expectBytes(peer, unsuback(version, 3, 0x11));
    assert.equal(fixture.gateway.figures.downlinksAcknowledged, 1);
  }
});

Deno.test("[MQTT-3.12.4-1] each PINGREQ has its PINGRESP", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    using peer = await login(fixture, version);
    peer.sendBytes(Buffer.concat([PINGREQ, PINGREQ, PINGREQ]));
    await expectBytes(peer, PINGRESP, PINGRESP, PINGRESP);
  }
});

Deno.test("[MQTT-3.14.0-1] no DISCONNECT comes before a CONNACK, and nothing after one (3.14.4-1)", async () => {
  await using fixture = await startMqttFixture();
  using early = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  early.sendBytes(Buffer.of(0x10, 2, 0, 0));
  await early.closed();
  assert.equal(early.chunks.length, 0);
  using late = await login(fixture, 5);
  late.sendBytes(subscribe(5, 1, `${PREFIX}#`, 0));
  await expectBytes(late, suback(5, 1, 0));
  late.sendBytes(Buffer.concat([
    Buffer.of(0x60, 2, 0, 1), // Malformed.
    publish(5, 0x30, OWN, 0, "x"),
    publish(5, 0x32, OWN, 1, "x"),
    PINGREQ,
  ]));
  await late.closed();
  const told = Buffer.concat(late.chunks);
  assert.deepEqual([told[0], told.length], [0xe0, told[1]! + 2], "a DISCONNECT and no more");
});

Deno.test("[MQTT-4.3.2-5] after its PUBACK the same packet id is a new message, whatever DUP says", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    using peer = await login(fixture, version);
    for (const first of [0x32, 0x3a]) {
      peer.sendBytes(publish(version, first, `${PREFIX}events/e`, 7, "{}"));
      await expectBytes(peer, Buffer.of(0x40, 2, 0, 7));
    }
    assert.equal(fixture.ingress.bodies("event").length, 2);
  }
});

Deno.test("[MQTT-4.9.0-2] no more than the client's Receive Maximum is sent unacknowledged", async () => {
  await using fixture = await startMqttFixture();
  using peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  peer.sendBytes(connect(5, "d1", { properties: [0x21, 0, 2] }));
  await takePacket(peer);
  peer.sendBytes(subscribe(5, 1, OWN, 1));
  await expectBytes(peer, suback(5, 1, 1));
  for (const payload of ["a", "b", "c"]) peer.sendBytes(publish(5, 0x32, OWN, 9, payload));
  const sent = ["a", "b"].map((payload, i) => publish(5, 0x32, OWN, i + 1, payload));
  const length = Buffer.concat(sent).length + 3 * 4;
  await waitFor(() => Buffer.concat(peer.chunks).length >= length, {
    what: "two",
    withinMs: 5_000,
  });
  peer.sendBytes(PINGREQ);
  await waitFor(() => Buffer.concat(peer.chunks).length >= length + 2, {
    what: "a PINGRESP",
    withinMs: 5_000,
  });
  assert.equal(Buffer.concat(peer.chunks).length, length + 2);
  peer.chunks.length = 0;
  peer.sendBytes(Buffer.of(0x40, 2, 0, 1));
  await expectBytes(peer, publish(5, 0x32, OWN, 3, "c"));
});
