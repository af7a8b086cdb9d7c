/**
 * `kill -9` under load, on the real process with real clients. After each restart every message that
 * a client was told is durable is found exactly once in history, and the ledger adds up.
 *
 * Another seed: `deno test -A test/chaos/kill_test.ts -- --seed=7`.
 */
import { systemClock } from "../../runtime/clock.ts";
import { type Random, seededRandom } from "../../runtime/random.ts";
import { readSeed } from "../support/seed.ts";
import { startRoost } from "../support/roost.ts";
import { Campaign, type Death } from "./campaign.ts";

const RANDOM_MOMENTS = 20;
const ROUNDS_PER_FAIL_POINT = 3;
/** Where the test build ends itself with SIGKILL, and how many hits it lets pass at most. */
const FAIL_POINTS: readonly { readonly name: string; readonly hitsMax: number }[] = [
  { name: "append", hitsMax: 200 },
  { name: "commit", hitsMax: 200 },
  { name: "compaction", hitsMax: 4 },
  { name: "checkpoint", hitsMax: 4 },
];
const FAULTY_ENTRY = "test/support/faulty_main.ts";

Deno.test("kill -9 at random moments loses and doubles no acknowledged message", async () => {
  await runCampaign((random) =>
    Array.from({ length: RANDOM_MOMENTS }, () => ({
      type: "killed",
      afterMs: 50 + Math.floor(random.fraction() * 1_500),
    }))
  );
});

Deno.test("death inside append, commit, compaction and checkpoint loses nothing", async () => {
  await runCampaign((random) =>
    FAIL_POINTS.flatMap(({ name, hitsMax }) =>
      Array.from({ length: ROUNDS_PER_FAIL_POINT }, () => ({
        type: "failPoint",
        entry: FAULTY_ENTRY,
        failPoint: `${name}:${1 + Math.floor(random.fraction() * hitsMax)}`,
      }))
    )
  );
});

async function runCampaign(deathsOf: (random: Random) => Death[]): Promise<void> {
  const seed = readSeed();
  const random = seededRandom(seed);
  const startedMs = systemClock.nowMs();
  await using roost = await startRoost();
  await using campaign = await Campaign.prepare(roost, random);
  const deaths = deathsOf(random);
  for (let round = 0; round < deaths.length; round++) {
    const death = deaths[round]!;
    try {
      await campaign.round(round, death);
    } catch (fault) {
      throw new Error(
        `Round ${round} (${JSON.stringify(death)}) of seed ${seed} failed. Standard error of ` +
          `Roost ends with: ${roost.stderrText.slice(-2_000)}`,
        { cause: fault },
      );
    }
  }
  await campaign.verifyAll(startedMs);
}
