import assert from "node:assert/strict";
import type { Context, Json, Message } from "../../runtime/actor/behaviour.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { type Random, seededRandom } from "../../runtime/random.ts";
import { readSeed } from "../../test/support/seed.ts";
import { commandBehaviour } from "./command_behaviour.ts";
import type { CallMode, CommandMessage, CommandState } from "./messages.ts";

const NOW_MS = 1_700_000_000_000;

/** The actor with its effects as lines, and its reminder. */
class TestCommands {
  state: CommandState | null = null;
  effects: string[] = [];
  replies: Json[] = [];
  dueAtMs: number | undefined;
  nowMs = NOW_MS;

  send(message: CommandMessage): string[] {
    this.effects = [];
    const before = this.state ?? commandBehaviour.initial("pump/p");
    this.state = commandBehaviour.receive(before, message, this.#context());
    return this.effects;
  }

  call(
    callId: string,
    options: { expiresInMs?: number; input?: Json; mode?: CallMode } = {},
  ): string[] {
    const { expiresInMs = 3_600_000, input = {}, mode = "queued" } = options;
    const expiresAtMs = this.nowMs + expiresInMs;
    const service = "restart";
    return this.send({ type: "call", callId, service, input, mode, expiresAtMs, createdBy: "ann" });
  }

  link(session: string, isNew = true): string[] {
    return this.send({ type: "linked", session, isNew });
  }

  /** Time passes until the reminder fires. */
  fire(): string[] {
    assert.ok(this.dueAtMs !== undefined, "a reminder is set");
    this.nowMs = this.dueAtMs;
    this.dueAtMs = undefined;
    return this.send({ type: "due" });
  }

  open(): string[] {
    return this.state?.calls.map(({ callId }) => callId) ?? [];
  }

  #context(): Context {
    const { nowMs } = this;
    const rowNote = (row: Json | undefined) => {
      if (row === undefined) return "gone";
      const { status, output, error, sentAt, answeredAt } = row as Record<string, Json>;
      const told = { status, output, error, sentAt, answeredAt } as Record<string, Json>;
      for (const key of ["sentAt", "answeredAt"]) {
        if (told[key] !== undefined) told[key] = told[key] as number - NOW_MS;
      }
      return told;
    };
    const note = (...parts: unknown[]) =>
      void this.effects.push(
        parts.map((part) => typeof part === "string" ? part : JSON.stringify(part)).join(" "),
      );
    return {
      address: "command/pump/p",
      nowMs,
      recordId: "1-0-0",
      traceId: "1-0-0",
      send: (to, message) => note("send", to, message.type),
      record: () => assert.fail("calls are no history"),
      project: (view, key, row) => note(view, key, rowNote(row)),
      remind: (_name, dueAtMs) => this.dueAtMs = dueAtMs,
      cancelReminder: () => this.dueAtMs = undefined,
      reply: (state, value) => {
        this.replies.push(value);
        return state;
      },
      downlink: (message: Message) => {
        const { type, callId } = message as unknown as { type: string; callId: string };
        note("downlink", type, callId);
      },
      publish: (topic, value) => note("publish", topic, (value as { status: string }).status),
      activity: () => assert.fail("no activities"),
    };
  }
}

const ASK = "send device/pump/p callsWait";

Deno.test("a call goes out once there is a connection, and ends with its answer", () => {
  const commands = new TestCommands();
  assert.deepEqual(commands.call("c1", { input: { delay: 3 } }), [
    'calls pump/p/c1 {"status":"queued"}',
    ASK,
  ]);
  assert.deepEqual(commands.replies.pop(), { ok: true, status: "queued" });
  assert.equal(commands.dueAtMs, NOW_MS + 3_600_000);
  commands.nowMs += 50;
  assert.deepEqual(commands.link("x.1"), [
    "downlink call c1",
    'calls pump/p/c1 {"status":"sent","sentAt":50}',
  ]);
  assert.deepEqual(commands.link("x.1", false), [], "it has it");
  commands.nowMs += 10;
  const answer = { ok: true, output: { done: true } } as const;
  assert.deepEqual(commands.send({ type: "answered", callId: "c1", answer }), [
    'calls pump/p/c1 {"status":"answered","output":{"done":true},"sentAt":50,"answeredAt":60}',
    "publish call/c1 answered",
  ]);
  assert.equal(commands.state, null);
  assert.equal(commands.dueAtMs, undefined);
  assert.deepEqual(commands.send({ type: "answered", callId: "c1", answer }), [], "a repeat");
});

