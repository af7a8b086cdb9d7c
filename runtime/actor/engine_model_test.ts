/** Random programs of messages against a plain model that handles one message after another. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { AWAY, EngineHarness, HOME, jsonOf } from "../../test/support/engine_harness.ts";
import type { PartitionCommit } from "./batch.ts";
import type { Behaviour, Message } from "./behaviour.ts";

type Op =
  | { readonly do: "send"; readonly to: string; readonly ops: readonly Op[] }
  | { readonly do: "record" | "downlink"; readonly value: number }
  | {
    readonly do: "remind";
    readonly name: string;
    readonly afterMs: number;
    readonly ops: readonly Op[];
  }
  | { readonly do: "cancel"; readonly name: string }
  | { readonly do: "throw" | "die" };
type Program = Message & { readonly ops: readonly Op[]; readonly mark: number };

const LONG_MS = 1_500;
const PARKS_MAX = 3;
const PARK_WINDOW_MS = 50;

const cell: Behaviour<readonly number[] | null, Program> = {
  kind: "cell",
  placement: HOME,
  stateVersion: 1,
  initial: () => [],
  receive(state, message, context) {
    let dies = false;
    for (const op of message.ops) {
      const nested = "ops" in op ? { type: "run", ops: op.ops, mark: message.mark } : undefined;
      if (op.do === "send") context.send(op.to, nested!);
      else if (op.do === "record") context.record("event", op.value);
      else if (op.do === "downlink") context.downlink({ type: String(op.value) });
      else if (op.do === "remind") context.remind(op.name, context.nowMs + op.afterMs, nested!);
      else if (op.do === "cancel") context.cancelReminder(op.name);
      else if (op.do === "throw") throw new Error("as told");
      else dies = true;
    }
    return dies ? null : [...state!, message.mark, context.nowMs];
  },
};
const away: Behaviour<null, Program> = {
  ...cell as Behaviour<never>,
  kind: "away",
  placement: AWAY,
};

interface Input {
  readonly to: string;
  readonly ops: readonly Op[];
  readonly atMs: number;
  readonly budget: number;
  readonly firstId?: string;
}
interface Due {
  readonly to: string;
  readonly name: string;
  readonly dueMs: number;
  readonly budget: number;
  readonly ops: readonly Op[];
  readonly mark: number;
}

/** Everything that can be seen from outside, in order. */
interface Outcome {
  readonly states: Record<string, readonly number[]>;
  readonly reminders: readonly string[];
  readonly sends: readonly string[];
  readonly records: readonly string[];
  readonly downlinks: readonly string[];
  readonly letters: readonly string[];
  readonly processed: number;
}

class Model {
  readonly states = new Map<string, readonly number[]>();
  reminders: Due[] = [];
  readonly sends: string[] = [];
  readonly records: string[] = [];
  readonly downlinks: string[] = [];
  readonly letters: string[] = [];
  processed = 0;
  #nowMs = 0;
  readonly #parks = new Map<string, number[]>();
  readonly #suspended = new Set<string>();

  record(input: Input, mark: number): void {
    this.fire(input.atMs);
    this.#nowMs = Math.max(this.#nowMs, input.atMs);
    const isHandled = this.#root(input, mark, input.firstId !== undefined);
    if (isHandled) this.processed++;
  }

