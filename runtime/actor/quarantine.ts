/**
 * The quarantine lane: partitions whose records killed an engine twice, each bisected in an engine of
 * its own until the record or reminder that kills is alone, which is then parked. What survives is
 * committed as usual, so order holds and nothing is handled twice.
 */
import { LIMITS } from "../limits.ts";
import type { AttemptMark } from "../log/partition_log.ts";
import { recordId, recordsOf, sliceSegment } from "../log/record.ts";
import type { Segment } from "../log/partition_log.ts";
import type { Partition } from "./address.ts";
import type { DeadLetter, PartitionBatch, PartitionCommit, Reminder } from "./batch.ts";
import { EngineDiedError } from "./engine_process.ts";
import {
  Lane,
  type LaneStatus,
  readBatch,
  type RunnerOptions,
  type RunningEngine,
} from "./runner.ts";

export interface QuarantineOptions extends RunnerOptions {
  readonly commit: (engine: RunningEngine, commits: PartitionCommit[]) => Promise<boolean>;
  readonly mark: (mark: AttemptMark) => Promise<void>;
  readonly onReleased: (partition: Partition) => void;
  /** The log gave up: the runner ends. */
  readonly onFault: (fault: unknown) => void;
}

/** How much of the batch the next try hands over. */
interface Share {
  records: number;
  reminders: number;
}

export class Quarantine {
  readonly lane: Lane;
  readonly #options: QuarantineOptions;
  readonly #held = new Map<Partition, AttemptMark>();
  #loop: Promise<void> | undefined;
  #isStopping = false;

  constructor(options: QuarantineOptions) {
    this.#options = options;
    this.lane = new Lane("quarantine", options);
  }

  holds(partition: Partition): boolean {
    return this.#held.has(partition);
  }

  status(): LaneStatus[] {
    return this.#held.size > 0 || this.lane.engine !== undefined ? [this.lane.status()] : [];
  }

  add(mark: AttemptMark): void {
    this.#held.set(mark.partition, mark);
    this.#loop ??= this.#run().catch((fault) => this.#options.onFault(fault))
      .finally(() => this.#loop = undefined);
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.lane.stop();
    await this.#loop;
  }

  async #run(): Promise<void> {
    for (const partition of this.#held.keys()) {
      if (this.#isStopping) break;
      await this.#clear(partition);
      if (this.#isStopping) break;
      this.#held.delete(partition);
      this.#options.onReleased(partition);
      this.#options.onEvent?.({ type: "released", lane: "quarantine", detail: { partition } });
    }
    await this.lane.stop();
    // What was added while the lane stopped.
    if (this.#held.size > 0 && !this.#isStopping) await this.#run();
  }

  /** Until the suspected range is behind the cursor. */
  async #clear(partition: Partition): Promise<void> {
    const { log, clock } = this.#options;
    let share: Share | undefined;
    let hasPassed = false; // At least one try: what kills may be a reminder, which moves no cursor.
    while (!this.#isStopping) {
      const mark = this.#held.get(partition)!;
      const whole = await readBatch(log, partition, clock.nowMs(), LIMITS.batchRecordsMax);
      if (whole === undefined || (hasPassed && whole.cursor >= mark.toOffset)) return;
      const records = countOf(whole.segments);
      const tried: Share = share ?? { records, reminders: whole.reminders.length };
      const batch = cutBatch(whole, tried);
      const engine = await this.lane.acquire();
      try {
        const commits = await engine.handle([batch]);
        if (await this.#options.commit(engine, commits)) {
          hasPassed = share === undefined || hasPassed;
          share = undefined;
        }
        this.lane.succeeded();
        continue;
      } catch (fault) {
        if (!(fault instanceof EngineDiedError)) throw fault;
        if (this.#isStopping) return;
        this.lane.lost(engine, fault.message);
        if (!fault.hadBatch) continue;
      }
      await this.#options.mark({ ...mark, fromOffset: whole.cursor, deaths: mark.deaths + 1 });
      this.#held.set(partition, { ...mark, fromOffset: whole.cursor, deaths: mark.deaths + 1 });
      share = halved(tried, batch);
      if (share === undefined) await this.#park(batch);
    }
  }

  /** The batch is down to the one record or reminder that kills. */
  async #park(batch: PartitionBatch): Promise<void> {
    const segment = batch.segments[0];
    const letter = segment === undefined
      ? letterOfReminder(batch.reminders[0]!)
      : letterOfRecord(segment);
    const reminder = segment === undefined ? batch.reminders[0]! : undefined;
    const commit: PartitionCommit = {
      partition: batch.partition,
      fromCursor: batch.cursor,
      toCursor: segment === undefined ? batch.cursor : segment.firstOffset + 1,
      states: [],
      sends: [],
      records: [],
      reminders: reminder === undefined ? [] : [{ to: reminder.to, name: reminder.name }],
      deadLetters: [letter],
      activities: [],
      processed: 0,
      effects: [],
      isPartial: false,
    };
    const engine = await this.lane.acquire();
    await this.#options.commit(engine, [commit]);
    this.#options.onEvent?.({
      type: "parked",
      lane: "quarantine",
      detail: { partition: batch.partition, to: letter.to, recordId: letter.recordId },
    });
  }
}

