/** An engine "process" of a simulation: the product's engine, with deaths, delays and killers. */
import type { LoadStates, PartitionBatch, PartitionCommit } from "../../runtime/actor/batch.ts";
import { createBehaviours } from "../../runtime/actor/behaviour.ts";
import { createActorEngine } from "../../runtime/actor/engine.ts";
import { EngineDiedError } from "../../runtime/actor/engine_process.ts";
import type { RunningEngine } from "../../runtime/actor/runner.ts";
import { waitMs } from "../../runtime/clock.ts";
import { recordsOf } from "../../runtime/log/record.ts";
import { simBehaviour } from "./sim_behaviour.ts";
import type { VirtualClock } from "./virtual_clock.ts";

export interface SimEngineOptions {
  readonly clock: VirtualClock;
  readonly load: LoadStates;
  readonly trace: (line: string) => void;
  /** Chance that a call of `handle` dies before or after its work; 0 once the world heals. */
  readonly deathChance: () => number;
  readonly ignoresForget: boolean;
}

const BEHAVIOURS = createBehaviours([simBehaviour]);
const DECODER = new TextDecoder();

export function startSimEngine(options: SimEngineOptions): RunningEngine {
  const { clock } = options;
  const inner = createActorEngine({
    behaviours: BEHAVIOURS,
    load: options.load,
    clock,
    freeze: true,
  });
  let end!: (how: string) => void;
  let isEnded = false;
  const ended = new Promise<string>((resolve) => end = resolve);
  const die = (hadBatch: boolean, partition?: number): EngineDiedError => {
    isEnded = true;
    end("died");
    options.trace(`engine dies${partition === undefined ? "" : ` in ${partition}`}`);
    const suspect = partition === undefined ? undefined : { partition, roots: 0 };
    return new EngineDiedError("died", hadBatch, suspect);
  };
  const maybeDie = (batches: readonly PartitionBatch[]) => {
    if (clock.random.fraction() >= options.deathChance()) return;
    const knows = clock.random.fraction() < 0.5;
    const pick = batches[Math.floor(clock.random.fraction() * batches.length)];
    throw die(true, knows ? pick?.partition : undefined);
  };
  return {
    ended,
    kill: () => void die(true),
    async handle(batches): Promise<PartitionCommit[]> {
      if (isEnded) throw new EngineDiedError("dead", false);
      await waitMs(clock, clock.random.fraction() * 3);
      maybeDie(batches);
      for (const batch of batches) {
        if (holdsKiller(batch)) throw die(true, batch.partition);
      }
      const commits = await inner.handle(batches);
      await waitMs(clock, clock.random.fraction() * 3);
      maybeDie(batches);
      return commits;
    },
    forget(partitions) {
      if (!options.ignoresForget) inner.forget(partitions);
    },
    [Symbol.asyncDispose]() {
      isEnded = true;
      end("disposed");
      return Promise.resolve();
    },
  };
}

/** A record whose text has `"kills"` ends the process that handles it, like a loop or a crash would. */
function holdsKiller(batch: PartitionBatch): boolean {
  for (const segment of batch.segments) {
    for (const record of recordsOf(segment)) {
      if (DECODER.decode(record.body).includes('"kills"')) return true;
    }
  }
  return false;
}
