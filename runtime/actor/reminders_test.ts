import assert from "node:assert/strict";
import { EngineHarness, HOME, HOME_PARTITION } from "../../test/support/engine_harness.ts";
import type { Behaviour, Json, Message } from "./behaviour.ts";
import { LIMITS } from "../limits.ts";
import { ReminderMerge } from "./reminders.ts";
import { seededRandom } from "../random.ts";

type Command = Message & { readonly do?: readonly Json[]; readonly every?: number };

/** Notes what it got and when; sets and cancels what a message says. */
const clerk: Behaviour<readonly string[], Command> = {
  kind: "clerk",
  placement: HOME,
  stateVersion: 1,
  initial: () => [],
  receive(state, message, context) {
    // deno-lint-ignore no-explicit-any -- calls the context by name
    const calls = context as any;
    for (const [name, ...values] of (message.do ?? []) as [string, ...Json[]][]) {
      calls[name](...values);
    }
    if (message.every !== undefined) {
      context.remind("tick", context.nowMs + message.every, message);
    }
    if (message.type === "throw") throw new Error("no");
    return [...state, `${message.type}@${context.nowMs}`];
  },
};

const A = "clerk/a";
function say(type: string, atMs: number, ...steps: Json[]) {
  return { to: A, atMs, message: { type, do: steps } as Command };
}

Deno.test("a reminder fires before the first record at or after its due time", async () => {
  const harness = new EngineHarness([clerk]);
  await harness.run([say("set", 100, ["remind", "r", 200, { type: "due" }])]);
  assert.deepEqual([...harness.reminders.keys()], [`${A} r`]);
  const commit = await harness.run([say("x", 199), say("y", 200), say("z", 201)]);
  assert.deepEqual(harness.state(A), ["set@100", "x@199", "due@200", "y@200", "z@201"]);
  assert.deepEqual(commit.reminders, [{ to: A, name: "r" }]);
  assert.equal(commit.processed, 3);
  assert.equal(harness.reminders.size, 0);
});

Deno.test("at the end of the log the clock fires reminders; before it, it does not", async () => {
  const harness = new EngineHarness([clerk]);
  await harness.run([say("set", 100, ["remind", "r", 200, { type: "due" }])]);
  await harness.run([say("x", 150)]);
  await harness.run([], 199);
  assert.deepEqual(harness.state(A), ["set@100", "x@150"]);
  await harness.run([], 500);
  assert.deepEqual(harness.state(A), ["set@100", "x@150", "due@200"]);
});

Deno.test("a backlog cancels a reminder that the clock has passed", async () => {
  const harness = new EngineHarness([clerk]);
  await harness.run([say("set", 100, ["remind", "r", 200, { type: "due" }])]);
  const commit = await harness.run([say("stop", 180, ["cancelReminder", "r"]), say("x", 300)], 900);
  assert.deepEqual(harness.state(A), ["set@100", "stop@180", "x@300"]);
  assert.deepEqual(commit.reminders, [{ to: A, name: "r" }]);
});

Deno.test("a reminder set and due within a batch fires in the batch, in its place", async () => {
  const harness = new EngineHarness([clerk]);
  const commit = await harness.run([
    say("set", 100, ["remind", "b", 150, { type: "b" }], ["remind", "a", 120, { type: "a" }]),
    say("x", 130),
    say("y", 160),
  ]);
  assert.deepEqual(harness.state(A), ["set@100", "a@120", "x@130", "b@150", "y@160"]);
  assert.deepEqual(commit.reminders.map(({ name, reminder }) => [name, reminder]), [
    ["a", undefined],
    ["b", undefined],
  ]);
});

Deno.test("a reminder due in the past fires next, with a time that does not fall", async () => {
  const harness = new EngineHarness([clerk]);
  await harness.run([say("set", 100, ["remind", "r", 5, { type: "late" }]), say("x", 130)]);
  assert.deepEqual(harness.state(A), ["set@100", "late@100", "x@130"]);
  harness.reminders.set("old", {
    to: A,
    name: "old",
    dueAtMs: 50,
    budget: 1,
    body: new TextEncoder().encode('{"type":"old"}'),
  });
  await harness.run([], 140);
  assert.deepEqual(harness.state(A).at(-1), "old@130");
});

Deno.test("setting a name again replaces it; stored or set, the last word counts", async () => {
  const harness = new EngineHarness([clerk]);
  await harness.run([say("set", 100, ["remind", "r", 200, { type: "first" }])]);
  const commit = await harness.run([
    say("again", 150, ["remind", "r", 400, { type: "second" }]),
    say("x", 300),
  ]);
  assert.deepEqual(harness.state(A), ["set@100", "again@150", "x@300"]);
  assert.equal(commit.reminders[0]!.reminder!.dueAtMs, 400);
  await harness.run([], 400);
  assert.deepEqual(harness.state(A).at(-1), "second@400");
});

Deno.test("a reminder that sets itself again fires on time, and the batch ends in time", async () => {
  const harness = new EngineHarness([clerk], { limits: { batchRecordsMax: 10 } });
  await harness.run([{ to: A, atMs: 0, message: { type: "t", every: 1_000 } as Command }]);
  const commit = await harness.run([], 3_500);
  assert.deepEqual(harness.state(A), ["t@0", "t@1000", "t@2000", "t@3000"]);
  assert.equal(commit.reminders[0]!.reminder!.dueAtMs, 4_000);
  assert.equal(commit.isPartial, false);
  const long = await harness.run([], 100_000);
  assert.deepEqual([long.isPartial, long.toCursor], [true, long.fromCursor]);
  assert.equal(harness.state(A).length, 14);
});

