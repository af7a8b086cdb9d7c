/**
 * The actor engine: virtual actors over the batches of a log. It holds no truth: what it has in
 * memory is what was committed, plus the batch in hand.
 *
 * The caller's duties, in order:
 * 1. One `handle` at a time.
 * 2. Before the next `handle`, each commit is durable, or its partition is forgotten (`forget`).
 * 3. Nothing that a commit holds is sent or shown before it is durable; lifecycle events neither.
 * If `handle` rejects, the engine has forgotten the partitions of the batch by itself.
 */
import { Buffer } from "node:buffer";
import type { Clock } from "../clock.ts";
import { assert } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { HEADER_BYTES, recordEnd } from "../log/record.ts";
import { Activation, ActivationTable } from "./activation.ts";
import { type Address, idOf, kindOf, type Partition, partitionOf } from "./address.ts";
import type { Engine, LoadStates, PartitionBatch, PartitionCommit } from "./batch.ts";
import type { Behaviours } from "./behaviour.ts";
import { emitEvents, type EngineEvent } from "./engine_events.ts";
import type { Guard } from "./loop_guard.ts";
import {
  PartitionRun,
  type Planned,
  type PlannedBatch,
  type Progress,
  type RunOptions,
  type Slices,
} from "./partition_run.ts";
import { type EngineLimits, Turn } from "./turn.ts";

export interface ActorEngineOptions {
  readonly behaviours: Behaviours;
  readonly load: LoadStates;
  /** Only for idle times: no actor sees it. */
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly limits?: Partial<EngineLimits>;
  /** Deep-freezes states and messages, so that a behaviour that changes them throws. For tests. */
  readonly freeze?: boolean;
  /** Before the first root of a partition and after every 16: the sign of life. */
  readonly onProgress?: (progress: Progress) => void;
  /** Runs each slice of at most `engineSliceMessages`. If it throws, the engine is of no use any more. */
  readonly guard?: Guard;
  readonly onLifecycle?: (event: EngineEvent) => void;
}

export interface ActorEngine extends Engine {
  /** Actors in memory, and the encoded bytes of their states. */
  figures(): { readonly activations: number; readonly stateBytes: number };
  /** One step of passivation by idle time, for when there are no batches. Returns how many. */
  sweep(): number;
}

export function createActorEngine(options: ActorEngineOptions): ActorEngine {
  return new BatchEngine(options);
}

class BatchEngine implements ActorEngine {
  readonly #options: ActorEngineOptions;
  readonly #limits: EngineLimits;
  readonly #table: ActivationTable;
  readonly #turn: Turn;
  readonly #run: RunOptions;
  readonly #guard: Guard;
  /** Time of the last root of each partition. */
  readonly #nowMs = new Map<Partition, number>();
  #isHandling = false;
  /** Asked for in mid-batch, done after it: one batch must not see an actor twice. */
  readonly #toForget = new Set<Partition>();

