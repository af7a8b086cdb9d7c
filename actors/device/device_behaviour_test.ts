import assert from "node:assert/strict";
import fc from "fast-check";
import type { Context, Json, Message } from "../../runtime/actor/behaviour.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { type Random, seededRandom } from "../../runtime/random.ts";
import { readSeed } from "../../test/support/seed.ts";
import { deviceBehaviour } from "./device_behaviour.ts";
import { deltaOf } from "./device_state.ts";
import { type DeviceMessage, type DeviceState, NODE_RESTARTED, type Values } from "./messages.ts";

/** A device's actor with its effects as lines. */
class TestDevice {
  state: DeviceState = deviceBehaviour.initial("pump/p");
  effects: string[] = [];
  replies: Json[] = [];

  send(message: DeviceMessage, nowMs = 1_000): string[] {
    this.effects = [];
    this.state = deepFreeze(deviceBehaviour.receive(this.state, message, this.#context(nowMs)));
    return this.effects;
  }

  values(): Record<string, Json> {
    return Object.fromEntries(
      Object.entries(this.state.reported).map(([key, { value }]) => [key, value]),
    );
  }

  #context(nowMs: number): Context {
    const note = (...parts: unknown[]) =>
      void this.effects.push(
        parts.map((part) => typeof part === "string" ? part : JSON.stringify(part)).join(" "),
      );
    return {
      address: "device/pump/p",
      nowMs,
      recordId: "1-0-0",
      traceId: "1-0-0",
      send: (to, message) => note("send", to, message),
      record: (type, body) => note("record", type, body),
      project: (view, key, row) => note("project", view, key, row === undefined ? "gone" : row),
      remind: () => assert.fail("a device sets no reminder"),
      cancelReminder: () => assert.fail("a device sets no reminder"),
      reply: (state, value) => {
        this.replies.push(value);
        return state;
      },
      downlink: (message: Message) => note("downlink", message),
      publish: (topic, value) => note("publish", topic, value),
      activity: () => assert.fail("a device starts no activity"),
    };
  }
}

function published(shadow: { version: number; delta: Values }): string {
  return `publish device/pump/p ${JSON.stringify({ type: "shadow", ...shadow })}`;
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const below of Object.values(value)) deepFreeze(below);
  return value;
}

function disconnected(session: string): DeviceMessage {
  return { type: "disconnected", session, reason: "closed" };
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const left = [...items];
  return items.map(() => left.splice(Math.floor(random.fraction() * left.length), 1)[0]!);
}

function connected(session: string, epoch: number): DeviceMessage {
  return { type: "connected", session, epoch, wire: "mqtt" };
}

function report(values: Values, at?: number): DeviceMessage {
  return { type: "properties", samples: [at === undefined ? { values } : { at, values }] };
}

Deno.test("the newest value by its own time is the last value, whatever order they come in", () => {
  const device = new TestDevice();
  device.send(report({ a: 1, b: 1 }, 500), 1_000);
  device.send(report({ a: 2 }, 400), 1_001);
  device.send(report({ b: 2 }), 1_002);
  device.send(report({ b: 3 }, 1_001), 1_003);
  device.send(report({ a: 4 }, 500), 1_004);
  assert.deepEqual(device.state.reported, {
    a: { value: 4, at: 500 },
    b: { value: 2, at: 1_002 },
  });
  assert.deepEqual(device.effects, []);
});

Deno.test("a device is last seen at its messages, connects and closes, and at nothing else", () => {
  const device = new TestDevice();
  device.send({ type: "desire", values: { on: true } }, 5);
  assert.equal(device.state.lastSeenAtMs, undefined, "that was the API");
  const heard: DeviceMessage[] = [
    report({ a: 1 }),
    connected("x.1", 1),
    { type: "event", event: "door", data: null },
    { type: "shadowGet", session: "x.1" },
    { type: "disconnected", session: "x.1", reason: "closed" },
  ];
  for (const [index, message] of heard.entries()) {
    device.send(message, 10 + index);
    assert.equal(device.state.lastSeenAtMs, 10 + index, message.type);
  }
  device.send(connected("x.2", 2), 20);
  const others: DeviceMessage[] = [
    { type: "deliver", session: "x.2" },
    { type: "shadowGet", session: "x.1" },
    { type: "desire", values: { on: false } },
    { type: "disconnected", session: "x.1", reason: "late" },
    connected("x.1", 1),
  ];
  for (const message of others) {
    device.send(message, 30);
    assert.equal(device.state.lastSeenAtMs, 20, message.type);
  }
  assert.deepEqual(
    device.send({ type: "disconnected", session: "x.2", reason: NODE_RESTARTED }, 40),
    ['project presence pump/p {"online":false,"session":null,"atMs":20}'],
  );
  assert.equal(device.state.lastSeenAtMs, 20, "nobody heard of it when the node came back");
});