Deno.test("a loop of reminders faster than a second is spent with its root's budget", async () => {
  const harness = new EngineHarness([clerk]);
  const start = { to: A, atMs: 0, message: { type: "t", every: 1 } as Command, budget: 5 };
  const commit = await harness.run([start], 100);
  assert.deepEqual(harness.state(A).length, 5);
  assert.deepEqual(commit.deadLetters.map(({ reason, detail }) => [reason, detail]), [
    ["budget_spent", "reminder tick"],
  ]);
  assert.equal(harness.reminders.size, 0);
});

Deno.test("a slow reminder starts a new budget", async () => {
  const harness = new EngineHarness([clerk]);
  const commit = await harness.run([
    { ...say("set", 0, ["remind", "r", LIMITS.reminderRootMs, { type: "x" }]), budget: 7 },
    { ...say("set", 0, ["remind", "s", LIMITS.reminderRootMs - 1, { type: "x" }]), budget: 7 },
  ]);
  assert.deepEqual(commit.reminders.map(({ reminder }) => reminder!.budget), [10_000, 6]);
});

Deno.test("a reminder whose message throws is parked and removed", async () => {
  const harness = new EngineHarness([clerk]);
  await harness.run([say("set", 100, ["remind", "r", 200, { type: "throw" }])]);
  const commit = await harness.run([say("x", 300)]);
  const [letter] = commit.deadLetters;
  assert.deepEqual([letter!.recordId, letter!.isIngress, letter!.reason, letter!.acceptedAtMs], [
    `${A}#r@200`,
    false,
    "threw",
    200,
  ]);
  assert.equal(harness.reminders.size, 0);
  assert.equal(commit.processed, 1);
});

Deno.test("an actor has at most remindersPerActorMax reminders, also over a restart", async () => {
  const harness = new EngineHarness([clerk], { limits: { remindersPerActorMax: 2 } });
  const set = (name: string) => say("set", 100, ["remind", name, 5_000, { type: "due" }]);
  await harness.run([set("a"), set("b"), set("a")]);
  harness.restart();
  const commit = await harness.run([set("c"), say("x", 100, ["cancelReminder", "a"]), set("d")]);
  assert.match(commit.deadLetters[0]!.detail, /remindersPerActorMax is 2/);
  assert.deepEqual([...harness.reminders.keys()].sort(), [`${A} b`, `${A} d`]);
  await harness.run([set("e"), say("y", 6_000), set("e")]);
  assert.deepEqual([...harness.reminders.keys()], [`${A} e`]);
});

Deno.test("names that cannot stand in an identity and times that are none are faults", async () => {
  const harness = new EngineHarness([clerk]);
  const commit = await harness.run([
    say("set", 1, ["remind", "with space", 5, { type: "x" }]),
    say("set", 1, ["remind", "n".repeat(65), 5, { type: "x" }]),
    say("set", 1, ["remind", "r", null, { type: "x" }]),
  ]);
  assert.equal(commit.deadLetters.length, 3);
});

Deno.test("two fires of one name and due time start different activities", async () => {
  const harness = new EngineHarness([clerk]);
  const due = { type: "due", do: [["activity", "k", "", null]] };
  const commit = await harness.run([
    say("set", 100, ["remind", "r", 100, due]),
    say("set", 100, ["remind", "r", 100, due]),
    say("x", 100),
  ]);
  assert.equal(new Set(commit.activities.map(({ id }) => id)).size, 2);
  assert.ok(commit.activities.every(({ id }) => id.startsWith(`${A}#r@100~`)));
});

Deno.test("a reminder of a kind nobody knows is parked, not kept for ever", async () => {
  const harness = new EngineHarness([clerk]);
  const body = new TextEncoder().encode('{"type":"x"}');
  harness.reminders.set("ghost/a r", { to: "ghost/a", name: "r", dueAtMs: 5, budget: 1, body });
  const commit = await harness.run([], 10);
  assert.deepEqual(commit.deadLetters.map(({ reason }) => reason), ["unknown_kind"]);
  assert.deepEqual(commit.reminders, [{ to: "ghost/a", name: "r" }]);
  assert.equal(commit.partition, HOME_PARTITION);
});

Deno.test("the merge gives what sorting by time would give", () => {
  const seed = 7;
  const random = seededRandom(seed);
  const body = new Uint8Array();
  for (let round = 0; round < 50; round++) {
    const merge = new ReminderMerge([]);
    const model = new Map<string, number>();
    const order: string[] = [];
    for (let step = 0; step < 60; step++) {
      const name = `n${Math.floor(random.fraction() * 8)}`;
      const dueAtMs = Math.floor(random.fraction() * 100);
      const choice = random.fraction();
      if (choice < 0.6) {
        merge.apply({ to: A, name, reminder: { to: A, name, dueAtMs, budget: 1, body } });
        model.delete(name); // Set again: behind others of the same time.
        model.set(name, dueAtMs);
      } else if (choice < 0.8) {
        merge.apply({ to: A, name });
        model.delete(name);
      } else {
        const due = merge.due(dueAtMs);
        const expected = [...model].sort((a, b) => a[1] - b[1])[0];
        const isDue = expected !== undefined && expected[1] <= dueAtMs;
        assert.equal(due?.name, isDue ? expected[0] : undefined, `seed ${seed}, round ${round}`);
        assert.equal(merge.nextDueMs, expected?.[1] ?? Infinity);
        if (due === undefined) continue;
        merge.fired(due);
        model.delete(due.name);
        order.push(due.name);
      }
    }
    assert.ok(order.length > 0);
  }
});
