import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { decodeSession, encodeSession, Session, withSubscription } from "./session.ts";

Deno.test("a session is read from its row as it was written", () => {
  const session = new Session(60);
  session.subscriptions = [
    { filter: "v1/p/d/#", qos: 2, isNoLocal: true, isRetainKept: true, id: 268_435_455 },
    { filter: "v1/p/d/time", qos: 0 },
  ];
  session.qos2.add(7);
  session.outgoing.add(9);
  session.endedAtMs = 5;
  const read = decodeSession(encodeSession(session))!;
  assert.deepEqual(read.subscriptions, session.subscriptions);
  assert.deepEqual([[...read.qos2], [...read.outgoing]], [[7], [9]]);
  assert.deepEqual([read.downlinks.length, read.downlinks.copyBytes], [1, 0], "its id is in use");
  assert.deepEqual([read.expirySeconds, read.endedAtMs, read.hasRow], [60, 5, true]);
  assert.equal(read.isExpired(5 + 60_000), true);
  assert.equal(read.isExpired(5 + 59_999), false);
});

Deno.test("a row of anything else is no session", () => {
  const good = { version: 1, expirySeconds: 1, subscriptions: [], qos2: [] };
  const rows: unknown[] = [
    null,
    5,
    {},
    { ...good, version: 2 },
    { ...good, expirySeconds: "1" },
    { ...good, subscriptions: [{ filter: "a#", qos: 1 }] },
    { ...good, subscriptions: [{ filter: "a", qos: 3 }] },
    { ...good, outgoing: ["1"] },
    { ...good, subscriptions: [null] },
    { ...good, qos2: ["1"] },
  ];
  const encode = (row: unknown) => new TextEncoder().encode(JSON.stringify(row));
  assert.ok(decodeSession(encode(good)));
  for (const row of rows) assert.equal(decodeSession(encode(row)), undefined, JSON.stringify(row));
  assert.equal(decodeSession(Uint8Array.of(0xff)), undefined);
});

Deno.test("overlapping subscriptions grant the highest QoS, the same filter again replaces", () => {
  const session = new Session(0);
  session.subscriptions = withSubscription([], { filter: "v1/p/d/#", qos: 0 });
  assert.equal(session.qosOf("v1/p/d/", "shadow"), 0);
  session.subscriptions = withSubscription(session.subscriptions, { filter: "v1/p/d/+", qos: 1 });
  assert.equal(session.qosOf("v1/p/d/", "shadow"), 1);
  assert.equal(session.qosOf("v1/p/d/", "properties/set"), 0);
  session.subscriptions = withSubscription(session.subscriptions, { filter: "v1/p/d/+", qos: 0 });
  assert.equal(session.subscriptions.length, 2);
  assert.equal(session.qosOf("v1/p/d/", "shadow"), 0);
  assert.equal(new Session(0).qosOf("v1/p/d/", "time"), undefined);
});

Deno.test("the largest session fits into its row", () => {
  const session = new Session(60);
  const filter = (i: number) => String(i).padEnd(LIMITS.mqttFilterCharactersMax, "é");
  session.subscriptions = Array.from({ length: LIMITS.mqttSubscriptionsMax }, (_, i) => ({
    filter: filter(i),
    qos: 1,
    isNoLocal: true,
    isRetainKept: true,
    id: 268_435_455,
  }));
  for (let id = 0; id < LIMITS.mqttUnackedMax; id++) session.qos2.add(65_535 - id);
  for (let id = 0; id < LIMITS.mqttCopiesMax; id++) session.outgoing.add(60_000 - id);
  assert.ok(encodeSession(session).length <= 65_536);
});
