/**
 * One durable step of the log, decided: takes appends, commits and the rest against a draft of the
 * meta, and ends as one `TickWrite`. Pure: reads what is durable, changes nothing of it. Thrown away
 * whole if the store refuses the write.
 *
 * The caller's duties, in order:
 * 1. A call that throws leaves the draft half changed: begin a new step without it.
 * 2. `finish` once; after the store has written it, `meta` and `seen` replace the ones before.
 */
import type { Address, Partition } from "../actor/address.ts";
import type { OwnRecord, PartitionCommit, SentRecord } from "../actor/batch.ts";
import { assert, InvalidError, NotOwnerError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { refusalOfIngress } from "./admission.ts";
import { checkAppend } from "./append_check.ts";
import { joinBytes } from "./bytes.ts";
import { printOf } from "./commit_print.ts";
import { decideSkip } from "./skip_damage.ts";
import type {
  Append,
  AppendOutcome,
  AttemptMark,
  CommitOutcome,
  GatewayRow,
  SegmentClass,
  SkipOutcome,
  StoppedPartition,
  StoredActivity,
  StoredDeadLetter,
} from "./partition_log.ts";
import { isHandledClass, type PendingEntry, type PendingIndex } from "./pending_index.ts";
import { boundedId, packLetter, packRecord } from "./record.ts";
import { packTick, type StagedSegment, type TickRange } from "./tick_blob.ts";
import {
  encodeMeta,
  encodeRelay,
  type LogMeta,
  type OffsetGap,
  type PartitionMeta,
} from "./tick_meta.ts";
import type { Stop } from "./tick_reader.ts";
import type { OutboxEntry, OutboxTarget, TickWrite } from "./tick_store.ts";

/** What is durable, for reading, and the circumstances of the step. */
export interface StepView {
  readonly meta: LogMeta;
  /** See `encodeRelay`. */
  readonly seen: Float64Array;
  readonly pending: readonly PendingIndex[];
  readonly stops: ReadonlyMap<Partition, Stop>;
  readonly logBytes: number;
  readonly logBytesMax: number;
  readonly pendingRecordsMax: number;
  /** Wall clock, epoch milliseconds. */
  readonly nowMs: number;
  /** Bytes free where the log is, if that is below the reserve. */
  readonly scarceDiskBytes: number | undefined;
  readonly partitionOf: (address: Address) => Partition;
  /** True: sends stay in the outbox of their source until `relay`. */
  readonly isRelayDeferred: boolean;
  deadLetter(id: number): StoredDeadLetter | undefined;
  /** Whether the records of an entry can be read whole, at this moment. */
  canRead(partition: Partition, entry: PendingEntry): boolean;
}

export interface FinishedStep {
  readonly write: TickWrite;
  readonly meta: LogMeta;
  readonly seen: Float64Array;
  readonly ranges: readonly TickRange[];
  /** Partitions that are stopped no more. */
  readonly lifted: ReadonlySet<Partition>;
  /** Damaged records that are not pending any more: the entries at these offsets. */
  readonly skipped: readonly { readonly partition: Partition; readonly offset: number }[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class LogStep {
  readonly tick: number;
  /** Something has to be written. */
  isChanged = false;
  readonly #view: StepView;
  readonly #partitions: PartitionMeta[];
  readonly #owned = new Set<Partition>();
  readonly #segments: StagedSegment[] = [];
  #segmentBytes = 0;
  #acceptedRecords = 0;
  #hasCommit = false;
  #pendingRecords = 0;
  readonly #incarnations: Map<string, number>;
  #seen: Float64Array;
  #tokenLast: number;
  #deadLetterLast: number;
  #marks: readonly AttemptMark[];
  readonly #states: Mutable<TickWrite>["states"][number][] = [];
  readonly #reminders: Mutable<TickWrite>["reminders"][number][] = [];
  readonly #deadLetters: StoredDeadLetter[] = [];
  readonly #deadLettersGone = new Set<number>();
  readonly #rows: GatewayRow[] = [];
  readonly #activities: StoredActivity[] = [];
  readonly #activitiesGone: string[] = [];
  readonly #outbox: OutboxEntry[] = [];
  readonly #outboxGone: OutboxEntry[] = [];
  #gaps: readonly OffsetGap[];
  readonly #lifted = new Set<Partition>();
  readonly #skipped: { readonly partition: Partition; readonly offset: number }[] = [];

  constructor(view: StepView) {
    this.#view = view;
    this.tick = view.meta.tick + 1;
    this.#partitions = view.meta.partitions.slice();
    this.#incarnations = new Map(view.meta.incarnations);
    this.#seen = view.seen;
    this.#tokenLast = view.meta.tokenLast;
    this.#deadLetterLast = view.meta.deadLetterLast;
    this.#marks = view.meta.marks;
    this.#gaps = view.meta.gaps;
    for (const index of view.pending) this.#pendingRecords += index.counted;
  }

  append(append: Append): AppendOutcome {
    checkAppend(append, this.#partitions.length);
    const last = this.#incarnations.get(append.incarnation);
    if (last !== undefined && append.sequence <= last) return { ok: true, isRepeat: true };
    const records = this.#pendingRecords + this.#acceptedRecords;
    const refusal = refusalOfIngress(this.#view, records, this.#segmentBytes);
    if (refusal !== undefined) return refusal;
    this.isChanged = true;
    this.#incarnations.delete(append.incarnation); // To the end: the most recently used.
    this.#incarnations.set(append.incarnation, append.sequence);
    if (this.#incarnations.size > LIMITS.incarnationsMax) {
      for (const oldest of this.#incarnations.keys()) {
        this.#incarnations.delete(oldest);
        break;
      }
    }
    const firstOffsets: number[] = [];
    for (const segment of append.segments) {
      const own = this.#own(segment.partition);
      firstOffsets.push(own.nextOffset);
      this.#stage(segment.partition, "ingress", segment.count, [segment.bytes]);
      own.accepted += segment.count;
      this.#acceptedRecords += segment.count;
    }
    for (const row of append.rows) this.#rows.push(row);
    return { ok: true, isRepeat: false, firstOffsets };
  }

  acquire(partitions: readonly Partition[]): number {
    this.isChanged = true;
    // Above the clock too: a rolled-back store must not give a token a second time.
    const token = this.#tokenLast = Math.max(this.#tokenLast + 1, this.#view.nowMs);
    for (const partition of partitions) {
      const own = this.#own(this.#checked(partition));
      own.token = token;
      own.commitFrom = own.cursor;
      own.commitPrint = 0;
    }
    return token;
  }

  commit(token: number, commits: readonly PartitionCommit[]): CommitOutcome[] {
    return commits.map((commit) => this.#commitOne(token, commit));
  }

  /** One mark a partition: replaces the one before; `deaths` 0 takes it away. */
  mark(token: number, marks: readonly AttemptMark[]): void {
    for (const mark of marks) {
      const owner = this.#partitions[this.#checked(mark.partition)]!.token;
      if (owner !== token) {
        throw new NotOwnerError(
          `Cannot mark partition ${mark.partition}: token is ${token}, its owner has ${owner}`,
        );
      }
      assert(
        [mark.fromOffset, mark.toOffset, mark.deaths].every((n) =>
          Number.isSafeInteger(n) && n >= 0
        ),
        `Cannot mark ${mark.fromOffset} to ${mark.toOffset} of partition ${mark.partition}`,
      );
      this.isChanged = true;
      const others = this.#marks.filter((other) => other.partition !== mark.partition);
      this.#marks = mark.deaths > 0 ? [...others, mark] : others;
    }
  }

  /** Counted ones come in again as class `replay`, sends and reminders as `sent`. */
  replay(ids: readonly number[]): number {
    const groups = new Map<string, { letter: StoredDeadLetter; parts: Uint8Array[] }>();
    let found = 0;
    for (const letter of this.#takeDeadLetters(ids)) {
      found++;
      if (letter.isIngress) this.#own(letter.partition).deadLettered--;
      const key = `${letter.partition} ${letter.isIngress}`;
      const group = groups.get(key) ?? { letter, parts: [] };
      groups.set(key, group);
      group.parts.push(packLetter(letter));
    }
    for (const { letter, parts } of groups.values()) {
      const segmentClass = letter.isIngress ? "replay" : "sent";
      this.#stage(letter.partition, segmentClass, parts.length, parts);
    }
    return found;
  }

  discard(ids: readonly number[]): number {
    let found = 0;
    for (const letter of this.#takeDeadLetters(ids)) {
      found++;
      if (!letter.isIngress) continue;
      const own = this.#own(letter.partition);
      own.deadLettered--;
      own.processed++;
    }
    return found;
  }

  finishActivity(id: string): void {
    this.isChanged = true;
    this.#activitiesGone.push(id);
  }

  /** Moves the sends of a commit to their targets; a target that has them already skips them. */
  relay(entry: OutboxEntry): void {
    for (const target of entry.targets) {
      const at = target.partition * this.#partitions.length + entry.source;
      if (this.#seen[at]! >= entry.sequence) continue;
      if (this.#seen === this.#view.seen) this.#seen = this.#view.seen.slice();
      this.#seen[at] = entry.sequence;
      this.#stage(target.partition, "sent", target.count, [target.bytes]);
    }
  }

  /** To be called when the relay of the entry is durable. */
  forgetOutbox(entry: OutboxEntry): void {
    this.isChanged = true;
    this.#outboxGone.push(entry);
  }

  /** See `PartitionLog.skipDamage`. */
  skipDamage(partition: Partition, offset: number): SkipOutcome {
    const stop = this.#stopOf(this.#checked(partition));
    const outcome = decideSkip(this.#view, partition, offset, stop);
    if (!outcome.ok) return outcome;
    this.isChanged = true;
    this.#lifted.add(partition);
    const { toOffset, lost } = outcome;
    if (toOffset === offset) return outcome;
    const own = this.#own(partition);
    own.rolledBack += lost;
    // A batch in hand was read before: its commit would count these records a second time.
    own.cursor = own.commitFrom = toOffset;
    own.commitPrint = 0;
    this.#gaps = [...this.#gaps, { partition, from: offset, to: toOffset }];
    this.#skipped.push({ partition, offset });
    return outcome;
  }

  /** Writes the meta row even if nothing else changed: cursors of readers, stops. */
  touch(): void {
    this.isChanged = true;
  }

  finish(readers: ReadonlyMap<string, number>): FinishedStep {
    const pendingFromTick = this.#findPending();
    const before = this.#view.meta;
    const meta: LogMeta = {
      tick: this.tick,
      epoch: before.epoch,
      tokenLast: this.#tokenLast,
      deadLetterLast: this.#deadLetterLast,
      pendingFromTick,
      partitions: this.#partitions,
      incarnations: this.#incarnations,
      readers,
      marks: this.#marks,
      gaps: this.#gaps.length === 0
        ? this.#gaps
        : this.#gaps.filter((gap) => gap.to > this.#partitions[gap.partition]!.pendingFrom),
      stops: this.#view.stops.size === 0 ? [] : this.#stopsLeft(),
    };
    const packed = this.#segments.length === 0 ? undefined : packTick(this.#segments);
    const write: TickWrite = {
      tick: this.tick,
      kinds: this.#hasCommit
        ? this.#acceptedRecords > 0 ? ["append", "commit"] : ["commit"]
        : ["append"],
      meta: encodeMeta(meta),
      ...(this.#seen === this.#view.seen ? undefined : { relay: encodeRelay(this.#seen) }),
      ...(packed === undefined ? undefined : { blob: packed }),
      states: this.#states,
      reminders: this.#reminders,
      deadLetters: this.#deadLetters,
      deadLettersGone: [...this.#deadLettersGone],
      rows: this.#rows,
      activities: this.#activities,
      activitiesGone: this.#activitiesGone,
      outbox: this.#outbox,
      outboxGone: this.#outboxGone,
    };
    return {
      write,
      meta,
      seen: this.#seen,
      ranges: packed?.ranges ?? [],
      lifted: this.#lifted,
      skipped: this.#skipped,
    };
  }

  #commitOne(token: number, commit: PartitionCommit): CommitOutcome {
    const now = this.#partitions[this.#checked(commit.partition)]!;
    const { fromCursor, toCursor } = commit;
    if (now.token !== token) {
      const detail = `token ${token} is not the owner's ${now.token}`;
      return { ok: false, code: "fenced", detail };
    }
    const print = fromCursor === toCursor ? printOf(commit) : 0;
    const isMoved = now.cursor === toCursor && now.commitFrom === fromCursor;
    if (isMoved && now.commitPrint === print) return { ok: true, isRepeat: true };
    if (now.cursor !== fromCursor) {
      const detail = `computed from cursor ${fromCursor}, the log has ${now.cursor}`;
      return { ok: false, code: "stale", detail };
    }
    assert(
      Number.isSafeInteger(toCursor) && toCursor >= fromCursor && toCursor <= now.nextOffset,
      `Cannot commit partition ${commit.partition} to ${toCursor}: the log has ` +
        `${fromCursor} to ${now.nextOffset}`,
    );
    assert(
      Number.isSafeInteger(commit.processed) && commit.processed >= 0,
      `Cannot commit ${commit.processed} processed records`,
    );
    this.isChanged = true;
    this.#hasCommit = true;
    const own = this.#own(commit.partition);
    own.cursor = toCursor;
    own.commitFrom = fromCursor;
    own.commitPrint = print;
    own.processed += commit.processed;
    // What was in hand when its bytes were found damaged is handled: nothing stands in the way.
    if ((this.#stopOf(commit.partition)?.offset ?? toCursor) < toCursor) {
      this.#lifted.add(commit.partition);
    }
    this.#keep(commit, own);
    return { ok: true, isRepeat: false };
  }

  #keep(commit: PartitionCommit, own: PartitionMeta): void {
    const { partition } = commit;
    for (const { name, reminder } of commit.reminders) {
      if (reminder === undefined) continue;
      // A value that no store can keep would make each later step fail with it.
      assert(Number.isFinite(reminder.dueAtMs), `Reminder "${name}" is due at a number`);
      assert(Number.isSafeInteger(reminder.budget), `Reminder "${name}" has a whole budget`);
    }
    if (commit.states.length > 0) this.#states.push({ partition, writes: commit.states });
    if (commit.reminders.length > 0) this.#reminders.push({ partition, writes: commit.reminders });
    for (const letter of commit.deadLetters) {
      if (letter.isIngress) own.deadLettered++;
      const id = ++this.#deadLetterLast;
      this.#deadLetters.push({ ...letter, id, partition, parkedAtMs: this.#view.nowMs });
    }
    for (const activity of commit.activities) {
      this.#activities.push({ ...activity, input: JSON.stringify(activity.input) });
    }
    this.#stageOwn(partition, "record", commit.records);
    this.#stageOwn(partition, "view", commit.records);
    if (commit.sends.length > 0) this.#send(partition, own, commit.sends);
    if (this.#marks.length > 0) {
      this.#marks = this.#marks.filter((mark) =>
        mark.partition !== partition || mark.toOffset > commit.toCursor
      );
    }
  }

  #stageOwn(partition: Partition, wanted: OwnRecord["class"], records: readonly OwnRecord[]): void {
    const parts: Uint8Array[] = [];
    for (const record of records) {
      if (record.class !== wanted) continue;
      const head = { to: record.from, budget: 0, traceId: boundedId(record.traceId) };
      parts.push(packRecord(head, record.body));
    }
    if (parts.length > 0) this.#stage(partition, wanted, parts.length, parts);
  }

  #send(source: Partition, own: PartitionMeta, sends: readonly SentRecord[]): void {
    const byTarget = new Map<Partition, Uint8Array[]>();
    for (const { to, budget, traceId, body } of sends) {
      const target = this.#checked(this.#view.partitionOf(to));
      const packed = packRecord({ to, budget, traceId: boundedId(traceId) }, body);
      const parts = byTarget.get(target);
      if (parts === undefined) byTarget.set(target, [packed]);
      else parts.push(packed);
    }
    const targets: OutboxTarget[] = [];
    for (const [partition, parts] of byTarget) {
      targets.push({ partition, count: parts.length, bytes: joinBytes(parts) });
    }
    const entry = { source, sequence: ++own.sentSequence, targets };
    if (this.#view.isRelayDeferred) this.#outbox.push(entry);
    else this.relay(entry);
  }

  #stopOf(partition: Partition): Stop | undefined {
    return this.#lifted.has(partition) ? undefined : this.#view.stops.get(partition);
  }

  #stopsLeft(): StoppedPartition[] {
    return [...this.#view.stops].filter(([partition]) => !this.#lifted.has(partition))
      .map(([partition, stop]) => ({ partition, ...stop }));
  }

  #takeDeadLetters(ids: readonly number[]): StoredDeadLetter[] {
    const taken: StoredDeadLetter[] = [];
    for (const id of ids) {
      const letter = this.#deadLettersGone.has(id) ? undefined : this.#view.deadLetter(id);
      if (letter === undefined) continue;
      this.isChanged = true;
      this.#deadLettersGone.add(id);
      taken.push(letter);
    }
    return taken;
  }

  #stage(
    partition: Partition,
    segmentClass: SegmentClass,
    count: number,
    parts: readonly Uint8Array[],
  ): void {
    this.isChanged = true;
    const own = this.#own(partition);
    own.lastAcceptedAtMs = Math.max(this.#view.nowMs, own.lastAcceptedAtMs);
    this.#segments.push({
      partition,
      class: segmentClass,
      epoch: this.#view.meta.epoch,
      firstOffset: own.nextOffset,
      count,
      acceptedAtMs: own.lastAcceptedAtMs,
      parts,
    });
    own.nextOffset += count;
    for (const part of parts) this.#segmentBytes += part.length;
  }

  /** Sets `pendingFrom` of what was touched; returns the lowest tick with a record to handle. */
  #findPending(): number {
    const staged = new Map<Partition, number>();
    for (const { partition, class: segmentClass, firstOffset, count } of this.#segments) {
      if (!isHandledClass(segmentClass) || staged.has(partition)) continue;
      const cursor = this.#partitions[partition]!.cursor;
      if (firstOffset + count > cursor) staged.set(partition, Math.max(firstOffset, cursor));
    }
    let lowest = this.tick + 1;
    for (let partition = 0; partition < this.#partitions.length; partition++) {
      const index = this.#view.pending[partition]!;
      const now = this.#partitions[partition]!;
      const first = index.find(now.cursor);
      const i = this.#isSkipped(partition, first) ? first + 1 : first;
      const entry = i < index.length ? index.at(i) : undefined;
      if (entry !== undefined) lowest = Math.min(lowest, entry.tick);
      else if (staged.has(partition)) lowest = Math.min(lowest, this.tick);
      if (!this.#owned.has(partition)) continue;
      this.#partitions[partition]!.pendingFrom = entry !== undefined
        ? Math.max(entry.firstOffset, now.cursor)
        : staged.get(partition) ?? now.nextOffset;
    }
    return lowest;
  }

  #isSkipped(partition: Partition, i: number): boolean {
    return this.#skipped.some((skipped) =>
      skipped.partition === partition &&
      this.#view.pending[partition]!.entryAt(skipped.offset)!.i === i
    );
  }

  #own(partition: Partition): PartitionMeta {
    if (!this.#owned.has(partition)) {
      this.#owned.add(partition);
      this.#partitions[partition] = { ...this.#partitions[partition]! };
    }
    return this.#partitions[partition]!;
  }

  #checked(partition: Partition): Partition {
    if (this.#partitions[partition] !== undefined) return partition;
    throw new InvalidError(
      `Cannot use partition ${partition}: the log has ${this.#partitions.length}`,
    );
  }
}
