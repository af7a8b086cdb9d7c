/** The form of packets that are not on the hot path, in raw bytes. Numbers are of MQTT 5. */
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
/** Not UTF-8, longer than it need be, a surrogate, and U+0000. */
const BAD_TEXTS = [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0x61, 0, 0x62]];

/** Any bytes with their length before them. */
function field(bytes: readonly number[]): number[] {
  return [bytes.length >> 8, bytes.length & 255, ...bytes];
}

/** Properties with their length, of MQTT 5 alone. */
function properties(version: Version, ...bytes: readonly number[]): number[] {
  return version === 5 ? [bytes.length, ...bytes] : [];
}

interface Parts {
  readonly properties?: readonly number[];
  readonly clientId?: readonly number[];
  readonly willProperties?: readonly number[];
  readonly willTopic?: readonly number[];
  readonly username?: readonly number[];
  readonly behind?: readonly number[];
}

/** CONNECT of `p/d1` with a will, clean, whose fields may be any bytes. */
function connectOf(version: Version, parts: Parts): Buffer {
  return packet(0x10, [
    ...[...text("MQTT"), version, 0xc6, 0, 60],
    ...properties(version, ...parts.properties ?? []),
    ...field(parts.clientId ?? [...Buffer.from("any")]),
    ...properties(version, ...parts.willProperties ?? []),
    ...field(parts.willTopic ?? [...Buffer.from(`${PREFIX}events/lost`)]),
    ...text("{}"),
    ...field(parts.username ?? [...Buffer.from("p/d1")]),
    ...text("secret-of-d1"),
    ...parts.behind ?? [],
  ]);
}

/** Sends a CONNECT that is refused: on MQTT 5 with its reason, on 3.1.1 without a word. */
async function refused(version: Version, parts: Parts, reason: number, what: string) {
  await using fixture = await startMqttFixture();
  using peer = await RawMqtt.open(fixture.gateway.port, { version });
  peer.sendBytes(connectOf(version, parts));
  await peer.closed();
  const told = Buffer.concat(peer.chunks);
  if (version === 4) assert.equal(told.length, 0, what);
  else assert.deepEqual([told[0], told[2], told[3]], [0x20, 0, reason], what);
  assert.equal(fixture.gateway.figures.logins, 0, what);
}

async function login(fixture: MqttFixture, version: Version): Promise<RawMqtt> {
  const peer = await RawMqtt.open(fixture.gateway.port, { version });
  peer.sendBytes(connect(version, "d1"));
  await takePacket(peer);
  return peer;
}

Deno.test("[MQTT-3.1.3-4] a CONNECT with text that is not UTF-8, or has U+0000, is refused", async () => {
  for (const version of VERSIONS) {
    for (const bad of BAD_TEXTS) {
      await refused(version, { clientId: bad }, 0x81, "client id");
      await refused(version, { username: [...Buffer.from("p/d1"), ...bad] }, 0x81, "3.1.3-12");
      const willTopic = [...Buffer.from(PREFIX), ...bad];
      await refused(version, { willTopic }, 0x81, "3.1.3-11");
      if (version === 4) continue;
      await refused(5, { properties: [0x26, ...field(bad), ...text("x")] }, 0x81, "its properties");
      const willProperties = [0x26, ...text("x"), ...field(bad)];
      await refused(5, { willProperties }, 0x81, "properties of its will");
    }
  }
});

Deno.test("[MQTT-3.1.3-1] a CONNECT has its fields in their order, and nothing behind them", async () => {
  for (const version of VERSIONS) await refused(version, { behind: [0] }, 0x81, "behind it");
  const u32 = (id: number, value: number) => [id, 0, 0, 0, value];
  const cases: [string, Parts, number][] = [
    ["an expiry of 0 twice", { properties: [...u32(0x11, 0), ...u32(0x11, 0)] }, 0x82],
    ["Receive Maximum 0", { properties: [0x21, 0, 0] }, 0x82],
    ["Maximum Packet Size 0", { properties: u32(0x27, 0) }, 0x82],
    ["Request Problem Information 2", { properties: [0x17, 2] }, 0x82],
    ["data of a login without its method", { properties: [0x16, 0, 1, 65] }, 0x82],
    ["a will's payload format 2", { willProperties: [1, 2] }, 0x82],
    ["a will's delay of 0 twice", { willProperties: [...u32(0x18, 0), ...u32(0x18, 0)] }, 0x82],
    ["a property beyond their length", { properties: [0x26, 0, 9, 65] }, 0x81],
    ["an unknown property", { properties: [0x7f, 0] }, 0x81],
  ];
  for (const [what, parts, reason] of cases) await refused(5, parts, reason, what);
});

