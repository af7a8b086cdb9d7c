/**
 * The way into the log: collects messages of all gateways of a process into appends, one in flight,
 * group-committed. A message is never dropped here: at the bound the caller keeps it.
 *
 * The caller's duties, in order:
 * 1. `offer`; undefined means the bound is reached: keep the message, stop reading, try again after
 *    `onRoom` fires.
 * 2. Acknowledge nothing before `onSettled` says that its append number is durable.
 */
import { type Address, type Partition, PARTITIONS } from "../actor/address.ts";
import type { Message } from "../actor/behaviour.ts";
import type { Clock } from "../clock.ts";
import { messageOf, OverloadedError, TimeoutError, UnavailableError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Logger } from "../logger.ts";
import type { Append, AppendOutcome, GatewayRow } from "./partition_log.ts";
import { packHead, writeRecord } from "./record.ts";
import type { StoppedPartitions } from "./stopped_partitions.ts";

export interface IngressTarget {
  readonly partition: Partition;
  /** `packHead(...)`. */
  readonly head: Uint8Array;
}

export interface Ingress {
  /**
   * Copies head and body parts into the open append. Returns the number of the append that will
   * carry it (rising), or undefined at the bound of unacknowledged bytes.
   */
  offer(target: IngressTarget, parts: readonly Uint8Array[]): number | undefined;
  /** Writes a row with the open append (absent value deletes). Same return. */
  offerRow(key: string, value: Uint8Array | undefined): number | undefined;
  /** All or nothing: a message and rows that no crash may part. One append has them. Same return. */
  offerWithRows(
    target: IngressTarget,
    parts: readonly Uint8Array[],
    rows: readonly GatewayRow[],
  ): number | undefined;
  /** Called with the highest append number that is durable, in order, in one synchronous burst. */
  onSettled(listener: (appendNumber: number) => void): () => void;
  /** Called when there is room again after `offer` returned undefined. */
  onRoom(listener: () => void): () => void;
  /** Highest number that is durable. */
  readonly settled: number;
  /** Highest number that carries anything; `settled <= offered`. */
  readonly offered: number;
  /** Why appends are refused at present (`overloaded`, `disk_reserve`, `store_failed`); else absent. */
  readonly refusal: string | undefined;
  readonly unacknowledgedBytes: number;
  /** Closes the open append if its deadline has passed: called by read paths, timers starve. */
  flushIfDue(): void;
  /** Sends to an actor and resolves with its `reply`; rejects with TimeoutError, OverloadedError, UnavailableError. */
  ask(address: Address, message: Message, options: AskOptions): Promise<unknown>;
}

export interface AskOptions {
  readonly timeoutMs: number;
  /**
   * Called before `ask` returns, with the append that carries the question, and its place among those
   * of its partition there. Not called: the question was not taken.
   */
  readonly onOffered?: (append: number, index: number) => void;
}

/** What the ingress needs of a log. May reject: the outcome is unknown, the same is sent again. */
export interface AppendTarget {
  append(append: Append): Promise<AppendOutcome>;
}

export interface IngressOptions {
  readonly log: AppendTarget;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Unique per start of this process. */
  readonly incarnation: string;
  readonly partitionOf: (address: Address) => Partition;
  /** Questions to their actors are refused: nobody would answer. Default: none is. */
  readonly stopped?: Pick<StoppedPartitions, "has">;
  /** Counts what is refused, by reason. */
  readonly refuse?: (reason: string) => void;
  readonly unacknowledgedBytesMax?: number;
}

/** Questions that wait for an answer at a time; more are refused. */
const ASKS_MAX = 10_000;
/** First wait after a lost append; the log may be restarting. */
const RETRY_MS = 50;
/** What a row costs beside its key and value, roughly. */
const ROW_BYTES = 32;
const ENCODER = new TextEncoder();

interface Sealed {
  readonly append: Append;
  readonly bytes: number;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly cancel: () => void;
}

/** Room for the records of one partition; kept and filled again for each append. */
class Lane {
  bytes = new Uint8Array(1024);
  used = 0;
  count = 0;

  write(head: Uint8Array, parts: readonly Uint8Array[], length: number): void {
    if (this.used + length > this.bytes.length) {
      const larger = new Uint8Array(Math.max(this.bytes.length * 2, this.used + length));
      larger.set(this.bytes.subarray(0, this.used));
      this.bytes = larger;
    }
    this.used = writeRecord(this.bytes, this.used, head, parts);
    this.count++;
  }
}

export class GroupIngress implements Ingress {
  settled = 0;
  /** Of the message that was offered last, among those of its partition in its append. */
  lastIndex = 0;
  refusal: string | undefined;
  /** Sum of the open, sealed and in-flight appends; `<= unacknowledgedBytesMax`, but for one record. */
  unacknowledgedBytes = 0;