Deno.test("messages move the presence row once a minute, and it is never a minute behind", () => {
  const seed = readSeed();
  const random = seededRandom(seed);
  const device = new TestDevice();
  const minutes = 50;
  let shownAtMs = -Infinity;
  let rows = 0;
  for (let nowMs = 1; nowMs < minutes * 60_000; nowMs += 1 + random.fraction() * 5_000) {
    const message: DeviceMessage = random.fraction() < 0.5
      ? report({ a: nowMs })
      : { type: "event", event: "e", data: null };
    const shown = device.send(message, nowMs).filter((effect) => effect.startsWith("project"));
    if (shown.length > 0) {
      rows += shown.length;
      assert.deepEqual(shown, [
        `project presence pump/p {"online":false,"session":null,"atMs":${nowMs}}`,
      ]);
      shownAtMs = nowMs;
    }
    assert.ok(nowMs - shownAtMs < LIMITS.presenceEveryMs, `seed ${seed}: behind at ${nowMs}`);
  }
  assert.ok(rows > minutes / 2 && rows <= minutes + 1, `seed ${seed}: ${rows} rows`);
  device.send(connected("x.1", 1), minutes * 60_000);
  assert.deepEqual(device.send(report({ a: 0 }), (minutes + 1) * 60_000), [
    `project presence pump/p {"online":true,"session":"x.1","atMs":${(minutes + 1) * 60_000}}`,
  ], "what messages show is still online");
});

Deno.test("a connection is presence, and a late close of an old one is not", () => {
  const device = new TestDevice();
  assert.deepEqual(device.send(connected("x.1", 1), 10), [
    'project presence pump/p {"online":true,"session":"x.1","atMs":10}',
  ]);
  assert.deepEqual(device.send(connected("x.2", 2), 11), [
    'project presence pump/p {"online":true,"session":"x.2","atMs":11}',
  ]);
  const before = device.state;
  assert.deepEqual(device.send(connected("x.2", 2), 12), [], "told again");
  assert.equal(device.state, before);
  assert.deepEqual(device.send({ type: "disconnected", session: "x.1", reason: "late" }, 12), []);
  assert.equal(device.state.link?.session, "x.2");
  assert.deepEqual(device.send(connected("x.1", 1), 13), [], "a late connect");
  assert.deepEqual(device.send({ type: "disconnected", session: "x.2", reason: "closed" }, 14), [
    'project presence pump/p {"online":false,"session":null,"atMs":14}',
  ]);
  assert.equal(device.state.link, undefined);
  assert.ok(!("link" in device.state));
  assert.deepEqual(device.send({ type: "disconnected", session: "x.2", reason: "again" }, 15), []);
  assert.deepEqual(device.send(connected("x.1", 1), 16), [], "still late");
});

Deno.test("an absence ends what was before it, whatever of that comes late", () => {
  const device = new TestDevice();
  device.send(connected("x.1", 1), 10);
  device.send(report({ a: 1 }), 11);
  assert.deepEqual(device.send({ type: "absent", epoch: 3 }, 20), [
    'project presence pump/p {"online":false,"session":null,"atMs":11}',
  ]);
  assert.equal(device.state.lastSeenAtMs, 11, "nobody knows when it left");
  for (const epoch of [1, 2, 3]) assert.deepEqual(device.send(connected(`x.${epoch}`, epoch)), []);
  assert.deepEqual(device.send({ type: "absent", epoch: 2 }), []);
  device.send(connected("x.4", 4), 21);
  assert.deepEqual(device.send({ type: "absent", epoch: 3 }), [], "late");
  assert.equal(device.state.link?.session, "x.4");
});

Deno.test("presence is true once it was told again, in whatever order letters are replayed", () => {
  const seed = readSeed();
  const random = seededRandom(seed);
  for (let round = 0; round < 2_000; round++) {
    const sessions = 1 + Math.floor(random.fraction() * 4);
    const isConnected = random.fraction() < 0.5;
    const messages = Array.from({ length: sessions }, (_, i) => [
      connected(`x.${i + 1}`, i + 1),
      ...(isConnected && i === sessions - 1 ? [] : [disconnected(`x.${i + 1}`)]),
    ]).flat();
    const inOrder = messages.filter(() => random.fraction() < 0.3); // Before the actor's suspension.
    const letters = messages.filter((message) => !inOrder.includes(message));
    const device = new TestDevice();
    for (const message of inOrder) device.send(message);
    const replayed = shuffled(letters, random);
    const before = replayed.splice(0, Math.floor(random.fraction() * (replayed.length + 1)));
    for (const message of before) device.send(message);
    const last = sessions;
    device.send(isConnected ? connected(`x.${last}`, last) : { type: "absent", epoch: last + 1 });
    const leaves = isConnected && random.fraction() < 0.5;
    const after = leaves ? [...replayed, disconnected(`x.${last}`)] : replayed;
    for (const message of shuffled(after, random)) device.send(message);
    const session = isConnected && !leaves ? `x.${last}` : undefined;
    assert.equal(device.state.link?.session, session, `round ${round} of seed ${seed}`);
  }
});

