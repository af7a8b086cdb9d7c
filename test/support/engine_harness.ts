/** An engine over plain maps: what it commits is applied at once, in one partition's batches. */
import type { Partition } from "../../runtime/actor/address.ts";
import { type Address, partitionOf } from "../../runtime/actor/address.ts";
import type { PartitionBatch, PartitionCommit, Reminder } from "../../runtime/actor/batch.ts";
import type { Behaviour, Message } from "../../runtime/actor/behaviour.ts";
import { createBehaviours } from "../../runtime/actor/behaviour.ts";
import { type ActorEngine, createActorEngine } from "../../runtime/actor/engine.ts";
import type { EngineEvent } from "../../runtime/actor/engine_events.ts";
import { peekState } from "../../runtime/actor/state_codec.ts";
import type { Guard } from "../../runtime/actor/loop_guard.ts";
import type { Progress } from "../../runtime/actor/partition_run.ts";
import type { EngineLimits } from "../../runtime/actor/turn.ts";
import { packRecord, type RecordHead } from "../../runtime/log/record.ts";
import type { Segment, SegmentClass } from "../../runtime/log/partition_log.ts";

/** All actors of it live in one partition. */
export const HOME = { group: "things", keyOf: () => "home" } as const;
export const HOME_PARTITION = partitionOf(HOME, "any");
/** All actors of it live in another one. */
export const AWAY = { group: "things", keyOf: () => "away" } as const;
export const AWAY_PARTITION = partitionOf(AWAY, "any");

export type TestRecord = Partial<RecordHead> & {
  readonly to: Address;
  readonly message?: Message;
  readonly raw?: string | Uint8Array;
  readonly atMs?: number;
  readonly class?: SegmentClass;
};

export interface HarnessOptions {
  readonly limits?: Partial<EngineLimits>;
  readonly freeze?: boolean;
  readonly guard?: Guard;
}

export class EngineHarness {
  readonly states = new Map<Address, Uint8Array>();
  readonly reminders = new Map<string, Reminder>();
  readonly loads: (readonly Address[])[] = [];
  readonly events: EngineEvent[] = [];
  readonly progress: Progress[] = [];
  engine: ActorEngine;
  monotonicMs = 0;
  failNextLoad = false;
  readonly #cursors = new Map<Partition, number>();
  // deno-lint-ignore no-explicit-any -- each behaviour narrows Message to its own union
  readonly #behaviours: readonly Behaviour<any, any>[];
  readonly #options: HarnessOptions;

  // deno-lint-ignore no-explicit-any -- as above
  constructor(behaviours: readonly Behaviour<any, any>[], options: HarnessOptions = {}) {
    this.#behaviours = behaviours;
    this.#options = options;
    this.engine = this.#create();
  }

  /** A new engine over the same store, as after a crash; other behaviours as after an upgrade. */
  // deno-lint-ignore no-explicit-any -- as above
  restart(behaviours: readonly Behaviour<any, any>[] = this.#behaviours): void {
    this.engine = this.#create(behaviours);
  }

  /** The batch of these records at the partition's cursor; the time of a record defaults to 1000. */
  batch(
    records: readonly TestRecord[],
    endOfLogAtMs?: number,
    partition = HOME_PARTITION,
  ): PartitionBatch {
    const cursor = this.#cursors.get(partition) ?? 0;
    const segments = records.map((record, i) => segmentOf(record, cursor + i, partition));
    const untilMs = Math.max(endOfLogAtMs ?? 0, ...segments.map((s) => s.acceptedAtMs), 0);
    const reminders = [...this.reminders.values()]
      .filter((reminder) => reminder.dueAtMs <= untilMs)
      .sort((a, b) => a.dueAtMs - b.dueAtMs);
    const nextCursor = cursor + records.length;
    const end = endOfLogAtMs === undefined ? undefined : { endOfLogAtMs };
    return { partition, cursor, segments, nextCursor, reminders, ...end };
  }

  /** Handles one batch and commits it. */
  async run(records: readonly TestRecord[], endOfLogAtMs?: number): Promise<PartitionCommit> {
    const [commit] = await this.engine.handle([this.batch(records, endOfLogAtMs)]);
    this.commit(commit!);
    return commit!;
  }

  /** Handles all records, handing the rest again after each partial commit. */
  async runAll(records: readonly TestRecord[], endOfLogAtMs?: number): Promise<PartitionCommit[]> {
    const commits: PartitionCommit[] = [];
    for (let rest = records;;) {
      const commit = await this.run(rest, endOfLogAtMs);
      commits.push(commit);
      rest = rest.slice(commit.toCursor - commit.fromCursor);
      if (!commit.isPartial) return commits;
    }
  }

  commit(commit: PartitionCommit): void {
    for (const { address, state } of commit.states) {
      if (state === undefined) this.states.delete(address);
      else this.states.set(address, state);
    }
    for (const { to, name, reminder } of commit.reminders) {
      this.reminders.delete(`${to} ${name}`);
      if (reminder !== undefined) this.reminders.set(`${to} ${name}`, reminder);
    }
    this.#cursors.set(commit.partition, commit.toCursor);
  }

  /** Committed state. */
  // deno-lint-ignore no-explicit-any -- tests know what they wrote
  state(address: Address): any {
    const bytes = this.states.get(address);
    return bytes === undefined ? undefined : peekState(bytes).state;
  }

  #create(behaviours = this.#behaviours): ActorEngine {
    return createActorEngine({
      behaviours: createBehaviours(behaviours),
      load: (addresses) => {
        this.loads.push(addresses);
        if (this.failNextLoad) {
          this.failNextLoad = false;
          return Promise.reject(new Error("the store is down"));
        }
        return Promise.resolve(addresses.map((address) => this.states.get(address)));
      },
      clock: { monotonicMs: () => this.monotonicMs },
      freeze: this.#options.freeze ?? true,
      limits: this.#options.limits ?? {},
      ...(this.#options.guard === undefined ? undefined : { guard: this.#options.guard }),
      onProgress: (progress) => this.progress.push(progress),
      onLifecycle: (event) => this.events.push(event),
    });
  }
}

/** JSON of a body, for assertions. */
// deno-lint-ignore no-explicit-any -- tests know what they wrote
export function jsonOf(body: Uint8Array): any {
  return JSON.parse(new TextDecoder().decode(body));
}

function segmentOf(record: TestRecord, offset: number, partition: Partition): Segment {
  const { message, raw, atMs = 1_000, class: segmentClass = "ingress", ...head } = record;
  const body = raw instanceof Uint8Array
    ? raw
    : new TextEncoder().encode(raw ?? JSON.stringify(message));
  return {
    partition,
    class: segmentClass,
    epoch: 1,
    firstOffset: offset,
    count: 1,
    acceptedAtMs: atMs,
    bytes: packRecord({ budget: 10_000, ...head }, body),
  };
}
