/**
 * Drives engines against the log: reads what is pending, has it handled, commits, and only then lets
 * effects out. When an engine dies, the partition that it was in moves to the quarantine lane, an
 * engine of its own, until the record that kills is found and parked, while all other partitions go
 * on.
 *
 * Order of each round (design section 4): read · handle · commit · effects.
 */
import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Logger } from "../logger.ts";
import type { AttemptMark, PartitionLog, Pending } from "../log/partition_log.ts";
import { waitMs } from "../clock.ts";
import type { Partition } from "./address.ts";
import type {
  Engine,
  PartitionBatch,
  PartitionCommit,
  Reminder,
  TransientEffect,
} from "./batch.ts";
import type { EngineEvent } from "./engine_events.ts";
import { EngineDiedError } from "./engine_process.ts";
import type { Progress } from "./partition_run.ts";
import { Quarantine } from "./quarantine.ts";

export type LaneId = "engine" | "quarantine";

/** A running engine; `ended` resolves when it has ended by itself or was killed. */
export interface RunningEngine extends Engine, AsyncDisposable {
  readonly pid?: number;
  readonly ended: Promise<string>;
  /** What the last `handle` told of actors, once; absent: it tells nothing. */
  takeEvents?(): readonly EngineEvent[];
  kill(): void;
}

export interface RunnerEvent {
  readonly type: "engine_started" | "engine_died" | "isolated" | "released" | "parked";
  readonly lane: LaneId;
  readonly detail: Readonly<Record<string, unknown>>;
}

export interface RunnerOptions {
  readonly log: PartitionLog;
  readonly partitions: readonly Partition[];
  readonly startEngine: (lane: LaneId) => Promise<RunningEngine>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Effects of a commit that is durable. */
  readonly onEffects: (effects: readonly TransientEffect[]) => void;
  /** Of each commit that is durable. */
  readonly onCommitted?: (commit: PartitionCommit) => void;
  /** A commit stored activities. */
  readonly onActivities?: () => void;
  readonly onEvent?: (event: RunnerEvent) => void;
  /** What happened to actors, in commits that are durable. */
  readonly onLifecycle?: (events: readonly EngineEvent[]) => void;
}

export interface LaneStatus {
  readonly id: LaneId;
  readonly status: "starting" | "running" | "stopped";
  readonly restarts: number;
  readonly pid?: number;
  readonly lastFault?: string;
}

type BatchSpan = Pick<PartitionBatch, "partition" | "cursor" | "nextCursor">;

/** Bytes of one round over all partitions: bounds what a dead engine makes us do again. */
const ROUND_BYTES_MAX = 4 * 1024 * 1024;
/** Least time from one round to the next, unless there is much to do. Adds to no first message. */
const ROUND_MS = 10;
/**
 * Records of a round from which on the next is as late as that; after fewer it is earlier in proportion.
 * Too many: rounds of few records take from appends. Too few: a call and its answer wait for a round each.
 */
const PACED_RECORDS = 64;
/** After few records a shorter wait is not worth a timer: those of this runtime come after 2 ms. */
const PACE_MS_MIN = 2;
export const REMINDERS_MAX = 1_000;
const BACKOFF_MS_MAX = 2_000;

/** One engine and its restarts. */
export class Lane {
  engine: RunningEngine | undefined;
  restarts = -1;
  lastFault: string | undefined;
  /** Called when the engine has ended, so that another is started before there is work. */
  onLost: () => void = () => {};
  #backoffMs = 0;

  constructor(readonly id: LaneId, readonly options: RunnerOptions) {}