Deno.test("a message of its own says that a device was heard of, a will does not", () => {
  const device = new TestDevice();
  device.send(connected("x.1", 1), 10);
  device.send(disconnected("x.1"), 20);
  const isWill = { carried: { isWill: true } } as const;
  device.send({ ...report({ on: false }), ...isWill } as DeviceMessage, 90_000);
  device.send({ type: "event", event: "lost", data: {}, ...isWill }, 90_001);
  assert.deepEqual(device.send({ type: "message", topic: "s", text: "", ...isWill }, 90_002), []);
  assert.deepEqual([device.values(), device.state.lastSeenAtMs], [{ on: false }, 20]);
  device.send({ type: "message", topic: "s", text: "" }, 90_003);
  assert.equal(device.state.lastSeenAtMs, 90_003);
});

Deno.test("desired values wait for the connection, and differ until they are reported", () => {
  const device = new TestDevice();
  assert.deepEqual(device.send({ type: "desire", values: { on: true, level: 3 } }, 5), [
    published({ version: 1, delta: { on: true, level: 3 } }),
  ]);
  assert.deepEqual(device.replies.pop(), {
    ok: true,
    shadow: {
      version: 1,
      desired: { on: { value: true, at: 5 }, level: { value: 3, at: 5 } },
      reported: {},
    },
    delta: { on: true, level: 3 },
  });
  device.send(connected("x.1", 1));
  assert.deepEqual(device.send({ type: "deliver", session: "x.0" }), [], "of another session");
  assert.deepEqual(device.send({ type: "deliver", session: "x.1" }), [
    'downlink {"type":"propertySet","version":1,"values":{"on":true,"level":3}}',
  ]);
  assert.deepEqual(device.send(report({ on: true })), [
    published({ version: 1, delta: { level: 3 } }),
  ]);
  assert.deepEqual(device.send(report({ on: true })), [], "the same again is no change");
  assert.deepEqual(device.send({ type: "deliver", session: "x.1" }), [
    'downlink {"type":"propertySet","version":1,"values":{"level":3}}',
  ]);
  assert.deepEqual(device.send({ type: "desire", values: { level: null, on: false } }), [
    published({ version: 2, delta: { on: false } }),
    'downlink {"type":"propertySet","version":2,"values":{"on":false}}',
  ]);
  device.send(report({ on: false }));
  assert.deepEqual(device.send({ type: "desire", values: { on: false } }), []);
  assert.equal(device.state.version, 2, "nothing changed");
});

Deno.test("a device that says 1 and 0 for true and false has done what was desired", () => {
  const device = new TestDevice();
  const values = { on: true, off: false, level: 2, all: { a: true, b: [false] } };
  device.send({ type: "desire", values });
  device.send(report({ on: 1, off: 0, level: 1, all: { a: 1, b: [0] } }));
  assert.deepEqual(deltaOf(device.state), { level: 2 });
  device.send(report({ on: 0, off: 0, level: 2, all: { a: 1, b: [1] } }));
  assert.deepEqual(deltaOf(device.state), { on: true, all: { a: true, b: [false] } });
  device.send({ type: "desire", values: { on: 1 } });
  assert.equal(device.state.desired.on!.value, 1, "it is kept as it was set");
});

Deno.test("a stale desire is answered with the version, and changes nothing", () => {
  const device = new TestDevice();
  device.send({ type: "desire", values: { on: true }, expectedVersion: 0 });
  const before = device.state;
  device.send({ type: "desire", values: { on: false }, expectedVersion: 0 });
  assert.deepEqual(device.replies.pop(), { ok: false, code: "stale_version", version: 1 });
  assert.equal(device.state, before);
  device.send({ type: "desire", values: { on: false }, expectedVersion: 1 });
  assert.equal(device.state.version, 2);
});

