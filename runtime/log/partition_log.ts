/**
 * The partition log: what every acknowledged message goes into, what actors are committed with, and
 * what every reader reads. One interface; memory and SQLite behind it here, Redis later.
 *
 * The caller's duties, in order:
 * 1. `acquire` before `commit`; a commit carries the token it got.
 * 2. Nothing is acknowledged, sent or shown before the promise of its `append` or `commit` resolves.
 * 3. One `append` in flight per incarnation, sequences rising by one; after an unknown outcome the
 *    same append (same sequence, same bytes) is sent again until it has one.
 * 4. A reader saves its cursor only after its own store has it durably (`saveCursor`).
 */
import type { Address, Partition } from "../actor/address.ts";
import type { DeadLetter, PartitionCommit, Reminder } from "../actor/batch.ts";

/**
 * `ingress`: messages from outside, counted in `accepted`. `replay`: dead letters handed in again,
 * pending but not accepted twice. `sent`: relayed between partitions. `record` and `view`: asked for
 * by actors, for readers. Each class of a partition has its own segments; offsets are shared.
 */
export type SegmentClass = "ingress" | "replay" | "sent" | "record" | "view";

/**
 * Consecutive records of one partition and class, packed by `packRecord`, that were made durable in
 * one step. A slice is the same with the records before `firstOffset` cut off.
 */
export interface Segment {
  readonly partition: Partition;
  readonly class: SegmentClass;
  readonly epoch: number;
  /** Offset of the first record of `bytes`; the following ones count up by one. */
  readonly firstOffset: number;
  /** Records in `bytes`, at least 1. */
  readonly count: number;
  /** Epoch milliseconds; never falls within a partition. */
  readonly acceptedAtMs: number;
  readonly bytes: Uint8Array;
}

/** What a gateway hands over: per partition packed records, and rows of its own to write with them. */
export interface Append {
  /** Unique per start of a gateway process. */
  readonly incarnation: string;
  /** From 1, rising by one. The same again is a repeat and answered as the first was. */
  readonly sequence: number;
  readonly segments: readonly {
    readonly partition: Partition;
    readonly count: number;
    readonly bytes: Uint8Array;
  }[];
  /** Durable rows of the gateway (MQTT sessions, QoS 2 ids), written in the same step. */
  readonly rows: readonly GatewayRow[];
}

export interface GatewayRow {
  /** `{wire}/{product}/{device}[/{part}]`, at most 512 bytes. */
  readonly key: string;
  /** Absent deletes the row. At most 64 KiB. */
  readonly value?: Uint8Array;
}

/** A page of rows, in order of key: the keys with `prefix` that are above `after`. */
export interface GatewayRowQuery {
  readonly prefix: string;
  readonly after: string;
  /** Rows; the page also ends with the one that reaches `gatewayPageBytesMax`. */
  readonly limit: number;
}

export type StoredGatewayRow = Required<GatewayRow>;

export type AppendOutcome =
  /** `firstOffsets`: of its segments, in their order; a repeat does not know them. */
  | { readonly ok: true; readonly isRepeat: boolean; readonly firstOffsets?: readonly number[] }
  /** Nothing was written. Send the same append again after `retryAfterMs`. */
  | {
    readonly ok: false;
    readonly code: "overloaded" | "disk_reserve" | "store_failed";
    readonly detail: string;
    readonly retryAfterMs: number;
  };

export type CommitOutcome =
  | { readonly ok: true; readonly isRepeat: boolean }
  /** `fenced`: the token is not the current one. `stale`: the cursor in the store is another one. */
  | {
    readonly ok: false;
    readonly code: "fenced" | "stale" | "store_failed";
    readonly detail: string;
  };

/** What an engine has to handle next in one partition. */
export interface Pending {
  readonly cursor: number;
  /** Classes `ingress`, `replay`, `sent` only, in order of offset; empty at the end of the log. */
  readonly segments: readonly Segment[];
  /** No record follows the segments: the reminders due by the clock may fire. */
  readonly isEndOfLog: boolean;
  /**
   * Cursor after the segments, past records of other classes as well; the commit's `toCursor` when
   * all were handled. Offset of the next record otherwise.
   */
  readonly nextCursor: number;
  /** Present: the partition is stopped by a corrupt record; says where and why. */
  readonly corrupt?: string;
}

