/**
 * Activates as many actors as the first argument says and prints, as JSON, what the heap grew by.
 * A process of its own: `deno run --v8-flags=--expose-gc`, so that garbage is not counted.
 */
import { memoryUsage } from "node:process";
import { createActorEngine } from "../../runtime/actor/engine.ts";
import { systemClock } from "../../runtime/clock.ts";
import { batchOf, createRing } from "./ring.ts";

/** Below the keys that one commit may have. */
const SLICE = 250;

const actors = Number(Deno.args[0]);
const ring = createRing(actors);
const engine = createActorEngine({
  behaviours: ring.behaviours,
  clock: systemClock,
  load: (addresses) => Promise.resolve(addresses.map(() => undefined)),
});
const before = heapBytes();
for (const [partition, members] of ring.members) {
  let cursor = 0;
  while (cursor < members.length) {
    const batch = batchOf(partition, cursor, members.slice(cursor, cursor + SLICE), {
      type: "touch",
    });
    const [commit] = await engine.handle([batch]);
    cursor = commit!.toCursor;
  }
}
const grown = heapBytes() - before;
const { activations, stateBytes } = engine.figures();
const report = { heapBytes: grown, stateBytes, activated: activations };
Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(report)));

function heapBytes(): number {
  (globalThis as unknown as { gc: () => void }).gc();
  const { heapUsed, external } = memoryUsage();
  return heapUsed + external;
}
