/** Many sockets of one address: few that have not logged in, as many devices as there are. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { LIMITS } from "../../runtime/limits.ts";
import { type MqttFixture, startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const MAX = LIMITS.mqttStrangersPerNetworkMax;

async function openMany(fixture: MqttFixture, count: number): Promise<RawMqtt[]> {
  const { figures, port } = fixture.gateway;
  const before = figures.socketsAccepted;
  const peers = await Promise.all(Array.from({ length: count }, () => RawMqtt.open(port)));
  await waitFor(() => figures.socketsAccepted === before + count, {
    what: `${count} sockets`,
    withinMs: 10_000,
    actual: () => figures.socketsAccepted - before,
  });
  return peers;
}

function dispose(peers: readonly RawMqtt[]): void {
  for (const peer of peers) peer[Symbol.dispose]();
}

Deno.test("an address has few sockets that are not logged in, and is told by a closed one", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, refusals, clock } = fixture;
  using device = await RawMqtt.open(gateway.port);
  await device.login("d1");
  const silent = await openMany(fixture, MAX);
  assert.equal(gateway.figures.strangers, MAX);
  using refused = await RawMqtt.open(gateway.port);
  await refused.closed();
  assert.deepEqual(refusals, ["unauthenticated_sockets"]);
  assert.equal(gateway.figures.socketsRefused, 1);
  await device.roundTrip();

  await silent[0]!.login("d2");
  using freed = await RawMqtt.open(gateway.port);
  await freed.login("d3");
  using wrong = await RawMqtt.open(gateway.port);
  await wrong.login("d4", { password: Buffer.from("wrong") });
  await wrong.closed();
  wrong.socket.end();
  await waitFor(() => gateway.figures.strangers === MAX - 1, {
    what: "the refused login to be gone",
    withinMs: 5_000,
    actual: () => gateway.figures.strangers,
  });
  assert.equal(gateway.figures.connections, 3);
  await clock.advance(LIMITS.mqttConnectMsMax + 1_000);
  await waitFor(() => gateway.figures.strangers === 0, {
    what: "silent sockets to be closed",
    withinMs: 5_000,
    actual: () => gateway.figures.strangers,
  });
  dispose(silent);
});

Deno.test("devices behind one address are not counted once they are in", async () => {
  await using fixture = await startMqttFixture();
  const { gateway } = fixture;
  const peers: RawMqtt[] = [];
  for (let round = 0; round < 3; round++) {
    const some = await openMany(fixture, MAX);
    await Promise.all(some.map((peer, i) => peer.login(`d${round}-${i}`)));
    peers.push(...some);
  }
  assert.deepEqual(
    [gateway.figures.connections, gateway.figures.strangers, gateway.figures.socketsRefused],
    [3 * MAX, 0, 0],
  );
  dispose(peers);
});