/** One durable step, as a reader of all partitions sees it: its segments of the classes asked for. */
export interface Tick {
  /** Rises by one or more; the reader's cursor. */
  readonly tick: number;
  readonly segments: readonly Segment[];
}

/**
 * A partition that damage has stopped: nothing at or above `offset` is handled, and gateways refuse
 * its ingress, until `skipDamage`. What it still needs stays pending and is kept from being trimmed.
 */
export interface StoppedPartition {
  readonly partition: Partition;
  /** The first record that is damaged. */
  readonly offset: number;
  /** Where and what. */
  readonly detail: string;
}

export type SkipOutcome =
  | {
    readonly ok: true;
    /** Records `[fromOffset, toOffset)` are given up; equal: they could be read after all. */
    readonly fromOffset: number;
    readonly toOffset: number;
    /** Accepted ones among them: `pending` before, `rolledBack` now. */
    readonly lost: number;
  }
  | {
    readonly ok: false;
    /** `not_reached`: records before the damage are to be handled first; ask again. */
    readonly code: "not_stopped" | "other_offset" | "not_reached";
    readonly detail: string;
  };

/** A record to handle, or damaged ones in a row, as an operator looks at them. */
export interface PendingRecord {
  readonly offset: number;
  /** 1, or how many records are damaged. */
  readonly count: number;
  /** Absent: the records are missing. */
  readonly class?: SegmentClass;
  readonly acceptedAtMs?: number;
  /** Absent if it cannot be told. */
  readonly to?: Address;
  /** As it is stored; of damaged records all their bytes, bounded as a record is. */
  readonly body: Uint8Array;
  /** Present: these records cannot be handled, and why. */
  readonly damage?: string;
}

export interface PendingPage {
  readonly records: readonly PendingRecord[];
  /** Where the next page begins; absent: this is the last. */
  readonly nextOffset?: number;
}

/** One partition's terms, each counted on its own. */
export interface LedgerTerms {
  readonly accepted: number;
  readonly processed: number;
  /** Counted from the records themselves. */
  readonly pending: number;
  readonly deadLettered: number;
  readonly rolledBack: number;
}

export interface Ledger {
  readonly epoch: number;
  readonly total: LedgerTerms;
  readonly partitions: readonly (LedgerTerms & {
    readonly partition: Partition;
    /** `accepted === processed + pending + deadLettered + rolledBack`. */
    readonly isBalanced: boolean;
    /** Why the partition is stopped, and before which offset: both or none. */
    readonly corrupt?: string;
    readonly corruptOffset?: number;
  })[];
}

export interface StoredDeadLetter extends DeadLetter {
  /** Rising number. */
  readonly id: number;
  readonly partition: Partition;
  readonly parkedAtMs: number;
}

/** As lists show it: of a long body only the begin. */
export interface ListedDeadLetter extends StoredDeadLetter {
  /** Its first `deadLetterShownBytes`. */
  readonly body: Uint8Array;
  /** Of the whole body. */
  readonly bodyBytes: number;
}

export interface DeadLetterQuery {
  readonly address?: Address;
  /** Only ids below this one. */
  readonly beforeId?: number;
  /** Only ids above this one, and oldest first; without it, newest first. */
  readonly afterId?: number;
  /** 1 to 501: a page, and one more that says whether there is another. */
  readonly limit: number;
}

/** A durable mark that batches of these partitions killed an engine: survives a crash of the node. */
export interface AttemptMark {
  readonly partition: Partition;
  /** Records `[fromOffset, toOffset)` are suspected. */
  readonly fromOffset: number;
  readonly toOffset: number;
  /** Unclean deaths so far with records of this range in hand. */
  readonly deaths: number;
}

export interface StoredActivity {
  readonly id: string;
  readonly kind: string;
  readonly from: Address;
  /** JSON text. */
  readonly input: string;
}

export interface StateQuery {
  readonly partition: Partition;
  /** Only of actors of this kind. */
  readonly kind: string;
  /** Goes on after this address, in order; "" begins. */
  readonly after: Address;
  /** 1 to `statesPageMax`. */
  readonly limit: number;
}