Deno.test("the shadow goes to the connection that asked, if it is the present one", () => {
  const device = new TestDevice();
  device.send(report({ a: [1, { b: 2 }] }, 7));
  device.send(connected("x.1", 1));
  assert.deepEqual(device.send({ type: "shadowGet", session: "x.0" }), []);
  assert.deepEqual(device.send({ type: "shadowGet", session: "x.1" }), [
    'downlink {"type":"shadow","session":"x.1","shadow":{"version":0,"desired":{},' +
    '"reported":{"a":{"value":[1,{"b":2}],"at":7}}}}',
  ]);
});

Deno.test("the actor of its calls learns of connections that take calls, and of answers", () => {
  const device = new TestDevice();
  const told = ['downlink {"type":"callsWait"}'];
  assert.deepEqual(device.send({ type: "callsWait" }), told, "it may come and fetch");
  device.send(connected("x.1", 1));
  assert.deepEqual(device.send({ type: "callsWait" }), told, "it is not listening");
  device.send({ type: "desire", values: { on: true } });
  const deliver = (session: string) =>
    device.send({ type: "deliver", session, values: false, calls: true });
  assert.deepEqual(deliver("x.0"), [], "of another session");
  const linked = (session: string, isNew: boolean) =>
    `send command/pump/p {"type":"linked","session":"${session}","isNew":${isNew}}`;
  assert.deepEqual(deliver("x.1"), [linked("x.1", true)]);
  assert.deepEqual(deliver("x.1"), [linked("x.1", true)], "it subscribed again");
  assert.deepEqual(device.send({ type: "callsWait" }), [linked("x.1", false)]);
  const answer = { ok: true, output: { done: 1 } } as const;
  assert.deepEqual(device.send({ type: "reply", callId: "c1", answer }, 70_000), [
    'send command/pump/p {"type":"answered","callId":"c1","answer":{"ok":true,"output":{"done":1}}}',
    'project presence pump/p {"online":true,"session":"x.1","atMs":70000}',
  ]);
  assert.equal(device.state.lastSeenAtMs, 70_000);
  device.send(connected("x.2", 2));
  assert.deepEqual(device.send({ type: "callsWait" }), told, "the new one is not listening yet");
  assert.deepEqual(device.send({ type: "heard" }, 140_000), [
    'project presence pump/p {"online":true,"session":"x.2","atMs":140000}',
  ]);
  assert.equal(device.state.lastSeenAtMs, 140_000);
});

Deno.test("an event is recorded with its time, a removed device forgets everything", () => {
  const device = new TestDevice();
  assert.deepEqual(device.send({ type: "event", event: "door", data: { open: true } }, 9), [
    'record event {"event":"door","at":9,"data":{"open":true}}',
    'project presence pump/p {"online":false,"session":null,"atMs":9}',
  ]);
  assert.deepEqual(device.send({ type: "event", event: "door", at: 4, data: null }, 9), [
    'record event {"event":"door","at":4,"data":null}',
  ]);
  device.send(connected("x.1", 1));
  device.send(report({ a: 1 }));
  assert.deepEqual(device.send({ type: "removed" }), [
    "project presence pump/p gone",
    'send command/pump/p {"type":"removed"}',
  ]);
  assert.deepEqual(device.state, deviceBehaviour.initial("pump/p"));
  const unknown = { type: "from_the_future" } as unknown as DeviceMessage;
  assert.throws(() => device.send(unknown), { code: "assertion" });
});

