/**
 * What the device session layer must do, a test or more for each rule, in raw bytes on both versions.
 * Numbers are of MQTT 5 unless they begin with "3: "; `docs/mqtt-conformance.md` has both.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { LIMITS } from "../../runtime/limits.ts";
import {
  connect,
  type ConnectBytes,
  DISCONNECT,
  expectBytes,
  PINGREQ,
  PINGRESP,
  publish,
  subscribe,
  takePacket,
  type Version,
} from "../support/mqtt_bytes.ts";
import { type MqttFixture, startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const PREFIX = "v1/p/d1/";
const OWN = `${PREFIX}own`;
const PROPERTIES = `${PREFIX}properties`;
const VERSIONS: readonly Version[] = [4, 5];
/** Session expiry 1,000 s. */
const EXPIRY = [0x11, 0, 0, 0x03, 0xe8];
const LASTING: ConnectBytes = { isClean: false, properties: EXPIRY };
const SET = { type: "propertySet", version: 1, values: { on: true } } as const;

async function open({ gateway }: MqttFixture, version: Version): Promise<RawMqtt> {
  return await RawMqtt.open(gateway.port, { version });
}

/** A connection whose CONNACK was taken; tells its Session Present. */
async function login(
  fixture: MqttFixture,
  version: Version,
  more: ConnectBytes = {},
): Promise<RawMqtt & { isPresent: boolean }> {
  const peer = await open(fixture, version);
  peer.sendBytes(connect(version, "d1", more));
  const connack = await takePacket(peer);
  assert.deepEqual([connack[0], connack[3]], [0x20, 0], connack.toString("hex"));
  return Object.assign(peer, { isPresent: connack[2] === 1 });
}

/** Takes `expected`; then a PINGREQ is answered, and nothing else came. */
async function answers(peer: RawMqtt, ...expected: readonly Uint8Array[]): Promise<void> {
  if (expected.length > 0) await expectBytes(peer, ...expected);
  peer.sendBytes(PINGREQ);
  await expectBytes(peer, PINGRESP);
}

function suback(version: Version, id: number, code: number): Buffer {
  return Buffer.of(0x90, version === 5 ? 4 : 3, 0, id, ...version === 5 ? [0] : [], code);
}

async function untilAway({ gateway }: MqttFixture): Promise<void> {
  await waitFor(() => gateway.connections === 0, { what: "the end", withinMs: 5_000 });
}

Deno.test("[MQTT-4.6.0-5] a SUBSCRIBE takes effect before a later PUBLISH and after an earlier one", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    using peer = await login(fixture, version);
    peer.sendBytes(Buffer.concat([
      publish(version, 0x30, OWN, 0, "before"),
      subscribe(version, 7, `${PREFIX}#`, 0),
      publish(version, 0x30, OWN, 0, "after"),
      publish(version, 0x30, OWN, 0, "later"),
    ]));
    const copies = ["after", "later"].map((payload) => publish(version, 0x30, OWN, 0, payload));
    await expectBytes(peer, ...copies, suback(version, 7, 0));
  }
});

Deno.test("[MQTT-4.3.2-4] durable, then acknowledged, in order of arrival whatever the QoS", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture({ isAutomatic: false });
    const { ingress } = fixture;
    ingress.isSealingEach = true;
    using peer = await login(fixture, version);
    peer.sendBytes(Buffer.concat([
      publish(version, 0x32, PROPERTIES, 1, '{"a":1}'),
      publish(version, 0x34, PROPERTIES, 2, '{"a":2}'),
      publish(version, 0x32, `${PREFIX}events/e`, 3, "{}"),
    ]));
    await answers(peer);
    const appends = ingress.messages.map(({ append }) => append).slice(-3);
    ingress.settle(appends[0]! - 1);
    await answers(peer);
    ingress.settle(appends[0]);
    await expectBytes(peer, Buffer.of(0x40, 2, 0, 1));
    ingress.settle(appends[2]);
    await expectBytes(peer, Buffer.of(0x50, 2, 0, 2, 0x40, 2, 0, 3));
  }
});