Deno.test("a call that the device refuses has failed, with the device's words", () => {
  const commands = new TestCommands();
  commands.call("c1");
  const answer = { ok: false, error: "jammed" } as const;
  assert.deepEqual(commands.send({ type: "answered", callId: "c1", answer }), [
    'calls pump/p/c1 {"status":"failed","error":"jammed","answeredAt":0}',
    "publish call/c1 failed",
  ]);
});

Deno.test("calls go out in order, each once to a connection, all again to the next", () => {
  const commands = new TestCommands();
  for (const id of ["b", "a", "c"]) commands.call(id);
  const sent = () => commands.effects.filter((effect) => effect.startsWith("downlink"));
  commands.link("x.1");
  assert.deepEqual(sent(), ["downlink call b", "downlink call a", "downlink call c"]);
  commands.call("d");
  commands.link("x.1", false);
  assert.deepEqual(sent(), ["downlink call d"]);
  commands.send({ type: "answered", callId: "a", answer: { ok: true, output: {} } });
  commands.link("x.2", false);
  assert.deepEqual(sent(), ["downlink call b", "downlink call c", "downlink call d"]);
  commands.link("x.2", true);
  assert.deepEqual(sent(), ["downlink call b", "downlink call c", "downlink call d"], "told again");
  assert.ok(!commands.effects.some((effect) => effect.startsWith("calls ")), "the rows stand");
});

Deno.test("an unanswered call is sent again after pauses that double, up to a bound", () => {
  const commands = new TestCommands();
  commands.call("c1", { expiresInMs: 3_600_000 });
  commands.link("x.1");
  const pauses: number[] = [];
  for (let i = 0; i < 8; i++) {
    const beforeMs = commands.nowMs;
    assert.deepEqual(commands.fire(), [ASK]);
    pauses.push(commands.nowMs - beforeMs);
    assert.deepEqual(commands.link("x.1", false), ["downlink call c1"]);
  }
  assert.deepEqual(
    pauses,
    [10, 20, 40, 80, 160, 300, 300, 300].map((seconds) => seconds * 1_000),
  );
});

Deno.test("without a connection nothing is repeated until there is one, but it expires", () => {
  const commands = new TestCommands();
  commands.call("c1", { expiresInMs: 60_000 });
  commands.link("x.1");
  assert.deepEqual(commands.fire(), [ASK]);
  assert.equal(commands.dueAtMs, NOW_MS + 60_000, "nothing but the end is due");
  assert.deepEqual(commands.link("x.2"), ["downlink call c1"]);
  commands.fire();
  assert.equal(commands.nowMs, NOW_MS + 30_000);
  assert.deepEqual(commands.fire(), [
    'calls pump/p/c1 {"status":"expired","sentAt":0}',
    "publish call/c1 expired",
  ]);
  assert.equal(commands.state, null);
  assert.deepEqual(commands.link("x.3"), []);
});

Deno.test("a call that comes to its actor late has expired", () => {
  const commands = new TestCommands();
  assert.deepEqual(commands.call("c1", { expiresInMs: 0 }), [
    'calls pump/p/c1 {"status":"expired"}',
    "publish call/c1 expired",
  ]);
  assert.deepEqual(commands.replies, [{ ok: true, status: "expired" }]);
  assert.deepEqual(commands.open(), []);
});

