import assert from "node:assert/strict";
import { AWAY, EngineHarness, HOME } from "../../test/support/engine_harness.ts";
import { LIMITS } from "../limits.ts";
import type { Behaviour, Message } from "./behaviour.ts";

type Command = Message & {
  readonly records?: number;
  readonly size?: number;
  readonly publishes?: number;
  readonly fan?: number;
  readonly grow?: number;
};

const maker: Behaviour<string, Command> = {
  kind: "maker",
  placement: HOME,
  stateVersion: 1,
  initial: () => "",
  receive(state, message, context) {
    for (let i = 0; i < (message.records ?? 0); i++) {
      context.record("event", "x".repeat(message.size ?? 1));
    }
    for (let i = 0; i < (message.publishes ?? 0); i++) context.publish("t", i);
    for (let i = 0; i < (message.fan ?? 0); i++) context.send(`maker/f${i}`, { type: "x" });
    if (message.type === "endless") { for (;;) context.record("event", null); }
    if (message.type === "flood") { for (;;) context.send("maker/f", { type: "x" }); }
    return state + "x".repeat(message.grow ?? 1);
  },
};

function make(id: string, command: Omit<Command, "type"> = {}, type = "x") {
  return { to: `maker/${id}`, message: { type, ...command } as Command };
}

Deno.test("the batch ends before the record whose keys pass the bound, and goes on after it", async () => {
  const harness = new EngineHarness([maker], { limits: { commitKeysMax: 6 } });
  const records = [
    make("a", { records: 2 }),
    make("a", { records: 1 }),
    make("b", { records: 2 }), // Two keys too many: state and one record.
    make("c"),
  ];
  const [first, second] = await harness.runAll(records);
  assert.deepEqual([first!.toCursor, first!.isPartial, first!.processed], [2, true, 2]);
  assert.deepEqual([first!.states.length, first!.records.length], [1, 3]);
  assert.deepEqual([second!.toCursor, second!.isPartial, second!.processed], [4, false, 2]);
  assert.equal(harness.state("maker/a"), "xx");
  assert.equal(harness.state("maker/b"), "x");
});

Deno.test("a record that is cut off leaves nothing behind, nor does what it sent", async () => {
  const harness = new EngineHarness([maker], { limits: { commitKeysMax: 4 } });
  const commits = await harness.runAll([make("a"), make("f0"), make("b", { fan: 3 })]);
  assert.deepEqual(commits.map(({ processed }) => processed), [2, 1]);
  assert.deepEqual(commits.map(({ states }) => states.length), [2, 4]);
  assert.equal(harness.state("maker/f0"), "xx");
  assert.equal(harness.state("maker/f2"), "x");
  assert.deepEqual(commits.flatMap(({ deadLetters }) => deadLetters), []);
});

Deno.test("a record that passes the bound alone is parked, the rest goes on", async () => {
  for (const command of [{ records: 600 }, { records: 10, size: 40_000 }, { publishes: 5_000 }]) {
    const harness = new EngineHarness([maker]);
    const commits = await harness.runAll([make("a"), make("a", command), make("a")]);
    const letters = commits.flatMap(({ deadLetters }) => deadLetters);
    assert.deepEqual(letters.map(({ reason }) => reason), ["commit_too_large"]);
    assert.equal(harness.state("maker/a"), "xx");
    assert.equal(commits.reduce((sum, { processed }) => sum + processed, 0), 2);
  }
});

Deno.test("endless effects and endless sends of one record end by the bound", async () => {
  for (const type of ["endless", "flood"]) {
    const harness = new EngineHarness([maker], { freeze: false });
    const commits = await harness.runAll([make("a", {}, type), make("a")]);
    const letters = commits.flatMap(({ deadLetters }) => deadLetters);
    assert.deepEqual(letters.map(({ reason }) => reason), ["commit_too_large"], type);
    assert.equal(harness.state("maker/a"), "x");
  }
});

