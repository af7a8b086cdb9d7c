import assert from "node:assert/strict";
import { checkWorld } from "./checks.ts";
import { NO_PLANTS, PLANTS, type Plants } from "./plants.ts";
import { World } from "./world.ts";

const SEEDS = 500;
const SEEDS_TO_FIND_A_PLANT = 200;
const SEED = 7;
/** What all seeds together have to meet, each at least so often. */
const MET_MIN = 50;
const TO_MEET = ["crash", "reader crash", "trim", "isolated", "parked", "slow write"];

interface Result {
  readonly broken: readonly string[];
  readonly trace: readonly string[];
  readonly counts: ReadonlyMap<string, number>;
}

async function simulate(seed: number, plants: Plants): Promise<Result> {
  const world = new World({ seed, plants });
  const { trace, counts } = world;
  try {
    await world.run();
    return { broken: await checkWorld(world), trace, counts };
  } catch (fault) {
    return { broken: [...world.violations, `${(fault as Error).message}`], trace, counts };
  } finally {
    world.close();
  }
}

Deno.test(`${SEEDS} seeds of crashes, losses and delays break no promise`, async () => {
  const met = new Map<string, number>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { broken, trace, counts } = await simulate(seed, NO_PLANTS);
    assert.deepEqual(broken, [], `seed ${seed}\n${trace.join("\n")}\n${broken.join("\n")}`);
    for (const [what, times] of counts) met.set(what, (met.get(what) ?? 0) + times);
  }
  for (const what of TO_MEET) {
    assert((met.get(what) ?? 0) >= MET_MIN, `${what} was met ${met.get(what)} times`);
  }
});

Deno.test("the same seed gives the same trace", async () => {
  const once = await simulate(SEED, NO_PLANTS);
  const again = await simulate(SEED, NO_PLANTS);
  assert.deepEqual(again.trace, once.trace);
  for (const what of ["crash", "reader crash", "isolated"]) {
    assert(once.counts.has(what), `seed ${SEED} has no ${what} in it`);
  }
});

for (const [name, plants] of Object.entries(PLANTS)) {
  Deno.test(`a planted fault is found: ${name}`, async () => {
    for (let seed = 1; seed <= SEEDS_TO_FIND_A_PLANT; seed++) {
      if ((await simulate(seed, plants)).broken.length > 0) return;
    }
    assert.fail(`not found within ${SEEDS_TO_FIND_A_PLANT} seeds`);
  });
}
