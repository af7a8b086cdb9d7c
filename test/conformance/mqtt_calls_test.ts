/** Service calls on real sockets: who gets them, once, and what becomes of answers. */
import assert from "node:assert/strict";
import type { DeviceDownlink } from "../../actors/device/messages.ts";
import { type MqttFixture, NOW_MS, startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";

const PREFIX = "v1/p/d1/";
const CALLS = `${PREFIX}services/+/+`;
const lasting = { clean: false, properties: { sessionExpiryInterval: 100 } };

function call(callId: string, expiresAtMs = NOW_MS + 60_000): DeviceDownlink {
  return { type: "call", callId, service: "restart", input: { delay: 3 }, expiresAtMs };
}

async function subscribed(
  fixture: MqttFixture,
  version: 4 | 5,
  ...filters: readonly string[]
): Promise<RawMqtt> {
  const peer = await RawMqtt.open(fixture.gateway.port, { version });
  await peer.login("d1", lasting);
  if (filters.length > 0) {
    const subscriptions = filters.map((topic) => ({ topic, qos: 1 as const }));
    peer.send({ cmd: "subscribe", messageId: 9, subscriptions });
    await peer.next("suback");
  }
  await peer.roundTrip();
  return peer;
}

Deno.test("who subscribes to calls is offered them, whatever the filter, and at each return", async () => {
  await using fixture = await startMqttFixture();
  const offered = () => {
    const [last, ...more] = fixture.ingress.bodies("deliver");
    assert.deepEqual(more, []);
    fixture.ingress.messages.length = 0;
    return last === undefined ? undefined : [last.values, last.calls];
  };
  const cases: [string[], unknown][] = [
    [[CALLS], [false, true]],
    [[`${PREFIX}#`], [undefined, true]],
    [[`${PREFIX}services/#`], [false, true]],
    [[`${PREFIX}services/restart/+`], [false, true]],
    [[`${PREFIX}+/restart/+`], [false, true]],
    [[`${PREFIX}+/+/c1/#`], [false, true]],
    [[`${PREFIX}properties/set`], [undefined, undefined]],
    [[`${PREFIX}services/+/+/reply`], undefined],
    [[`${PREFIX}services/+`], undefined],
    [[`${PREFIX}services`, `${PREFIX}shadow`], undefined],
  ];
  for (const [filters, expected] of cases) {
    const clean = { clean: true };
    using peer = await RawMqtt.open(fixture.gateway.port);
    await peer.login("d1", clean);
    fixture.ingress.messages.length = 0;
    const subscriptions = filters.map((topic) => ({ topic, qos: 1 as const }));
    peer.send({ cmd: "subscribe", messageId: 9, subscriptions });
    await peer.next("suback");
    await peer.roundTrip();
    assert.deepEqual(offered(), expected, filters.join());
  }
  using _first = await subscribed(fixture, 4, CALLS);
  fixture.ingress.messages.length = 0;
  using _again = await subscribed(fixture, 4);
  assert.deepEqual(offered(), [false, true], "the session lasted");
});

for (const version of [4, 5] as const) {
  Deno.test(`a call goes out at QoS 1, once until it is acknowledged (version ${version})`, async () => {
    await using fixture = await startMqttFixture();
    using peer = await subscribed(fixture, version, CALLS);
    const deliver = (downlink: DeviceDownlink) => fixture.gateway.deliver("p", "d1", downlink);
    assert.equal(deliver(call("c1")), true);
    const sent = await peer.next("publish");
    assert.equal(sent.topic, `${PREFIX}services/restart/c1`);
    assert.deepEqual(JSON.parse(sent.payload.toString()), { input: { delay: 3 } });
    assert.deepEqual([sent.qos, sent.dup], [1, false]);
    deliver(call("c1"));
    await peer.roundTrip();
    assert.deepEqual(peer.packets, [], "it is on its way");
    peer.send({ cmd: "puback", messageId: sent.messageId });
    await peer.roundTrip();
    deliver(call("c1"));
    assert.equal((await peer.next("publish")).dup, false, "acknowledged, and not answered");
    using other = await subscribed(fixture, version);
    const again = await other.next("publish");
    assert.deepEqual([again.topic, again.dup], [sent.topic, true], "the session was resumed");
  });
}

Deno.test("a call that is over or withdrawn is not sent to the connection after", async () => {
  await using fixture = await startMqttFixture();
  using peer = await subscribed(fixture, 5, CALLS);
  const deliver = (downlink: DeviceDownlink) => fixture.gateway.deliver("p", "d1", downlink);
  for (const [callId, expiresAtMs] of [["a", NOW_MS + 1_000], ["b", NOW_MS + 9_000]] as const) {
    deliver(call(callId, expiresAtMs));
    await peer.next("publish");
  }
  peer.socket.destroy();
  await fixture.clock.advance(1_000);
  using next = await subscribed(fixture, 5);
  assert.equal((await next.next("publish")).topic, `${PREFIX}services/restart/b`);
  assert.deepEqual(next.packets, []);
  next.send({ cmd: "puback", messageId: 2 });
  await next.roundTrip();
  assert.equal(deliver(call("c", NOW_MS)), true);
  await next.roundTrip();
  assert.deepEqual(next.packets, [], "over before it was sent");
  deliver({ type: "callEnded", callId: "b", service: "restart" });
  assert.equal(fixture.gateway.deliver("p", "d2", call("c1")), false, "nobody is there");
});

Deno.test("an answer is a message of the device's actor, durable before it is acknowledged", async () => {
  await using fixture = await startMqttFixture({ isAutomatic: false });
  fixture.ingress.isAutomatic = true;
  using peer = await subscribed(fixture, 5, `${PREFIX}errors`);
  fixture.ingress.isAutomatic = false;
  fixture.ingress.messages.length = 0;
  const topic = `${PREFIX}services/restart/c1/reply`;
  peer.sendBytes(peer.publish(topic, '{"ok":true,"output":{"at":1}}', 1, 1));
  await peer.roundTrip();
  assert.deepEqual(peer.packets, [], "not yet durable");
  fixture.ingress.settle();
  assert.equal((await peer.next("puback")).messageId, 1);
  const [message] = fixture.ingress.messages.splice(0);
  assert.equal(message!.to, "device/p/d1");
  const answer = { ok: true, output: { at: 1 } };
  assert.deepEqual(message!.body, { type: "reply", callId: "c1", answer });

  fixture.ingress.isAutomatic = true;
  peer.sendBytes(peer.publish(topic, '{"ok":true,"output":{"bad":1}}', 1, 2));
  const told = JSON.parse((await peer.next("publish")).payload.toString());
  assert.deepEqual([told.topic, told.code], [topic, "partially_refused"]);
  assert.match(told.detail, /output\.bad: Cannot accept bad/);
  await peer.next("puback");
  const failed = fixture.ingress.messages.splice(0)[0]!.body;
  assert.equal(failed.answer.ok, false);
  assert.match(failed.answer.error, /output\.bad/);

  peer.sendBytes(peer.publish(topic, "done", 1, 3));
  assert.equal(JSON.parse((await peer.next("publish")).payload.toString()).code, "malformed");
  assert.equal((await peer.next("puback")).reasonCode, 0x99);
  assert.equal(fixture.ingress.messages.length, 0);
  for (const suffix of ["services/restart/c1", "services/restart/reply"]) {
    peer.sendBytes(peer.publish(PREFIX + suffix, '{"ok":true}', 1, 4));
    const { code } = JSON.parse((await peer.next("publish")).payload.toString());
    assert.deepEqual([code, (await peer.next("puback")).reasonCode], ["platform_topic", 0x87]);
  }
  peer.sendBytes(peer.publish(`${PREFIX}services/a b/c1/reply`, '{"ok":true}', 1, 4));
  assert.equal((await peer.next("puback")).reasonCode ?? 0, 0);
  const types = fixture.ingress.messages.map(({ body }) => body.type);
  assert.deepEqual(types, ["message"], "none of these is an answer");
  assert.equal(fixture.gateway.figures.unrouted, 1);
});
