import assert from "node:assert/strict";
import {
  AWAY,
  AWAY_PARTITION,
  EngineHarness,
  HOME,
  HOME_PARTITION,
  jsonOf,
} from "../../test/support/engine_harness.ts";
import type { Behaviour, Context, Json, Message } from "./behaviour.ts";
import { decodeEnvelope } from "./state_codec.ts";

interface Count {
  readonly count: number;
  readonly times: readonly number[];
}
type Script = Message & { readonly do?: readonly Json[] };

/** Counts its messages with their times and does what a message tells it to. */
const counter: Behaviour<Count, Script> = {
  kind: "counter",
  placement: HOME,
  stateVersion: 1,
  initial: () => ({ count: 0, times: [] }),
  receive(state, message, context) {
    if (message.type === "look") return context.reply(state, state.count);
    act(context, message.do ?? []);
    return { count: state.count + 1, times: [...state.times, context.nowMs] };
  },
};

const far: Behaviour<Count, Script> = { ...counter, kind: "far", placement: AWAY };

// deno-lint-ignore no-explicit-any -- calls the context by name
function act(context: any, steps: readonly Json[]): void {
  for (const step of steps) {
    const [name, ...values] = step as [string, ...Json[]];
    context[name](...values);
  }
}

function add(id: string, ...steps: Json[]): { to: string; message: Script } {
  return { to: `counter/${id}`, message: { type: "add", do: steps } };
}

Deno.test("a batch writes each changed state once, with its last value", async () => {
  const harness = new EngineHarness([counter]);
  const commit = await harness.run([add("a"), add("b"), add("a"), add("a")]);
  assert.deepEqual(commit.states.map((write) => write.address), ["counter/a", "counter/b"]);
  assert.equal(harness.state("counter/a").count, 3);
  assert.equal(commit.processed, 4);
  assert.deepEqual([commit.fromCursor, commit.toCursor, commit.isPartial], [0, 4, false]);
  assert.deepEqual(harness.loads, [["counter/a", "counter/b"]]);
});

Deno.test("an actor that returns the same object is not written", async () => {
  const harness = new EngineHarness([counter]);
  await harness.run([add("a")]);
  const look = { to: "counter/a", message: { type: "look" } };
  const commit = await harness.run([look]);
  assert.deepEqual(commit.states, []);
  assert.equal(commit.processed, 1);
  assert.deepEqual(harness.loads.length, 1);
});

Deno.test("a reply goes to who asked, and is not inherited by sends", async () => {
  const harness = new EngineHarness([counter]);
  const look = { to: "counter/a", message: { type: "look" } };
  const commit = await harness.run([
    { ...look, replyTo: "gw:7" },
    look,
    { ...add("b", ["send", "counter/a", { type: "look" }]), replyTo: "gw:8" },
  ]);
  assert.deepEqual(commit.effects, [{ type: "reply", replyTo: "gw:7", value: 0 }]);
});

Deno.test("nowMs is the record's time and never falls within a partition", async () => {
  const harness = new EngineHarness([counter]);
  await harness.run([{ ...add("a"), atMs: 50 }, { ...add("a"), atMs: 40 }]);
  await harness.run([{ ...add("a"), atMs: 45 }]);
  assert.deepEqual(harness.state("counter/a").times, [50, 50, 50]);
});

Deno.test("a send within the partition is handled right after its record, in one commit", async () => {
  const order: string[] = [];
  const noting: Behaviour<Count, Script> = {
    ...counter,
    receive(state, message, context) {
      order.push(`${context.address} ${context.recordId} ${context.traceId}`);
      return counter.receive(state, message, context);
    },
  };
  const harness = new EngineHarness([noting]);
  const nested = { type: "add", do: [["send", "counter/d", { type: "add" }]] };
  const commit = await harness.run([
    add("a", ["send", "counter/b", nested], ["send", "counter/c", { type: "add" }]),
    { ...add("z"), traceId: "t-1" },
  ]);
  assert.deepEqual(order, [
    "counter/a 1-" + HOME_PARTITION + "-0 1-" + HOME_PARTITION + "-0",
    "counter/b 1-" + HOME_PARTITION + "-0.1 1-" + HOME_PARTITION + "-0",
    "counter/c 1-" + HOME_PARTITION + "-0.2 1-" + HOME_PARTITION + "-0",
    "counter/d 1-" + HOME_PARTITION + "-0.3 1-" + HOME_PARTITION + "-0",
    "counter/z 1-" + HOME_PARTITION + "-1 t-1",
  ]);
  assert.equal(commit.states.length, 5);
  assert.equal(commit.processed, 2);
  assert.deepEqual(commit.sends, []);
  // b and c are loaded together, d when it turns up.
  assert.deepEqual(harness.loads, [
    ["counter/a", "counter/z"],
    ["counter/b", "counter/c"],
    ["counter/d"],
  ]);
});

