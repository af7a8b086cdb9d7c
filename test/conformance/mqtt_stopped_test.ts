/** Devices of a partition that damage has stopped: cut off without a loss, until it is back. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { partitionOf } from "../../runtime/actor/address.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { StoppedPartitions } from "../../runtime/log/stopped_partitions.ts";
import { startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const PARTITION = partitionOfDevice("d1");
const NAMES = Array.from({ length: 200 }, (_, i) => `d${i + 2}`);
/** Another device of the partition of d1, and one of another. */
const NEIGHBOUR = NAMES.find((name) => partitionOfDevice(name) === PARTITION)!;
const OTHER = NAMES.find((name) => partitionOfDevice(name) !== PARTITION)!;

function partitionOfDevice(name: string): number {
  return partitionOf({ group: "things" }, `p/${name}`);
}

async function start(isAutomatic = true) {
  const stopped = new StoppedPartitions();
  const fixture = await startMqttFixture({ stopped, isAutomatic });
  return { stopped, fixture, [Symbol.asyncDispose]: () => fixture[Symbol.asyncDispose]() };
}

Deno.test("connections of a partition that stops are told and closed, others go on", async () => {
  await using bench = await start();
  const { fixture, stopped } = bench;
  const { port } = fixture.gateway;
  using newer = await RawMqtt.open(port, { version: 5 });
  using older = await RawMqtt.open(port, { version: 4 });
  using other = await RawMqtt.open(port, { version: 5 });
  for (const [peer, name] of [[newer, "d1"], [older, NEIGHBOUR], [other, OTHER]] as const) {
    await peer.login(name);
    const subscriptions = [{ topic: `v1/p/${name}/errors`, qos: 0 as const }];
    peer.send({ cmd: "subscribe", messageId: 1, subscriptions });
    await peer.next("suback");
  }
  stopped.replace([PARTITION]);
  for (const [peer, name] of [[newer, "d1"], [older, NEIGHBOUR]] as const) {
    const told = JSON.parse((await peer.next("publish")).payload.toString());
    assert.deepEqual([told.topic, told.code], [`v1/p/${name}/#`, "partition_stopped"]);
    if (peer === newer) assert.equal((await peer.next("disconnect")).reasonCode, 0x89);
    await peer.closed();
    assert.deepEqual(peer.packets, []);
  }
  other.sendBytes(other.publish(`v1/p/${OTHER}/properties`, '{"a":3}', 1, 1));
  assert.equal((await other.next("puback")).reasonCode ?? 0, 0);
  assert.deepEqual(fixture.refusals, ["partition_stopped", "partition_stopped"]);
  assert.deepEqual(
    fixture.ingress.bodies("disconnected").map(({ reason }) => reason),
    ["partition_stopped", "partition_stopped"],
  );
  assert.equal(fixture.gateway.connections, 1);
});

Deno.test("a message on its way when its partition stops is not acknowledged", async () => {
  await using bench = await start(false);
  const { fixture, stopped } = bench;
  using peer = await RawMqtt.open(fixture.gateway.port, { version: 4 });
  await peer.login("d1");
  peer.sendBytes(peer.publish("v1/p/d1/properties", '{"a":1}', 1, 7));
  await waitFor(() => fixture.ingress.bodies("properties").length === 1, {
    what: "the message to be offered",
    withinMs: 5_000,
  });
  stopped.replace([PARTITION]);
  await peer.closed();
  fixture.ingress.settle();
  assert.deepEqual(peer.packets, [], "its sender keeps it");
});

Deno.test("a login to a stopped partition gets no answer, and none of its messages is taken", async () => {
  await using bench = await start();
  const { fixture, stopped } = bench;
  const { port } = fixture.gateway;
  stopped.replace([PARTITION]);
  using first = await RawMqtt.open(port, { version: 5 });
  const login = Buffer.concat([
    first.bytesOf(first.connectPacket("d1")),
    first.publish("v1/p/d1/properties", '{"a":1}', 1, 1),
  ]);
  first.sendBytes(login);
  await waitFor(() => fixture.refusals.length === 1, { what: "a refusal", withinMs: 5_000 });
  using second = await RawMqtt.open(port, { version: 4 });
  second.send(second.connectPacket("d1"));
  await first.closed(); // One socket a device: the last login wins here too.
  using other = await RawMqtt.open(port, { version: 4 });
  await other.login(OTHER);
  second.sendBytes(second.publish("v1/p/d1/properties", '{"a":2}', 1, 2));
  await other.roundTrip();
  assert.deepEqual([first.packets, second.packets, second.isClosed], [[], [], false]);
  assert.deepEqual(fixture.refusals, ["partition_stopped", "partition_stopped"]);
  assert.equal(fixture.gateway.figures.strangers, 0, "they have logged in");

  for (let ms = 0; ms <= LIMITS.acknowledgeMsMax; ms += 1_000) await fixture.clock.advance(1_000);
  await second.closed();
  assert.deepEqual(second.packets, []);
  assert.equal(fixture.refusals.length, 2, "counted once");
  assert.deepEqual(fixture.ingress.bodies("properties"), []);
  assert.deepEqual(fixture.ingress.bodies("connected").length, 1, "of the other device");

  stopped.replace([]);
  using back = await RawMqtt.open(port, { version: 4 });
  assert.equal((await back.login("d1") as { returnCode?: number }).returnCode, 0);
  back.sendBytes(back.publish("v1/p/d1/properties", '{"a":3}', 1, 3));
  assert.equal((await back.next("puback")).messageId, 3);
  assert.equal(fixture.ingress.bodies("properties").length, 1);
});

Deno.test("a peer that gives up waiting leaves nothing behind", async () => {
  await using bench = await start();
  const { fixture, stopped } = bench;
  stopped.replace([PARTITION]);
  using peer = await RawMqtt.open(fixture.gateway.port, { version: 4 });
  peer.send(peer.connectPacket("d1"));
  await waitFor(() => fixture.refusals.length === 1, { what: "a refusal", withinMs: 5_000 });
  peer.socket.end();
  await waitFor(() => fixture.gateway.figures.sockets === 0, {
    what: "the socket to be gone",
    withinMs: 5_000,
  });
  stopped.replace([]);
  using back = await RawMqtt.open(fixture.gateway.port, { version: 4 });
  await back.login("d1");
});
