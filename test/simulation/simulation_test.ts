import assert from "node:assert/strict";
import { checkWorld } from "./checks.ts";
import { NO_PLANTS, PLANTS, type Plants } from "./plants.ts";
import { World } from "./world.ts";

const SEEDS = 500;
const SEEDS_TO_FIND_A_PLANT = 200;

interface Result {
  readonly broken: readonly string[];
  readonly trace: readonly string[];
}

async function simulate(seed: number, plants: Plants): Promise<Result> {
  const world = new World({ seed, plants });
  try {
    await world.run();
    return { broken: await checkWorld(world), trace: world.trace };
  } catch (fault) {
    return { broken: [...world.violations, `${(fault as Error).message}`], trace: world.trace };
  } finally {
    world.close();
  }
}

Deno.test(`${SEEDS} seeds of crashes, losses and delays break no promise`, async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { broken, trace } = await simulate(seed, NO_PLANTS);
    assert.deepEqual(broken, [], `seed ${seed}\n${trace.join("\n")}\n${broken.join("\n")}`);
  }
});

Deno.test("the same seed gives the same trace", async () => {
  const once = await simulate(7, NO_PLANTS);
  const again = await simulate(7, NO_PLANTS);
  assert.deepEqual(again.trace, once.trace);
  assert(once.trace.some((line) => line.includes("CRASH")), "seed 7 has a crash in it");
});

for (const [name, plants] of Object.entries(PLANTS)) {
  Deno.test(`a planted fault is found: ${name}`, async () => {
    for (let seed = 1; seed <= SEEDS_TO_FIND_A_PLANT; seed++) {
      if ((await simulate(seed, plants)).broken.length > 0) return;
    }
    assert.fail(`not found within ${SEEDS_TO_FIND_A_PLANT} seeds`);
  });
}