Deno.test("[MQTT-4.3.3-10] an id of QoS 2 is kept until its PUBREL, across restarts", async () => {
  for (const version of VERSIONS) {
    await using before = await startMqttFixture();
    using peer = await login(before, version, LASTING);
    peer.sendBytes(publish(version, 0x34, PROPERTIES, 5, '{"a":1}'));
    await expectBytes(peer, Buffer.of(0x50, 2, 0, 5));
    const ingress = before.ingress.crashedAt(before.ingress.settled);

    await using after = await startMqttFixture({ ingress });
    using again = await login(after, version, LASTING);
    again.sendBytes(publish(version, 0x3c, PROPERTIES, 5, '{"a":1}'));
    await expectBytes(again, Buffer.of(0x50, 2, 0, 5));
    again.sendBytes(Buffer.of(0x62, 2, 0, 5));
    await expectBytes(again, Buffer.of(0x70, 2, 0, 5));
    assert.equal(ingress.bodies("properties").length, 1);
    again.sendBytes(publish(version, 0x34, PROPERTIES, 5, '{"a":2}'));
    await expectBytes(again, Buffer.of(0x50, 2, 0, 5));
    assert.equal(ingress.bodies("properties").length, 2, "[MQTT-4.3.3-12] the id is free again");
  }
});

Deno.test("[MQTT-4.4.0-2] load is never told by an error: PUBACK and PUBREC wait, and are successes", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    const { ingress } = fixture;
    using peer = await login(fixture, version);
    ingress.hasRoom = false;
    peer.sendBytes(publish(version, 0x32, PROPERTIES, 1, '{"a":1}'));
    peer.sendBytes(publish(version, 0x34, PROPERTIES, 2, '{"a":2}'));
    await answers(peer);
    ingress.makeRoom();
    await expectBytes(peer, Buffer.of(0x40, 2, 0, 1, 0x50, 2, 0, 2));
    assert.deepEqual(fixture.refusals, []);
  }
});

Deno.test("[MQTT-3.3.4-10] while PUBACKs are withheld PINGREQ and acknowledgements are taken", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    const { gateway, ingress } = fixture;
    using peer = await login(fixture, version);
    peer.sendBytes(subscribe(version, 1, `${PREFIX}properties/set`, 1));
    await expectBytes(peer, suback(version, 1, 1));
    ingress.hasRoom = false;
    peer.sendBytes(publish(version, 0x32, PROPERTIES, 9, '{"a":1}'));
    await answers(peer);
    gateway.deliver("p", "d1", SET);
    const down = JSON.stringify({ version: 1, values: { on: true } });
    await expectBytes(peer, publish(version, 0x32, `${PREFIX}properties/set`, 1, down));
    peer.sendBytes(Buffer.of(0x40, 2, 0, 1));
    await answers(peer);
    assert.equal(gateway.figures.downlinksAcknowledged, 1);
    ingress.makeRoom();
    await expectBytes(peer, Buffer.of(0x40, 2, 0, 9));
  }
});

Deno.test("[MQTT-3.3.4-7] a client beyond Receive Maximum gets DISCONNECT 0x93", async () => {
  await using fixture = await startMqttFixture({ isAutomatic: false });
  using peer = await login(fixture, 5);
  const messages = Array.from(
    { length: LIMITS.mqttReceiveMaximum + 1 },
    (_, i) => publish(5, 0x32, PROPERTIES, i + 1, '{"a":1}'),
  );
  peer.sendBytes(Buffer.concat(messages.slice(0, -1)));
  await answers(peer);
  peer.sendBytes(messages.at(-1)!);
  const bytes = await takePacket(peer);
  assert.deepEqual([bytes[0], bytes[2]], [0xe0, 0x93]);
  await peer.closed();
});

