/**
 * A tick store in memory, for simulations, tests and trials: what a disk would keep is in its
 * content, which outlives the log above it. `reopen` is a start after a crash; `copy` is the disk as
 * it is now, for a crash whose moment is decided later.
 */
import type { Address, Partition } from "../actor/address.ts";
import type { Reminder } from "../actor/batch.ts";
import { UnavailableError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type {
  DeadLetterQuery,
  GatewayRowQuery,
  ListedDeadLetter,
  StateQuery,
  StoredActivity,
  StoredDeadLetter,
  StoredGatewayRow,
  StoredState,
} from "./partition_log.ts";
import { tickOfMeta } from "./tick_meta.ts";
import type {
  OutboxEntry,
  StepHook,
  StoredTick,
  TickBlob,
  TickStore,
  TickWrite,
} from "./tick_store.ts";

/** Everything that is durable. Open for tests that damage it on purpose. */
export class MemoryContent {
  meta: Uint8Array | undefined;
  relay: Uint8Array | undefined;
  readonly ticks = new Map<number, TickBlob>();
  readonly states = new Map<Address, Uint8Array>();
  /** Partitions of actors that have, or had, a state. */
  readonly homes = new Map<Address, Partition>();
  /** By partition, then `address LF name`. */
  readonly reminders = new Map<Partition, Map<string, Reminder>>();
  readonly deadLetters = new Map<number, StoredDeadLetter>();
  readonly rows = new Map<string, Uint8Array>();
  readonly activities = new Map<string, StoredActivity>();
  readonly outbox = new Map<string, OutboxEntry>();
}

export interface MemoryStoreOptions {
  /** Default: empty. */
  readonly content?: MemoryContent;
  /**
   * Steps: `write:before`, `write:after`, `trim:before`, `trim:after`, `checkpoint:before`. Throwing
   * in `write:after` is a write that was applied and whose answer was lost.
   */
  readonly onStep?: StepHook;
}

export interface MemoryStore extends TickStore {
  readonly content: MemoryContent;
  /** A new start on the same content; this store refuses all calls from now. */
  reopen(onStep?: StepHook): MemoryStore;
  /** The content as it is now, independent of later writes. */
  copy(): MemoryContent;
}

export function createMemoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  return new MemoryTickStore(options.content ?? new MemoryContent(), options.onStep ?? (() => {}));
}

class MemoryTickStore implements MemoryStore {
  readonly #content: MemoryContent;
  readonly #onStep: StepHook;
  #isClosed = false;

  constructor(content: MemoryContent, onStep: StepHook) {
    this.#content = content;
    this.#onStep = onStep;
  }

  get content(): MemoryContent {
    return this.#content;
  }

