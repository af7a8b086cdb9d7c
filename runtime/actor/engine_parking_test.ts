import assert from "node:assert/strict";
import {
  AWAY,
  EngineHarness,
  HOME,
  HOME_PARTITION,
  jsonOf,
} from "../../test/support/engine_harness.ts";
import type { Behaviour, Message } from "./behaviour.ts";
import { encodeEnvelope, NO_TRAITS } from "./state_codec.ts";

type Command = Message & {
  readonly size?: number;
  readonly failures?: number;
  readonly sends?: number;
  readonly to?: string;
};

interface Kept {
  readonly count: number;
  readonly filler?: string;
}

/** Throws, grows and sends on demand. `attempts` counts calls, also of those that throw. */
function createFragile(): { behaviour: Behaviour<Kept, Command>; attempts: () => number } {
  let attempts = 0;
  let failed = 0;
  const behaviour: Behaviour<Kept, Command> = {
    kind: "fragile",
    placement: HOME,
    stateVersion: 3,
    initial: () => ({ count: 0 }),
    upgrade(state, fromVersion) {
      if (fromVersion === 1) throw new Error("version 1 is too old");
      return { count: (state as { n: number }).n };
    },
    receive(state, message, context) {
      attempts++;
      if (message.to !== undefined) context.send(message.to, { type: "throw" });
      for (let i = 0; i < (message.sends ?? 0); i++) context.record("event", { i });
      if (message.type === "throw" || failed < (message.failures ?? 0)) {
        failed++;
        throw new Error(`attempt ${attempts} failed`);
      }
      if (message.type === "mutate") (state as { count: number }).count = 99;
      if (message.type === "nothing") return undefined as unknown as Kept;
      if (message.type === "cycle") {
        const cycle: Record<string, unknown> = {};
        return (cycle.self = cycle) as unknown as Kept;
      }
      const filler = message.size === undefined ? undefined : { filler: "x".repeat(message.size) };
      return { ...state, count: state.count + 1, ...filler };
    },
  };
  return { behaviour, attempts: () => attempts };
}

const A = "fragile/a";
const ok = { to: A, message: { type: "ok" } };
const bad = { to: A, message: { type: "throw" } };

Deno.test("a record that throws once is handled by the second try, its effects once", async () => {
  const fragile = createFragile();
  const harness = new EngineHarness([fragile.behaviour]);
  const commit = await harness.run([
    ok,
    { to: A, message: { type: "ok", failures: 1, sends: 2 } as Command },
  ]);
  assert.equal(fragile.attempts(), 3);
  assert.equal(harness.state(A).count, 2);
  assert.equal(commit.records.length, 2);
  assert.deepEqual(commit.deadLetters, []);
  assert.equal(commit.processed, 2);
});

Deno.test("a record that throws twice is parked with its error, its effects are dropped", async () => {
  const fragile = createFragile();
  const harness = new EngineHarness([fragile.behaviour]);
  const commit = await harness.run([
    ok,
    { to: A, message: { type: "throw", sends: 2, to: "fragile/b" } as Command },
    ok,
  ]);
  assert.equal(fragile.attempts(), 4);
  assert.equal(harness.state(A).count, 2);
  assert.deepEqual([commit.records, commit.sends, commit.processed], [[], [], 2]);
  const [letter, ...others] = commit.deadLetters;
  assert.deepEqual(others, []);
  assert.equal(letter!.recordId, `1-${HOME_PARTITION}-1`);
  assert.deepEqual([letter!.reason, letter!.isIngress, letter!.acceptedAtMs], [
    "threw",
    true,
    1_000,
  ]);
  assert.match(letter!.detail, /^attempt 3 failed\nError: attempt 3 failed\n {4}at /);
  assert.equal(jsonOf(letter!.body).sends, 2);
  assert.deepEqual(harness.events.map(({ type }) => type), ["parked"]);
});

Deno.test("if the target of a send within the partition throws, only that send is parked", async () => {
  const fragile = createFragile();
  const harness = new EngineHarness([fragile.behaviour]);
  const message = { type: "ok", to: "fragile/b", sends: 1 } as Command;
  const commit = await harness.run([{ to: A, message }]);
  assert.equal(harness.state(A).count, 1);
  assert.equal(commit.records.length, 1);
  assert.equal(commit.processed, 1);
  const [letter] = commit.deadLetters;
  assert.deepEqual(
    [letter!.to, letter!.reason, letter!.isIngress, letter!.recordId, jsonOf(letter!.body)],
    ["fragile/b", "threw", false, `1-${HOME_PARTITION}-0.1`, { type: "throw" }],
  );
});

