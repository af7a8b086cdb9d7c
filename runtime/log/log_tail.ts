/**
 * The end of the log for live feeds: records of an interest set, from the head on, for one taker.
 * Costs nothing while there is no interest: then the log is not even listened to.
 *
 * The taker's duties: one `take` at a time. What it does not fetch is bounded: at the bound all of it
 * is dropped and counted, since newer records matter more to a live feed than older ones.
 */
import type { Address, Partition } from "../actor/address.ts";
import { UnavailableError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Segment, SegmentClass } from "./partition_log.ts";
import type { ReadableLog } from "./reader_port.ts";
import { addressAt, bodyAt, bodyStartAt, HEADER_BYTES, recordEnd } from "./record.ts";

export interface InterestChange {
  /** Messages to these actors, and what they recorded and projected. */
  readonly added: readonly Address[];
  readonly removed: readonly Address[];
  /** All rows of these views, whoever projects them; replaces the views before. */
  readonly views: readonly string[];
}

export type TailClass = Extract<SegmentClass, "ingress" | "record" | "view">;

export interface TailRecord {
  readonly class: TailClass;
  /** Actor that it is to, or that recorded or projected it. */
  readonly address: Address;
  /** Epoch milliseconds. */
  readonly acceptedAtMs: number;
  readonly body: Uint8Array;
}

export interface TailRead {
  /** In order of the log, by partition. */
  readonly records: readonly TailRecord[];
  /** Records dropped before these, because nobody took them in time. */
  readonly missed: number;
}

export interface Tail extends Disposable {
  /** Resolves when it holds for everything that the log takes from now on. */
  change(interest: InterestChange): Promise<void>;
  /** Resolves as soon as there is something; rejects with `UnavailableError` when it is disposed. */
  take(): Promise<TailRead>;
}

const CLASSES_OF_ACTORS: readonly TailClass[] = ["ingress", "record", "view"];
const CLASSES_OF_VIEWS: readonly TailClass[] = ["view"];
/** Bytes of ticks looked through at once. */
const SCAN_BYTES = 1024 * 1024;
/** What a held record costs beside its body, roughly. */
const RECORD_BYTES = 160;
const ENCODER = new TextEncoder();

interface Watched {
  readonly address: Address;
  readonly bytes: Uint8Array;
}

export class LogTail implements Tail {
  readonly #log: ReadableLog;
  readonly #partitionOf: (address: Address) => Partition;
  readonly #bytesMax: number;
  /** By hash of the address. */
  readonly #watched = new Map<number, Watched[]>();
  /** Watched actors by partition: segments of others are passed over whole. */
  readonly #partitions = new Map<Partition, number>();
  /** What the body of a row of a watched view begins with. */
  #views: readonly Uint8Array[] = [];
  #cursor = 0;
  #unlisten: (() => void) | undefined;
  #isScanning = false;
  #held: TailRecord[] = [];
  #heldBytes = 0;
  #missed = 0;
  #taker: { resolve(read: TailRead): void; reject(fault: Error): void } | undefined;

  constructor(
    log: ReadableLog,
    partitionOf: (address: Address) => Partition,
    bytesMax: number = LIMITS.tailBytesMax,
  ) {
    this.#log = log;
    this.#partitionOf = partitionOf;
    this.#bytesMax = bytesMax;
  }

  change({ added, removed, views }: InterestChange): Promise<void> {
    for (const address of removed) this.#remove(address);
    for (const address of added) this.#add(address);
    this.#views = views.map((view) => ENCODER.encode(`{"view":${JSON.stringify(view)},`));
    const isIdle = this.#watched.size === 0 && this.#views.length === 0;
    if (isIdle) {
      this.#unlisten?.();
      this.#unlisten = undefined;
    } else if (this.#unlisten === undefined) {
      this.#cursor = this.#log.head().tick;
      this.#unlisten = this.#log.onAppended(() => void this.#scan());
    }
    return Promise.resolve();
  }

  take(): Promise<TailRead> {
    return new Promise((resolve, reject) => {
      this.#taker = { resolve, reject };
      this.#hand();
    });
  }

  /** Rejects a `take` that waits. */
  [Symbol.dispose](): void {
    this.#unlisten?.();
    this.#unlisten = undefined;
    this.#taker?.reject(new UnavailableError("log", "Cannot follow the log: the tail is closed"));
    this.#taker = undefined;
    this.#held = [];
  }