export interface StoredState {
  readonly address: Address;
  /** Encoded, see `state_codec.ts`. */
  readonly state: Uint8Array;
}

export interface PartitionLog extends AsyncDisposable {
  readonly partitions: number;
  readonly epoch: number;
  /** Acceptance time of the newest record, head tick, bytes held: for metrics and admission. */
  head(): { readonly tick: number; readonly logBytes: number; readonly pendingRecords: number };

  append(append: Append): Promise<AppendOutcome>;
  /** Takes the partitions over: a token greater than any before; older ones are fenced from now. */
  acquire(partitions: readonly Partition[]): Promise<number>;
  pending(
    partition: Partition,
    from: number,
    bound: { readonly recordsMax: number; readonly bytesMax: number },
  ): Promise<Pending>;
  /** Cursor of reader "actors". */
  cursor(partition: Partition): number;
  /** Partitions that have records to handle, or a reminder due by `nowMs`, and are not stopped. */
  ready(nowMs: number): Partition[];
  /** Earliest due time of all reminders of partitions, for a wake-up; undefined if there is none. */
  nextDueMs(): number | undefined;
  /** In order of due time. */
  dueReminders(partition: Partition, untilMs: number, limit: number): Promise<Reminder[]>;
  /** One atomic step for all; each with its own outcome: a refused one does not hold up the others. */
  commit(token: number, commits: readonly PartitionCommit[]): Promise<CommitOutcome[]>;
  loadStates(addresses: readonly Address[]): Promise<(Uint8Array | undefined)[]>;
  /** Committed states of a partition, in order of address; empty: there is none any more. */
  statesAfter(query: StateQuery): Promise<readonly StoredState[]>;
  /** Called after each append or commit that gave somebody something to read. One listener a caller. */
  onAppended(listener: () => void): () => void;

  /**
   * Ticks after the cursor, whole ones, up to about `bytesMax` (at least one, if there is any). A
   * cursor above the head belongs to another log and counts as 0: `cursor` may be below `after`.
   */
  readTicks(
    after: number,
    classes: readonly SegmentClass[],
    bytesMax: number,
  ): Promise<{ readonly ticks: readonly Tick[]; readonly cursor: number }>;
  /** Cursor that the reader's own store has durably; the log is trimmed only behind all of them. */
  saveCursor(reader: string, tick: number): Promise<void>;
  readerCursor(reader: string): number | undefined;

  /** In no order. */
  stopped(): readonly StoppedPartition[];
  /** Called after `stopped` has changed. */
  onStopsChanged(listener: () => void): () => void;
  /**
   * Gives up the damaged records at the stop of a partition, which goes on behind them.
   * @param offset Of the stop, as the caller knows it: no damage is skipped that was not looked at.
   */
  skipDamage(partition: Partition, offset: number): Promise<SkipOutcome>;
  /** What is to handle from `offset` on, in order; changes and stops nothing. A page is bounded. */
  peekPending(partition: Partition, offset: number, limit: number): Promise<PendingPage>;

  gatewayRow(key: string): Promise<Uint8Array | undefined>;
  /** Empty: there is none any more. */
  gatewayRows(query: GatewayRowQuery): Promise<readonly StoredGatewayRow[]>;

  markAttempts(token: number, marks: readonly AttemptMark[]): Promise<void>;
  attempts(): readonly AttemptMark[];

  ledger(): Ledger;
  deadLetters(query: DeadLetterQuery): Promise<ListedDeadLetter[]>;
  /** How many there are, of one actor or of all; null: more than `deadLettersCountedMax`. */
  countDeadLetters(address?: Address): Promise<number | null>;
  /** Hands them to their actors again: `deadLettered` becomes `pending`. Unknown ids are skipped. */
  replayDeadLetters(ids: readonly number[]): Promise<number>;
  /** `deadLettered` becomes `processed`. Unknown ids are skipped. */
  discardDeadLetters(ids: readonly number[]): Promise<number>;

  /** Stored by commits and not finished yet, oldest first. */
  activities(limit: number): Promise<StoredActivity[]>;
  finishActivity(id: string): Promise<void>;

  /** One small step of trimming and checkpointing; true if there is more to do. */
  maintain(): Promise<boolean>;
}
