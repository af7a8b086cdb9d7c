/** Rows of sessions whose devices do not come back, or were deleted. */
import assert from "node:assert/strict";
import { decodeSession, encodeSession, Session } from "../../protocols/mqtt/session.ts";
import type { MqttPorts } from "../../protocols/mqtt/gateway_state.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { StoredGatewayRow } from "../../runtime/log/partition_log.ts";
import { FakeIngress } from "../support/fake_ingress.ts";
import { type MqttFixture, NOW_MS, startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const PAGE_MS = 1_000;
const PASS_MS = 60_000;
const EXPIRY_S = 100;
const lasting = { clean: false, properties: { sessionExpiryInterval: EXPIRY_S } };

/** An absent end: as a gateway leaves it that died. */
function rowOf(endedAtMs?: number): Uint8Array {
  const session = new Session(EXPIRY_S);
  session.endedAtMs = endedAtMs;
  session.qos2.add(7);
  return encodeSession(session);
}

async function visit({ gateway }: MqttFixture, device: string): Promise<boolean> {
  using peer = await RawMqtt.open(gateway.port, { version: 5 });
  const { sessionPresent } = await peer.login(device, lasting) as { sessionPresent: boolean };
  peer.send({ cmd: "disconnect" });
  await waitFor(() => gateway.connections === 0, { what: "its end", withinMs: 2_000 });
  return sessionPresent;
}

Deno.test("expired sessions of absent devices are removed, others are left alone", async () => {
  const ingress = new FakeIngress({ isAutomatic: true });
  const expired = NOW_MS - EXPIRY_S * 1_000;
  ingress.rows.set("mqtt/p/expired", rowOf(expired));
  ingress.rows.set("mqtt/p/waiting", rowOf(expired + 10_000));
  ingress.rows.set("mqtt/p/connected", rowOf(expired));
  ingress.rows.set("mqtt/p/newer", new TextEncoder().encode('{"version":2}'));
  ingress.rows.set("coap/p/a", rowOf(expired));
  await using fixture = await startMqttFixture({ ingress });
  using peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  await peer.login("connected", lasting);
  await fixture.clock.advance(2 * PAGE_MS);
  const left = ["coap/p/a", "mqtt/p/connected", "mqtt/p/newer", "mqtt/p/waiting"];
  assert.deepEqual([...ingress.rows.keys()].sort(), left);
  await fixture.clock.advance(PASS_MS + 3 * PAGE_MS);
  assert.equal(ingress.rows.has("mqtt/p/waiting"), false);
  const { sessionsExpired, sessionRowsUnreadable } = fixture.gateway.figures;
  assert.deepEqual([sessionsExpired, sessionRowsUnreadable], [2, 1]);
});

Deno.test("a session that a dead gateway left behind lasts from when it is found", async () => {
  const ingress = new FakeIngress({ isAutomatic: true });
  for (const device of ["a", "b"]) ingress.rows.set(`mqtt/p/${device}`, rowOf());
  await using fixture = await startMqttFixture({ ingress });
  await fixture.clock.advance(PAGE_MS);
  const session = decodeSession(ingress.rows.get("mqtt/p/a")!)!;
  assert.deepEqual([session.endedAtMs, [...session.qos2]], [NOW_MS + PAGE_MS, [7]]);
  await fixture.clock.advance(EXPIRY_S * 1_000 - 5_000);
  assert.equal(await visit(fixture, "b"), true);
  await fixture.clock.advance(PASS_MS + 10_000);
  assert.deepEqual([...ingress.rows.keys()], ["mqtt/p/b"]);
});

Deno.test("a page looks at a bounded number of rows, and waits while the log has no room", async () => {
  const ingress = new FakeIngress({ isAutomatic: true });
  const count = 2 * LIMITS.mqttSessionPageRows + 1;
  for (let i = 0; i < count; i++) ingress.rows.set(`mqtt/p/d${i}`, rowOf(0));
  await using fixture = await startMqttFixture({ ingress });
  await fixture.clock.advance(PAGE_MS);
  assert.equal(ingress.rows.size, count - LIMITS.mqttSessionPageRows);
  ingress.hasRoom = false;
  using peer = await RawMqtt.open(fixture.gateway.port);
  await peer.login("other");
  await fixture.clock.advance(10 * PAGE_MS);
  assert.equal(ingress.rows.size, count - LIMITS.mqttSessionPageRows);
  ingress.makeRoom();
  await fixture.clock.advance(2 * PAGE_MS);
  assert.equal(ingress.rows.size, 0);
});

/** Pages of sessions are answered by the test, those of other rows at once. */
function heldPages(ingress: FakeIngress) {
  const reads: ((rows: StoredGatewayRow[]) => void)[] = [];
  const readRows: MqttPorts["readRows"] = (query) => {
    if (query.prefix !== "mqtt/") return ingress.readRows(query);
    return new Promise<StoredGatewayRow[]>((resolve) => reads.push(resolve));
  };
  return { reads, readRows };
}

Deno.test("a page that is older than a session does not end it", async () => {
  const ingress = new FakeIngress({ isAutomatic: true });
  for (const device of ["stays", "visits", "gone"]) ingress.rows.set(`mqtt/p/${device}`, rowOf(0));
  const { reads, readRows } = heldPages(ingress);
  await using fixture = await startMqttFixture({ ingress, readRows });
  const rows = await ingress.readRows({ prefix: "mqtt/", after: "", limit: 10 });
  await fixture.clock.advance(PAGE_MS);
  assert.equal(reads.length, 1);
  assert.equal(await visit(fixture, "visits"), false);
  using peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  await peer.login("stays", lasting);
  reads[0]!(rows);
  await fixture.clock.advance(1);
  assert.deepEqual([...ingress.rows.keys()], ["mqtt/p/stays", "mqtt/p/visits"]);
});

Deno.test("a page under way does not bring back the row of a device that is deleted", async () => {
  const ingress = new FakeIngress({ isAutomatic: true });
  const { reads, readRows } = heldPages(ingress);
  await using fixture = await startMqttFixture({ ingress, readRows });
  using peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  await peer.login("gone", lasting);
  await fixture.clock.advance(PAGE_MS);
  assert.equal(reads.length, 1);
  fixture.directory.revoke("gone", "device_deleted");
  ingress.rows.delete("mqtt/p/gone"); // As the removal does.
  await peer.closed();
  reads[0]!([{ key: "mqtt/p/gone", value: rowOf() }]);
  await fixture.clock.advance(1);
  assert.deepEqual([...ingress.rows.keys()], []);
  assert.equal(await visit(fixture, "gone"), false);
});

Deno.test("nothing of a deleted device's session is kept or comes after its removal", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, ingress, directory } = fixture;
  const isPresent: boolean[] = [await visit(fixture, "away")];
  ingress.hasRoom = false;
  using peer = await RawMqtt.open(gateway.port, { version: 5 });
  await peer.login("connected", lasting);
  using other = await RawMqtt.open(gateway.port, { version: 5 });
  await other.login("other", lasting);
  for (const device of ["away", "connected"]) {
    directory.revoke(device, "device_deleted");
    ingress.rows.delete(`mqtt/p/${device}`); // As the removal does.
  }
  await peer.closed();
  ingress.makeRoom();
  await waitFor(() => ingress.rows.size > 0, { what: "what is owed", withinMs: 2_000 });
  other.send({ cmd: "disconnect" });
  await waitFor(() => gateway.connections === 0, { what: "its end", withinMs: 2_000 });
  assert.deepEqual([...ingress.rows.keys()], ["mqtt/p/other"]);
  assert.deepEqual(ingress.messages.filter(({ to }) => to === "device/p/connected"), []);
  for (const device of ["away", "connected"]) isPresent.push(await visit(fixture, device));
  assert.deepEqual(isPresent, [false, false, false]);
});

Deno.test("a session row is not read while what a gateway before handed in is not durable", async () => {
  const ingress = new FakeIngress({ isAutomatic: false });
  ingress.offerRow("mqtt/p/d1", rowOf(NOW_MS));
  await using fixture = await startMqttFixture({ ingress });
  using peer = await RawMqtt.open(fixture.gateway.port, { version: 5 });
  peer.send(peer.connectPacket("d1", lasting));
  const { figures } = fixture.gateway;
  await waitFor(() => figures.logins === 1, { what: "the login", withinMs: 2_000 });
  await fixture.clock.settle();
  assert.deepEqual([peer.packets, figures.connections], [[], 0]);
  ingress.settle();
  assert.equal((await peer.next("connack")).sessionPresent, true);
});
