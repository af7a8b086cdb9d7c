import assert from "node:assert/strict";
import type { CommitOutcome, PartitionLog, Pending, Segment } from "../log/partition_log.ts";
import { packRecord } from "../log/record.ts";
import { createLogger } from "../logger.ts";
import { systemClock } from "../clock.ts";
import type { PartitionBatch, PartitionCommit, Reminder, TransientEffect } from "./batch.ts";
import type { EngineEvent } from "./engine_events.ts";
import {
  EngineRunner,
  readBatch,
  REMINDERS_MAX,
  type RunnerOptions,
  type RunningEngine,
} from "./runner.ts";

const BODY = new TextEncoder().encode('{"type":"x"}');

function segment(firstOffset: number, count: number, acceptedAtMs: number): Segment {
  const record = packRecord({ to: "a/1", budget: 1 }, BODY);
  const bytes = new Uint8Array(record.length * count);
  for (let i = 0; i < count; i++) bytes.set(record, i * record.length);
  return { partition: 0, class: "ingress", epoch: 1, firstOffset, count, acceptedAtMs, bytes };
}

/** `count` reminders, the n-th due at `n + 1`. */
function reminders(count: number): Reminder[] {
  return Array.from({ length: count }, (_, i) => (
    { to: "a/1", name: `r${i}`, dueAtMs: i + 1, budget: 1, body: BODY }
  ));
}

/** As much of a log as `readBatch` asks. */
function logOf(segments: readonly Segment[], due: readonly Reminder[], cursor = 0): PartitionLog {
  const last = segments.at(-1);
  const nextCursor = last === undefined ? cursor : last.firstOffset + last.count;
  const pending: Pending = { cursor, segments, isEndOfLog: true, nextCursor };
  const log: Partial<PartitionLog> = {
    cursor: () => cursor,
    pending: () => Promise.resolve(pending),
    dueReminders: (_partition, untilMs, limit) =>
      Promise.resolve(due.filter(({ dueAtMs }) => dueAtMs <= untilMs).slice(0, limit)),
  };
  return log as PartitionLog;
}

async function read(log: PartitionLog, nowMs: number): Promise<PartitionBatch> {
  const batch = await readBatch(log, 0, nowMs, 1_024);
  assert.ok(batch !== undefined);
  return batch;
}

Deno.test("a batch has all that is pending and the reminders due by the end of the log", async () => {
  const batch = await read(logOf([segment(5, 2, 10), segment(7, 1, 50)], reminders(20), 5), 15);
  assert.equal(batch.nextCursor, 8);
  assert.equal(batch.endOfLogAtMs, 50, "the log's own time, not a clock behind it");
  assert.equal(batch.reminders.length, 20);
});

Deno.test("records behind the last reminder that was read wait for the next batch", async () => {
  const lastMs = REMINDERS_MAX;
  const early = segment(5, 2, 10);
  const late = segment(7, 3, lastMs + 1);
  const due = reminders(REMINDERS_MAX + 7);
  const batch = await read(logOf([early, late], due, 5), lastMs + 100);
  assert.equal(batch.reminders.length, REMINDERS_MAX);
  assert.deepEqual(batch.segments, [early]);
  assert.equal(batch.nextCursor, 7);
  assert.equal(batch.endOfLogAtMs, lastMs);
  // The next batch, as a commit of this one leaves the log.
  const rest = await read(logOf([late], due.slice(REMINDERS_MAX), 7), lastMs + 100);
  assert.deepEqual(rest.segments, [late]);
  assert.equal(rest.reminders.length, 7);
  assert.equal(rest.nextCursor, 10);
});

Deno.test("a record of the last reminder's own time waits: more of that time may be due", async () => {
  const due = [...reminders(REMINDERS_MAX), ...reminders(REMINDERS_MAX).slice(-1)];
  const batch = await read(logOf([segment(5, 1, REMINDERS_MAX)], due, 5), REMINDERS_MAX);
  assert.deepEqual(batch.segments, []);
  assert.equal(batch.nextCursor, 5, "nothing is skipped");
  assert.equal(batch.endOfLogAtMs, REMINDERS_MAX, "reminders alone still fire");
});

Deno.test("one reminder less than the bound cuts nothing", async () => {
  const late = segment(5, 1, 5_000);
  const batch = await read(logOf([late], reminders(REMINDERS_MAX - 1), 5), 5_000);
  assert.deepEqual(batch.segments, [late]);
  assert.equal(batch.endOfLogAtMs, 5_000);
});

Deno.test("events of actors are told when their commit is durable, and not of a refused one", async () => {
  const told: EngineEvent[][] = [];
  const done = Promise.withResolvers<void>();
  const engine = new ScriptedEngine();
  const log = new CommittingLog();
  await using _runner = startRunner(log, engine, {
    onLifecycle: (events) => {
      told.push([...events]);
      done.resolve();
    },
  });
  await log.committing.promise;
  assert.deepEqual(told, [], "not while the commit is under way");
  log.durable.resolve();
  await done.promise;
  assert.deepEqual(told, [[eventOf(0)]]);
  assert.deepEqual(await engine.forgotten.promise, [1]);
});