Deno.test("a state never passes its bound: what would is refused whole", () => {
  const device = new TestDevice();
  const text = "\u0001".repeat(1_000);
  device.send(report({}));
  for (let i = 0; i < 200; i++) {
    const before = device.state.reported;
    const effects = device.send(report({ [`t${i}`]: text }, 1));
    assert.ok(encodedBytes(device.state) <= LIMITS.stateBytesMax);
    if (effects.length === 0) continue;
    assert.equal(effects.length, 1);
    assert.match(effects[0]!, /^publish device\/pump\/p \{"type":"refused","reason":"state_full",/);
    assert.equal(device.state.reported, before);
    assert.ok(i >= 8, "not before it is full");
  }
  assert.ok(Object.keys(device.state.reported).length <= 12);
  device.send({ type: "desire", values: { [`d`]: text + text + text } });
  assert.equal((device.replies.pop() as { code: string }).code, "state_full");
  assert.deepEqual(device.send(report({ t0: 1, t1: 1 }, 2)), [], "what makes it smaller is taken");
  assert.equal(device.values().t0, 1);
});

function encodedBytes(state: DeviceState): number {
  return new TextEncoder().encode(JSON.stringify(state)).length;
}

Deno.test("names of objects' own machinery are names as any other", () => {
  const device = new TestDevice();
  device.send(report({ constructor: 1, toString: "a", hasOwnProperty: true }, 3));
  device.send({ type: "desire", values: { valueOf: 1 } });
  device.send(JSON.parse('{"type":"properties","samples":[{"values":{"__proto__":{"a":1}}}]}'));
  assert.deepEqual(Object.keys(device.state.reported).sort(), [
    "constructor",
    "hasOwnProperty",
    "toString",
  ]);
  assert.equal(Object.getPrototypeOf(device.state.reported), Object.prototype);
  assert.deepEqual(device.state.desired, { valueOf: { value: 1, at: 1_000 } });
});

/** The shadow once more, as plainly as it can be written. */
interface PlainShadow {
  reported: Map<string, { value: Json; at: number }>;
  desired: Map<string, Json>;
  version: number;
  session: string | undefined;
  epoch: number;
}

function applyPlainly(shadow: PlainShadow, message: DeviceMessage, nowMs: number): void {
  switch (message.type) {
    case "properties":
      for (const { at = nowMs, values } of message.samples) {
        for (const [key, value] of Object.entries(values)) {
          if (at >= (shadow.reported.get(key)?.at ?? 0)) shadow.reported.set(key, { value, at });
        }
      }
      return;
    case "desire": {
      const { expectedVersion = shadow.version } = message;
      if (expectedVersion !== shadow.version) return;
      const before = JSON.stringify([...shadow.desired]);
      for (const [key, value] of Object.entries(message.values)) {
        if (value === null) shadow.desired.delete(key);
        else shadow.desired.set(key, value);
      }
      if (JSON.stringify([...shadow.desired]) !== before) shadow.version++;
      return;
    }
    case "connected":
      if (message.epoch <= shadow.epoch) return;
      shadow.session = message.session;
      shadow.epoch = message.epoch;
      return;
    case "disconnected":
      if (shadow.session === message.session) shadow.session = undefined;
      return;
    case "absent":
      if (message.epoch > shadow.epoch) shadow.session = undefined;
      shadow.epoch = Math.max(shadow.epoch, message.epoch);
      return;
    case "removed":
      Object.assign(shadow, emptyShadow());
  }
}

function emptyShadow(): PlainShadow {
  return { reported: new Map(), desired: new Map(), version: 0, session: undefined, epoch: 0 };
}

Deno.test("any sequence of messages ends as a plain reading of them", () => {
  const value = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constantFrom("a", true, [1], [2]));
  const key = fc.constantFrom("a", "b", "c");
  const sample = fc.record(
    { at: fc.integer({ min: 1, max: 20 }), values: fc.dictionary(key, value, { maxKeys: 3 }) },
    { requiredKeys: ["values"] },
  );
  const session = fc.integer({ min: 1, max: 6 });
  const message: fc.Arbitrary<DeviceMessage> = fc.oneof(
    fc.array(sample, { maxLength: 3 }).map((samples) => ({
      type: "properties" as const,
      samples: samples as { values: Values }[],
    })),
    fc.record({
      type: fc.constant("desire" as const),
      values: fc.dictionary(key, fc.oneof(value, fc.constant(null)), { maxKeys: 2 }),
      expectedVersion: fc.integer({ min: 0, max: 4 }),
    }, { requiredKeys: ["type", "values"] }) as fc.Arbitrary<DeviceMessage>,
    session.map((n) => connected(`x.${n}`, n)),
    session.map((n) => ({ type: "disconnected", session: `x.${n}`, reason: "" } as const)),
    session.map((epoch) => ({ type: "absent", epoch } as const)),
    fc.constant({ type: "removed" } as const),
  );
  fc.assert(
    fc.property(fc.array(message, { maxLength: 40 }), (messages) => {
      const device = new TestDevice();
      const shadow = emptyShadow();
      for (const [index, one] of messages.entries()) {
        device.send(one, 10 + index);
        applyPlainly(shadow, one, 10 + index);
      }
      assert.deepEqual(device.state.reported, Object.fromEntries(shadow.reported));
      assert.deepEqual(
        Object.fromEntries(
          Object.entries(device.state.desired).map(([name, { value }]) => [name, value]),
        ),
        Object.fromEntries(shadow.desired),
      );
      assert.equal(device.state.version, shadow.version);
      assert.equal(device.state.link?.session, shadow.session);
      const { reported, desired } = device.state;
      const bytes = new TextEncoder().encode(JSON.stringify({ reported, desired })).length;
      assert.ok(device.state.bytes >= bytes - 40, "the estimate of the state's size is too low");
    }),
    { seed: readSeed(), numRuns: 500 },
  );
});
