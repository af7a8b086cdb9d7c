/** More statements of both standards, in raw bytes on both versions. Numbers are of MQTT 5. */
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

/** CONNECT of `p/d1` with any client id, clean. */
function connectAs(version: Version, clientId: string, level: number = version): Buffer {
  const head = [...text("MQTT"), level, 0xc2, 0, 60, ...version === 5 ? [0] : []];
  return packet(0x10, [...head, ...text(clientId), ...text("p/d1"), ...text("secret-of-d1")]);
}

Deno.test("[MQTT-4.3.1-1] QoS 0 to a device: no packet id, no DUP, a property length of zero", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    using peer = await login(fixture, version);
    peer.sendBytes(subscribe(version, 1, OWN, 0));
    await expectBytes(peer, suback(version, 1, 0));
    peer.sendBytes(publish(version, 0x32, OWN, 7, "x"));
    const none = version === 5 ? [0] : [];
    const copy = packet(0x30, [...text(OWN), ...none, 0x78]);
    await expectBytes(peer, copy, Buffer.of(0x40, 2, 0, 7));
  }
});

Deno.test("[MQTT-3.3.1-3] the DUP flag of a copy says nothing of that of its message", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    using peer = await login(fixture, version);
    peer.sendBytes(subscribe(version, 1, OWN, 1));
    await expectBytes(peer, suback(version, 1, 1));
    peer.sendBytes(publish(version, 0x3a, OWN, 7, "again"));
    await expectBytes(peer, publish(version, 0x32, OWN, 1, "again"), Buffer.of(0x40, 2, 0, 7));
  }
});

Deno.test("[MQTT-3.1.3-5] a client id of 1 to 23 letters and digits is accepted, and others are", async () => {
  const all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  const ids = ["a", all.slice(0, 23), all.slice(23, 46), all.slice(39), "é/+#", "x".repeat(1_000)];
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    for (const id of ids) {
      using peer = await RawMqtt.open(fixture.gateway.port, { version });
      peer.sendBytes(connectAs(version, id));
      assert.deepEqual([...await takePacket(peer)].slice(2, 4), [0, 0], id);
    }
  }
});

Deno.test("[MQTT-3.7.2-1] an id that is not in use has 0x92 in its PUBCOMP and PUBREL", async () => {
  for (const version of VERSIONS) {
    await using fixture = await startMqttFixture();
    using peer = await login(fixture, version);
    peer.sendBytes(Buffer.of(0x62, 2, 0, 9, 0x50, 2, 0, 8));
    const told = version === 5
      ? [Buffer.of(0x62, 3, 0, 8, 0x92), Buffer.of(0x70, 3, 0, 9, 0x92)]
      : [Buffer.of(0x62, 2, 0, 8), Buffer.of(0x70, 2, 0, 9)];
    await expectBytes(peer, ...told);
  }
});

Deno.test("[MQTT-3.1.2-2] an unknown version is refused in words of its own, a bridge in those of 3.1.1", async () => {
  const cases: [number, number[]][] = [
    [3, [0x20, 2, 0, 1]],
    [0x83, [0x20, 2, 0, 1]],
    [0x84, [0x20, 2, 0, 1]],
    [6, [0x20, 3, 0, 0x84, 0]],
  ];
  await using fixture = await startMqttFixture();
  for (const [level, answer] of cases) {
    using peer = await RawMqtt.open(fixture.gateway.port);
    peer.sendBytes(connectAs(4, "any", level));
    await expectBytes(peer, Buffer.from(answer));
    await peer.closed();
  }
});

Deno.test("[MQTT-3.1.2-21] without a keep-alive an MQTT 5 client is told ours, and held to it", async () => {
  await using fixture = await startMqttFixture();
  using peer = await login(fixture, 5);
  await fixture.clock.advance(5_399_000);
  peer.sendBytes(PINGREQ);
  await expectBytes(peer, PINGRESP);
  await fixture.clock.advance(3_000_000);
  assert.equal(fixture.gateway.connections, 1, "counted from what it sent last");
  await fixture.clock.advance(2_402_000);
  await expectBytes(peer, Buffer.of(0xe0, 2, 0x8d, 0));
  await peer.closed();
});
