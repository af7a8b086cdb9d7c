import assert from "node:assert/strict";
import fc from "fast-check";
import { NotRetryableError } from "../errors.ts";
import { seededRandom } from "../random.ts";
import { createManualClock } from "../../test/support/manual_clock.ts";
import { createLifecycleEvents } from "./lifecycle_events.ts";
import type { ChildSpec, Running, Strategy, SupervisionTree } from "./supervision.ts";
import { startSupervisor, type Supervisor, supervisorChild } from "./supervisor.ts";

const IDS = ["a", "b", "c"] as const;
type Id = typeof IDS[number];

interface Step {
  readonly type: "crash" | "end" | "kill" | "fail" | "refuse" | "allow" | "retry" | "wait" | "slow";
  readonly id: Id;
  readonly count: number;
}

/** Three permanent children that note what is open, and find what must never be. */
class World {
  readonly clock = createManualClock();
  readonly isOpen = new Map<Id, (fault?: unknown) => void>();
  readonly failingStarts = new Map<Id, number>();
  readonly refused = new Set<Id>();
  readonly slow = new Set<Id>();
  /** What must never be; a start that threw it would only be restarted. */
  readonly violations: string[] = [];
  readonly #isOrdered: boolean;

  constructor(strategy: Strategy) {
    this.#isOrdered = strategy !== "one_for_one";
  }

  spec(id: Id): ChildSpec {
    return { id, restart: "permanent", shutdownMs: 100, start: () => this.#start(id) };
  }

  async #start(id: Id): Promise<Running> {
    if (this.isOpen.has(id)) this.violations.push(`two of ${id} at once`);
    for (const before of this.#isOrdered ? IDS.slice(0, IDS.indexOf(id)) : []) {
      if (!this.isOpen.has(before)) this.violations.push(`${id} starts without ${before}`);
    }
    if (this.slow.has(id)) {
      await new Promise<void>((resolve) => this.clock.after(50, resolve));
    }
    if (this.refused.has(id)) throw new NotRetryableError("refused");
    const failing = this.failingStarts.get(id) ?? 0;
    this.failingStarts.set(id, failing - 1);
    if (failing > 0) throw new Error("fails");
    const end = Promise.withResolvers<void | { fault: unknown }>();
    this.isOpen.set(id, (fault) => end.resolve(fault === undefined ? undefined : { fault }));
    return {
      done: end.promise,
      [Symbol.asyncDispose]: async () => {
        await Promise.resolve();
        this.isOpen.delete(id);
        // A process ends after it was told to: that is no news of the one that came after it.
        this.clock.after(100, () => end.resolve({ fault: new Error("late") }));
      },
    };
  }

  heal(): void {
    this.refused.clear();
    this.slow.clear();
    this.failingStarts.clear();
  }
}

const steps = fc.array(
  fc.record<Step>({
    type: fc.constantFrom(
      "crash",
      "end",
      "kill",
      "fail",
      "refuse",
      "allow",
      "retry",
      "wait",
      "slow",
    ),
    id: fc.constantFrom(...IDS),
    count: fc.integer({ min: 0, max: 120 }),
  }),
  { maxLength: 40 },
);

/** A scripted supervisor inside another one. */
async function startTree(world: World, strategy: Strategy, seed: number): Promise<Supervisor> {
  const intensity = { restartsMax: 1_000, withinMs: 10_000 };
  const backoff = { firstMs: 10, maxMs: 80 };
  const inner = { strategy, intensity, backoff, children: IDS.map((id) => world.spec(id)) };
  const children = [supervisorChild("inner", inner, { shutdownMs: 1_000 })];
  return await startSupervisor("root", { strategy: "one_for_one", intensity, children }, {
    clock: world.clock,
    random: seededRandom(seed),
    events: createLifecycleEvents(),
  });
}

async function act(world: World, root: Supervisor, { type, id, count }: Step): Promise<void> {
  if (type === "crash") world.isOpen.get(id)?.(new Error("boom"));
  if (type === "end") world.isOpen.get(id)?.();
  if (type === "kill") root.kill(["inner", id]);
  if (type === "retry") root.retry(["inner", id]);
  if (type === "fail") world.failingStarts.set(id, count % 4);
  if (type === "refuse") world.refused.add(id);
  if (type === "allow") world.refused.delete(id);
  if (type === "slow") world.slow.add(id);
  await world.clock.advance(type === "wait" ? count : 0);
}

/** All run, and nothing restarts any more. */
async function checkHealed(world: World, root: Supervisor): Promise<void> {
  world.heal();
  for (let round = 0; round < IDS.length; round++) {
    for (const id of IDS) root.retry(["inner", id]);
    await world.clock.advance(1_000);
  }
  const statuses = (tree: SupervisionTree): string[] => [
    tree.status,
    ...tree.children.flatMap(statuses),
  ];
  assert.deepEqual([...world.isOpen.keys()].sort(), [...IDS]);
  assert.deepEqual(new Set(statuses(root.live())), new Set(["running"]));
  const before = root.live();
  await world.clock.advance(1_000);
  assert.deepEqual(root.live(), before);
}

const strategies = fc.constantFrom<Strategy>("one_for_one", "rest_for_one", "one_for_all");

Deno.test("children run again once healed, never twice, and end with their supervisor", async () => {
  await fc.assert(
    fc.asyncProperty(
      strategies,
      steps,
      fc.boolean(),
      fc.integer(),
      async (strategy, sequence, isHealed, seed) => {
        const world = new World(strategy);
        const root = await startTree(world, strategy, seed);
        for (const step of sequence) await act(world, root, step);
        if (isHealed) await checkHealed(world, root);
        const stopped = root.stop();
        await world.clock.advance(isHealed ? 0 : 1_000);
        await stopped;
        assert.deepEqual([...world.isOpen.keys()], []);
        assert.deepEqual(world.violations, []);
        await world.clock.advance(100); // The late ends.
        assert.equal(world.clock.pending(), 0, "no timer is left");
      },
    ),
    { numRuns: 400 },
  );
});