Deno.test("returning undefined, a cycle or a changed input is a fault of the record", async () => {
  const harness = new EngineHarness([createFragile().behaviour]);
  const types = ["nothing", "cycle", "mutate"];
  const commit = await harness.run([
    ok,
    ...types.map((type) => ({ to: A, message: { type } })),
    ok,
  ]);
  assert.deepEqual(commit.deadLetters.map(({ reason }) => reason), ["threw", "threw", "threw"]);
  assert.equal(harness.state(A).count, 2);
});

Deno.test("a cycle in a state that was stored before is found by the careful run", async () => {
  const harness = new EngineHarness([createFragile().behaviour]);
  await harness.run([ok]);
  const commit = await harness.run([ok, { to: A, message: { type: "cycle" } }, ok]);
  assert.deepEqual(commit.deadLetters.map(({ recordId }) => recordId), [`1-${HOME_PARTITION}-2`]);
  assert.deepEqual([harness.state(A).count, commit.processed], [3, 2]);
});

Deno.test("a state beyond stateBytesMax is refused, the one before it stays", async () => {
  const harness = new EngineHarness([createFragile().behaviour]);
  await harness.run([ok]);
  const commit = await harness.run([
    ok,
    { to: A, message: { type: "ok", size: 65_536 } as Command },
    ok,
  ]);
  assert.deepEqual(commit.deadLetters.map(({ reason, recordId }) => [reason, recordId]), [
    ["state_full", `1-${HOME_PARTITION}-2`],
  ]);
  assert.match(commit.deadLetters[0]!.detail, /stateBytesMax is 65536/);
  assert.deepEqual([harness.state(A), commit.processed], [{ count: 3 }, 2]);
});

Deno.test("parks within the window suspend the actor, also over a restart", async () => {
  const fragile = createFragile();
  const harness = new EngineHarness([fragile.behaviour]);
  await harness.run([ok, bad, bad, bad, bad]);
  harness.restart();
  const before = fragile.attempts();
  const commit = await harness.run([bad, ok, ok]);
  assert.deepEqual(commit.deadLetters.map(({ reason }) => reason), [
    "threw",
    "suspended",
    "suspended",
  ]);
  assert.equal(fragile.attempts(), before + 2);
  assert.equal(commit.processed, 0);
  assert.deepEqual(harness.events.at(-1), {
    type: "suspended",
    partition: HOME_PARTITION,
    address: A,
    deadLetters: 2,
    isFull: false,
    isNew: true,
  });
});

Deno.test("parks that are further apart than the window do not suspend", async () => {
  const harness = new EngineHarness([createFragile().behaviour]);
  const times = [1, 2, 3, 4, 60_001 + 1];
  const commit = await harness.run([
    ...times.map((atMs) => ({ ...bad, atMs })),
    { ...ok, atMs: 60_003 },
  ]);
  assert.deepEqual(commit.deadLetters.map(({ reason }) => reason), Array(5).fill("threw"));
  assert.equal(commit.processed, 1);
});

Deno.test("a replayed dead letter resumes a suspended actor and keeps its first id", async () => {
  const harness = new EngineHarness([createFragile().behaviour]);
  await harness.run([ok, bad, bad, bad, bad, bad, ok]);
  const replay = { ...ok, firstId: "1-9-6", class: "replay" as const };
  const commit = await harness.run([replay, ok, { ...bad, firstId: "1-9-7" }]);
  assert.equal(harness.state(A).count, 3);
  assert.equal(commit.processed, 2);
  assert.deepEqual(commit.deadLetters.map(({ recordId, reason }) => [recordId, reason]), [
    ["1-9-7", "threw"],
  ]);
  assert.deepEqual(harness.events.at(-1), {
    type: "resumed",
    partition: HOME_PARTITION,
    address: A,
  });
});

Deno.test("what renews a suspended actor is handed over, and its parks are forgotten", async () => {
  const { behaviour } = createFragile();
  const harness = new EngineHarness([{ ...behaviour, renewedBy: "renew" }]);
  await harness.run([ok, bad, bad, bad, bad, bad, ok]);
  harness.restart();
  const renew = { to: A, message: { type: "renew" } };
  const commit = await harness.run([renew, bad, bad, bad, bad, renew, bad, ok]);
  assert.deepEqual(commit.deadLetters.map(({ reason }) => reason), Array(5).fill("threw"));
  assert.deepEqual([harness.state(A).count, commit.processed], [4, 3]);
  assert.equal(harness.events.at(-1)!.type, "resumed");
});

