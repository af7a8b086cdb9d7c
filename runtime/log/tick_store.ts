/**
 * Plain durable storage under the partition log: one file, one writer, no decisions. Everything that
 * decides (offsets, fencing, dedupe, ledger) is in `log_step.ts` above it, once for all stores.
 *
 * All calls are synchronous: the store lives on a thread of its own. A call that throws is a fault of
 * the medium. After a `write` that threw, `headTick` tells whether it was applied.
 */
import type { Address, Partition } from "../actor/address.ts";
import type { Reminder, ReminderWrite, StateWrite } from "../actor/batch.ts";
import type {
  DeadLetterQuery,
  GatewayRow,
  GatewayRowQuery,
  ListedDeadLetter,
  StateQuery,
  StoredActivity,
  StoredDeadLetter,
  StoredGatewayRow,
  StoredState,
} from "./partition_log.ts";

/** Sends of one commit on their way to their targets. Identity: source and sequence. */
export interface OutboxEntry {
  readonly source: Partition;
  /** Rises with each commit of the source that sends; the targets refuse what they have seen. */
  readonly sequence: number;
  readonly targets: readonly OutboxTarget[];
}

export interface OutboxTarget {
  readonly partition: Partition;
  readonly count: number;
  readonly bytes: Uint8Array;
}

/** Everything that one step makes durable: all of it or nothing. */
export interface TickWrite {
  /** Above all ticks before. */
  readonly tick: number;
  /** What is in it: names the fail points. */
  readonly kinds: readonly ("append" | "commit")[];
  /** Encoded `LogMeta`. */
  readonly meta: Uint8Array;
  /** Encoded relay sequences; absent: unchanged. */
  readonly relay?: Uint8Array;
  /** Packed segments of the step, see `tick_blob.ts`; absent if it has no records. */
  readonly blob?: TickBlob;
  readonly states: readonly {
    readonly partition: Partition;
    readonly writes: readonly StateWrite[];
  }[];
  readonly reminders: readonly {
    readonly partition: Partition;
    readonly writes: readonly ReminderWrite[];
  }[];
  readonly deadLetters: readonly StoredDeadLetter[];
  readonly deadLettersGone: readonly number[];
  readonly rows: readonly GatewayRow[];
  /** One whose id is stored already is ignored. */
  readonly activities: readonly StoredActivity[];
  readonly activitiesGone: readonly string[];
  readonly outbox: readonly OutboxEntry[];
  readonly outboxGone: readonly { readonly source: Partition; readonly sequence: number }[];
}

export interface TickBlob {
  readonly header: Uint8Array;
  readonly body: Uint8Array;
}

export interface StoredTick extends TickBlob {
  readonly tick: number;
}

/** Called at the named steps of a store; throwing there is a fault, exiting there a crash. */
export type StepHook = (step: string) => void;

export interface TickStore {
  /** Undefined in a new store. */
  loadMeta(): Uint8Array | undefined;
  loadRelay(): Uint8Array | undefined;
  /** Commits whose sends are not relayed, in order of source and sequence. */
  loadOutbox(): OutboxEntry[];
  /** Tick of the last write that was applied; 0 in a new store. */
  headTick(): number;
  /** Atomic and durable. Throws: nothing of it is stored, unless `headTick` says otherwise. */
  write(step: TickWrite): void;

  readTick(tick: number): TickBlob | undefined;
  /** Whole ticks above `after`, in order: at least one if there is any, then up to `bytesMax`. */
  readTicks(after: number, bytesMax: number): StoredTick[];
  /** Headers of up to `limit` ticks above `after`, in order, without reading their bodies. */
  readHeaders(
    after: number,
    limit: number,
  ): { readonly tick: number; readonly header: Uint8Array }[];
  /** Bytes of all stored ticks. */
  tickBytes(): number;

  state(partition: Partition, address: Address): Uint8Array | undefined;
  /** In order of address. */
  statesAfter(query: StateQuery): StoredState[];
  /** In order of due time, then address and name. */
  dueReminders(partition: Partition, untilMs: number, limit: number): Reminder[];
  nextDueMs(partition: Partition): number | undefined;
  deadLetters(query: DeadLetterQuery): ListedDeadLetter[];
  /** Counts no further than `max`. */
  countDeadLetters(address: Address | undefined, max: number): number;
  deadLetter(id: number): StoredDeadLetter | undefined;
  gatewayRow(key: string): Uint8Array | undefined;
  gatewayRows(query: GatewayRowQuery): StoredGatewayRow[];
  /** Oldest first. */
  activities(limit: number): StoredActivity[];

  /** Deletes up to `limit` of the oldest ticks that are `<= throughTick`. Returns their bytes. */
  trim(throughTick: number, limit: number): { readonly ticks: number; readonly bytes: number };
  /**
   * In one atomic, durable step: deletes ticks, and puts less of others in their place. Returns the
   * bytes that it frees.
   */
  reduce(gone: readonly number[], reduced: readonly StoredTick[]): number;
  /** One small step of moving writes to their final place; true if more wait. */
  checkpoint(): boolean;
  close(): void;
}