/**
 * The next smaller try after a death: half the records; for one record the reminders before it, then
 * the record without those after it; half the reminders. Undefined: one thing is left, and it kills.
 */
function halved(share: Share, batch: PartitionBatch): Share | undefined {
  if (share.records > 1) return { ...share, records: share.records >> 1 };
  if (share.records === 0) {
    return share.reminders > 1 ? { records: 0, reminders: share.reminders >> 1 } : undefined;
  }
  const atMs = batch.segments[0]!.acceptedAtMs;
  const before = batch.reminders.filter((reminder) => reminder.dueAtMs <= atMs).length;
  if (before > 0) return { records: 0, reminders: before };
  return share.reminders > 0 ? { records: 1, reminders: 0 } : undefined;
}

function cutBatch(whole: PartitionBatch, share: Share): PartitionBatch {
  const segments: Segment[] = [];
  let left = share.records;
  for (const segment of whole.segments) {
    if (left === 0) break;
    const part = left >= segment.count ? segment : sliceSegment(segment, 0, left);
    segments.push(part);
    left -= part.count;
  }
  const isWhole = countOf(segments) === countOf(whole.segments);
  const reminders = whole.reminders.slice(0, share.reminders);
  const last = segments[segments.length - 1];
  const { endOfLogAtMs: _, ...rest } = whole;
  if (isWhole && reminders.length === whole.reminders.length) return whole;
  if (isWhole && last !== undefined) {
    return { ...rest, segments, reminders, nextCursor: whole.nextCursor };
  }
  if (last === undefined) {
    // Reminders alone: those that come before the first record.
    const first = whole.segments[0];
    const untilMs = first === undefined ? whole.endOfLogAtMs! : first.acceptedAtMs;
    return { ...rest, segments, reminders, nextCursor: whole.cursor, endOfLogAtMs: untilMs };
  }
  return { ...rest, segments, reminders, nextCursor: last.firstOffset + last.count };
}

function countOf(segments: readonly Segment[]): number {
  return segments.reduce((sum, segment) => sum + segment.count, 0);
}

const DETAIL = "The engine process died or was stuck each time it handled this alone";

function letterOfRecord(segment: Segment): DeadLetter {
  const record = recordsOf(segment).next().value!;
  const id = recordId(segment, record);
  return {
    to: record.to,
    body: record.body,
    isIngress: record.isIngress,
    acceptedAtMs: record.acceptedAtMs,
    recordId: id,
    reason: "killed_engine",
    detail: DETAIL,
    traceId: record.traceId ?? id,
  };
}

function letterOfReminder(reminder: Reminder): DeadLetter {
  const id = `${reminder.to}#${reminder.name}@${reminder.dueAtMs}`;
  return {
    to: reminder.to,
    body: reminder.body,
    isIngress: false,
    acceptedAtMs: reminder.dueAtMs,
    recordId: id,
    reason: "killed_engine",
    detail: DETAIL,
    traceId: id,
  };
}