  /** The engine, started if there is none; undefined: it did not start. Backs off while all fails. */
  async acquire(): Promise<RunningEngine | undefined> {
    if (this.engine !== undefined) return this.engine;
    if (this.#backoffMs > 0) await waitMs(this.options.clock, this.#backoffMs);
    this.#backoffMs = Math.min(BACKOFF_MS_MAX, this.#backoffMs * 2 || 20);
    let engine: RunningEngine;
    try {
      engine = await this.options.startEngine(this.id);
    } catch (fault) {
      this.options.logger.error("engine did not start", {
        lane: this.id,
        fault: messageOf(fault),
      });
      return undefined;
    }
    this.engine = engine;
    this.restarts++;
    this.options.onEvent?.({
      type: "engine_started",
      lane: this.id,
      detail: { pid: engine.pid, restarts: this.restarts },
    });
    engine.ended.then((how) => this.lost(engine, how));
    return engine;
  }

  /** The engine has ended; the next `acquire` starts another. */
  lost(engine: RunningEngine, how: string): void {
    if (this.engine !== engine) return;
    this.engine = undefined;
    this.lastFault = how;
    this.options.onEvent?.({ type: "engine_died", lane: this.id, detail: { how } });
    this.onLost();
  }

  succeeded(): void {
    this.#backoffMs = 0;
  }

  async stop(): Promise<void> {
    const engine = this.engine;
    this.engine = undefined;
    await engine?.[Symbol.asyncDispose]();
  }

  status(): LaneStatus {
    return {
      id: this.id,
      status: this.engine === undefined ? "stopped" : "running",
      restarts: Math.max(0, this.restarts),
      ...(this.engine?.pid === undefined ? undefined : { pid: this.engine.pid }),
      ...(this.lastFault === undefined ? undefined : { lastFault: this.lastFault }),
    };
  }
}

export class EngineRunner implements AsyncDisposable {
  /** Rejects if the lease is lost; resolves when stopped. */
  readonly done: Promise<void>;
  /** The fencing token, greater than that of any runner before. */
  readonly acquired: Promise<number>;
  readonly #options: RunnerOptions;
  readonly #main: Lane;
  readonly #quarantine: Quarantine;
  readonly #marks = new Map<Partition, AttemptMark>();
  #token = 0;
  /** Where the next round begins, so that a backlog of some partitions starves no others. */
  #nextPartition = 0;
  #isStopping = false;
  #wake: (() => void) | undefined;
  #fail!: (fault: unknown) => void;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#main = new Lane("engine", options);
    this.#main.onLost = () => this.#wake?.();
    this.#quarantine = new Quarantine({
      ...options,
      commit: (engine, commits) => this.#commit(engine, commits),
      mark: (mark) => this.#mark([mark]),
      onFault: (fault) => this.#fail(fault),
      onReleased: (partition) => this.#release(partition),
    });
    this.acquired = options.log.acquire(options.partitions);
    const failed = new Promise<never>((_, reject) => this.#fail = reject);
    this.done = Promise.race([this.#run(), failed]).finally(() => this.#isStopping = true);
  }

  /** Lanes, for the tree. */
  lanes(): LaneStatus[] {
    return [this.#main.status(), ...this.#quarantine.status()];
  }

  /** Ends an engine as a crash would; it comes back. */
  kill(lane: LaneId): boolean {
    const engine = lane === "engine" ? this.#main.engine : this.#quarantine.lane.engine;
    engine?.kill();
    return engine !== undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    this.#wake?.();
    await this.#quarantine.stop();
    await this.#main.stop();
    await this.done.catch((fault) =>
      this.#options.logger.debug("runner had ended", { fault: messageOf(fault) })
    );
  }

  async #run(): Promise<void> {
    const { log } = this.#options;
    this.#token = await this.acquired;
    for (const mark of log.attempts()) {
      this.#marks.set(mark.partition, mark);
      if (mark.deaths >= 2) this.#isolate(mark); // Of a node that ended meanwhile.
    }
    const unlisten = log.onAppended(() => this.#wake?.());
    try {
      while (!this.#isStopping) await this.#round();
    } finally {
      unlisten();
    }
  }

  async #round(): Promise<void> {
    const engine = await this.#main.acquire();
    if (engine === undefined) return;
    this.#quarantine.work(); // Only now: all other partitions wait for the main engine.
    const batches = await this.#gather();
    if (batches.length === 0) return await this.#sleep();
    const startedMs = this.#options.clock.monotonicMs();
    const isLarge = bytesOf(batches) >= ROUND_BYTES_MAX / 4;
    const records = recordsOf(batches);
    const spans = batches.map(({ partition, cursor, nextCursor }) => ({
      partition,
      cursor,
      nextCursor,
    }));
    let commits: PartitionCommit[];
    try {
      // Emptied: the engine has them now, and their bytes would stay in memory until it answers.
      commits = await engine.handle(batches.splice(0));
    } catch (fault) {
      if (!(fault instanceof EngineDiedError)) throw fault;
      if (fault.hadBatch && !this.#isStopping) await this.#recover(spans, fault);
      this.#main.lost(engine, fault.message);
      return;
    }
    await this.#commit(engine, commits);
    this.#main.succeeded();
    if (!isLarge) await this.#pace(startedMs, records);
  }

  /** Under load a round begins `ROUND_MS` after the last: few large commits leave room for appends. */
  async #pace(startedMs: number, records: number): Promise<void> {
    const roundMs = ROUND_MS * Math.min(1, records / PACED_RECORDS);
    const leftMs = startedMs + roundMs - this.#options.clock.monotonicMs();
    const leastMs = records < PACED_RECORDS ? PACE_MS_MIN : 0;
    if (leftMs > leastMs) await waitMs(this.#options.clock, leftMs);
  }

  /** What is pending of all partitions that are not in quarantine, within the round's bound. */
  async #gather(): Promise<PartitionBatch[]> {
    const { log, clock } = this.#options;
    const nowMs = clock.nowMs();
    const batches: PartitionBatch[] = [];
    let bytes = 0;
    const ready = log.ready(nowMs);
    const first = Math.max(0, ready.findIndex((partition) => partition >= this.#nextPartition));
    for (let i = 0; i < ready.length; i++) {
      const partition = ready[(first + i) % ready.length]!;
      if (this.#quarantine.holds(partition)) continue;
      const batch = await readBatch(log, partition, nowMs, LIMITS.batchRecordsMax);
      if (batch === undefined) continue;
      batches.push(batch);
      for (const segment of batch.segments) bytes += segment.bytes.length;
      this.#nextPartition = partition + 1;
      if (bytes >= ROUND_BYTES_MAX) break;
    }
    return batches;
  }

  /** Until there is something to read, the next reminder is due, or the runner stops. */
  async #sleep(): Promise<void> {
    const { log, clock } = this.#options;
    const dueMs = log.nextDueMs();
    await new Promise<void>((resolve) => {
      const cancel = dueMs === undefined
        ? undefined
        : clock.after(Math.max(1, Math.min(dueMs - clock.nowMs(), 60_000)), resolve);
      this.#wake = () => {
        cancel?.();
        resolve();
      };
      if (this.#isStopping) this.#wake();
    });
    this.#wake = undefined;
  }

  /** Commits and lets the effects of what was committed out. */
  async #commit(engine: RunningEngine, commits: readonly PartitionCommit[]): Promise<boolean> {
    const events = engine.takeEvents?.() ?? [];
    const outcomes = await this.#options.log.commit(this.#token, commits);
    const refused: Partition[] = [];
    let hasActivities = false;
    for (let i = 0; i < commits.length; i++) {
      const commit = commits[i]!;
      const outcome = outcomes[i]!;
      if (!outcome.ok) {
        refused.push(commit.partition);
        this.#options.logger.warn("commit refused", { partition: commit.partition, ...outcome });
        if (outcome.code === "fenced") this.#isStopping = true;
        continue;
      }
      this.#options.onCommitted?.(commit);
      if (commit.effects.length > 0) this.#options.onEffects(commit.effects);
      hasActivities ||= commit.activities.length > 0;
      this.#passed(commit);
    }
    if (hasActivities) this.#options.onActivities?.();
    const durable = events.filter(({ partition }) => !refused.includes(partition));
    if (durable.length > 0) this.#options.onLifecycle?.(durable);
    if (refused.length === 0) return true;
    engine.forget(refused);
    await waitMs(this.#options.clock, 50); // The store said no: it is full, failing or not ours.
    return false;
  }

  /**
   * The partition that the engine was in is isolated at once: there an engine that died by chance
   * costs nothing, and here one that was killed holds up all others. If nobody knows which it was, the
   * batch is retried whole, and at the next such death each of its partitions is isolated.
   */
  async #recover(batches: readonly BatchSpan[], fault: EngineDiedError): Promise<void> {
    this.#options.logger.error("engine died with a batch in hand", {
      fault: fault.message,
      ...fault.suspect,
    });
    const accused = batches.filter(({ partition }) => partition === fault.suspect?.partition);
    const suspect = accused.length > 0 ? fault.suspect : undefined;
    const marks = (suspect === undefined ? batches : accused).map((batch): AttemptMark => {
      const { partition, cursor: fromOffset, nextCursor: toOffset } = batch;
      const deaths = (this.#marks.get(partition)?.deaths ?? 0) + 1;
      return { partition, fromOffset, toOffset, deaths };
    });
    await this.#mark(marks);
    for (const mark of marks) {
      if (suspect !== undefined || mark.deaths >= 2) this.#isolate(mark, suspect);
    }
  }

  #isolate(mark: AttemptMark, suspect?: Progress): void {
    const { partition, fromOffset, toOffset } = mark;
    this.#options.onEvent?.({
      type: "isolated",
      lane: "quarantine",
      detail: { partition, fromOffset, toOffset },
    });
    this.#quarantine.hold(mark, suspect);
  }

  async #mark(marks: readonly AttemptMark[]): Promise<void> {
    for (const mark of marks) this.#marks.set(mark.partition, mark);
    await this.#options.log.markAttempts(this.#token, marks);
  }

  /** The log drops a mark by itself when a commit passes it. */
  #passed(commit: PartitionCommit): void {
    const mark = this.#marks.get(commit.partition);
    if (mark !== undefined && commit.toCursor >= mark.toOffset) this.#marks.delete(mark.partition);
  }

  #release(partition: Partition): void {
    this.#marks.delete(partition);
    this.#main.engine?.forget([partition]);
    this.#wake?.();
  }
}