  constructor(options: ActorEngineOptions) {
    const isFreezing = options.freeze ?? false;
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#table = new ActivationTable(this.#limits);
    this.#turn = new Turn(options.behaviours, this.#table, this.#limits, isFreezing);
    this.#guard = options.guard ?? ((work) => work());
    this.#run = {
      turn: this.#turn,
      table: this.#table,
      isFreezing,
      onProgress: options.onProgress,
    };
  }

  async handle(batches: readonly PartitionBatch[]): Promise<PartitionCommit[]> {
    assert(!this.#isHandling, "handle is called once at a time");
    this.#isHandling = true;
    try {
      this.#turn.sliceMessages = 0;
      const slices = this.#handleAll(batches);
      for (;;) {
        const slice = this.#guard(() => slices.next());
        if (slice.done) return slice.value;
        if (slice.value.length > 0) await this.#load(slice.value);
      }
    } catch (fault) {
      for (const batch of batches) this.#toForget.add(batch.partition);
      throw fault;
    } finally {
      this.#isHandling = false;
      this.forget([...this.#toForget]);
      this.#toForget.clear();
    }
  }

  forget(partitions: readonly Partition[]): void {
    for (const partition of partitions) {
      if (this.#isHandling) {
        this.#toForget.add(partition);
        continue;
      }
      this.#table.forget(partition);
      this.#nowMs.delete(partition);
    }
  }

  figures(): { readonly activations: number; readonly stateBytes: number } {
    return { activations: this.#table.count, stateBytes: this.#table.bytes };
  }

  sweep(): number {
    this.#turn.nowS = Math.floor(this.#options.clock.monotonicMs() / 1_000);
    return this.#table.sweep(this.#turn.nowS);
  }

  *#handleAll(batches: readonly PartitionBatch[]): Slices<PartitionCommit[]> {
    // What is in memory is committed now, and only now may be dropped.
    this.sweep();
    const missing = new Set<Activation>();
    const planned = batches.map((batch) => this.#plan(batch, missing));
    if (missing.size > 0) yield [...missing];
    const commits: PartitionCommit[] = [];
    for (const plan of planned) commits.push(yield* this.#handlePartition(plan));
    return commits;
  }

  *#handlePartition(planned: PlannedBatch): Slices<PartitionCommit> {
    const { partition } = planned.batch;
    const run = new PartitionRun(this.#run, planned, this.#nowMs.get(partition) ?? 0);
    const commit = yield* run.run();
    this.#nowMs.set(partition, run.nowMs);
    const { onLifecycle } = this.#options;
    if (onLifecycle !== undefined) {
      const { dirty } = this.#turn.changes;
      const { deadLettersPerActorMax } = this.#limits;
      emitEvents(onLifecycle, partition, commit.deadLetters, dirty, deadLettersPerActorMax);
    }
    this.#turn.changes.clear();
    return commit;
  }

  /** Finds the actors of all records and reminders; those to load go to `missing`. */
  #plan(batch: PartitionBatch, missing: Set<Activation>): PlannedBatch {
    const { partition, cursor } = batch;
    const table = this.#table.of(partition);
    const actors: Planned[] = [];
    const texts: string[] = [];
    for (const { bytes, firstOffset, count } of batch.segments) {
      const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
      texts.push(text);
      for (let i = 0, at = 0, end = 0; i < count; i++, at = end) {
        end = recordEnd(bytes, at);
        if (firstOffset + i < cursor) continue;
        const address = text.slice(at + HEADER_BYTES, at + HEADER_BYTES + bytes[at + 6]!);
        actors.push(this.#find(table, partition, address, missing));
      }
    }
    const reminderActors = batch.reminders.map(({ to }) =>
      this.#find(table, partition, to, missing)
    );
    return { batch, actors, texts, reminderActors };
  }

  #find(
    table: Map<Address, Activation>,
    partition: Partition,
    address: Address,
    missing: Set<Activation>,
  ): Planned {
    let activation = table.get(address);
    if (activation === undefined) {
      const refusal = this.#refusalOf(partition, address);
      if (refusal !== undefined) return refusal;
      const behaviour = this.#options.behaviours.get(kindOf(address))!;
      // A copy: the slice would hold the text of its whole segment for as long as the actor lives.
      const own = Buffer.from(address, "latin1").toString("latin1");
      activation = new Activation(own, behaviour, partition);
      this.#table.add(activation);
    }
    activation.usedAtS = this.#turn.nowS;
    activation.isRecent = true;
    if (!activation.isLoaded) missing.add(activation);
    return activation;
  }

  #refusalOf(partition: Partition, address: Address): string | undefined {
    const behaviour = this.#options.behaviours.get(kindOf(address));
    if (behaviour === undefined) return "unknown_kind";
    let home: Partition | undefined;
    try {
      home = partitionOf(behaviour.placement, idOf(address));
    } catch {
      home = undefined; // Not an id of this kind.
    }
    // An actor handled outside its own partition could be active twice.
    return home === partition ? undefined : "wrong_partition";
  }

  async #load(activations: readonly Activation[]): Promise<void> {
    const states = await this.#options.load(activations.map(({ address }) => address));
    assert(states.length === activations.length, "load answers each address asked for");
    for (let i = 0; i < activations.length; i++) this.#table.load(activations[i]!, states[i]);
  }
}