  reopen(onStep: StepHook = () => {}): MemoryStore {
    this.#isClosed = true;
    return new MemoryTickStore(this.#content, onStep);
  }

  copy(): MemoryContent {
    const copy = new MemoryContent();
    copy.meta = this.#content.meta?.slice();
    copy.relay = this.#content.relay?.slice();
    copyInto(copy.ticks, this.#content.ticks);
    copyInto(copy.states, this.#content.states);
    for (const [address, partition] of this.#content.homes) copy.homes.set(address, partition);
    for (const [partition, reminders] of this.#content.reminders) {
      copy.reminders.set(partition, new Map(reminders));
    }
    copyInto(copy.deadLetters, this.#content.deadLetters);
    copyInto(copy.rows, this.#content.rows);
    copyInto(copy.activities, this.#content.activities);
    copyInto(copy.outbox, this.#content.outbox);
    return copy;
  }

  loadMeta(): Uint8Array | undefined {
    return this.#open().meta;
  }

  loadRelay(): Uint8Array | undefined {
    return this.#open().relay;
  }

  loadOutbox(): OutboxEntry[] {
    return [...this.#open().outbox.values()]
      .sort((a, b) => a.source - b.source || a.sequence - b.sequence);
  }

  headTick(): number {
    const { meta } = this.#open();
    return meta === undefined ? 0 : tickOfMeta(meta);
  }

  write(step: TickWrite): void {
    this.#open();
    this.#onStep("write:before");
    const content = this.#open();
    content.meta = step.meta;
    if (step.relay !== undefined) content.relay = step.relay;
    if (step.blob !== undefined) {
      content.ticks.set(step.tick, { header: step.blob.header, body: step.blob.body });
    }
    for (const { partition, writes } of step.states) {
      for (const { address, state } of writes) {
        put(content.states, address, state?.slice());
        content.homes.set(address, partition);
      }
    }
    for (const { partition, writes } of step.reminders) {
      const reminders = content.reminders.get(partition) ?? new Map<string, Reminder>();
      content.reminders.set(partition, reminders);
      for (const { to, name, reminder } of writes) put(reminders, `${to}\n${name}`, reminder);
    }
    for (const letter of step.deadLetters) content.deadLetters.set(letter.id, letter);
    for (const id of step.deadLettersGone) content.deadLetters.delete(id);
    for (const { key, value } of step.rows) put(content.rows, key, value?.slice());
    for (const activity of step.activities) {
      if (!content.activities.has(activity.id)) content.activities.set(activity.id, activity);
    }
    for (const id of step.activitiesGone) content.activities.delete(id);
    for (const entry of step.outbox) content.outbox.set(`${entry.source} ${entry.sequence}`, entry);
    for (const { source, sequence } of step.outboxGone) {
      content.outbox.delete(`${source} ${sequence}`);
    }
    this.#onStep("write:after");
  }

  readTick(tick: number): TickBlob | undefined {
    return this.#open().ticks.get(tick);
  }

  readTicks(after: number, bytesMax: number): StoredTick[] {
    const found: StoredTick[] = [];
    let bytes = 0;
    for (const [tick, blob] of this.#open().ticks) {
      if (tick <= after) continue;
      if (bytes >= bytesMax) break;
      found.push({ tick, ...blob });
      bytes += blob.body.length;
    }
    return found;
  }

  readHeaders(after: number, limit: number): { tick: number; header: Uint8Array }[] {
    const found: { tick: number; header: Uint8Array }[] = [];
    for (const [tick, { header }] of this.#open().ticks) {
      if (tick <= after) continue;
      if (found.push({ tick, header }) === limit) break;
    }
    return found;
  }

  tickBytes(): number {
    let bytes = 0;
    for (const blob of this.#open().ticks.values()) bytes += sizeOf(blob);
    return bytes;
  }

  state(_partition: Partition, address: Address): Uint8Array | undefined {
    return this.#open().states.get(address);
  }

  statesAfter({ partition, kind, after, limit }: StateQuery): StoredState[] {
    const { states, homes } = this.#open();
    return [...states].filter(([address]) => homes.get(address) === partition)
      .filter(([address]) => address.startsWith(`${kind}/`) && address > after)
      .sort(([one], [other]) => compare(one, other)).slice(0, limit)
      .map(([address, state]) => ({ address, state }));
  }

  dueReminders(partition: Partition, untilMs: number, limit: number): Reminder[] {
    return [...this.#open().reminders.get(partition)?.values() ?? []]
      .filter((reminder) => reminder.dueAtMs <= untilMs)
      .sort((a, b) => a.dueAtMs - b.dueAtMs || compare(a.to, b.to) || compare(a.name, b.name))
      .slice(0, limit);
  }

  nextDueMs(partition: Partition): number | undefined {
    let next: number | undefined;
    for (const { dueAtMs } of this.#open().reminders.get(partition)?.values() ?? []) {
      if (next === undefined || dueAtMs < next) next = dueAtMs;
    }
    return next;
  }

  deadLetters(query: DeadLetterQuery): ListedDeadLetter[] {
    const { address, beforeId = Infinity, afterId, limit } = query;
    const sign = afterId === undefined ? -1 : 1;
    return [...this.#open().deadLetters.values()]
      .filter(({ id, to }) => id > (afterId ?? 0) && id < beforeId && to === (address ?? to))
      .sort((a, b) => sign * (a.id - b.id))
      .slice(0, limit)
      .map((letter) => ({
        ...letter,
        body: letter.body.subarray(0, LIMITS.deadLetterShownBytes),
        bodyBytes: letter.body.length,
      }));
  }

  countDeadLetters(address: Address | undefined, max: number): number {
    const letters = [...this.#open().deadLetters.values()];
    return Math.min(max, letters.filter(({ to }) => to === (address ?? to)).length);
  }

  deadLetter(id: number): StoredDeadLetter | undefined {
    return this.#open().deadLetters.get(id);
  }

  gatewayRow(key: string): Uint8Array | undefined {
    return this.#open().rows.get(key);
  }

  gatewayRows({ prefix, after, limit }: GatewayRowQuery): StoredGatewayRow[] {
    const keys = [...this.#open().rows.keys()].filter((key) =>
      key.startsWith(prefix) && key > after
    );
    const found: StoredGatewayRow[] = [];
    let bytes = 0;
    for (const key of keys.sort()) {
      if (found.length >= limit || bytes >= LIMITS.gatewayPageBytesMax) break;
      const value = this.#open().rows.get(key)!;
      found.push({ key, value });
      bytes += value.length;
    }
    return found;
  }

  activities(limit: number): StoredActivity[] {
    return [...this.#open().activities.values()].slice(0, limit);
  }

  trim(throughTick: number, limit: number): { ticks: number; bytes: number } {
    this.#open();
    this.#onStep("trim:before");
    let ticks = 0;
    let bytes = 0;
    for (const [tick, blob] of this.#content.ticks) {
      if (tick > throughTick || ticks === limit) break;
      this.#content.ticks.delete(tick);
      ticks++;
      bytes += sizeOf(blob);
    }
    this.#onStep("trim:after");
    return { ticks, bytes };
  }

  reduce(gone: readonly number[], reduced: readonly StoredTick[]): number {
    this.#open();
    this.#onStep("trim:before");
    const { ticks } = this.#content;
    const before = this.tickBytes();
    for (const tick of gone) ticks.delete(tick);
    for (const { tick, header, body } of reduced) ticks.set(tick, { header, body });
    this.#onStep("trim:after");
    return before - this.tickBytes();
  }

  checkpoint(): boolean {
    this.#open();
    this.#onStep("checkpoint:before");
    return false;
  }

  close(): void {
    this.#isClosed = true;
  }

  #open(): MemoryContent {
    if (this.#isClosed) throw new UnavailableError("log store", "The memory store was closed");
    return this.#content;
  }
}

function put<K, V>(map: Map<K, V>, key: K, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

function copyInto<K, V>(target: Map<K, V>, source: ReadonlyMap<K, V>): void {
  for (const [key, value] of source) target.set(key, value);
}

function sizeOf(blob: TickBlob): number {
  return blob.header.length + blob.body.length;
}

/** Order of UTF-8 bytes as SQLite compares text; the same for the ASCII of addresses. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
