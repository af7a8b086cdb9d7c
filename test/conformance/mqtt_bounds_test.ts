/** What a hostile or unlucky client costs: bounded answers, and nobody else's connection. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { MQTT_LIMITS } from "../../runtime/mqtt_limits.ts";
import {
  connect,
  expectBytes,
  packet,
  PINGREQ,
  PINGRESP,
  publish,
  takePacket,
  text,
  type Version,
} from "../support/mqtt_bytes.ts";
import { type MqttFixture, startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const PREFIX = "v1/p/d1/";
const OWN = `${PREFIX}own`;
const PROPERTIES = `${PREFIX}properties`;
const VERSIONS: readonly Version[] = [4, 5];

async function open({ gateway }: MqttFixture, version: Version): Promise<RawMqtt> {
  return await RawMqtt.open(gateway.port, { version });
}

function u32(id: number, value: number): number[] {
  return [id, value >>> 24, value >> 16 & 255, value >> 8 & 255, value & 255];
}

Deno.test("answers that wait are bounded on MQTT 5 too: a client beyond it is not read", async () => {
  await using fixture = await startMqttFixture({ isAutomatic: false });
  using honest = await open(fixture, 5);
  await honest.login("d2");
  using peer = await open(fixture, 5);
  peer.sendBytes(connect(5, "d1"));
  await takePacket(peer);
  const count = 5 * MQTT_LIMITS.acksV5Max;
  const pubrel = Buffer.of(0x62, 2, 0, 9);
  const bytes = [publish(5, 0x32, PROPERTIES, 1, '{"a":1}'), Buffer.alloc(4 * count, pubrel)];
  peer.sendBytes(Buffer.concat([...bytes, PINGREQ]));
  for (let i = 0; i < 100; i++) await honest.roundTrip();
  assert.equal(peer.chunks.length, 0, "its PINGREQ is not read");
  fixture.ingress.isAutomatic = true;
  fixture.ingress.settle();
  const received = () => Buffer.concat(peer.chunks);
  await waitFor(() => received().length === 4 + 5 * count + 2, {
    what: "all answers",
    withinMs: 10_000,
    actual: () => received().length,
  });
  assert.ok(received().includes(PINGRESP));
});

Deno.test("a filter that comes again in one SUBSCRIBE has what is retained once", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    using peer = await open(fixture, version);
    peer.sendBytes(connect(version, "d1"));
    await takePacket(peer);
    peer.sendBytes(publish(version, 0x31, OWN, 0, "kept"));
    const none = version === 5 ? [0] : [];
    const filters = Array.from({ length: 100 }, () => [...text(OWN), 0]).flat();
    peer.sendBytes(packet(0x82, [0, 1, ...none, ...filters]));
    const suback = packet(0x90, [0, 1, ...none, ...new Array<number>(100).fill(0)]);
    await expectBytes(peer, suback, publish(version, 0x31, OWN, 0, "kept"));
    peer.sendBytes(PINGREQ);
    await expectBytes(peer, PINGRESP);
  }
});

Deno.test("[MQTT-3.1.2-24] no answer is above the client's Maximum Packet Size", async () => {
  await using fixture = await startMqttFixture();
  {
    using peer = await open(fixture, 5);
    peer.sendBytes(connect(5, "d1", { properties: u32(0x27, 20) }));
    await expectBytes(peer, Buffer.of(0x20, 3, 0, 0x95, 0));
    await peer.closed();
    assert.equal(fixture.gateway.connections, 0);
  }
  const filters = (count: number, options: readonly number[]) =>
    Array.from({ length: count }, (_, i) => [...text(`${OWN}/${i}`), ...options]).flat();
  for (const [first, options] of [[0x82, [0]], [0xa2, []]] as const) {
    using peer = await open(fixture, 5);
    peer.sendBytes(connect(5, "d1", { properties: u32(0x27, 40) }));
    assert.equal((await takePacket(peer))[3], 0);
    peer.sendBytes(packet(first, [0, 1, 0, ...filters(35, options)]));
    const answer = packet(first === 0x82 ? 0x90 : 0xb0, [
      ...[0, 1, 0],
      ...Array.from({ length: 35 }, (_, i) => first === 0xa2 ? 0x11 : i < 32 ? 0 : 0x97),
    ]);
    await expectBytes(peer, answer);
    peer.sendBytes(packet(first, [0, 2, 0, ...filters(36, options)]));
    await expectBytes(peer, Buffer.of(0xe0, 2, 0x95, 0));
    await peer.closed();
  }
});

Deno.test("a fault behind a login that had to wait costs its connection only", async () => {
  const will = { topic: `${PREFIX}events/lost`, payload: "{}", flags: 0 };
  for (const more of [{ will }, { isClean: false, properties: u32(0x11, 100) }]) {
    await using fixture = await startMqttFixture();
    using honest = await open(fixture, 5);
    await honest.login("d2");
    fixture.directory.accepts = () => {
      throw new Error("planted");
    };
    using unlucky = await open(fixture, 5);
    const message = publish(5, 0x32, PROPERTIES, 1, '{"a":1}');
    unlucky.sendBytes(Buffer.concat([connect(5, "d1", more), message]));
    await takePacket(unlucky);
    await expectBytes(unlucky, Buffer.of(0xe0, 2, 0x80, 0));
    await honest.roundTrip();
    assert.match(fixture.errors.join(), /connection failed.*planted/);
  }
});

Deno.test("a fault in reading a will costs that will only", async () => {
  await using fixture = await startMqttFixture();
  using honest = await open(fixture, 5);
  await honest.login("d2");
  const peer = await open(fixture, 5);
  const will = { topic: PROPERTIES, payload: '{"a":1}', flags: 0 };
  peer.sendBytes(connect(5, "d1", { will }));
  await takePacket(peer);
  fixture.directory.accepts = () => {
    throw new Error("planted");
  };
  peer.socket.resetAndDestroy();
  await waitFor(() => fixture.errors.length > 0, { what: "a line of it", withinMs: 5_000 });
  await honest.roundTrip();
  assert.match(fixture.errors.join(), /will failed.*planted/);
  assert.equal(fixture.gateway.connections, 1);
  assert.deepEqual(fixture.refusals, ["malformed"]);
});
