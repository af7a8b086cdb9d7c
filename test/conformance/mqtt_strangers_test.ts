/** Many sockets of one address: few that never log in, as many devices as there are. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { LIMITS } from "../../runtime/limits.ts";
import { type MqttFixture, startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const MAX = LIMITS.mqttStrangersPerNetworkMax;
const STORM = 4_000;

async function openMany(fixture: MqttFixture, count: number): Promise<RawMqtt[]> {
  const { figures, port } = fixture.gateway;
  const before = figures.socketsAccepted;
  const peers = await Promise.all(Array.from({ length: count }, () => RawMqtt.open(port)));
  await waitFor(() => figures.socketsAccepted === before + count, {
    what: `${count} sockets`,
    withinMs: 20_000,
    actual: () => figures.socketsAccepted - before,
  });
  return peers;
}

function dispose(peers: readonly RawMqtt[]): void {
  for (const peer of peers) peer[Symbol.dispose]();
}

async function untilStrangers(fixture: MqttFixture, count: number): Promise<void> {
  const { figures } = fixture.gateway;
  await waitFor(() => figures.strangers === count, {
    what: `${count} strangers`,
    withinMs: 5_000,
    actual: () => figures.strangers,
  });
}

Deno.test("idle strangers give way to a device of their address, the oldest first", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, refusals, clock } = fixture;
  const oldest = await RawMqtt.open(gateway.port);
  const silent = [oldest, ...await openMany(fixture, MAX - 1)];
  await untilStrangers(fixture, MAX);
  await clock.advance(LIMITS.mqttStrangerMs);
  using device = await RawMqtt.open(gateway.port);
  await device.login("d1");
  await oldest.closed();
  assert.deepEqual(refusals, ["unauthenticated_sockets"]);
  assert.equal(gateway.figures.closed["unauthenticated_sockets"], 1);
  assert.equal(gateway.figures.strangers, MAX - 1);

  using wrong = await RawMqtt.open(gateway.port);
  await wrong.login("d4", { password: Buffer.from("wrong") });
  await wrong.closed();
  wrong.socket.end();
  await untilStrangers(fixture, MAX - 1);
  await silent[1]!.login("d2");
  await untilStrangers(fixture, MAX - 2);
  assert.equal(gateway.figures.connections, 2);
  await clock.advance(LIMITS.mqttConnectMsMax);
  await untilStrangers(fixture, 0);
  dispose(silent);
});

Deno.test("a fleet that comes back all at once from one address gets in, all of it", async () => {
  await using fixture = await startMqttFixture();
  const { figures, port } = fixture.gateway;
  const idle = await openMany(fixture, MAX);
  await fixture.clock.advance(LIMITS.mqttStrangerMs);
  const fleet = Array.from({ length: STORM }, async (_, i) => {
    const peer = await RawMqtt.open(port);
    peer.send(peer.connectPacket(`d${i}`));
    return peer;
  });
  const peers = await Promise.all(fleet);
  await waitFor(() => figures.connections === STORM, {
    what: "all of it to be logged in",
    withinMs: 60_000,
    actual: () => figures.connections,
  });
  assert.equal(figures.socketsRefused, 0);
  assert.equal(figures.strangers + (figures.closed["unauthenticated_sockets"] ?? 0), MAX);
  dispose([...idle, ...peers]);
});