Deno.test("[MQTT-3.3.5-2] 3.1.1: a PUBLISH that is not allowed is acknowledged and dropped, or closes", async () => {
  await using fixture = await startMqttFixture();
  using peer = await login(fixture, 4);
  peer.sendBytes(publish(4, 0x32, `${PREFIX}shadow`, 1, "{}"));
  await expectBytes(peer, Buffer.of(0x40, 2, 0, 1));
  peer.sendBytes(publish(4, 0x32, "v1/p/d2/properties", 2, "{}"));
  await peer.closed();
  assert.equal(peer.chunks.length, 0, "and is told nothing");
  assert.deepEqual(fixture.refusals, ["platform_topic", "outside_prefix"]);
  assert.equal(fixture.ingress.bodies("properties").length, 0);
});

Deno.test("[MQTT-3.4.2-1] a PUBLISH that is not allowed has 0x87 in its PUBACK or PUBREC", async () => {
  await using fixture = await startMqttFixture();
  using peer = await login(fixture, 5);
  peer.sendBytes(publish(5, 0x32, "v1/p/d2/properties", 1, "{}"));
  peer.sendBytes(publish(5, 0x34, `${PREFIX}shadow`, 2, "{}"));
  await expectBytes(peer, Buffer.of(0x40, 3, 0, 1, 0x87, 0x50, 3, 0, 2, 0x87));
  peer.sendBytes(publish(5, 0x34, PROPERTIES, 2, '{"a":1}'));
  await expectBytes(peer, Buffer.of(0x50, 2, 0, 2)); // [MQTT-4.3.3-9]: a new message.
  assert.equal(fixture.ingress.bodies("properties").length, 1);
});

Deno.test("[MQTT-3.1.4-3] a takeover ends the old connection before the new one's CONNACK", async () => {
  const will = { topic: `${PREFIX}events/lost`, payload: "{}", flags: 0 };
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture({ isAutomatic: false });
    using old = await login(fixture, version);
    using fresh = await open(fixture, version);
    fresh.sendBytes(connect(version, "d1", { will })); // Its CONNACK waits for its will.
    await old.closed();
    const told = Buffer.concat(old.chunks);
    if (version === 5) assert.deepEqual([told[0], told[2]], [0xe0, 0x8e]);
    else assert.equal(told.length, 0);
    assert.equal(fresh.chunks.length, 0, "not yet");
    fixture.ingress.isAutomatic = true;
    fixture.ingress.settle();
    await takePacket(fresh);
    assert.equal(fixture.gateway.connections, 1);
    const types = fixture.ingress.messages.map(({ body }) => body.type);
    assert.deepEqual(types, ["connected", "disconnected", "connected"]);
  }
});

Deno.test("[MQTT-3.1.4-6] nothing that comes behind a refused CONNECT is handled", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    using peer = await open(fixture, version);
    const refused = connect(version, "d1", { secret: "wrong" });
    const rest = [publish(version, 0x32, PROPERTIES, 1, '{"a":1}'), PINGREQ];
    peer.sendBytes(Buffer.concat([refused, ...rest, connect(version, "d1"), ...rest]));
    const answer = version === 5 ? [0x20, 3, 0, 0x86, 0] : [0x20, 2, 0, 5];
    await peer.closed();
    await expectBytes(peer, Buffer.from(answer));
    assert.equal(fixture.ingress.messages.length, 0);
  }
});

Deno.test("[MQTT-3.2.2-3] Session Present tells the truth: kept, ended, discarded, expired", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    const present = async (more: ConnectBytes, waitMs = 0): Promise<boolean> => {
      await fixture.clock.advance(waitMs);
      using peer = await login(fixture, version, more);
      peer.sendBytes(DISCONNECT);
      await untilAway(fixture);
      return peer.isPresent;
    };
    assert.equal(await present(LASTING), false, "there was none");
    assert.equal(await present(LASTING), true, "[MQTT-3.1.2-5] it was kept");
    assert.equal(await present({ isClean: true }), false, "[MQTT-3.2.2-2] it is discarded");
    assert.equal(await present(LASTING), false, "[MQTT-3.1.2-4] and was");
    const endMs = version === 5 ? 1_000_000 : LIMITS.mqttSessionExpirySecondsMax * 1_000;
    if (version === 5) assert.equal(await present(LASTING, endMs), false, "[MQTT-4.1.0-2]");
  }
});

