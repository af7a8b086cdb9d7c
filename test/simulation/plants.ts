/**
 * Faults planted into the simulated node, each a mistake that a careless change could make. The
 * simulation must find every one of them; without a plant it must find nothing.
 */
import type { StoredSample } from "../../actors/telemetry/store.ts";
import type { ViewWrite } from "../../actors/device/views.ts";
import type { PartitionCommit, TransientEffect } from "../../runtime/actor/batch.ts";
import type { RunningEngine } from "../../runtime/actor/runner.ts";
import { waitMs } from "../../runtime/clock.ts";
import type { PartitionLog } from "../../runtime/log/partition_log.ts";
import type { TickSource } from "../../runtime/log/reader_port.ts";
import { READER_NAMES } from "./sim_readers.ts";
import type { World } from "./world.ts";

export interface Plants {
  log(log: PartitionLog, world: World): PartitionLog;
  engine(
    engine: RunningEngine,
    world: World,
    effects: (effects: readonly TransientEffect[]) => void,
  ): RunningEngine;
  readonly ignoresForget: boolean;
  /** The answer of an append does not wait for the end of its write. */
  readonly isHasty: boolean;
  incarnation(life: number): string;
  /** A reader's way to the log. */
  source(source: TickSource): TickSource;
  /** What the reader's store is given. */
  row(write: ViewWrite): ViewWrite;
  sample(sample: StoredSample): StoredSample;
}

export const NO_PLANTS: Plants = {
  log: (log) => log,
  engine: (engine) => engine,
  ignoresForget: false,
  isHasty: false,
  incarnation: (life) => `life-${life}`,
  source: (source) => source,
  row: (write) => write,
  sample: (sample) => sample,
};

/** `log` with some methods replaced. */
function withMethods(log: PartitionLog, methods: Partial<PartitionLog>): PartitionLog {
  return new Proxy(log, {
    get(target, key) {
      const replaced = methods[key as keyof PartitionLog];
      if (replaced !== undefined) return replaced;
      const value = target[key as keyof PartitionLog];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function onCommit(change: (commit: PartitionCommit) => PartitionCommit): Plants {
  return {
    ...NO_PLANTS,
    log: (log) =>
      withMethods(log, { commit: (token, commits) => log.commit(token, commits.map(change)) }),
  };
}

let plantedNumber = 0;

export const PLANTS: Readonly<Record<string, Plants>> = {
  "acknowledged before the append is durable": {
    ...NO_PLANTS,
    log: (log, world) =>
      withMethods(log, {
        append(append) {
          waitMs(world.clock, 2).then(() => log.append(append)).catch((fault) =>
            world.note(`planted append lost: ${fault}`)
          );
          return Promise.resolve({ ok: true, isRepeat: false });
        },
      }),
  },
  "a repeated append is not recognised": {
    ...NO_PLANTS,
    log: (log) =>
      withMethods(log, {
        append: (append) => log.append({ ...append, incarnation: `planted-${plantedNumber++}` }),
      }),
  },
  "the cursor moves before the states are stored": {
    ...NO_PLANTS,
    log: (log, world) =>
      withMethods(log, {
        async commit(token, commits) {
          const bare = commits.map((commit) => ({
            ...commit,
            states: [],
            sends: [],
            records: [],
            reminders: [],
          }));
          const outcomes = await log.commit(token, bare);
          await waitMs(world.clock, 1);
          const late = commits.map((commit) => ({
            ...commit,
            fromCursor: commit.toCursor,
            processed: 0,
            deadLetters: [],
          }));
          await log.commit(token, late);
          return outcomes;
        },
      }),
  },
  "activations keep what a refused commit did": { ...NO_PLANTS, ignoresForget: true },
  "reminders fire early": {
    ...NO_PLANTS,
    log: (log) =>
      withMethods(log, {
        dueReminders: async (partition, untilMs, limit) =>
          (await log.dueReminders(partition, untilMs + 40, limit))
            .map((reminder) => ({ ...reminder, dueAtMs: Math.min(reminder.dueAtMs, untilMs) })),
      }),
  },
  "effects are let out before the commit": {
    ...NO_PLANTS,
    engine: (engine, _world, effects) => {
      const handle = engine.handle.bind(engine);
      engine.handle = async (batches) => {
        const commits = await handle(batches);
        for (const commit of commits) effects(commit.effects);
        return commits;
      };
      return engine;
    },
  },
  "sends of a commit are forgotten": onCommit((commit) => ({ ...commit, sends: [] })),
  "a parked record leaves no dead letter": onCommit((commit) => ({ ...commit, deadLetters: [] })),
  "a fired reminder is not removed": onCommit((commit) => ({
    ...commit,
    reminders: commit.reminders.filter((write) => write.reminder !== undefined),
  })),
  "the cursor skips a record": onCommit((commit) =>
    commit.isPartial || commit.toCursor - commit.fromCursor < 2
      ? commit
      : { ...commit, states: commit.states.slice(1) }
  ),
  "records are counted as handled twice": onCommit((commit) => ({
    ...commit,
    processed: commit.processed * 2,
  })),
  "segments are handed over in the wrong order": {
    ...NO_PLANTS,
    log: (log) =>
      withMethods(log, {
        pending: async (partition, from, bound) => {
          const pending = await log.pending(partition, from, bound);
          return { ...pending, segments: [...pending.segments].reverse() };
        },
      }),
  },
  "acknowledged while its write is under way": { ...NO_PLANTS, isHasty: true },
  "a reader tells the log of what its store has not yet": {
    ...NO_PLANTS,
    source: (source) => ({
      ...source,
      async readTicks(after, classes, bytesMax) {
        const read = await source.readTicks(after, classes, bytesMax);
        await source.saveCursor(read.cursor);
        return read;
      },
    }),
  },
  "the log is trimmed behind the fastest reader": {
    ...NO_PLANTS,
    log: (log) =>
      withMethods(log, {
        async saveCursor(_reader, tick) {
          for (const name of READER_NAMES) await log.saveCursor(name, tick);
        },
      }),
  },
  "a row is written whatever version is stored": {
    ...NO_PLANTS,
    row: (write) => ({ ...write, version: ++plantedNumber }),
  },
  "a sample that is stored already is stored again": {
    ...NO_PLANTS,
    sample: (sample) => ({ ...sample, position: ++plantedNumber }),
  },
  "a reminder that kills is dropped and not parked": onCommit((commit) => ({
    ...commit,
    deadLetters: commit.deadLetters.filter(({ recordId, reason }) =>
      reason !== "killed_engine" || !recordId.includes("#")
    ),
  })),
};