Deno.test("an engine that dies between its answer and the commit takes no effects along", async () => {
  const out = Promise.withResolvers<readonly TransientEffect[]>();
  const engine = new ScriptedEngine();
  const log = new CommittingLog();
  await using _runner = startRunner(log, engine, { onEffects: out.resolve });
  await log.committing.promise;
  engine.kill();
  await engine.ended;
  log.durable.resolve();
  assert.deepEqual(await out.promise, [effectOf(0)]);
});

/** Has one record in each of two partitions; commits when told so, and refuses the second. */
class CommittingLog implements Partial<PartitionLog> {
  readonly durable = Promise.withResolvers<void>();
  readonly committing = Promise.withResolvers<void>();
  #hasWork = true;

  acquire = () => Promise.resolve(1);
  attempts = () => [];
  onAppended = () => () => {};
  nextDueMs = () => undefined;
  ready = () => this.#hasWork ? [0, 1] : [];
  cursor = () => 0;
  dueReminders = () => Promise.resolve([]);

  pending(partition: number): Promise<Pending> {
    const segments = [{ ...segment(0, 1, 1), partition }];
    return Promise.resolve({ segments, cursor: 0, isEndOfLog: true, nextCursor: 1 });
  }

  async commit(): Promise<CommitOutcome[]> {
    this.#hasWork = false;
    this.committing.resolve();
    await this.durable.promise;
    return [{ ok: true, isRepeat: false }, { ok: false, code: "store_failed", detail: "disk" }];
  }
}

function startRunner(
  log: CommittingLog,
  engine: RunningEngine,
  listeners: Partial<Pick<RunnerOptions, "onEffects" | "onLifecycle">>,
): EngineRunner {
  return new EngineRunner({
    log: log as Partial<PartitionLog> as PartitionLog,
    partitions: [0, 1],
    startEngine: () => Promise.resolve(engine),
    clock: systemClock,
    logger: createLogger({ level: "error", write: () => {}, nowMs: () => 0, isText: true }),
    onEffects: () => {},
    ...listeners,
  });
}

function effectOf(partition: number): TransientEffect {
  return { type: "downlink", from: `a/${partition}`, message: { type: "x" } };
}

function eventOf(partition: number): EngineEvent {
  return { type: "resumed", partition, address: `a/${partition}` };
}

/** Handles everything with an event for each partition. */
class ScriptedEngine implements RunningEngine {
  readonly forgotten = Promise.withResolvers<readonly number[]>();
  readonly #end = Promise.withResolvers<string>();
  readonly ended = this.#end.promise;
  #events: EngineEvent[] = [];

  handle(batches: readonly PartitionBatch[]): Promise<PartitionCommit[]> {
    this.#events = batches.map(({ partition }) => eventOf(partition));
    return Promise.resolve(batches.map((batch) => ({
      partition: batch.partition,
      fromCursor: batch.cursor,
      toCursor: batch.nextCursor,
      states: [],
      sends: [],
      records: [],
      reminders: [],
      deadLetters: [],
      activities: [],
      processed: 1,
      effects: [effectOf(batch.partition)],
      isPartial: false,
    })));
  }

  takeEvents(): readonly EngineEvent[] {
    return this.#events.splice(0);
  }

  forget(partitions: readonly number[]): void {
    this.forgotten.resolve(partitions);
  }

  kill(): void {
    this.#end.resolve("killed");
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#end.resolve("disposed");
    return Promise.resolve();
  }
}

Deno.test("a quarantine engine that does not start is started again, and the runner goes on", async () => {
  const released = Promise.withResolvers<void>();
  let starts = 0;
  const log: Partial<PartitionLog> = {
    acquire: () => Promise.resolve(1),
    attempts: () => [{ partition: 0, fromOffset: 0, toOffset: 1, deaths: 2 }],
    onAppended: () => () => {},
    nextDueMs: () => undefined,
    ready: () => [],
    cursor: () => 0,
    pending: () =>
      Promise.resolve({
        segments: starts < 3 ? [segment(0, 1, 1)] : [],
        cursor: 0,
        isEndOfLog: true,
        nextCursor: starts < 3 ? 1 : 0,
      }),
    dueReminders: () => Promise.resolve([]),
    commit: () => Promise.resolve([{ ok: true, isRepeat: false }]),
  };
  await using _runner = new EngineRunner({
    log: log as PartitionLog,
    partitions: [0],
    startEngine(lane) {
      if (lane === "engine") return Promise.resolve(new ScriptedEngine());
      return ++starts < 3
        ? Promise.reject(new Error("fork"))
        : Promise.resolve(new ScriptedEngine());
    },
    clock: systemClock,
    logger: createLogger({ level: "error", write: () => {}, nowMs: () => 0, isText: true }),
    onEffects: () => {},
    onEvent: ({ type }) => type === "released" && released.resolve(),
  });
  await released.promise;
  assert.equal(starts, 3);
});