Deno.test("[MQTT-3.1.2-23] a session lasts min(asked, our limit) seconds, as the CONNACK says", async () => {
  await using fixture = await startMqttFixture();
  for (
    const [asked, granted] of [[EXPIRY, EXPIRY], [[0x11, 255, 255, 255, 255], [
      0x11,
      0,
      9,
      0x3a,
      0x80,
    ]]]
  ) {
    using peer = await open(fixture, 5);
    peer.sendBytes(connect(5, "d1", { isClean: false, properties: asked! }));
    const connack = await takePacket(peer);
    assert.notEqual(connack.indexOf(Buffer.from(granted!)), -1, connack.toString("hex"));
  }
});

Deno.test("[MQTT-4.5.0-1] QoS 1 and 2 wait while their device is away, and are in the session when it is back", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    const first = await login(fixture, version, LASTING);
    first.sendBytes(subscribe(version, 1, `${PREFIX}#`, 2));
    await expectBytes(first, suback(version, 1, 2));
    // Copies that it cannot acknowledge before it is gone.
    first.sendBytes(publish(version, 0x32, OWN, 1, "one"));
    await expectBytes(first, publish(version, 0x32, OWN, 1, "one"), Buffer.of(0x40, 2, 0, 1));
    first.socket.resetAndDestroy();
    await untilAway(fixture);
    using again = await login(fixture, version, LASTING);
    assert.equal(again.isPresent, true);
    await expectBytes(again, publish(version, 0x3a, OWN, 1, "one"));
    again.sendBytes(Buffer.of(0x40, 2, 0, 1));
    await answers(again);
  }
});

Deno.test("[MQTT-4.6.0-1] what is not acknowledged comes again in its order with DUP, at reconnect alone", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    const first = await login(fixture, version, LASTING);
    first.sendBytes(subscribe(version, 1, `${PREFIX}#`, 1));
    await expectBytes(first, suback(version, 1, 1));
    for (const payload of ["a", "b", "c"]) first.sendBytes(publish(version, 0x32, OWN, 9, payload));
    const ack = Buffer.of(0x40, 2, 0, 9);
    const sent = ["a", "b", "c"].map((payload, i) => publish(version, 0x32, OWN, i + 1, payload));
    await waitFor(
      () => Buffer.concat(first.chunks).length >= Buffer.concat([...sent, ack, ack, ack]).length,
      {
        what: "three copies",
        withinMs: 5_000,
      },
    );
    first.chunks.length = 0;
    first.sendBytes(Buffer.of(0x40, 2, 0, 2)); // The second is acknowledged.
    await fixture.clock.advance(60_000);
    await answers(first);
    first.socket.resetAndDestroy();
    await untilAway(fixture);
    using again = await login(fixture, version, LASTING);
    const resent = [[1, "a"], [3, "c"]] as const;
    await expectBytes(again, ...resent.map(([id, of]) => publish(version, 0x3a, OWN, id, of)));
  }
});

Deno.test("[MQTT-3.1.2-10] a will goes out on any close but DISCONNECT, once, also when its node dies", async () => {
  const will = { topic: `${PREFIX}events/lost`, payload: "{}", flags: 0x08 };
  for (const version of VERSIONS) {
    for (
      const [end, count] of [[DISCONNECT, 0], [Buffer.of(0xc1, 0), 1], [undefined, 1]] as const
    ) {
      await using fixture = await startMqttFixture();
      using peer = await login(fixture, version, { will });
      if (end === undefined) peer.socket.resetAndDestroy();
      else peer.sendBytes(end);
      await untilAway(fixture);
      await fixture.clock.advance(10_000);
      assert.equal(fixture.ingress.bodies("event").length, count, `${end?.toString("hex")}`);
    }
    await using before = await startMqttFixture();
    using _peer = await login(before, version, { will });
    const ingress = before.ingress.crashedAt(before.ingress.settled);
    await using after = await startMqttFixture({ ingress });
    await after.clock.advance(10_000);
    assert.equal(ingress.bodies("event").length, 1, "its node died");
    assert.equal(ingress.rows.size, 0);
  }
});