  readonly #options: IngressOptions;
  readonly #bytesMax: number;
  readonly #lanes = Array.from({ length: PARTITIONS }, () => new Lane());
  /** Of the open append, by key: the last value stands for those before, which it replaces. */
  #rows = new Map<string, GatewayRow>();
  #openBytes = 0;
  #openedAtMs = 0;
  /** Number of the append that is open: each sealed one has a number below it. */
  #openNumber = 1;
  readonly #queue: Sealed[] = [];
  #isInFlight = false;
  #isFlushPlanned = false;
  #wantsRoom = false;
  #isClosed = false;
  readonly #settledListeners = new Set<(appendNumber: number) => void>();
  readonly #roomListeners = new Set<() => void>();
  readonly #asks = new Map<string, Waiting>();
  #askNumber = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(options: IngressOptions) {
    this.#options = options;
    this.#bytesMax = options.unacknowledgedBytesMax ?? LIMITS.unacknowledgedBytesMax;
  }

  offer(target: IngressTarget, parts: readonly Uint8Array[]): number | undefined {
    const length = lengthOf(target, parts);
    if (!this.#admit(length)) return undefined;
    this.#write(target, parts, length);
    return this.#openNumber;
  }

  offerRow(key: string, value: Uint8Array | undefined): number | undefined {
    const row = value === undefined ? { key } : { key, value };
    if (!this.#admitWithRows(0, [row])) return undefined;
    return this.#openNumber;
  }

  offerWithRows(
    target: IngressTarget,
    parts: readonly Uint8Array[],
    rows: readonly GatewayRow[],
  ): number | undefined {
    const length = lengthOf(target, parts);
    // Admitted as one: only `#admit` closes an append.
    if (!this.#admitWithRows(length, rows)) return undefined;
    this.#write(target, parts, length);
    return this.#openNumber;
  }

  onSettled(listener: (appendNumber: number) => void): () => void {
    this.#settledListeners.add(listener);
    return () => this.#settledListeners.delete(listener);
  }

  onRoom(listener: () => void): () => void {
    this.#roomListeners.add(listener);
    return () => this.#roomListeners.delete(listener);
  }

  flushIfDue(): void {
    if (this.#openBytes === 0 || this.#isInFlight) return;
    if (this.#options.clock.monotonicMs() - this.#openedAtMs >= LIMITS.appendDelayMs) this.#flush();
  }

  async ask(address: Address, message: Message, options: AskOptions): Promise<unknown> {
    if (this.#asks.size >= ASKS_MAX) {
      throw new OverloadedError(`Cannot ask ${address}: ${ASKS_MAX} questions are waiting`, 1_000);
    }
    const partition = this.#options.partitionOf(address);
    if (this.#options.stopped?.has(partition)) {
      this.#options.refuse?.("partition_stopped");
      const message = `Cannot ask ${address}: partition ${partition} is stopped by damage`;
      throw new UnavailableError("partition", message, { hint: "Skip the damaged records" });
    }
    const replyTo = `${this.#options.incarnation}:${++this.#askNumber}`;
    const head = packHead({ to: address, budget: LIMITS.budgetPerRootRecord, replyTo });
    const body = ENCODER.encode(JSON.stringify(message));
    const target = { partition, head };
    const append = this.offer(target, [body]);
    if (append === undefined) {
      throw new OverloadedError(
        `Cannot ask ${address}: ${this.unacknowledgedBytes} B wait for the log, ` +
          `unacknowledgedBytesMax is ${this.#bytesMax}`,
        1_000,
      );
    }
    options.onOffered?.(append, this.lastIndex);
    return await new Promise((resolve, reject) => {
      const cancel = this.#options.clock.after(options.timeoutMs, () => {
        this.#asks.delete(replyTo);
        reject(new TimeoutError(`${message.type} of ${address}`, options.timeoutMs));
      });
      this.#asks.set(replyTo, { resolve, cancel });
    });
  }

  /** Hands the reply of an actor to whoever asked; nobody is a late answer and ignored. */
  resolveReply(replyTo: string, value: unknown): void {
    const waiting = this.#asks.get(replyTo);
    if (waiting === undefined) return;
    this.#asks.delete(replyTo);
    waiting.cancel();
    waiting.resolve(value);
  }

  get offered(): number {
    return this.#openBytes > 0 ? this.#openNumber : this.#openNumber - 1;
  }

  /** Resolves when everything offered so far is durable, or after `withinMs`. */
  async drain(withinMs: number): Promise<boolean> {
    const until = this.offered;
    if (this.settled >= until) return true;
    this.#flush();
    return await new Promise((resolve) => {
      const finish = (isDrained: boolean) => {
        cancel();
        unlisten();
        resolve(isDrained);
      };
      const cancel = this.#options.clock.after(withinMs, () => finish(false));
      const unlisten = this.onSettled((number) => number >= until && finish(true));
    });
  }

  /** Stops retrying. What is not durable stays unacknowledged. */
  close(): void {
    this.#isClosed = true;
    this.#cancelTimer?.();
    for (const waiting of this.#asks.values()) waiting.cancel();
    this.#asks.clear();
  }

  #write(target: IngressTarget, parts: readonly Uint8Array[], length: number): void {
    const lane = this.#lanes[target.partition]!;
    this.lastIndex = lane.count;
    lane.write(target.head, parts, length);
  }

  /** @param rows Of different keys. */
  #admitWithRows(length: number, rows: readonly GatewayRow[]): boolean {
    let added = length;
    let replaced = 0;
    for (const row of rows) {
      added += rowLength(row);
      const before = this.#rows.get(row.key);
      if (before !== undefined) replaced += rowLength(before);
    }
    if (!this.#admit(added, replaced)) return false;
    for (const row of rows) this.#rows.set(row.key, row);
    return true;
  }

  /** @param replaced Bytes of the open append that would go. */
  #admit(length: number, replaced = 0): boolean {
    const added = length - replaced;
    if (this.unacknowledgedBytes + added > this.#bytesMax) {
      this.#wantsRoom = true;
      return false;
    }
    if (replaced > 0 && this.#openBytes + added <= LIMITS.appendBytesMax) {
      this.#openBytes += added;
      this.unacknowledgedBytes += added;
      return true;
    }
    if (this.#openBytes + length > LIMITS.appendBytesMax && this.#openBytes > 0) this.#seal();
    if (this.#openBytes === 0) {
      this.#openedAtMs = this.#options.clock.monotonicMs();
      this.#planFlush();
    }
    this.#openBytes += length;
    this.unacknowledgedBytes += length;
    return true;
  }

  /** At the end of this turn of the event loop, so that what one read brought goes out together. */
  #planFlush(): void {
    if (this.#isFlushPlanned || this.#isInFlight) return;
    this.#isFlushPlanned = true;
    this.#options.clock.soon(() => {
      this.#isFlushPlanned = false;
      this.#flush();
    });
  }

  #seal(): void {
    let total = 0;
    for (const lane of this.#lanes) total += lane.used;
    const all = new Uint8Array(total);
    const segments: Append["segments"][number][] = [];
    let at = 0;
    for (let partition = 0; partition < this.#lanes.length; partition++) {
      const lane = this.#lanes[partition]!;
      if (lane.count === 0) continue;
      all.set(lane.bytes.subarray(0, lane.used), at);
      segments.push({ partition, count: lane.count, bytes: all.subarray(at, at + lane.used) });
      at += lane.used;
      lane.used = 0;
      lane.count = 0;
    }
    const append: Append = {
      incarnation: this.#options.incarnation,
      sequence: this.#openNumber++,
      segments,
      rows: [...this.#rows.values()],
    };
    this.#queue.push({ append, bytes: this.#openBytes });
    this.#rows.clear();
    this.#openBytes = 0;
  }

  #flush(): void {
    if (this.#isInFlight || this.#isClosed) return;
    if (this.#queue.length === 0) {
      if (this.#openBytes === 0) return;
      this.#seal();
    }
    this.#isInFlight = true;
    const sealed = this.#queue[0]!;
    this.#options.log.append(sealed.append).then(
      (outcome) =>
        outcome.ok
          ? this.#settle(sealed)
          : this.#retry(outcome.code, outcome.detail, outcome.retryAfterMs),
      (fault) => this.#retry("store_failed", messageOf(fault), RETRY_MS),
    );
  }

  #settle(sealed: Sealed): void {
    this.#queue.shift();
    this.#isInFlight = false;
    this.refusal = undefined;
    this.unacknowledgedBytes -= sealed.bytes;
    this.settled = sealed.append.sequence;
    for (const listener of this.#settledListeners) listener(this.settled);
    if (this.#wantsRoom && this.unacknowledgedBytes <= this.#bytesMax / 2) {
      this.#wantsRoom = false;
      for (const listener of this.#roomListeners) listener();
    }
    if (this.#queue.length > 0) this.#flush();
    else if (this.#openBytes > 0) this.#planFlush();
  }

  #retry(code: string, detail: string, afterMs: number): void {
    if (this.#isClosed) return;
    if (this.refusal !== code) {
      this.#options.logger.warn("append refused, trying again", { code, detail, afterMs });
    }
    this.refusal = code;
    this.#cancelTimer = this.#options.clock.after(afterMs, () => {
      this.#isInFlight = false;
      this.#flush();
    });
  }
}

/** Resolves when append `number` is durable. */
export async function untilDurable(
  ingress: Pick<Ingress, "settled" | "onSettled">,
  number: number,
): Promise<void> {
  if (ingress.settled >= number) return;
  await new Promise<void>((resolve) => {
    const unlisten = ingress.onSettled((settled) => {
      if (settled < number) return;
      unlisten();
      resolve();
    });
  });
}

function lengthOf(target: IngressTarget, parts: readonly Uint8Array[]): number {
  let length = target.head.length;
  for (let i = 0; i < parts.length; i++) length += parts[i]!.length;
  return length;
}

function rowLength({ key, value }: GatewayRow): number {
  return key.length + (value?.length ?? 0) + ROW_BYTES;
}