Deno.test("dead letters of a suspended actor are counted up to the bound and beyond", async () => {
  const harness = new EngineHarness([createFragile().behaviour], {
    limits: { parksMax: 1, deadLettersPerActorMax: 3 },
  });
  await harness.run([bad, ok, ok]);
  assert.deepEqual(harness.events.at(-1), {
    type: "suspended",
    partition: HOME_PARTITION,
    address: A,
    deadLetters: 2,
    isFull: false,
    isNew: true,
  });
  harness.restart();
  await harness.run([ok, ok]);
  const last = harness.events.at(-1)!;
  assert.ok(last.type === "suspended" && last.isFull && last.deadLetters === 4);
  assert.equal(last.isNew, false);
});

Deno.test("an older state is upgraded, one version ahead is read, further ahead is parked", async () => {
  const harness = new EngineHarness([createFragile().behaviour]);
  const store = (id: string, version: number, json: string) =>
    harness.states.set(`fragile/${id}`, encodeEnvelope(version, 7, NO_TRAITS, json).bytes);
  store("old", 2, '{"n":41}');
  store("same", 3, '{"count":41}');
  store("next", 4, '{"count":41}');
  store("newer", 5, '{"count":41}');
  const newer = harness.states.get("fragile/newer");
  const ids = ["old", "same", "next", "newer"];
  const commit = await harness.run(ids.map((id) => ({ ...ok, to: `fragile/${id}` })));
  assert.deepEqual(
    ["old", "same", "next"].map((id) => harness.state(`fragile/${id}`)),
    [{ count: 42 }, { count: 42 }, { count: 42 }],
  );
  assert.deepEqual(commit.deadLetters.map(({ to, reason }) => [to, reason]), [
    ["fragile/newer", "newer_state"],
  ]);
  assert.equal(harness.states.get("fragile/newer"), newer);
});

Deno.test("states that cannot be read park their records and stay as they are", async () => {
  const harness = new EngineHarness([createFragile().behaviour]);
  const old = encodeEnvelope(1, 7, NO_TRAITS, '{"n":1}').bytes;
  harness.states.set("fragile/old", old);
  harness.states.set("fragile/cut", new Uint8Array([1, 2, 3]));
  harness.states.set("fragile/text", encodeEnvelope(3, 7, NO_TRAITS, "{").bytes);
  harness.states.set("fragile/format", new Uint8Array([9, ...old.subarray(1)]));
  const ids = ["old", "cut", "text", "format"];
  const commit = await harness.run(ids.map((id) => ({ ...ok, to: `fragile/${id}` })));
  assert.deepEqual(commit.deadLetters.map(({ reason }) => reason), [
    "threw",
    "corrupt_state",
    "corrupt_state",
    "newer_state",
  ]);
  // The failed upgrade is remembered as a park; the state itself is kept.
  assert.deepEqual(commit.states.map(({ address }) => address), ["fragile/old"]);
  assert.deepEqual(harness.state("fragile/old"), { n: 1 });
});

Deno.test("an actor whose initial state throws parks its records", async () => {
  const { behaviour } = createFragile();
  const broken: Behaviour<Kept, Command> = {
    ...behaviour,
    initial: () => {
      throw new Error("no initial state");
    },
  };
  const harness = new EngineHarness([broken]);
  const commit = await harness.run([ok]);
  assert.equal(commit.deadLetters[0]!.reason, "threw");
  harness.restart([behaviour]);
  await harness.run([ok]);
  assert.deepEqual(harness.state(A), { count: 1 });
});

Deno.test("sends to what is no address and bodies beyond the bound are faults", async () => {
  const wild: Behaviour<object, Command> = {
    kind: "wild",
    placement: AWAY,
    stateVersion: 1,
    initial: () => ({}),
    receive: (state) => state,
  };
  const sender: Behaviour<object, Command> = {
    ...wild,
    kind: "sender",
    placement: HOME,
    receive(_state, message, context) {
      context.send(message.to!, { type: "x".repeat(message.size ?? 1) });
      return {};
    },
  };
  const harness = new EngineHarness([wild, sender]);
  const send = (to: string, size = 1) => ({
    to: "sender/a",
    message: { type: "x", to, size } as Command,
  });
  const commit = await harness.run([
    send("wild/ok"),
    send("no address"),
    send("wild/" + "x".repeat(300)),
    send("wild/big", 65_536),
  ]);
  assert.deepEqual(commit.sends.map(({ to }) => to), ["wild/ok"]);
  assert.deepEqual(commit.deadLetters.map(({ reason }) => reason), ["threw", "threw", "threw"]);
});
