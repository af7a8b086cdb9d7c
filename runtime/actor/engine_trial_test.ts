/** Parts of a batch, and its first root parked: what the search for a killer asks of an engine. */
import assert from "node:assert/strict";
import { EngineHarness, HOME, HOME_PARTITION, jsonOf } from "../../test/support/engine_harness.ts";
import type { PartitionBatch, PartitionCommit } from "./batch.ts";
import type { Behaviour, Message } from "./behaviour.ts";
import { decodeEnvelope } from "./state_codec.ts";

type Command = Message & { readonly remindAtMs?: number; readonly n?: number };

const clock: Behaviour<readonly number[], Command> = {
  kind: "clock",
  placement: HOME,
  stateVersion: 1,
  initial: () => [],
  receive(state, message, context) {
    const { remindAtMs, n = 0 } = message;
    if (remindAtMs !== undefined) {
      context.remind(`r${n}`, remindAtMs, { type: "rang", n } as Message);
    }
    return [...state, n];
  },
};

const A = "clock/a";

function record(n: number, remindAtMs?: number) {
  const message = remindAtMs === undefined ? { type: "x", n } : { type: "x", n, remindAtMs };
  return { to: A, message };
}

async function handle(
  harness: EngineHarness,
  batch: PartitionBatch,
  change: Partial<PartitionBatch>,
): Promise<PartitionCommit> {
  const [commit] = await harness.engine.handle([{ ...batch, ...change }]);
  harness.commit(commit!);
  return commit!;
}

Deno.test("a batch ends after so many roots, fired reminders included", async () => {
  const harness = new EngineHarness([clock]);
  const records = [record(1, 1_000), record(2), record(3)];
  const batch = harness.batch(records, 2_000);
  const first = await handle(harness, batch, { rootsMax: 2 });
  // The reminder that the first record set is due before the second one.
  assert.deepEqual([first.toCursor, first.isPartial, harness.state(A)], [1, true, [1, 1]]);
  const rest = harness.batch(records.slice(1), 2_000);
  const second = await handle(harness, rest, { rootsMax: 2 });
  assert.deepEqual([second.toCursor, second.isPartial], [3, false]);
  assert.deepEqual(harness.state(A), [1, 1, 2, 3]);
});

Deno.test("a record that kills is parked unseen, and what follows it waits", async () => {
  const harness = new EngineHarness([clock]);
  await harness.run([record(1)]);
  const batch = harness.batch([record(2), record(3)]);
  const commit = await handle(harness, batch, { rootsMax: 1, isFirstParked: true });
  assert.deepEqual([commit.toCursor, commit.isPartial, commit.processed], [2, true, 0]);
  const [letter, ...others] = commit.deadLetters;
  assert.deepEqual(others, []);
  assert.deepEqual(
    [letter!.to, letter!.reason, letter!.recordId, letter!.isIngress, jsonOf(letter!.body).n],
    [A, "killed_engine", `1-${HOME_PARTITION}-1`, true, 2],
  );
  assert.deepEqual(harness.state(A), [1]);
});

Deno.test("a reminder that kills is parked and set no more, the record behind it waits", async () => {
  const harness = new EngineHarness([clock]);
  await harness.run([record(1, 1_500)]);
  const batch = harness.batch([{ ...record(2), atMs: 2_000 }]);
  const commit = await handle(harness, batch, { rootsMax: 1, isFirstParked: true });
  assert.deepEqual([commit.toCursor, commit.isPartial], [1, true]);
  assert.deepEqual(commit.deadLetters.map(({ recordId, isIngress }) => [recordId, isIngress]), [
    [`${A}#r1@1500`, false],
  ]);
  assert.equal(harness.reminders.size, 0);
  assert.deepEqual(decodeEnvelope(harness.states.get(A)!).traits.reminders, []);
  assert.deepEqual(harness.state(A), [1]);
});

Deno.test("an actor whose records kill again and again is suspended", async () => {
  const harness = new EngineHarness([clock], { limits: { parksMax: 2 } });
  for (let n = 0; n < 2; n++) {
    const batch = harness.batch([record(n)]);
    await handle(harness, batch, { rootsMax: 1, isFirstParked: true });
    harness.restart(); // It has killed its engine before.
  }
  assert.deepEqual(harness.events.map(({ type }) => type), ["parked", "parked", "suspended"]);
  const commit = await harness.run([record(3)]);
  assert.deepEqual(commit.deadLetters.map(({ reason }) => reason), ["suspended"]);
});
