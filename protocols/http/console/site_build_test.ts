import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { startSupervisor, type Supervisor } from "../../../runtime/actor/supervisor.ts";
import { createLifecycleEvents } from "../../../runtime/actor/lifecycle_events.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { seededRandom } from "../../../runtime/random.ts";
import { waitFor } from "../../../test/support/wait.ts";
import { ConsoleSite } from "./site.ts";
import { siteBuildChild } from "./site_build.ts";

const FAILS = `console.log(JSON.stringify({phase: "installing", progress: 0.5}));
console.log(JSON.stringify({phase: "failed", cause: "no route to host", fix: "network"}));
Deno.exit(1);`;
/** Waits for the end of its input, as the real one does beside its work. */
const WAITS = `console.log(JSON.stringify({phase: "bundling", progress: 0.5}));
await Deno.stdin.readable.pipeTo(new WritableStream());`;

interface Building extends AsyncDisposable {
  readonly site: ConsoleSite;
  readonly supervisor: Supervisor;
  readonly begin: () => void;
}

/** A supervisor whose one child builds the console of a root with this build script. */
async function startBuilding(script: string, isBuilt = true): Promise<Building> {
  const path = await Deno.makeTempDir({ prefix: "roost-site-build-" });
  await Deno.mkdir(`${path}/web/build`, { recursive: true });
  await Deno.writeTextFile(`${path}/web/build/main.ts`, script);
  const site = new ConsoleSite({ clock: systemClock, logger: silentLogger });
  const begin = Promise.withResolvers<void>();
  const root = pathToFileURL(`${path}/`);
  const child = siteBuildChild({
    site,
    logger: silentLogger,
    root,
    begin: begin.promise,
    isBuilt,
  });
  const supervisor = await startSupervisor("test", {
    strategy: "one_for_one",
    intensity: { restartsMax: 0, withinMs: 1_000 },
    children: [child],
  }, { clock: systemClock, random: seededRandom(1), events: createLifecycleEvents() });
  return {
    site,
    supervisor,
    begin: begin.resolve,
    [Symbol.asyncDispose]: async () => {
      await supervisor.stop();
      await Deno.remove(path, { recursive: true });
    },
  };
}

async function untilPhase({ site }: Building, phase: string): Promise<void> {
  await waitFor(() => site.progress.phase === phase, {
    what: `phase ${phase}`,
    withinMs: 20_000,
    actual: () => site.progress,
  });
}

Deno.test("a build that fails is told with its cause, is not tried again, and harms nothing else", async () => {
  await using building = await startBuilding(FAILS);
  assert.equal(building.site.progress.phase, "looking", "nothing begins before the node is ready");
  building.begin();
  await untilPhase(building, "failed");
  const failed = { phase: "failed", cause: "no route to host", fix: "network" };
  assert.deepEqual(building.site.progress, failed);
  await waitFor(() => building.supervisor.live().children[0]?.status === "blocked", {
    what: "the child to be blocked",
    withinMs: 5_000,
    actual: () => building.supervisor.live(),
  });
  assert.match(building.supervisor.live().children[0]!.lastFault!, /no route to host/);
  assert.ok(building.supervisor.retry(["console"]), "an operator may try again");
});

Deno.test("a build under way ends with its node", async () => {
  const building = await startBuilding(WAITS);
  building.begin();
  await untilPhase(building, "bundling");
  await building[Symbol.asyncDispose](); // Would leak the child, and the test with it.
});

Deno.test("without builds at start the page says how to make one", async () => {
  await using building = await startBuilding(FAILS, false);
  building.begin();
  await untilPhase(building, "failed");
  assert.equal((building.site.progress as { fix: string }).fix, "disabled");
});
