/** An engine "process" of a simulation: the product's engine, with deaths, delays and killers. */
import type { LoadStates, PartitionBatch, PartitionCommit } from "../../runtime/actor/batch.ts";
import { createBehaviours } from "../../runtime/actor/behaviour.ts";
import { createActorEngine } from "../../runtime/actor/engine.ts";
import { EngineDiedError } from "../../runtime/actor/engine_process.ts";
import type { Progress } from "../../runtime/actor/partition_run.ts";
import type { RunningEngine } from "../../runtime/actor/runner.ts";
import { waitMs } from "../../runtime/clock.ts";
import { createSimBehaviour } from "./sim_behaviour.ts";
import type { ThreadClock } from "./thread_clock.ts";
import type { VirtualClock } from "./virtual_clock.ts";

export interface SimEngineOptions {
  readonly clock: VirtualClock;
  /** The thread that its pipes lead to. */
  readonly thread: ThreadClock;
  readonly load: LoadStates;
  readonly trace: (line: string) => void;
  /** Chance that a call of `handle` dies before or after its work; 0 once the world heals. */
  readonly deathChance: () => number;
  readonly ignoresForget: boolean;
}

/** A loop is ended after this long; other deaths come at once. */
const LOOP_MS = 1_000;

export function startSimEngine(options: SimEngineOptions): RunningEngine {
  return new SimEngine(options);
}

class SimEngine implements RunningEngine {
  readonly ended: Promise<string>;
  readonly #options: SimEngineOptions;
  readonly #inner: ReturnType<typeof createActorEngine>;
  #end!: (how: string) => void;
  #isEnded = false;
  #progress: Progress | undefined;
  /** Where it was when a handler killed it; it goes on, and nobody hears of it. */
  #killed: { readonly at: Progress | undefined } | undefined;

  constructor(options: SimEngineOptions) {
    this.#options = options;
    this.ended = new Promise((resolve) => this.#end = resolve);
    this.#inner = createActorEngine({
      behaviours: createBehaviours([
        createSimBehaviour(() => this.#killed ??= { at: this.#progress }),
      ]),
      load: async (addresses) => {
        await options.thread.turn();
        const states = await options.load(addresses);
        await options.thread.turn();
        return states;
      },
      clock: options.clock,
      freeze: true,
      onProgress: (progress) => this.#progress = progress,
    });
  }

  async handle(batches: readonly PartitionBatch[]): Promise<PartitionCommit[]> {
    const { clock, thread } = this.#options;
    if (this.#isEnded) throw new EngineDiedError("dead", false);
    await thread.turn();
    await waitMs(clock, clock.random.fraction() * 3);
    this.#progress = undefined;
    this.#maybeDie(batches);
    const commits = await this.#inner.handle(batches);
    if (this.#killed !== undefined) {
      const isLoop = clock.random.fraction() < 0.5;
      await waitMs(clock, isLoop ? LOOP_MS : 1);
      // One that ends itself may take its last words with it.
      const isSilent = clock.random.fraction() < 0.2;
      throw this.#die(true, isSilent ? undefined : this.#killed.at);
    }
    await waitMs(clock, clock.random.fraction() * 3);
    this.#maybeDie(batches);
    await thread.turn();
    return commits;
  }

  forget(partitions: readonly number[]): void {
    if (!this.#options.ignoresForget) this.#inner.forget(partitions);
  }

  kill(): void {
    this.#die(true);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#isEnded = true;
    this.#end("disposed");
    return Promise.resolve();
  }

  #die(hadBatch: boolean, suspect?: Progress): EngineDiedError {
    this.#isEnded = true;
    this.#end("died");
    const where = suspect === undefined ? "" : ` in ${suspect.partition} after ${suspect.roots}`;
    this.#options.trace(`engine dies${where}`);
    return new EngineDiedError("died", hadBatch, suspect);
  }

  /** By chance: what it says of where it was blames somebody innocent. */
  #maybeDie(batches: readonly PartitionBatch[]): void {
    const { random } = this.#options.clock;
    if (random.fraction() >= this.#options.deathChance()) return;
    const pick = batches[Math.floor(random.fraction() * batches.length)];
    const isKnown = random.fraction() < 0.5 && pick !== undefined;
    const roots = Math.floor(random.fraction() * 3);
    throw this.#die(true, isKnown ? { partition: pick.partition, roots } : undefined);
  }
}