Deno.test("[MQTT-3.3.1-7] retained: replaced, deleted by an empty one, with the flag for new subscriptions alone", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    using peer = await login(fixture, version);
    peer.sendBytes(publish(version, 0x31, OWN, 0, "one"));
    peer.sendBytes(publish(version, 0x31, OWN, 0, "two"));
    peer.sendBytes(subscribe(version, 1, `${PREFIX}+`, 0));
    await expectBytes(peer, suback(version, 1, 0), publish(version, 0x31, OWN, 0, "two"));
    peer.sendBytes(publish(version, 0x31, OWN, 0, "three"));
    peer.sendBytes(publish(version, 0x31, OWN, 0, ""));
    const copies = ["three", ""].map((payload) => publish(version, 0x30, OWN, 0, payload));
    await expectBytes(peer, ...copies);
    peer.sendBytes(subscribe(version, 2, `${PREFIX}own`, 0));
    await answers(peer, suback(version, 2, 0));
  }
});

Deno.test("[MQTT-3.3.2-6] a Message Expiry Interval counts down while a message waits", async () => {
  await using fixture = await startMqttFixture();
  using peer = await login(fixture, 5, { properties: [0x21, 0, 1] }); // Receive Maximum 1.
  peer.sendBytes(subscribe(5, 1, `${PREFIX}own/#`, 1));
  await expectBytes(peer, suback(5, 1, 1));
  const topic = `${OWN}/a`;
  const expiry = (seconds: number) => [0x02, 0, 0, 0, seconds];
  peer.sendBytes(publish(5, 0x32, topic, 7, "a", expiry(200)));
  const first = publish(5, 0x32, topic, 1, "a", expiry(200));
  await expectBytes(peer, first, Buffer.of(0x40, 2, 0, 7));
  peer.sendBytes(publish(5, 0x32, topic, 8, "short", expiry(30)));
  peer.sendBytes(publish(5, 0x32, topic, 9, "long", expiry(100)));
  await answers(peer, Buffer.of(0x40, 2, 0, 8, 0x40, 2, 0, 9));
  await fixture.clock.advance(30_000);
  peer.sendBytes(Buffer.of(0x40, 2, 0, 1));
  await expectBytes(peer, publish(5, 0x32, topic, 2, "long", expiry(70)));
});

Deno.test("[MQTT-3.1.2-22] a silent client is closed after one and a half keep-alives, and not before", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    using peer = await login(fixture, version, { keepAlive: 10 });
    await fixture.clock.advance(14_000);
    await answers(peer);
    await fixture.clock.advance(15_000);
    assert.equal(peer.isClosed, false);
    await fixture.clock.advance(1_000);
    await peer.closed();
    const told = Buffer.concat(peer.chunks);
    assert.deepEqual([...told.subarray(0, 1), told[2]], version === 5 ? [0xe0, 0x8d] : [undefined]);
  }
});

Deno.test("[MQTT-3.1.2-25] what is above the client's Maximum Packet Size is dropped, counted, and done with", async () => {
  await using fixture = await startMqttFixture();
  const { figures } = fixture.gateway;
  using peer = await login(fixture, 5, { properties: [0x27, 0, 0, 0, 40, 0x21, 0, 1] });
  peer.sendBytes(subscribe(5, 1, `${PREFIX}own/#`, 2));
  await expectBytes(peer, suback(5, 1, 2));
  for (const [first, id] of [[0x30, 0], [0x32, 1], [0x34, 2]] as const) {
    peer.sendBytes(publish(5, first, `${OWN}/a`, id, "x".repeat(40)));
  }
  await answers(peer, Buffer.of(0x40, 2, 0, 1, 0x50, 2, 0, 2));
  assert.equal(figures.downlinksDropped, 3);
  peer.sendBytes(publish(5, 0x32, `${OWN}/a`, 3, "y"));
  assert.equal((await takePacket(peer))[0], 0x32, "its Receive Maximum of 1 is free");
});