/** More reminders are due than were read: records behind the last one read wait for the next batch. */
function cutAtReminder(
  partition: Partition,
  cursor: number,
  pending: Pending,
  reminders: readonly Reminder[],
): PartitionBatch {
  const untilMs = reminders[reminders.length - 1]!.dueAtMs;
  const segments = pending.segments.filter((segment) => segment.acceptedAtMs < untilMs);
  const last = segments[segments.length - 1];
  const nextCursor = last === undefined ? cursor : last.firstOffset + last.count;
  return { partition, cursor, segments, nextCursor, reminders, endOfLogAtMs: untilMs };
}

function recordsOf(batches: readonly PartitionBatch[]): number {
  let records = 0;
  for (const { segments, reminders } of batches) {
    records += reminders.length;
    for (const { count } of segments) records += count;
  }
  return records;
}

function bytesOf(batches: readonly PartitionBatch[]): number {
  let bytes = 0;
  for (const { segments } of batches) {
    for (const segment of segments) bytes += segment.bytes.length;
  }
  return bytes;
}

/** Pending records and due reminders of one partition; undefined if there is nothing to do. */
export async function readBatch(
  log: PartitionLog,
  partition: Partition,
  nowMs: number,
  recordsMax: number,
): Promise<PartitionBatch | undefined> {
  const cursor = log.cursor(partition);
  const pending = await log.pending(partition, cursor, {
    recordsMax,
    bytesMax: LIMITS.batchBytesMax,
  });
  if (pending.corrupt !== undefined) return undefined;
  const last = pending.segments[pending.segments.length - 1];
  const untilMs = pending.isEndOfLog
    ? Math.max(nowMs, last?.acceptedAtMs ?? 0)
    : last?.acceptedAtMs;
  const reminders = untilMs === undefined
    ? []
    : await log.dueReminders(partition, untilMs, REMINDERS_MAX);
  if (reminders.length === REMINDERS_MAX) {
    return cutAtReminder(partition, cursor, pending, reminders);
  }
  const isIdle = pending.segments.length === 0 && reminders.length === 0;
  if (isIdle && pending.nextCursor === cursor) return undefined;
  return {
    partition,
    cursor,
    segments: pending.segments,
    nextCursor: pending.nextCursor,
    reminders,
    ...(pending.isEndOfLog ? { endOfLogAtMs: untilMs! } : undefined),
  };
}