  fire(untilMs: number): void {
    for (;;) {
      const due = this.reminders.filter(({ dueMs }) => dueMs <= untilMs);
      if (due.length === 0) return;
      const next = due.reduce((first, other) => other.dueMs < first.dueMs ? other : first);
      this.reminders = this.reminders.filter((reminder) => reminder !== next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      this.#root(next, next.mark, false);
    }
  }

  #root(root: { to: string; ops: readonly Op[]; budget: number }, mark: number, isReplay: boolean) {
    const queue = [{ to: root.to, ops: root.ops }];
    const asked: { from: string; op: Op }[] = [];
    let pool = root.budget;
    let isHandled = true;
    for (let i = 0; i < queue.length; i++) {
      const { to, ops } = queue[i]!;
      let reason: string | undefined;
      if (pool <= 0) reason = "budget_spent";
      else {
        pool--;
        if (i === 0 && isReplay) this.#suspended.delete(to);
        if (this.#suspended.has(to)) reason = "suspended";
        else if (ops.some((op) => op.do === "throw")) reason = "threw";
      }
      if (reason !== undefined) {
        this.letters.push(`${to} ${reason}`);
        if (reason === "threw") this.#park(to);
        if (i === 0) isHandled = false;
        continue;
      }
      for (const op of ops) {
        if (op.do === "send" && op.to.startsWith("cell/")) queue.push({ to: op.to, ops: op.ops });
        else asked.push({ from: to, op });
      }
      if (ops.some((op) => op.do === "die")) this.states.delete(to);
      else this.states.set(to, [...this.states.get(to) ?? [], mark, this.#nowMs]);
    }
    this.#effects(asked, pool, mark);
    return isHandled;
  }

  #effects(asked: readonly { from: string; op: Op }[], pool: number, mark: number): void {
    const isShort = (op: Op) => op.do === "send" || op.do === "remind" && op.afterMs < 1_000;
    const share = Math.floor(pool / asked.filter(({ op }) => isShort(op)).length);
    for (const { from, op } of asked) {
      let budget = 10_000;
      if (isShort(op)) {
        budget = pool > 0 ? Math.max(1, share) : 0;
        pool -= budget;
      }
      if (op.do === "record") this.records.push(`${from} ${op.value}`);
      if (op.do === "downlink") this.downlinks.push(`${from} ${op.value}`);
      if (op.do === "cancel" || op.do === "remind") {
        this.reminders = this.reminders.filter((r) => r.to !== from || r.name !== op.name);
      }
      if (budget === 0) this.letters.push(`${op.do === "send" ? op.to : from} budget_spent`);
      else if (op.do === "send") this.sends.push(`${op.to} ${budget}`);
      else if (op.do === "remind") {
        const dueMs = this.#nowMs + op.afterMs;
        this.reminders.push({ to: from, name: op.name, dueMs, budget, ops: op.ops, mark });
      }
    }
  }

  #park(to: string): void {
    const recent = (this.#parks.get(to) ?? []).filter((ms) => ms > this.#nowMs - PARK_WINDOW_MS);
    recent.push(this.#nowMs);
    const isSuspended = recent.length >= PARKS_MAX;
    if (isSuspended) this.#suspended.add(to);
    this.#parks.set(to, isSuspended ? [] : recent);
  }

  outcome(): Outcome {
    const reminders = this.reminders.map((r) => `${r.to} ${r.name} ${r.dueMs} ${r.budget}`);
    const { sends, records, downlinks, letters, processed } = this;
    const states = Object.fromEntries([...this.states].sort());
    letters.sort();
    return { states, reminders: reminders.sort(), sends, records, downlinks, letters, processed };
  }
}

/** What may go wrong between two batches: none of it may be visible in the outcome. */
interface Step {
  readonly records: number;
  readonly then: "commit" | "refuse" | "restart";
  readonly isEnd: boolean;
}

async function runEngine(
  inputs: readonly Input[],
  steps: readonly Step[],
  limits: { readonly commitKeysMax: number; readonly activationsMax: number },
  endMs: number,
): Promise<Outcome> {
  const harness = new EngineHarness([cell, away], {
    limits: { ...limits, parksMax: PARKS_MAX, parkWindowMs: PARK_WINDOW_MS },
  });
  const commits: PartitionCommit[] = [];
  let at = 0;
  const next = (records: number, endOfLogAtMs?: number) => {
    const slice = inputs.slice(at, at + records).map(({ ops, ...head }, i) => ({
      ...head,
      message: { type: "run", ops, mark: at + i } as Program,
    }));
    return harness.batch(slice, endOfLogAtMs);
  };
  for (let turn = 0; at < inputs.length; turn++) {
    const step = steps[turn % steps.length]!;
    // The clock may have come as far as the next record, but no further.
    const endOfLogAtMs = step.isEnd ? inputs[at + step.records - 1]?.atMs : undefined;
    const batch = next(step.records, endOfLogAtMs);
    if (step.then === "refuse") {
      await harness.engine.handle([batch]);
      harness.engine.forget([batch.partition]);
    }
    const [commit] = await harness.engine.handle([batch]);
    harness.commit(commit!);
    commits.push(commit!);
    at += commit!.toCursor - commit!.fromCursor;
    if (step.then === "restart") harness.restart();
  }
  for (let isPartial = true; isPartial;) {
    const commit = await harness.run([], endMs);
    commits.push(commit);
    isPartial = commit.isPartial;
  }
  return outcomeOf(harness, commits);
}

function outcomeOf(harness: EngineHarness, commits: readonly PartitionCommit[]): Outcome {
  const states: Record<string, readonly number[]> = {};
  for (const address of [...harness.states.keys()].sort()) {
    const state = harness.state(address);
    if (state !== undefined) states[address] = state;
  }
  return {
    states,
    reminders: [...harness.reminders.values()]
      .map(({ to, name, dueAtMs, budget }) => `${to} ${name} ${dueAtMs} ${budget}`).sort(),
    sends: commits.flatMap(({ sends }) => sends.map(({ to, budget }) => `${to} ${budget}`)),
    records: commits.flatMap(({ records }) =>
      records.map(({ from, body }) => `${from} ${jsonOf(body).body}`)
    ),
    downlinks: commits.flatMap(({ effects }) =>
      effects.map((effect) => effect.type === "downlink" && `${effect.from} ${effect.message.type}`)
    ) as string[],
    letters: commits.flatMap(({ deadLetters }) => deadLetters)
      .map(({ to, reason }) => `${to} ${reason}`).sort(),
    processed: commits.reduce((sum, { processed }) => sum + processed, 0),
  };
}

function opsOf(depth: number): fc.Arbitrary<readonly Op[]> {
  const ops = depth === 0 ? fc.constant([]) : opsOf(depth - 1);
  const name = fc.constantFrom("r", "s");
  const op = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant("send"),
        to: fc.constantFrom("cell/a", "cell/b", "cell/c", "away/x"),
        ops,
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant("remind"),
        name,
        afterMs: fc.constantFrom(0, 1, 5, 20, LONG_MS),
        ops,
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("cancel"), name }) },
    {
      weight: 3,
      arbitrary: fc.record({ do: fc.constantFrom("record", "downlink"), value: fc.nat(9) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("throw", "die") }) },
  );
  return fc.array(op, { maxLength: 3 }) as fc.Arbitrary<readonly Op[]>;
}