Deno.test("a send to another partition carries a share of the budget that is left", async () => {
  const harness = new EngineHarness([counter, far]);
  const commit = await harness.run([{
    ...add(
      "a",
      ["send", "far/x", { type: "add" }],
      ["send", "counter/b", { type: "add" }],
      ["send", "far/y", { type: "add" }],
    ),
    budget: 10,
  }]);
  // 10 less the record itself and counter/b: 8 for two sends.
  assert.deepEqual(commit.sends.map(({ to, budget }) => [to, budget]), [["far/x", 4], [
    "far/y",
    4,
  ]]);
  assert.deepEqual(jsonOf(commit.sends[0]!.body), { type: "add" });
  assert.equal(commit.sends[0]!.traceId, `1-${HOME_PARTITION}-0`);
});

Deno.test("what finds no budget is a dead letter of its own; the rest goes on", async () => {
  const harness = new EngineHarness([counter, far]);
  const sends = ["b", "c", "d"].map((id) => ["send", `counter/${id}`, { type: "add" }]);
  const commit = await harness.run([
    { ...add("a", ...sends, ["send", "far/x", { type: "add" }]), budget: 3 },
  ]);
  assert.deepEqual(
    commit.deadLetters.map(({ to, reason, isIngress }) => [to, reason, isIngress]).sort(),
    [["counter/d", "budget_spent", false], ["far/x", "budget_spent", false]],
  );
  assert.deepEqual(commit.states.map(({ address }) => address), [
    "counter/a",
    "counter/b",
    "counter/c",
  ]);
  assert.equal(commit.processed, 1);
});

Deno.test("two actors that answer each other end with the budget, not the process", async () => {
  const loop: Behaviour<number, Message> = {
    kind: "loop",
    placement: HOME,
    stateVersion: 1,
    initial: () => 0,
    receive(state, message, context) {
      context.send(context.address === "loop/a" ? "loop/b" : "loop/a", message);
      return state + 1;
    },
  };
  const harness = new EngineHarness([loop]);
  const commit = await harness.run([{ to: "loop/a", message: { type: "go" }, budget: 100 }]);
  assert.equal(harness.state("loop/a") + harness.state("loop/b"), 100);
  assert.deepEqual(commit.deadLetters.map(({ reason }) => reason), ["budget_spent"]);
});

Deno.test("records, views, activities and transient effects stand in the commit in order", async () => {
  const harness = new EngineHarness([counter]);
  const commit = await harness.run([add(
    "a",
    ["record", "event", { n: 1 }],
    ["project", "presence", "a", { online: true }],
    ["project", "presence", "b"],
    ["activity", "webhook", "", { url: "x" }],
    ["activity", "webhook", "second", null],
    ["downlink", { type: "blink" }],
    ["publish", "feed", 7],
  )]);
  const [event, online, deleted] = commit.records;
  assert.deepEqual([event!.class, event!.from], ["record", "counter/a"]);
  assert.deepEqual(jsonOf(event!.body), { type: "event", body: { n: 1 } });
  const { version, ...row } = jsonOf(online!.body);
  assert.deepEqual(row, { view: "presence", key: "a", row: { online: true }, at: 1_000 });
  assert.deepEqual(jsonOf(deleted!.body), {
    view: "presence",
    key: "b",
    version: version + 1,
    at: 1_000,
  });
  const recordId = `1-${HOME_PARTITION}-0`;
  assert.deepEqual(commit.activities, [
    { id: `${recordId}/0`, kind: "webhook", from: "counter/a", input: { url: "x" } },
    { id: `${recordId}/1:second`, kind: "webhook", from: "counter/a", input: null },
  ]);
  assert.deepEqual(commit.effects, [
    { type: "downlink", from: "counter/a", message: { type: "blink" } },
    { type: "publish", topic: "feed", value: 7 },
  ]);
});

Deno.test("an actor's version rises with each change, also without a new state", async () => {
  const still: Behaviour<null | object, Script> = {
    ...counter as Behaviour<never>,
    kind: "still",
    initial: () => ({}),
    receive(state, _message, context) {
      context.project("v", "k", 1);
      return state;
    },
  };
  const harness = new EngineHarness([still]);
  const touch = { to: "still/a", message: { type: "x" } };
  const first = await harness.run([touch, touch]);
  harness.restart();
  const second = await harness.run([touch]);
  const versions = [...first.records, ...second.records].map(({ body }) => jsonOf(body).version);
  assert.deepEqual(versions, [1_000, 1_001, 1_002]);
});

Deno.test("null deletes a state; the actor starts anew, its versions do not", async () => {
  const mortal: Behaviour<Count | null, Script> = {
    ...counter as Behaviour<never>,
    kind: "mortal",
    initial: () => ({ count: 0, times: [] }),
    receive(state, message, context) {
      if (message.type === "die") return null;
      return counter.receive(state!, message, context);
    },
  };
  const harness = new EngineHarness([mortal]);
  const live = { to: "mortal/a", message: { type: "add" } };
  await harness.run([live, live]);
  const before = decodeEnvelope(harness.states.get("mortal/a")!).version;
  const commit = await harness.run([{ to: "mortal/a", message: { type: "die" } }]);
  assert.deepEqual(commit.states, [{ address: "mortal/a" }]);
  harness.restart();
  await harness.run([{ ...live, atMs: 2_000 }]);
  assert.equal(harness.state("mortal/a").count, 1);
  assert.ok(decodeEnvelope(harness.states.get("mortal/a")!).version > before);
});