Deno.test("states that grow past the bytes of a commit are cut exactly by a second run", async () => {
  const limits = { commitBytesMax: 10_000 };
  const harness = new EngineHarness([maker], { limits });
  const ids = ["a", "b", "c", "d"];
  await harness.run(ids.map((id) => make(id, { grow: 10 })));
  const commits = await harness.runAll(ids.map((id) => make(id, { grow: 4_000 })));
  assert.deepEqual(commits.map(({ states }) => states.length), [2, 2]);
  for (const { states } of commits) {
    const bytes = states.reduce((sum, { state }) => sum + state!.length, 0);
    assert.ok(bytes <= limits.commitBytesMax, `${bytes} B`);
  }
  assert.deepEqual(ids.map((id) => harness.state(`maker/${id}`).length), Array(4).fill(4_010));
});

Deno.test("the root record's own bound on messages ends the batch, not the process", async () => {
  const harness = new EngineHarness([maker], { limits: { batchMessagesMax: 5 } });
  const commits = await harness.runAll([
    make("a", { fan: 3 }),
    make("a", { fan: 3 }),
    make("a"),
  ]);
  assert.deepEqual(commits.map(({ toCursor }) => toCursor), [2, 3]);
});

Deno.test("actors are passivated by count, the unused first, and come back with their state", async () => {
  const harness = new EngineHarness([maker], { limits: { activationsMax: 3 } });
  for (const id of ["a", "b", "c", "d", "e", "f"]) await harness.run([make(id), make("hot")]);
  await harness.run([]);
  assert.equal(harness.engine.figures().activations, 3);
  assert.equal(harness.loads.flat().filter((address) => address === "maker/hot").length, 1);
  await harness.run([make("a")]);
  assert.equal(harness.state("maker/a"), "xx");
});

Deno.test("actors are passivated by bytes of state", async () => {
  const harness = new EngineHarness([maker], { limits: { activationBytesMax: 2_500 } });
  for (const id of ["a", "b", "c", "d"]) await harness.run([make(id, { grow: 1_000 })]);
  await harness.run([]);
  const figures = harness.engine.figures();
  assert.equal(figures.activations, 2);
  assert.ok(figures.stateBytes > 2_000 && figures.stateBytes <= 2_500);
});

Deno.test("actors are passivated after their idle time, not before", async () => {
  const harness = new EngineHarness([maker], { limits: { activationIdleMs: 60_000 } });
  await harness.run([make("a"), make("b")]);
  harness.monotonicMs = 59_000;
  await harness.run([make("b")]);
  assert.equal(harness.engine.figures().activations, 2);
  harness.monotonicMs = 61_000;
  assert.equal(harness.engine.sweep(), 1);
  harness.monotonicMs = 200_000;
  assert.equal(harness.engine.sweep(), 1);
  assert.deepEqual(harness.engine.figures(), { activations: 0, stateBytes: 0 });
});

Deno.test("an actor with a new state of another kind counts its sends' bytes too", async () => {
  const sink: Behaviour<string, Command> = { ...maker, kind: "sink", placement: AWAY };
  const sender: Behaviour<string, Command> = {
    ...maker,
    kind: "sender",
    receive(state, message, context) {
      for (let i = 0; i < 3; i++) context.send("sink/a", { type: "x".repeat(message.size!) });
      return state + "x";
    },
  };
  const harness = new EngineHarness([sink, sender], { limits: { commitBytesMax: 10_000 } });
  const send = { to: "sender/a", message: { type: "x", size: 2_000 } as Command };
  const commits = await harness.runAll([send, send]);
  assert.deepEqual(commits.map(({ sends }) => sends.length), [3, 3]);
});

Deno.test("a batch is handled in slices, also what one record causes in its partition", async () => {
  let slices = 0;
  const harness = new EngineHarness([maker], {
    freeze: false,
    guard(work) {
      slices++;
      return work();
    },
    limits: { commitKeysMax: 10_000, commitBytesMax: 4_000_000 },
  });
  await harness.run([make("a", { fan: 3 * LIMITS.engineSliceMessages })]);
  assert(slices > 3, `one record with many messages in ${slices} slices`);
  slices = 0;
  await harness.run(Array.from({ length: 3 * LIMITS.engineSliceMessages }, () => make("a")));
  assert(slices > 3, `many records in ${slices} slices`);
});