Deno.test("a cancelled call is withdrawn, one that has ended is not", () => {
  const commands = new TestCommands();
  commands.call("c1");
  assert.deepEqual(commands.send({ type: "cancel", callId: "c1" }), [
    'calls pump/p/c1 {"status":"cancelled"}',
    "publish call/c1 cancelled",
  ], "never sent");
  commands.call("c2");
  commands.link("x.1");
  assert.deepEqual(commands.send({ type: "cancel", callId: "c2" }), [
    'calls pump/p/c2 {"status":"cancelled","sentAt":0}',
    "publish call/c2 cancelled",
    "downlink callEnded c2",
  ]);
  assert.deepEqual(commands.replies.pop(), { isCancelled: true });
  assert.deepEqual(commands.send({ type: "cancel", callId: "c2" }), []);
  assert.deepEqual(commands.replies.pop(), { isCancelled: false });
});

Deno.test("the same id is the same call", () => {
  const commands = new TestCommands();
  commands.call("c1");
  assert.deepEqual(commands.call("c1"), []);
  commands.link("x.1");
  assert.deepEqual(commands.call("c1"), []);
  assert.deepEqual(commands.replies.slice(1), [
    { ok: true, status: "queued" },
    { ok: true, status: "sent" },
  ]);
  assert.deepEqual(commands.open(), ["c1"]);
});

Deno.test("who fetches gets what this connection has not had, and it counts as sent", () => {
  const commands = new TestCommands();
  const fetch = (session: string) => {
    const effects = commands.send({ type: "fetch", session });
    const { calls } = commands.replies.pop() as { calls: { callId: string }[] };
    return [calls.map(({ callId }) => callId), effects];
  };
  assert.deepEqual(fetch("h.1"), [[], []]);
  assert.deepEqual(commands.open(), []);
  commands.call("b");
  commands.call("a", { input: { delay: 3 } });
  assert.deepEqual(fetch("h.1"), [["b", "a"], [
    'calls pump/p/b {"status":"sent","sentAt":0}',
    'calls pump/p/a {"status":"sent","sentAt":0}',
  ]]);
  assert.deepEqual(fetch("h.1"), [[], []], "it has them");
  assert.deepEqual(fetch("h.2"), [["b", "a"], []], "another has not");
  assert.deepEqual(commands.fire(), [], "the pause was that of the first time");
  assert.deepEqual(commands.fire(), [ASK], "after the pause they are due again");
  assert.deepEqual(fetch("h.2"), [["b", "a"], []]);
  const { expiresAtMs, input } = commands.state!.calls[1]!;
  assert.deepEqual([expiresAtMs, input], [NOW_MS + 3_600_000, { delay: 3 }]);
  commands.nowMs = NOW_MS + 3_600_000;
  assert.deepEqual((fetch("h.3") as [string[]])[0], [], "they have expired");
});

Deno.test("an answer that is asked says whether its call was open, by the service it names", () => {
  const commands = new TestCommands();
  const answer = { ok: true, output: {} } as const;
  const answered = (callId: string, service: string) => {
    const effects = commands.send({ type: "answered", callId, answer, service });
    return [commands.replies.pop(), effects];
  };
  const heard = "send device/pump/p heard";
  assert.deepEqual(answered("c1", "restart"), [{ isOpen: false }, [heard]]);
  commands.call("c1");
  assert.deepEqual(answered("c1", "stop"), [{ isOpen: false }, [heard]]);
  assert.deepEqual(commands.open(), ["c1"]);
  assert.deepEqual(answered("c1", "restart"), [{ isOpen: true }, [
    heard,
    'calls pump/p/c1 {"status":"answered","output":{},"answeredAt":0}',
    "publish call/c1 answered",
  ]]);
  assert.deepEqual(answered("c1", "restart"), [{ isOpen: false }, [heard]]);
});

