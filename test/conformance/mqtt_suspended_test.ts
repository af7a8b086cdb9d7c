/** Devices whose actors are full of dead letters: refused for good, as any other refusal. */
import assert from "node:assert/strict";
import { startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const PREFIX = "v1/p/d1/";
const PROPERTIES = `${PREFIX}properties`;

Deno.test("a suspended device is refused by its protocol's word, others are not", async () => {
  const suspended = new Set(["device/p/d1"]);
  await using fixture = await startMqttFixture({ suspended });
  using peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  using older = await RawMqtt.open(fixture.gateway.port, { version: 4 });
  await peer.login("d1");
  peer.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: `${PREFIX}+`, qos: 0 }] });
  await peer.next("suback");
  for (
    const [qos, topic] of [
      [1, PROPERTIES],
      [1, `${PREFIX}events/opened`],
      [1, `${PREFIX}shadow/get`],
      [2, PROPERTIES],
    ] as const
  ) {
    peer.sendBytes(peer.publish(topic, '{"a":1}', qos, 2));
    const told = JSON.parse((await peer.next("publish")).payload.toString());
    assert.deepEqual([told.topic, told.code], [topic, "suspended"]);
    const answer = await peer.next(qos === 1 ? "puback" : "pubrec");
    assert.equal(answer.reasonCode, 0x97);
  }
  await older.login("d2");
  older.sendBytes(older.publish("v1/p/d2/properties", '{"a":3}', 1, 1));
  assert.equal((await older.next("puback")).messageId, 1);
  assert.deepEqual(fixture.refusals, Array(4).fill("suspended"));
  assert.deepEqual(fixture.ingress.bodies("properties").map(({ samples }) => samples), [
    [{ values: { a: 3 } }],
  ]);
});

Deno.test("a suspended device on 3.1.1 is acknowledged, and accepted again once resumed", async () => {
  const suspended = new Set(["device/p/d1"]);
  await using fixture = await startMqttFixture({ suspended });
  using peer = await RawMqtt.open(fixture.gateway.port, { version: 4 });
  await peer.login("d1");
  peer.sendBytes(peer.publish(PROPERTIES, '{"a":1}', 1, 2));
  assert.equal((await peer.next("puback")).messageId, 2);
  assert.deepEqual(fixture.ingress.bodies("properties"), []);
  assert.deepEqual(fixture.refusals, ["suspended"]);
  suspended.clear();
  peer.sendBytes(peer.publish(PROPERTIES, '{"a":2}', 1, 3));
  assert.equal((await peer.next("puback")).messageId, 3);
  assert.equal(fixture.ingress.bodies("properties").length, 1);
});

Deno.test("a suspended actor is told of no connection, and how its device is once resumed", async () => {
  const suspended = new Set(["device/p/d1"]);
  const untold = new Set<string>();
  await using fixture = await startMqttFixture({ suspended, untold });
  const { gateway, ingress, clock } = fixture;
  const told = () =>
    ingress.messages.filter(({ to }) => to === "device/p/d1").map(({ body }) => body.type);
  const resume = async () => {
    suspended.clear();
    untold.add("p/d1");
    gateway.tellUntold();
    await clock.advance(100);
  };
  const visit = async () => {
    const peer = await RawMqtt.open(gateway.port);
    await peer.login("d1", { clean: false });
    const subscriptions = [{ topic: `${PREFIX}properties/set`, qos: 1 as const }];
    peer.send({ cmd: "subscribe", messageId: 1, subscriptions });
    await peer.next("suback");
    return peer;
  };
  const leave = async (peer: RawMqtt) => {
    peer.send({ cmd: "disconnect" });
    await waitFor(() => gateway.connections === 0, { what: "its end", withinMs: 2_000 });
    peer[Symbol.dispose]();
  };
  await leave(await visit());
  const peer = await visit();
  await clock.advance(1_000);
  assert.deepEqual(told(), []);
  await resume();
  assert.deepEqual(told(), ["connected", "deliver"]);
  const { epoch } = ingress.bodies("connected")[0];

  suspended.add("device/p/d1");
  await leave(peer);
  assert.deepEqual(told(), ["connected", "deliver"]);
  await resume();
  assert.deepEqual(told(), ["connected", "deliver", "absent"]);
  assert.ok(ingress.bodies("absent")[0].epoch > epoch);
});

Deno.test("what a gateway left untold is told by the next one", async () => {
  const untold = new Set(["p/d1"]);
  await using fixture = await startMqttFixture({ untold });
  await fixture.clock.advance(100);
  assert.deepEqual(fixture.ingress.messages.map(({ to, body }) => [to, body.type]), [
    ["device/p/d1", "absent"],
  ]);
  assert.equal(untold.size, 0);
});