  #add(address: Address): void {
    const bytes = ENCODER.encode(address);
    const hash = hashOf(bytes, 0, bytes.length);
    const known = this.#watched.get(hash);
    if (known?.some((watched) => watched.address === address)) return;
    const watched = { address, bytes };
    if (known === undefined) this.#watched.set(hash, [watched]);
    else known.push(watched);
    const partition = this.#partitionOf(address);
    this.#partitions.set(partition, (this.#partitions.get(partition) ?? 0) + 1);
  }

  #remove(address: Address): void {
    const bytes = ENCODER.encode(address);
    const hash = hashOf(bytes, 0, bytes.length);
    const known = this.#watched.get(hash);
    const left = known?.filter((watched) => watched.address !== address);
    if (left === undefined || left.length === known!.length) return;
    if (left.length === 0) this.#watched.delete(hash);
    else this.#watched.set(hash, left);
    const partition = this.#partitionOf(address);
    const count = this.#partitions.get(partition)! - 1;
    if (count === 0) this.#partitions.delete(partition);
    else this.#partitions.set(partition, count);
  }

  async #scan(): Promise<void> {
    if (this.#isScanning) return; // The one under way goes on to the head.
    this.#isScanning = true;
    try {
      while (this.#unlisten !== undefined && this.#log.head().tick > this.#cursor) {
        const classes = this.#watched.size > 0 ? CLASSES_OF_ACTORS : CLASSES_OF_VIEWS;
        const read = await this.#log.readTicks(this.#cursor, classes, SCAN_BYTES);
        this.#cursor = read.cursor;
        for (const { segments } of read.ticks) segments.forEach((segment) => this.#look(segment));
      }
    } catch { // The log is closing, or cannot be read: what it was is not known, but it was there.
      this.#missed++;
      this.#cursor = this.#log.head().tick;
    } finally {
      this.#isScanning = false;
    }
    this.#hand();
  }

  #look(segment: Segment): void {
    const isWatched = this.#partitions.has(segment.partition);
    const isView = segment.class === "view" && this.#views.length > 0;
    if (!isWatched && !isView) return;
    const { bytes } = segment;
    let at = 0;
    for (let i = 0; i < segment.count; i++) {
      const end = recordEnd(bytes, at);
      if (isWatched && this.#isWatched(bytes, at) || isView && this.#isOfView(bytes, at)) {
        this.#hold({
          class: segment.class as TailClass,
          address: addressAt(bytes, at),
          acceptedAtMs: segment.acceptedAtMs,
          body: bodyAt(bytes, at, end).slice(), // A view would keep its whole tick in memory.
        });
      }
      at = end;
    }
  }

  #isWatched(bytes: Uint8Array, at: number): boolean {
    const from = at + HEADER_BYTES;
    const to = from + bytes[at + 6]!;
    const known = this.#watched.get(hashOf(bytes, from, to));
    return known !== undefined &&
      known.some((watched) =>
        watched.bytes.length === to - from && isAt(bytes, from, watched.bytes)
      );
  }

  #isOfView(bytes: Uint8Array, at: number): boolean {
    const start = bodyStartAt(bytes, at);
    return this.#views.some((view) => isAt(bytes, start, view));
  }

  #hold(record: TailRecord): void {
    const size = record.body.length + RECORD_BYTES;
    if (this.#heldBytes + size > this.#bytesMax && this.#held.length > 0) {
      this.#missed += this.#held.length;
      this.#held = [];
      this.#heldBytes = 0;
    }
    this.#held.push(record);
    this.#heldBytes += size;
  }

  #hand(): void {
    const taker = this.#taker;
    if (taker === undefined || (this.#held.length === 0 && this.#missed === 0)) return;
    const read = { records: this.#held, missed: this.#missed };
    this.#taker = undefined;
    this.#held = [];
    this.#heldBytes = 0;
    this.#missed = 0;
    taker.resolve(read);
  }
}

/** FNV-1a of bytes. */
function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash;
}

function isAt(bytes: Uint8Array, from: number, part: Uint8Array): boolean {
  for (let i = 0; i < part.length; i++) if (bytes[from + i] !== part[i]) return false;
  return true;
}