Deno.test("a removed device's calls end, and its rows go", () => {
  const commands = new TestCommands();
  commands.call("c1", { mode: "sync" });
  assert.deepEqual(commands.send({ type: "removed" }), [
    "publish call/c1 cancelled",
    "calls pump/p gone",
  ]);
  assert.equal(commands.state, null);
  assert.equal(commands.dueAtMs, undefined);
});

Deno.test("calls beyond the bounds are refused with the bound, and the state never passes its own", () => {
  const commands = new TestCommands();
  const { callsPerDeviceMax, callInputBytesMax } = LIMITS;
  const texts = { text: "x".repeat(callInputBytesMax) };
  commands.call("big", { input: texts });
  const refused = commands.replies.pop() as { code: string; message: string };
  assert.equal(refused.code, "too_large");
  assert.match(refused.message, /16395 B: callInputBytesMax is 16384/);
  for (let i = 0; i < callsPerDeviceMax; i++) {
    commands.call(`call-${i}-${"c".repeat(8)}`, { input: { text: "x".repeat(370) } });
  }
  assert.equal(commands.open().length, callsPerDeviceMax);
  commands.link(`${NOW_MS}.12.1234567`);
  commands.call("more");
  const full = commands.replies.pop() as { code: string; message: string };
  assert.equal(full.code, "calls_full");
  assert.match(full.message, /64 of the device are open, callsPerDeviceMax is 64/);
  assert.ok(JSON.stringify(commands.state).length <= LIMITS.stateBytesMax);
  const other = new TestCommands();
  other.call("a", { input: { text: "x".repeat(15_000) } });
  other.call("b", { input: { text: "x".repeat(15_000) } });
  assert.match((other.replies.pop() as { message: string }).message, /30022 B, callsBytesMax/);
  assert.deepEqual(other.open(), ["a"]);
});

Deno.test("whatever happens, a call ends once, and while one is open a reminder is set", () => {
  const seed = readSeed();
  const random = seededRandom(seed);
  for (let round = 0; round < 300; round++) {
    const commands = new TestCommands();
    const made = new Set<string>();
    const ended = new Map<string, number>();
    for (let step = 0; step < 60; step++) {
      for (const effect of stepOf(commands, made, random)) {
        const callId = /^publish call\/(\S+)/.exec(effect)?.[1];
        if (callId !== undefined) ended.set(callId, (ended.get(callId) ?? 0) + 1);
      }
      const what = `seed ${seed}, round ${round}, step ${step}`;
      const open = commands.open();
      assert.equal(open.length + ended.size, made.size, what);
      assert.ok([...ended.values()].every((count) => count === 1), what);
      assert.equal(open.length > 0, commands.dueAtMs !== undefined, what);
      if (commands.dueAtMs === undefined) continue;
      for (const { expiresAtMs, resendAtMs = Infinity } of commands.state!.calls) {
        assert.ok(commands.dueAtMs <= Math.min(expiresAtMs, resendAtMs), what);
      }
    }
  }
});

/** One of all that may happen. */
function stepOf(commands: TestCommands, made: Set<string>, random: Random): string[] {
  const dice = random.fraction();
  const anyId = `c${Math.floor(random.fraction() * 12)}`;
  commands.nowMs += Math.floor(random.fraction() * 8_000);
  if (commands.dueAtMs !== undefined && commands.dueAtMs <= commands.nowMs) return commands.fire();
  if (dice < 0.35) {
    const callId = `c${made.size}`;
    made.add(callId);
    return commands.call(callId, { expiresInMs: Math.floor(random.fraction() * 60_000) });
  }
  if (dice < 0.55) return commands.link(`x.${Math.floor(random.fraction() * 3)}`, dice < 0.45);
  if (dice < 0.75) {
    const answer = { ok: true, output: {} } as const;
    return commands.send({ type: "answered", callId: anyId, answer });
  }
  if (dice < 0.85) return commands.send({ type: "cancel", callId: anyId });
  return commands.dueAtMs === undefined ? [] : commands.fire();
}
