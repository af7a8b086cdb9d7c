/**
 * What passes between the log and an engine: a batch of records and reminders of several partitions
 * in, and per partition everything that one fenced commit writes out. Plain data, so that the engine
 * can be a child process, a function in a simulation, or another node.
 */
import type { Address, Partition } from "./address.ts";
import type { Json, Message } from "./behaviour.ts";
import type { Segment } from "../log/partition_log.ts";

/** One message to one actor, as read from the log. */
export interface LogRecord {
  /** Position within the partition, from 0. Identity with partition and epoch. */
  readonly offset: number;
  readonly epoch: number;
  /** Epoch milliseconds; never falls within a partition. */
  readonly acceptedAtMs: number;
  readonly to: Address;
  /** UTF-8 JSON of the `Message`. */
  readonly body: Uint8Array;
  /** Messages that this record may still cause, itself included. */
  readonly budget: number;
  /** Counts in `accepted = processed + pending + deadLettered + rolledBack`; sends do not. */
  readonly isIngress: boolean;
  /** Where to send a `reply`, if someone asked: `{incarnation}:{number}`. */
  readonly replyTo?: string;
  /** Identity of the root record; absent: this is the root. */
  readonly traceId?: string;
  /** First identity of a replayed dead letter. */
  readonly firstId?: string;
}

export interface Reminder {
  readonly to: Address;
  readonly name: string;
  readonly dueAtMs: number;
  readonly budget: number;
  /** UTF-8 JSON of the `Message`. */
  readonly body: Uint8Array;
}

/** Packed records of one partition in order of offset, and the reminders to merge in by time. */
export interface PartitionBatch {
  readonly partition: Partition;
  /** Offset of the next record to handle before this batch. */
  readonly cursor: number;
  /** Classes `ingress`, `replay` and `sent`; decoded by `runtime/log/record.ts`. */
  readonly segments: readonly Segment[];
  /** Cursor when all segments are handled (records of other classes are skipped over). */
  readonly nextCursor: number;
  /** In order of due time; those due before a record's `acceptedAtMs` come before it. */
  readonly reminders: readonly Reminder[];
  /** The clock, if these records reach the end of the log: reminders due by then fire; else absent. */
  readonly endOfLogAtMs?: number;
  /** The batch ends after so many roots: records and fired reminders. Absent: only at its bounds. */
  readonly rootsMax?: number;
  /** The first root is parked as `killed_engine`, not handed over: it kills each engine. */
  readonly isFirstParked?: true;
}

export interface StateWrite {
  readonly address: Address;
  /** Encoded state; absent deletes it. */
  readonly state?: Uint8Array;
}

/** A record that an actor asked for: a send to another partition, an own record, a row of a view. */
export interface SentRecord {
  readonly to: Address;
  readonly body: Uint8Array;
  readonly budget: number;
  readonly traceId: string;
}

export interface OwnRecord {
  /** "record": for telemetry and streams. "view": for the reader "views". */
  readonly class: "record" | "view";
  /** Address of the actor that asked. */
  readonly from: Address;
  /** UTF-8 JSON: `{"type", "body"}` of a record, `{"view", "key", "row"?, "version"}` of a view. */
  readonly body: Uint8Array;
  readonly traceId: string;
}

export interface ReminderWrite {
  readonly to: Address;
  readonly name: string;
  /** Absent: cancelled or fired. */
  readonly reminder?: Reminder;
}

/** A record that could not be handled, kept for an operator. */
export interface DeadLetter {
  readonly to: Address;
  readonly body: Uint8Array;
  readonly isIngress: boolean;
  readonly acceptedAtMs: number;
  /** `{epoch}-{partition}-{offset}`, of a reminder `{address}#{name}@{dueAtMs}`. */
  readonly recordId: string;
  /** Constant: `threw`, `killed_engine`, `budget_spent`, `suspended`, `commit_too_large`, … */
  readonly reason: string;
  /** Message and stack of the fault, bounded to 4 KiB. */
  readonly detail: string;
  readonly traceId: string;
}

export interface ActivityWrite {
  /** Stable: `{recordId}/{n}[:{id of the actor}]`; a repeat of the record gives the same. */
  readonly id: string;
  readonly kind: string;
  readonly from: Address;
  readonly input: Json;
}

/** What is sent after the commit and may be lost with the process. */
export type TransientEffect =
  | { readonly type: "reply"; readonly replyTo: string; readonly value: Json }
  | { readonly type: "downlink"; readonly from: Address; readonly message: Message }
  | { readonly type: "publish"; readonly topic: string; readonly value: Json };

/** Everything that handling a `PartitionBatch` (or a prefix of it) asks to be committed. */
export interface PartitionCommit {
  readonly partition: Partition;
  /** The cursor that this commit was computed from; another one in the store refuses it. */
  readonly fromCursor: number;
  /** `fromCursor <= toCursor`; the records in between are handled, parked or skipped. */
  readonly toCursor: number;
  readonly states: readonly StateWrite[];
  readonly sends: readonly SentRecord[];
  readonly records: readonly OwnRecord[];
  readonly reminders: readonly ReminderWrite[];
  readonly deadLetters: readonly DeadLetter[];
  readonly activities: readonly ActivityWrite[];
  /** Ingress records that were handled: counted by the engine one by one, not from the cursor. */
  readonly processed: number;
  readonly effects: readonly TransientEffect[];
  /** True if the batch ended early (commit bound): hand the rest again. */
  readonly isPartial: boolean;
}

/** Runs batches; a child process in the product, in the same thread in simulations. */
export interface Engine {
  /** Handles the batches; loads states by the loader it was made with. One call at a time. */
  handle(batches: readonly PartitionBatch[]): Promise<PartitionCommit[]>;
  /** Forgets the activations of these partitions (lease lost, commit refused). */
  forget(partitions: readonly Partition[]): void;
}

/** Committed states by address; `undefined` where there is none. In the order asked. */
export type LoadStates = (
  addresses: readonly Address[],
) => Promise<readonly (Uint8Array | undefined)[]>;
