/** Actors told again of the connections that live, after the log was restarted. */
import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const STEP_MS = 100;
const PER_STEP = LIMITS.mqttRetellsPerSecondMax / (1_000 / STEP_MS);

async function subscribe(peer: RawMqtt, device: string): Promise<void> {
  const subscriptions = [{ topic: `v1/p/${device}/properties/set`, qos: 1 as const }];
  peer.send({ cmd: "subscribe", messageId: 1, subscriptions });
  await peer.next("suback");
}

Deno.test("each live session is told again as it is, and asks for what differs if it wants it", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, ingress, clock } = fixture;
  using wanting = await RawMqtt.open(gateway.port);
  await wanting.login("d1");
  await subscribe(wanting, "d1");
  using other = await RawMqtt.open(gateway.port);
  await other.login("d2");
  using gone = await RawMqtt.open(gateway.port);
  await gone.login("d3");
  const [first, second] = ingress.bodies("connected");
  ingress.messages.length = 0;
  gateway.tellAll();
  gateway.tellAll();
  gone.send({ cmd: "disconnect" });
  await waitFor(() => gateway.connections === 2, { what: "its end", withinMs: 2_000 });
  await clock.advance(STEP_MS);
  assert.deepEqual(ingress.bodies("connected"), [first, second], "the same session and epoch");
  assert.deepEqual(ingress.bodies("deliver"), [{ type: "deliver", session: first.session }]);
  ingress.messages.length = 0;
  await clock.advance(5_000);
  assert.deepEqual(ingress.messages, [], "once");
});

Deno.test("actors are told again at a bounded rate, and not while the log has no room", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, ingress, clock } = fixture;
  const peers: RawMqtt[] = [];
  const count = PER_STEP + 3;
  for (let i = 0; i < count; i++) {
    const peer = await RawMqtt.open(gateway.port);
    peers.push(peer);
    peer.send(peer.connectPacket(`d${i}`));
  }
  for (const peer of peers) await peer.next("connack");
  ingress.messages.length = 0;
  gateway.tellAll();
  await clock.advance(STEP_MS);
  assert.equal(ingress.bodies("connected").length, PER_STEP);
  ingress.hasRoom = false;
  peers[0]!.send({ cmd: "disconnect" });
  await waitFor(() => gateway.connections === count - 1, { what: "its end", withinMs: 2_000 });
  await clock.advance(STEP_MS);
  assert.equal(ingress.bodies("connected").length, PER_STEP);
  ingress.makeRoom();
  await clock.advance(STEP_MS);
  const told = new Set(
    ingress.messages.filter(({ body }) => body.type === "connected")
      .map(({ to }) => to),
  );
  assert.equal(told.size, count);
  for (const peer of peers) peer[Symbol.dispose]();
});