Deno.test("[MQTT-3.1.3-10] user properties of a will go on in their order, each as it was", async () => {
  await using fixture = await startMqttFixture();
  const { ingress } = fixture;
  const pairs = [["b", "1"], ["a", "2"], ["b", "3"], ["7", ""], ["7", "x"], ["1", "4"]];
  const willProperties = pairs.flatMap(([name, value]) => [0x26, ...text(name!), ...text(value!)]);
  willProperties.unshift(0x18, 0, 0, 0, 0, 0x02, 0, 0, 0, 9);
  const peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  peer.sendBytes(connectOf(5, { willProperties }));
  await takePacket(peer);
  peer.socket.resetAndDestroy();
  await waitFor(() => ingress.bodies("event").length === 1, { what: "the will", withinMs: 5_000 });
  const { carried } = ingress.bodies("event")[0]!;
  assert.deepEqual(carried, { isWill: true, userProperties: pairs });
});

Deno.test("[MQTT-3.10.3-1] text that is not UTF-8, or has U+0000, closes in every packet", async () => {
  for (const version of VERSIONS) {
    for (const bad of BAD_TEXTS) {
      const none = properties(version);
      const user = [0x26, ...text("x"), ...field(bad)];
      const reason = [0x1f, ...field(bad)];
      const cases: [string, Buffer][] = [
        ["UNSUBSCRIBE", packet(0xa2, [0, 1, ...none, ...field(bad)])],
        ["SUBSCRIBE", packet(0x82, [0, 1, ...none, ...field(bad), 0])],
      ];
      if (version === 5) {
        cases.push(
          ["SUBSCRIBE's property", packet(0x82, [0, 1, user.length, ...user, ...text(OWN), 0])],
          ["UNSUBSCRIBE's property", packet(0xa2, [0, 1, user.length, ...user, ...text(OWN)])],
          ["DISCONNECT's property", packet(0xe0, [0, reason.length, ...reason])],
          ["PUBACK's property", packet(0x40, [0, 1, 0, reason.length, ...reason])],
          ["PUBREC's property", packet(0x50, [0, 1, 0, reason.length, ...reason])],
          ["PUBREL's property", packet(0x62, [0, 1, 0, reason.length, ...reason])],
          ["PUBCOMP's property", packet(0x70, [0, 1, 0, reason.length, ...reason])],
        );
      }
      for (const [what, bytes] of cases) {
        await using fixture = await startMqttFixture();
        using peer = await login(fixture, version);
        peer.sendBytes(bytes);
        await peer.closed();
        const told = Buffer.concat(peer.chunks).toString("hex");
        assert.equal(told, version === 5 ? "e0028100" : "", what);
      }
    }
  }
});

Deno.test("what stands behind the last field of a packet closes its connection", async () => {
  const bodies: [number, number[]][] = [
    [0x40, [0, 1]],
    [0x50, [0, 1]],
    [0x62, [0, 1]],
    [0x70, [0, 1]],
    [0xe0, []],
  ];
  for (const version of VERSIONS) {
    for (const [first, body] of bodies) {
      await using fixture = await startMqttFixture();
      using peer = await login(fixture, version);
      peer.sendBytes(packet(first, [...body, ...version === 5 ? [0, 0, 0] : [0]]));
      await peer.closed();
      const { malformed } = fixture.gateway.figures.closed;
      assert.equal(malformed, 1, `0x${first.toString(16)} of version ${version}`);
    }
  }
});

Deno.test("acknowledgements may have a reason and properties, U+FFFD is a character like any other", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    using peer = await login(fixture, version);
    if (version === 5) {
      const reason = [0x1f, ...text("why"), 0x26, ...text("a"), ...text("b")];
      for (const first of [0x40, 0x70]) {
        for (const rest of [[], [0], [0, 0], [0, reason.length, ...reason]]) {
          peer.sendBytes(packet(first, [0, 9, ...rest]));
        }
      }
    }
    const topic = `${PREFIX}\ufffd`;
    peer.sendBytes(subscribe(version, 1, topic, 0));
    const suback = packet(0x90, [0, 1, ...properties(version), 0]);
    await expectBytes(peer, suback);
    peer.sendBytes(publish(version, 0x30, topic, 0, "x"));
    await expectBytes(peer, publish(version, 0x30, topic, 0, "x"));
    peer.sendBytes(PINGREQ);
    await expectBytes(peer, PINGRESP);
  }
});
