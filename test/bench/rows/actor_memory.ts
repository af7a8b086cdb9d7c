/**
 * Actor messages in memory: address, mailbox, receive, effects. A root record sets off a chain of
 * sends inside its partition, which the engine handles in the same batch without the log.
 */
import { fileURLToPath } from "node:url";
import { createActorEngine } from "../../../runtime/actor/engine.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { LIMITS } from "../../../runtime/limits.ts";
import { batchOf, createRing } from "../ring.ts";
import { type BenchContext, median, type Row, type RowResult } from "../row.ts";

const ACTORS = 100_000;
const ROUNDS = 30;
const IDLE_MAIN = fileURLToPath(new URL("../idle_actor_main.ts", import.meta.url));

export const actorMessages: Row = {
  name: "actor-messages",
  what: "actor messages in memory through address, mailbox and effects, 100,000 actors",
  run: runMessages,
};

export const idleActor: Row = {
  name: "idle-actor",
  what: "heap of an idle activated actor beyond its encoded state",
  run: runIdleActor,
};

async function runMessages(context: BenchContext): Promise<RowResult> {
  const actors = context.isShort ? 1_000 : ACTORS;
  const ring = createRing(actors);
  const engine = createActorEngine({
    behaviours: ring.behaviours,
    clock: systemClock,
    load: (addresses) => Promise.resolve(addresses.map(() => undefined)),
  });
  const hops = LIMITS.budgetPerRootRecord - 1;
  const rates: number[] = [];
  const faults: string[] = [];
  let cursor = 0;
  for (let round = 0; round < (context.isShort ? 2 : ROUNDS); round++, cursor++) {
    const batches = [...ring.members].map(([partition, members]) =>
      batchOf(partition, cursor, [members[cursor % members.length]!], { type: "pass", left: hops })
    );
    const startedMs = systemClock.monotonicMs();
    const commits = await engine.handle(batches);
    const seconds = (systemClock.monotonicMs() - startedMs) / 1_000;
    rates.push(batches.length * (hops + 1) / seconds);
    const arrived = commits.reduce((sum, commit) => sum + commit.records.length, 0);
    if (arrived !== batches.length) faults.push(`${arrived} of ${batches.length} chains arrived`);
  }
  return {
    measures: [
      { name: "messages", value: median(rates), unit: "messages/s", target: 4_000_000 },
    ],
    facts: { actors, "messages a record": hops + 1, rounds: rates.length },
    faults: [...new Set(faults)],
  };
}

async function runIdleActor(context: BenchContext): Promise<RowResult> {
  const actors = context.isShort ? 1_000 : ACTORS;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--v8-flags=--expose-gc", IDLE_MAIN, String(actors)],
  }).output();
  const text = new TextDecoder();
  if (!success) throw new Error(text.decode(stderr));
  const { heapBytes, stateBytes, activated } = JSON.parse(text.decode(stdout));
  return {
    measures: [{
      name: "beyond its state",
      value: (heapBytes - stateBytes) / actors,
      unit: "B",
      target: 400,
      isLessBetter: true,
    }],
    facts: { actors, "encoded state B": Math.round(stateBytes / actors) },
    faults: activated === actors ? [] : [`activated ${activated} of ${actors}`],
  };
}
