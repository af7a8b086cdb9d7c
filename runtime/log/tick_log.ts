/**
 * The partition log over a tick store. All calls of one turn of the event loop are gathered into one
 * step (`log_step.ts` decides it), written at once, and answered when it is durable.
 */
import type { Address, Partition } from "../actor/address.ts";
import type { PartitionCommit, Reminder } from "../actor/batch.ts";
import type { Clock } from "../clock.ts";
import { InvalidError, messageOf, UnavailableError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { DiskCheck } from "./disk_check.ts";
import { headOf } from "./head_file.ts";
import { ledgerOf } from "./ledger.ts";
import { type FinishedStep, LogStep, type StepView } from "./log_step.ts";
import { loadLog, type LogFault, type TickLogOptions } from "./open_tick_log.ts";
import type {
  Append,
  AppendOutcome,
  AttemptMark,
  CommitOutcome,
  DeadLetterQuery,
  GatewayRowQuery,
  Ledger,
  ListedDeadLetter,
  PartitionLog,
  Pending,
  PendingPage,
  SegmentClass,
  SkipOutcome,
  StateQuery,
  StoppedPartition,
  StoredActivity,
  StoredGatewayRow,
  StoredState,
  Tick,
} from "./partition_log.ts";
import { isCountedClass, isHandledClass, type PendingIndex } from "./pending_index.ts";
import { StepQueue } from "./step_queue.ts";
import { peekPending } from "./stored_segment.ts";
import type { LogMeta } from "./tick_meta.ts";
import type { ReadBound, TickReader } from "./tick_reader.ts";
import type { OutboxEntry, TickStore } from "./tick_store.ts";
import { hasRecordsBefore, trimBoundOf, Trimming } from "./trimming.ts";

export type { LogFault, TickLogOptions } from "./open_tick_log.ts";

const STORE_RETRY_MS = 250;
const RELAY_RETRY_MS = 100;
const RELAY_BYTES_MAX = 1024 * 1024;

/** @throws {CodecError} The store is damaged where nothing can stand in for it. */
export function openTickLog(options: TickLogOptions): TickLog {
  return new TickLog(options);
}

export class TickLog implements PartitionLog {
  readonly partitions: number;
  readonly #options: TickLogOptions;
  readonly #store: TickStore;
  readonly #clock: Clock;
  readonly #queue: StepQueue;
  readonly #reader: TickReader;
  readonly #pending: readonly PendingIndex[];
  readonly #readers: Map<string, number>;
  readonly #listeners = new Set<() => void>();
  readonly #stopListeners = new Set<() => void>();
  readonly #trimming: Trimming;
  readonly #disk: DiskCheck;
  /** Earliest reminder by partition; absent: ask the store. `Infinity`: none. */
  readonly #nextDue = new Map<Partition, number>();
  #meta: LogMeta;
  #seen: Float64Array;
  #outbox: OutboxEntry[];
  #logBytes: number;
  #areReadersSaved = true;
  #isHeadFaulty = false;
  #isRelaying = false;
  #isClosed = false;
  #cancelRelay: (() => void) | undefined;

  constructor(options: TickLogOptions) {
    const loaded = loadLog(options);
    this.partitions = loaded.meta.partitions.length;
    this.#options = options;
    this.#store = options.store;
    this.#clock = options.clock;
    this.#meta = loaded.meta;
    this.#seen = loaded.seen;
    this.#pending = loaded.pending;
    this.#reader = loaded.reader;
    this.#outbox = loaded.outbox;
    this.#logBytes = loaded.logBytes;
    this.#readers = new Map(
      options.readers.map((name) => [name, loaded.meta.readers.get(name) ?? 0]),
    );
    this.#queue = new StepQueue({
      soon: (callback) => this.#clock.soon(callback),
      begin: () => new LogStep(this.#view()),
      write: (step) => this.#write(step),
    });
    this.#trimming = new Trimming(options.store);
    this.#disk = new DiskCheck(options.clock, options.freeDiskBytes);
    this.#reader.onStopped = () => this.#saveStops();
    if (this.#reader.stops.size > loaded.meta.stops.length) this.#saveStops();
    if (this.#outbox.length > 0) this.#planRelay(0);
  }

  get epoch(): number {
    return this.#meta.epoch;
  }

  head(): { tick: number; logBytes: number; pendingRecords: number } {
    let pendingRecords = 0;
    for (const index of this.#pending) pendingRecords += index.counted;
    return { tick: this.#meta.tick, logBytes: this.#logBytes, pendingRecords };
  }

  append(append: Append): Promise<AppendOutcome> {
    let bytes = 0;
    for (const segment of append.segments) bytes += segment.bytes.length;
    return this.#queue.add<AppendOutcome>(bytes, (step) => step.append(append), (detail) => ({
      ok: false,
      code: "store_failed",
      detail,
      retryAfterMs: STORE_RETRY_MS,
    }));
  }

  acquire(partitions: readonly Partition[]): Promise<number> {
    return this.#queue.add(0, (step) => step.acquire(partitions));
  }

  commit(token: number, commits: readonly PartitionCommit[]): Promise<CommitOutcome[]> {
    const bytes = commits.length * LIMITS.commitBytesMax / 8;
    return this.#queue.add<CommitOutcome[]>(
      bytes,
      (step) => step.commit(token, commits),
      (detail) => commits.map(() => ({ ok: false, code: "store_failed", detail })),
    );
  }

  // deno-lint-ignore require-await -- a store of another node waits here; faults reject
  async pending(partition: Partition, from: number, bound: ReadBound): Promise<Pending> {
    this.#checkOpen();
    const own = this.#partition(partition);
    const index = this.#pending[partition]!;
    const read = this.#reader.pending(partition, index, from, own.nextOffset, bound);
    return { cursor: own.cursor, ...read };
  }

  cursor(partition: Partition): number {
    return this.#partition(partition).cursor;
  }

  ready(nowMs: number): Partition[] {
    const ready: Partition[] = [];
    for (let partition = 0; partition < this.partitions; partition++) {
      const stop = this.#reader.stops.get(partition);
      const hasRecords = hasRecordsBefore(this.#pending[partition]!, stop);
      const dueMs = stop === undefined ? this.#dueMs(partition) : Infinity;
      const isDue = dueMs !== Infinity && dueMs <= nowMs;
      if (hasRecords || isDue) ready.push(partition);
    }
    return ready;
  }

  nextDueMs(): number | undefined {
    let next = Infinity;
    for (let partition = 0; partition < this.partitions; partition++) {
      if (!this.#reader.stops.has(partition)) next = Math.min(next, this.#dueMs(partition));
    }
    return next === Infinity ? undefined : next;
  }

  // deno-lint-ignore require-await -- as `pending`
  async dueReminders(partition: Partition, untilMs: number, limit: number): Promise<Reminder[]> {
    this.#checkOpen();
    if (this.#dueMs(partition) > untilMs) return [];
    return this.#store.dueReminders(partition, untilMs, limit);
  }

  // deno-lint-ignore require-await -- as `pending`
  async loadStates(addresses: readonly Address[]): Promise<(Uint8Array | undefined)[]> {
    this.#checkOpen();
    const { partitionOf } = this.#options;
    return addresses.map((address) => this.#store.state(partitionOf(address), address));
  }

  // deno-lint-ignore require-await -- as `pending`
  async statesAfter(query: StateQuery): Promise<readonly StoredState[]> {
    this.#checkOpen();
    const limit = Math.max(1, Math.min(LIMITS.statesPageMax, query.limit));
    return this.#store.statesAfter({ ...query, limit });
  }

  onAppended(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  // deno-lint-ignore require-await -- as `pending`
  async readTicks(
    after: number,
    classes: readonly SegmentClass[],
    bytesMax: number,
  ): Promise<{ ticks: Tick[]; cursor: number }> {
    this.#checkOpen();
    return this.#reader.readTicks(after, classes, bytesMax, this.#meta.tick, this.#pending);
  }

  /** Stored with the next step: a lost cursor only keeps ticks for longer. */
  // deno-lint-ignore require-await -- as `pending`
  async saveCursor(reader: string, tick: number): Promise<void> {
    const before = this.#readers.get(reader);
    if (before === undefined) {
      throw new InvalidError(`Cannot save a cursor: the log has no reader "${reader}"`);
    }
    if (tick <= before) return;
    this.#readers.set(reader, Math.min(tick, this.#meta.tick));
    this.#areReadersSaved = false;
  }

  readerCursor(reader: string): number | undefined {
    return this.#readers.get(reader);
  }

  // deno-lint-ignore require-await -- as `pending`
  async gatewayRow(key: string): Promise<Uint8Array | undefined> {
    this.#checkOpen();
    return this.#store.gatewayRow(key);
  }

  // deno-lint-ignore require-await -- as `pending`
  async gatewayRows(query: GatewayRowQuery): Promise<readonly StoredGatewayRow[]> {
    this.#checkOpen();
    return this.#store.gatewayRows(query);
  }

  markAttempts(token: number, marks: readonly AttemptMark[]): Promise<void> {
    return this.#queue.add(0, (step) => step.mark(token, marks));
  }

  attempts(): readonly AttemptMark[] {
    return this.#meta.marks;
  }

  ledger(): Ledger {
    return ledgerOf(this.#meta, this.#pending, this.#reader.stops);
  }

  stopped(): StoppedPartition[] {
    return [...this.#reader.stops].map(([partition, stop]) => ({ partition, ...stop }));
  }

  onStopsChanged(listener: () => void): () => void {
    this.#stopListeners.add(listener);
    return () => this.#stopListeners.delete(listener);
  }

  skipDamage(partition: Partition, offset: number): Promise<SkipOutcome> {
    return this.#queue.add(0, (step) => step.skipDamage(partition, offset));
  }

  // deno-lint-ignore require-await -- as `pending`
  async peekPending(partition: Partition, offset: number, limit: number): Promise<PendingPage> {
    this.#checkOpen();
    this.#partition(partition);
    const index = this.#pending[partition]!;
    return peekPending(this.#store, partition, index, offset, Math.max(1, Math.min(500, limit)));
  }

  // deno-lint-ignore require-await -- as `pending`
  async deadLetters(query: DeadLetterQuery): Promise<ListedDeadLetter[]> {
    this.#checkOpen();
    return this.#store.deadLetters({ ...query, limit: Math.max(1, Math.min(501, query.limit)) });
  }

  // deno-lint-ignore require-await -- as `pending`
  async countDeadLetters(address?: Address): Promise<number | null> {
    this.#checkOpen();
    const max = LIMITS.deadLettersCountedMax;
    const count = this.#store.countDeadLetters(address, max + 1);
    return count > max ? null : count;
  }

  /** In steps of a bounded size: those before a fault are pending again all the same. */
  async replayDeadLetters(ids: readonly number[]): Promise<number> {
    let found = 0;
    for (let from = 0; from < ids.length; from += LIMITS.replayLettersMax) {
      const some = ids.slice(from, from + LIMITS.replayLettersMax);
      const bytes = some.length * LIMITS.payloadBytesMax;
      found += await this.#queue.add(bytes, (step) => step.replay(some));
    }
    return found;
  }

  discardDeadLetters(ids: readonly number[]): Promise<number> {
    return this.#queue.add(0, (step) => step.discard(ids));
  }

  // deno-lint-ignore require-await -- as `pending`
  async activities(limit: number): Promise<StoredActivity[]> {
    this.#checkOpen();
    return this.#store.activities(limit);
  }

  finishActivity(id: string): Promise<void> {
    return this.#queue.add(0, (step) => step.finishActivity(id));
  }

  // deno-lint-ignore require-await -- as `pending`
  async maintain(): Promise<boolean> {
    this.#checkOpen();
    const { stops } = this.#reader;
    const bound = trimBoundOf(this.#meta.tick, this.#readers.values(), this.#pending, stops);
    const trimmed = this.#trimming.step(bound);
    this.#logBytes -= trimmed.bytes;
    const hasMoreToCheckpoint = this.#store.checkpoint();
    return trimmed.hasMore || hasMoreToCheckpoint;
  }

  /**
   * Moves what is in the outbox to its targets; true if there is more. Called by the log itself;
   * a repeat after a crash changes nothing, since the targets know the sequences that they have.
   */
  async relay(): Promise<boolean> {
    const entries: OutboxEntry[] = [];
    let bytes = 0;
    for (const entry of this.#outbox) {
      if (bytes >= RELAY_BYTES_MAX) break;
      entries.push(entry);
      for (const target of entry.targets) bytes += target.bytes.length;
    }
    if (entries.length === 0) return false;
    await this.#queue.add(bytes, (step) => entries.forEach((entry) => step.relay(entry)));
    await this.#queue.add(0, (step) => entries.forEach((entry) => step.forgetOutbox(entry)));
    return this.#outbox.length > 0;
  }

  /** Writes what waits, then closes store and head. Twice is harmless. */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#cancelRelay?.();
    if (!this.#areReadersSaved) {
      // A store that refuses this last write only keeps ticks for longer.
      this.#queue.add(0, (step) => step.touch()).catch(() => {});
    }
    this.#queue.close();
    this.#isClosed = true;
    try {
      this.#options.head.close();
    } finally {
      this.#store.close();
    }
    return Promise.resolve();
  }

  #view(): StepView {
    return {
      meta: this.#meta,
      seen: this.#seen,
      pending: this.#pending,
      stops: this.#reader.stops,
      logBytes: this.#logBytes,
      logBytesMax: this.#options.logBytesMax ?? LIMITS.logBytesMax,
      pendingRecordsMax: this.#options.pendingRecordsMax ?? LIMITS.pendingRecordsMax,
      nowMs: Math.floor(this.#clock.nowMs()),
      scarceDiskBytes: this.#disk.scarceBytes(),
      partitionOf: this.#options.partitionOf,
      isRelayDeferred: this.#options.relay === "deferred",
      deadLetter: (id) => this.#store.deadLetter(id),
      canRead: (partition, entry) => this.#reader.canRead(partition, entry),
    };
  }

  /** Makes the step durable or throws; after a throw nothing is changed here. */
  #write(step: LogStep): void {
    const finished = step.finish(new Map(this.#readers));
    try {
      this.#store.write(finished.write);
    } catch (fault) {
      // The answer may be lost and the write not: then it is what is durable.
      if (!this.#isApplied(finished.write.tick)) {
        this.#report({ type: "store_failed", detail: messageOf(fault) });
        throw new UnavailableError("log store", messageOf(fault), { cause: fault });
      }
    }
    this.#apply(finished);
  }

  #isApplied(tick: number): boolean {
    try {
      return this.#store.headTick() === tick;
    } catch (fault) {
      this.#report({ type: "store_failed", detail: messageOf(fault) });
      this.#queue.refuse("The outcome of a write is unknown: open the log again");
      this.#options.onUnusable?.();
      return false;
    }
  }

  #apply({ write, meta, seen, ranges, lifted, skipped }: FinishedStep): void {
    this.#meta = meta;
    this.#seen = seen;
    this.#areReadersSaved = true;
    for (const { partition, offset } of skipped) {
      const index = this.#pending[partition]!;
      index.remove(index.entryAt(offset)!.i);
    }
    for (const partition of lifted) this.#reader.lift(partition);
    for (const { partition, class: kind, firstOffset, count } of ranges) {
      if (!isHandledClass(kind)) continue;
      this.#pending[partition]!.add(write.tick, firstOffset, count, isCountedClass(kind));
    }
    for (let partition = 0; partition < this.partitions; partition++) {
      this.#pending[partition]!.advance(meta.partitions[partition]!.cursor);
    }
    if (write.blob !== undefined) {
      this.#reader.add(write.tick, ranges, write.blob.body);
      this.#logBytes += write.blob.header.length + write.blob.body.length;
    }
    for (const { partition } of write.reminders) this.#nextDue.delete(partition);
    if (write.outbox.length > 0) this.#outbox.push(...write.outbox);
    if (write.outboxGone.length > 0) {
      const gone = new Set(write.outboxGone.map((entry) => `${entry.source} ${entry.sequence}`));
      this.#outbox = this.#outbox.filter((entry) => !gone.has(`${entry.source} ${entry.sequence}`));
    }
    this.#writeHead();
    if (this.#outbox.length > 0) this.#planRelay(0);
    if (lifted.size > 0) this.#tellStops();
    if (ranges.length > 0 || write.reminders.length > 0 || lifted.size > 0) {
      for (const listener of this.#listeners) this.#clock.soon(listener);
    }
  }

  /** A stop is stored with the next step; until then a crash only finds the damage again. */
  #saveStops(): void {
    this.#queue.add(0, (step) => step.touch()).catch(() => {}); // Reported where the write failed.
    this.#tellStops();
  }

  #tellStops(): void {
    this.#trimming.restart();
    for (const listener of this.#stopListeners) this.#clock.soon(listener);
  }

  #writeHead(): void {
    try {
      this.#options.head.write(headOf(this.#meta));
      this.#isHeadFaulty = false;
    } catch (fault) { // The step is durable: only the check for a lost tail is weaker.
      if (!this.#isHeadFaulty) this.#report({ type: "head_failed", detail: messageOf(fault) });
      this.#isHeadFaulty = true;
    }
  }

  #planRelay(delayMs: number): void {
    if (this.#isRelaying || this.#isClosed) return;
    this.#isRelaying = true;
    const run = () => {
      this.relay().then(
        (hasMore) => this.#endRelay(hasMore, 0),
        () => this.#endRelay(true, RELAY_RETRY_MS), // Reported where the write failed.
      );
    };
    if (delayMs > 0) this.#cancelRelay = this.#clock.after(delayMs, run);
    else this.#clock.soon(run);
  }

  #endRelay(hasMore: boolean, delayMs: number): void {
    this.#isRelaying = false;
    if (hasMore) this.#planRelay(delayMs);
  }

  #dueMs(partition: Partition): number {
    let due = this.#nextDue.get(partition);
    if (due === undefined) {
      due = this.#store.nextDueMs(partition) ?? Infinity;
      this.#nextDue.set(partition, due);
    }
    return due;
  }

  #partition(partition: Partition) {
    const own = this.#meta.partitions[partition];
    if (own !== undefined) return own;
    throw new InvalidError(`Cannot use partition ${partition}: the log has ${this.partitions}`);
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new UnavailableError("log", "The log is closed");
  }

  #report(fault: LogFault): void {
    this.#options.onFault?.(fault);
  }
}