Deno.test("unknown kinds, foreign partitions and bodies that are no message are parked", async () => {
  const harness = new EngineHarness([counter, far]);
  const commit = await harness.run([
    { to: "ghost/a", message: { type: "x" } },
    { to: "far/a", message: { type: "x" } },
    { to: "counter/a", raw: "{not json" },
    { to: "counter/a", raw: "null" },
    { to: "counter/a", raw: '{"type":7}' },
    { to: "counter/a", raw: new Uint8Array([0x22, 0xff, 0x22]) },
    add("a"),
  ]);
  assert.deepEqual(commit.deadLetters.map(({ reason }) => reason), [
    "unknown_kind",
    "wrong_partition",
    "malformed",
    "malformed",
    "malformed",
    "malformed",
  ]);
  assert.ok(commit.deadLetters.every(({ isIngress }) => isIngress));
  assert.equal(commit.processed, 1);
  assert.equal(harness.state("counter/a").count, 1);
});

Deno.test("a body with characters beyond ASCII arrives as it was sent", async () => {
  const seen: Json[] = [];
  const reader: Behaviour<object, Message & { text: string }> = {
    ...counter as Behaviour<never>,
    kind: "reader",
    initial: () => ({}),
    receive(_state, message) {
      seen.push(message.text);
      return { text: message.text };
    },
  };
  const harness = new EngineHarness([reader]);
  await harness.run([{ to: "reader/a", message: { type: "x", text: "Grüße 漢字 🙂" } as Message }]);
  assert.deepEqual(seen, ["Grüße 漢字 🙂"]);
  assert.deepEqual(harness.state("reader/a"), { text: "Grüße 漢字 🙂" });
});

Deno.test("a send to a kind nobody knows parks that send only", async () => {
  const harness = new EngineHarness([counter]);
  const commit = await harness.run([add("a", ["send", "ghost/b", { type: "boo" }])]);
  const [letter] = commit.deadLetters;
  assert.deepEqual([letter!.to, letter!.reason, letter!.isIngress], [
    "ghost/b",
    "unknown_kind",
    false,
  ]);
  assert.deepEqual(jsonOf(letter!.body), { type: "boo" });
  assert.equal(commit.processed, 1);
});

Deno.test("a commit that was refused leaves no trace after forget", async () => {
  const harness = new EngineHarness([counter]);
  await harness.run([add("a")]);
  await harness.engine.handle([harness.batch([add("a"), add("a")])]); // Never committed.
  harness.engine.forget([HOME_PARTITION]);
  assert.deepEqual(harness.engine.figures(), { activations: 0, stateBytes: 0 });
  await harness.run([add("a")]);
  assert.equal(harness.state("counter/a").count, 2);
});

Deno.test("a failed load rejects the batch and forgets its partitions", async () => {
  const harness = new EngineHarness([counter]);
  await harness.run([add("a")]);
  harness.failNextLoad = true;
  const sending = add("a", ["send", "counter/b", { type: "add" }]);
  await assert.rejects(harness.engine.handle([harness.batch([sending])]), /store is down/);
  await harness.run([sending]);
  assert.equal(harness.state("counter/a").count, 2);
  assert.equal(harness.state("counter/b").count, 1);
});

Deno.test("one call loads the actors of all partitions of a batch", async () => {
  const harness = new EngineHarness([counter, far]);
  const commits = await harness.engine.handle([
    harness.batch([add("a")]),
    harness.batch([{ to: "far/a", message: { type: "add" } }], undefined, AWAY_PARTITION),
  ]);
  assert.deepEqual(commits.map(({ partition }) => partition), [HOME_PARTITION, AWAY_PARTITION]);
  assert.deepEqual(harness.loads, [["counter/a", "far/a"]]);
});

Deno.test("a context is of no use after its receive", async () => {
  let leaked: Context | undefined;
  const leaky: Behaviour<object, Message> = {
    ...counter as Behaviour<never>,
    kind: "leaky",
    initial: () => ({}),
    receive(state, _message, context) {
      leaked = context;
      return state;
    },
  };
  const harness = new EngineHarness([leaky]);
  await harness.run([{ to: "leaky/a", message: { type: "x" } }]);
  assert.throws(() => leaked!.send("leaky/b", { type: "x" }), /only while its receive runs/);
});

Deno.test("progress is told before the first record of a partition and every 16 records", async () => {
  const harness = new EngineHarness([counter]);
  await harness.run(Array.from({ length: 40 }, () => add("a")));
  assert.deepEqual(
    harness.progress,
    [0, 16, 32].map((roots) => ({ partition: HOME_PARTITION, roots })),
  );
});

Deno.test("records before the cursor are not handled again", async () => {
  const harness = new EngineHarness([counter]);
  const batch = harness.batch([add("a"), add("b"), add("c")]);
  const [commit] = await harness.engine.handle([{ ...batch, cursor: 2 }]);
  assert.deepEqual(commit!.states.map(({ address }) => address), ["counter/c"]);
});
