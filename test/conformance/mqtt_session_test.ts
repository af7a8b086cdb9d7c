/** MQTT logins and sessions on real sockets: who gets in, what lasts, who wins. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type MqttFixture, startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const PREFIX = "v1/p/d1/";

// deno-lint-ignore no-explicit-any -- tests look at the fields of a CONNACK
type Connack = any;

const lasting = { clean: false, properties: { sessionExpiryInterval: 100 } };

Deno.test("wrong credentials are refused in each version's words, and nothing after them", async () => {
  await using fixture = await startMqttFixture();
  for (const version of [4, 5] as const) {
    const wrong: [string | undefined, string][] = [
      ["p/d1", "no"],
      ["p/none", "no"],
      ["p", "x"],
      [
        undefined,
        "",
      ],
      ["p/d1/x", "secret-of-d1"],
      ["p/ ", "x"],
    ];
    for (const [username, password] of wrong.slice(version === 4 ? 0 : 3)) {
      using peer = await RawMqtt.open(fixture.gateway.port, { version });
      const packet = peer.connectPacket("d1", { password: Buffer.from(password) });
      if (username === undefined) {
        delete packet.username;
        delete packet.password;
      } else packet.username = username;
      peer.send(packet);
      peer.sendBytes(peer.publish(`${PREFIX}properties`, '{"a":1}', 1, 1));
      const connack: Connack = await peer.next("connack");
      assert.equal(
        version === 5 ? connack.reasonCode : connack.returnCode,
        version === 5 ? 0x86 : 5,
      );
      await peer.closed();
      assert.equal(peer.packets.length, 0);
    }
  }
  fixture.directory.disabled.add("d1");
  using peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  assert.equal((await peer.login("d1") as Connack).reasonCode, 0x87);
  assert.equal(fixture.ingress.messages.length, 0);
});

Deno.test("an address that fails ten times a minute is refused unheard", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, clock } = fixture;
  for (let i = 0; i < 10; i++) {
    using peer = await RawMqtt.open(gateway.port, { version: 5 });
    await peer.login("d1", { password: Buffer.from("wrong") });
  }
  using refused = await RawMqtt.open(gateway.port, { version: 5 });
  assert.equal((await refused.login("d1") as Connack).reasonCode, 0x9f);
  using silent = await RawMqtt.open(gateway.port);
  silent.send(silent.connectPacket("d1"));
  await silent.closed();
  assert.equal(silent.packets.length, 0);
  assert.equal(gateway.figures.loginsThrottled, 2);
  await clock.advance(60_000);
  using later = await RawMqtt.open(gateway.port);
  assert.equal((await later.login("d1") as Connack).returnCode, 0);
});

Deno.test("other versions, empty ids of lasting sessions and extended logins are refused", async () => {
  await using fixture = await startMqttFixture();
  const answers: [number, (bytes: Buffer) => void, number[]][] = [
    [4, (bytes) => bytes[8] = 3, [0x20, 2, 0, 1]],
    [4, (bytes) => bytes[8] = 6, [0x20, 3, 0, 0x84, 0]],
  ];
  for (const [version, change, expected] of answers) {
    using peer = await RawMqtt.open(fixture.gateway.port, { version: version as 4 });
    const bytes = peer.bytesOf(peer.connectPacket("d1"));
    change(bytes);
    peer.sendBytes(bytes);
    await peer.closed();
    assert.deepEqual([...Buffer.concat(peer.chunks)], expected);
  }
  using nameless = await RawMqtt.open(fixture.gateway.port);
  const bytes = nameless.bytesOf(nameless.connectPacket("d1", { clientId: "", clean: true }));
  bytes[9]! &= ~2;
  nameless.sendBytes(bytes);
  assert.equal((await nameless.next("connack")).returnCode, 2);
  using extended = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  const properties = { authenticationMethod: "SCRAM" };
  assert.equal((await extended.login("d1", { properties }) as Connack).reasonCode, 0x8c);
});

Deno.test("a CONNACK of MQTT 5 tells our limits", async () => {
  await using fixture = await startMqttFixture();
  using peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  const properties = { sessionExpiryInterval: 0xffffffff };
  const connack: Connack = await peer.login("d1", { clientId: "", keepalive: 0, properties });
  assert.deepEqual({ ...connack.properties }, {
    sessionExpiryInterval: 604_800,
    receiveMaximum: 1_000,
    maximumPacketSize: 73_728,
    assignedClientIdentifier: "p/d1",
    topicAliasMaximum: 16,
    sharedSubscriptionAvailable: false,
    serverKeepAlive: 3_600,
  });
});

Deno.test("a connection comes and goes with its session and a rising epoch", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, ingress } = fixture;
  for (const end of ["disconnect", "lost"]) {
    using peer = await RawMqtt.open(gateway.port);
    await peer.login("d1");
    if (end === "disconnect") peer.send({ cmd: "disconnect" });
    else peer.socket.resetAndDestroy();
    await waitFor(() => gateway.connections === 0, { what: "the end", withinMs: 2_000 });
  }
  const [first, second] = ingress.bodies("connected");
  assert.deepEqual({ ...first, remote: "" }, {
    type: "connected",
    session: "i1.1",
    epoch: 101,
    wire: "mqtt",
    remote: "",
  });
  assert.deepEqual([second.session, second.epoch], ["i1.2", 102]);
  assert.deepEqual(ingress.bodies("disconnected"), [
    { type: "disconnected", session: "i1.1", reason: "disconnect" },
    { type: "disconnected", session: "i1.2", reason: "lost" },
  ]);
});

Deno.test("the last connection of a device wins, and the old one is told", async () => {
  await using fixture = await startMqttFixture();
  using old = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  await old.login("d1", { clientId: "one" });
  using fresh = await RawMqtt.open(fixture.gateway.port);
  await fresh.login("d1", { clientId: "two" });
  assert.equal((await old.next("disconnect")).reasonCode, 0x8e);
  await old.closed();
  const kinds = fixture.ingress.messages.map(({ body }) => `${body.type} ${body.session}`);
  assert.deepEqual(kinds, ["connected i1.1", "disconnected i1.1", "connected i1.2"]);
  assert.equal(fixture.gateway.connections, 1);
});

Deno.test("a lasting session is present again, and its subscriptions deliver at once", async () => {
  for (const version of [4, 5] as const) {
    await using fixture = await startMqttFixture();
    const sessions: boolean[] = [];
    const visit = async (more: object, action?: (peer: RawMqtt) => Promise<void>) => {
      using peer = await RawMqtt.open(fixture.gateway.port, { version });
      sessions.push((await peer.login("d1", more) as Connack).sessionPresent);
      await action?.(peer);
      peer.send({ cmd: "disconnect" });
      await waitFor(() => fixture.gateway.connections === 0, { what: "its end", withinMs: 2_000 });
    };
    const subscriptions = [{ topic: `${PREFIX}properties/set`, qos: 1 as const }];
    const subscribe = async (peer: RawMqtt) => {
      peer.send({ cmd: "subscribe", messageId: 1, subscriptions });
      await peer.next("suback");
    };
    await visit(lasting, subscribe);
    await visit({ ...lasting, clientId: "another" }, async (peer) => {
      assert.equal(fixture.ingress.bodies("deliver").length, 2);
      fixture.gateway.deliver("p", "d1", { type: "propertySet", version: 1, values: {} });
      assert.equal((await peer.next("publish")).topic, `${PREFIX}properties/set`);
    });
    await visit({ clean: true }); // On MQTT 5 without an expiry: it ends with its connection.
    await visit(lasting);
    assert.equal(fixture.ingress.bodies("deliver").length, 2);
    assert.deepEqual(sessions, [false, true, false, false]);
  }
});

Deno.test("a session expires when its time is over, not before, also over a restart", async () => {
  await using fixture = await startMqttFixture();
  const visit = async (where: MqttFixture) => {
    using peer = await RawMqtt.open(where.gateway.port, { version: 5 });
    const { sessionPresent }: Connack = await peer.login("d1", lasting);
    peer.send({ cmd: "disconnect" });
    await waitFor(() => where.gateway.connections === 0, { what: "its end", withinMs: 2_000 });
    return sessionPresent;
  };
  assert.equal(await visit(fixture), false);
  await fixture.clock.advance(99_000);
  assert.equal(await visit(fixture), true);
  await fixture.clock.advance(100_000);
  assert.equal(await visit(fixture), false);
  await using restarted = await startMqttFixture({ ingress: fixture.ingress });
  await restarted.clock.advance(198_000);
  assert.equal(await visit(restarted), true);
  await using late = await startMqttFixture({ ingress: fixture.ingress });
  await late.clock.advance(500_000);
  assert.equal(await visit(late), false);
});

Deno.test("a SUBACK of a lasting session waits until its row is durable", async () => {
  await using fixture = await startMqttFixture({ isAutomatic: false });
  using peer = await RawMqtt.open(fixture.gateway.port);
  await peer.login("d1", { clean: false });
  const subscriptions = [{ topic: `${PREFIX}properties/set`, qos: 1 as const }];
  peer.send({ cmd: "subscribe", messageId: 1, subscriptions });
  await peer.roundTrip();
  assert.equal(peer.packets.length, 0);
  assert.equal(fixture.ingress.bodies("deliver").length, 0);
  fixture.ingress.settle();
  await peer.next("suback");
  assert.equal(fixture.ingress.bodies("deliver").length, 1);
  assert.match(new TextDecoder().decode(fixture.ingress.rows.get("mqtt/p/d1")), /properties\/set/);
});

Deno.test("an unacknowledged downlink comes again with its id and DUP, in order", async () => {
  await using fixture = await startMqttFixture();
  const { gateway } = fixture;
  using peer = await RawMqtt.open(gateway.port, { version: 5 });
  await peer.login("d1", lasting);
  peer.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: `${PREFIX}#`, qos: 1 }] });
  await peer.next("suback");
  const send = (version: number) =>
    gateway.deliver("p", "d1", { type: "propertySet", version, values: { on: true } });
  send(1);
  send(2);
  const first = await peer.next("publish");
  const second = await peer.next("publish");
  peer.send({ cmd: "puback", messageId: first.messageId });
  await peer.roundTrip();
  peer.socket.destroy();
  await waitFor(() => gateway.connections === 0, { what: "the end", withinMs: 2_000 });
  using again = await RawMqtt.open(gateway.port, { version: 5 });
  await again.login("d1", lasting);
  const repeated = await again.next("publish");
  assert.deepEqual([repeated.dup, repeated.messageId], [true, second.messageId]);
  assert.equal(JSON.parse(repeated.payload.toString()).version, 2);
});

Deno.test("the client's Receive Maximum and Maximum Packet Size bound what it gets", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, ingress } = fixture;
  using peer = await RawMqtt.open(gateway.port, { version: 5 });
  await peer.login("d1", { properties: { receiveMaximum: 1, maximumPacketSize: 200 } });
  peer.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: `${PREFIX}#`, qos: 1 }] });
  await peer.next("suback");
  const [{ session }] = ingress.bodies("connected");
  const set = (version: number, text: string) =>
    gateway.deliver("p", "d1", { type: "propertySet", version, values: { text } });
  set(1, "a");
  set(2, "b");
  set(3, "c"); // Takes the place of 2, which is not sent yet.
  gateway.deliver("p", "d1", {
    type: "shadow",
    session,
    shadow: { version: 1, desired: {}, reported: { a: { value: "x".repeat(300), at: 1 } } },
  });
  const first = await peer.next("publish");
  await peer.roundTrip();
  assert.equal(peer.packets.length, 0, "one at a time");
  peer.send({ cmd: "puback", messageId: first.messageId });
  const next = await peer.next("publish");
  assert.equal(JSON.parse(next.payload.toString()).version, 3);
  peer.send({ cmd: "puback", messageId: next.messageId });
  await peer.roundTrip();
  assert.equal(peer.packets.length, 0);
  assert.equal(gateway.figures.downlinksDropped, 1);
});

Deno.test("a revoked device is disconnected, and so is everybody when the gateway drains", async () => {
  const fixture = await startMqttFixture({ isAutomatic: false });
  using revoked = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  await revoked.login("d1");
  using other = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  await other.login("d2");
  fixture.directory.revoke("d1", "device_disabled");
  assert.equal((await revoked.next("disconnect")).reasonCode, 0x98);
  await revoked.closed();
  other.sendBytes(other.publish("v1/p/d2/properties", '{"a":1}', 1, 1));
  await other.roundTrip();
  const disposed = fixture[Symbol.asyncDispose]();
  fixture.ingress.settle();
  assert.equal((await other.next("puback")).messageId, 1, "draining waits for it");
  assert.equal((await other.next("disconnect")).reasonCode, 0x8b);
  other.socket.end();
  revoked.socket.end();
  await disposed;
  const reasons = fixture.ingress.bodies("disconnected").map(({ reason }) => reason);
  assert.deepEqual(reasons, ["device_disabled", "shutting_down"]);
});

Deno.test("a session store that fails refuses the connection, to be tried again", async () => {
  const readRow = () => Promise.reject(new Error("disk"));
  await using fixture = await startMqttFixture({ readRow });
  using peer = await RawMqtt.open(fixture.gateway.port);
  assert.equal((await peer.login("d1", { clean: false }) as Connack).returnCode, 3);
  await peer.closed();
  assert.equal(fixture.ingress.messages.length, 0);
  assert.equal(fixture.errors.length, 1);
});

Deno.test("what follows a CONNECT waits until its session is read", async () => {
  let found = (_row: Uint8Array | undefined) => {};
  const readRow = () => new Promise<Uint8Array | undefined>((resolve) => found = resolve);
  await using fixture = await startMqttFixture({ readRow });
  using peer = await RawMqtt.open(fixture.gateway.port);
  peer.sendBytes(Buffer.concat([
    peer.bytesOf(peer.connectPacket("d1", { clean: false })),
    peer.bytesOf({ cmd: "pingreq" }),
    peer.publish(`${PREFIX}properties`, '{"a":1}', 1, 1),
  ]));
  using other = await RawMqtt.open(fixture.gateway.port);
  await other.login("d2");
  await other.roundTrip();
  assert.deepEqual([peer.packets, fixture.gateway.figures.logins], [[], 2]);
  assert.deepEqual(fixture.ingress.messages.map(({ to }) => to), ["device/p/d2"]);
  found(undefined);
  await peer.next("connack");
  await peer.next("pingresp");
  await peer.next("puback");
});

Deno.test("a connection that is taken over while its session is read stays closed", async () => {
  const waiting: ((row: undefined) => void)[] = [];
  const readRow = () => new Promise<undefined>((resolve) => waiting.push(resolve));
  await using fixture = await startMqttFixture({ readRow });
  using old = await RawMqtt.open(fixture.gateway.port);
  old.send(old.connectPacket("d1", { clean: false }));
  await waitFor(() => waiting.length === 1, { what: "the first login", withinMs: 2_000 });
  using fresh = await RawMqtt.open(fixture.gateway.port);
  fresh.send(fresh.connectPacket("d1", { clean: false }));
  await waitFor(() => waiting.length === 2, { what: "the second login", withinMs: 2_000 });
  for (const resolve of waiting) resolve(undefined);
  await fresh.next("connack");
  await old.closed();
  assert.equal(old.packets.length, 0);
  const kinds = fixture.ingress.messages.map(({ body }) => `${body.type} ${body.session}`);
  assert.deepEqual(kinds, ["connected i1.2"]);
  assert.equal(fixture.gateway.connections, 1);
});

Deno.test("a session that was just discarded is not found again in its old row", async () => {
  await using fixture = await startMqttFixture({ isAutomatic: false });
  const { gateway, ingress } = fixture;
  const visit = async (clean: boolean) => {
    using peer = await RawMqtt.open(gateway.port);
    const { sessionPresent }: Connack = await peer.login("d1", { clean });
    peer.send({ cmd: "disconnect" });
    await waitFor(() => gateway.connections === 0, { what: "its end", withinMs: 2_000 });
    return sessionPresent;
  };
  assert.equal(await visit(false), false);
  ingress.settle();
  assert.equal(ingress.rows.size, 1);
  assert.equal(await visit(true), false);
  assert.equal(ingress.rows.size, 1, "its removal is not durable yet");
  assert.equal(await visit(false), false);
});