const inputArbitrary = fc.record({
  to: fc.constantFrom("cell/a", "cell/b", "cell/c", "cell/d"),
  ops: opsOf(2),
  gapMs: fc.constantFrom(0, 0, 1, 3, 10, 40),
  budget: fc.constantFrom(1, 2, 3, 7, 10_000),
  isReplay: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
});
const stepArbitrary = fc.record({
  records: fc.integer({ min: 1, max: 8 }),
  then: fc.constantFrom("commit", "commit", "refuse", "restart"),
  isEnd: fc.boolean(),
}) as fc.Arbitrary<Step>;

Deno.test("random programs end as in a plain model, whatever the batches and refusals", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(inputArbitrary, { minLength: 1, maxLength: 25 }),
      fc.array(stepArbitrary, { minLength: 1, maxLength: 6 }),
      fc.constantFrom(60, 100, 500),
      fc.constantFrom(1, 200_000),
      async (raw, steps, commitKeysMax, activationsMax) => {
        let atMs = 100;
        const inputs = raw.map(({ gapMs, isReplay, ...input }, i) => {
          atMs += gapMs;
          return { ...input, atMs, ...(isReplay ? { firstId: `0-0-${i}` } : undefined) };
        });
        const model = new Model();
        inputs.forEach((input, i) => model.record(input, i));
        model.fire(atMs + 400);
        const limits = { commitKeysMax, activationsMax };
        const outcome = await runEngine(inputs, steps, limits, atMs + 400);
        assert.deepEqual(outcome, model.outcome());
      },
    ),
    { numRuns: 300 },
  );
});
