/**
 * Frames between the log's process and an engine process, over pipes. One frame is u32 bytes of the
 * rest · u8 type · u32 bytes of the JSON head · head · tail, little endian. The tail has the packed
 * bytes that the head gives lengths of, in its order, so that no record or state passes through JSON.
 */
import { CodecError } from "../errors.ts";
import type { Segment, SegmentClass } from "../log/partition_log.ts";
import type {
  ActivityWrite,
  DeadLetter,
  OwnRecord,
  PartitionBatch,
  PartitionCommit,
  Reminder,
  ReminderWrite,
  SentRecord,
  StateWrite,
  TransientEffect,
} from "./batch.ts";

export const FRAME = {
  /** To the engine: batches to handle. */
  handle: 1,
  /** To the engine: the states it asked for. */
  states: 2,
  /** To the engine: drop activations, `{partitions}`. */
  forget: 3,
  /** From the engine: it has started. */
  ready: 10,
  /** From the engine: commits, the answer to `handle`. */
  commits: 11,
  /** From the engine: `{addresses}` to load. */
  load: 12,
  /** From the engine: `Progress`: it is alive. */
  progress: 13,
  /** From the engine: `handle` failed as a whole, `{message}`. */
  failed: 14,
  /** From the engine, before `commits`: `{events}` of actors, to be told once those are durable. */
  lifecycle: 15,
} as const;

/** Bytes of one frame; a longer announcement is a broken peer. */
export const FRAME_BYTES_MAX = 256 * 1024 * 1024;
const PREFIX_BYTES = 9;
const ENCODER = new TextEncoder();
const DECODER = new TextDecoder();

export interface Frame {
  readonly type: number;
  readonly head: unknown;
  readonly tail: Uint8Array;
}

export function encodeFrame(
  type: number,
  head: unknown,
  chunks: readonly Uint8Array[] = [],
): Uint8Array<ArrayBuffer> {
  const headBytes = ENCODER.encode(JSON.stringify(head));
  let total = PREFIX_BYTES + headBytes.length;
  for (const chunk of chunks) total += chunk.length;
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, total - 4, true);
  bytes[4] = type;
  view.setUint32(5, headBytes.length, true);
  bytes.set(headBytes, PREFIX_BYTES);
  let at = PREFIX_BYTES + headBytes.length;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Cuts a stream of bytes into frames. Tails are views of buffers that are not reused. */
export class FrameReader {
  #chunks: Uint8Array[] = [];
  #held = 0;

  *push(chunk: Uint8Array): Generator<Frame> {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
    while (this.#held >= PREFIX_BYTES) {
      const first = this.#join(PREFIX_BYTES);
      const view = new DataView(first.buffer, first.byteOffset, first.byteLength);
      const total = view.getUint32(0, true) + 4;
      if (total > FRAME_BYTES_MAX || total < PREFIX_BYTES) {
        throw new CodecError(`Cannot read a frame of ${total} B: the bound is ${FRAME_BYTES_MAX}`);
      }
      if (this.#held < total) return;
      const bytes = this.#join(total);
      const headEnd = PREFIX_BYTES + view.getUint32(5, true);
      const frame = {
        type: bytes[4]!,
        head: JSON.parse(DECODER.decode(bytes.subarray(PREFIX_BYTES, headEnd))),
        tail: bytes.subarray(headEnd, total),
      };
      // An empty view would keep the frame's memory until the next one comes.
      if (bytes.length === total) this.#chunks.shift();
      else this.#chunks[0] = bytes.subarray(total);
      this.#held -= total;
      yield frame;
    }
  }

  /** The first chunk, made to hold at least `length` bytes. */
  #join(length: number): Uint8Array {
    const first = this.#chunks[0]!;
    if (first.length >= length) return first;
    const joined = new Uint8Array(this.#held);
    let at = 0;
    for (const chunk of this.#chunks) {
      joined.set(chunk, at);
      at += chunk.length;
    }
    this.#chunks = [joined];
    return joined;
  }
}

/** Hands out consecutive views of a tail. */
class Cut {
  #at = 0;
  constructor(readonly tail: Uint8Array) {}
  take(length: number): Uint8Array {
    if (this.#at + length > this.tail.length) {
      throw new CodecError("Cannot read a frame: cut short");
    }
    return this.tail.subarray(this.#at, this.#at += length);
  }
}

type ReminderHead = [to: string, name: string, dueAtMs: number, budget: number, bytes: number];

interface BatchHead {
  readonly partition: number;
  readonly cursor: number;
  readonly nextCursor: number;
  readonly endOfLogAtMs?: number;
  readonly rootsMax?: number;
  readonly isFirstParked?: true;
  readonly segments: readonly [
    segmentClass: SegmentClass,
    epoch: number,
    firstOffset: number,
    count: number,
    acceptedAtMs: number,
    bytes: number,
  ][];
  readonly reminders: readonly ReminderHead[];
}

export function encodeBatches(batches: readonly PartitionBatch[]): Uint8Array<ArrayBuffer> {
  const chunks: Uint8Array[] = [];
  const heads = batches.map((batch): BatchHead => ({
    partition: batch.partition,
    cursor: batch.cursor,
    nextCursor: batch.nextCursor,
    ...limitsOf(batch),
    segments: batch.segments.map((s) => {
      chunks.push(s.bytes);
      return [s.class, s.epoch, s.firstOffset, s.count, s.acceptedAtMs, s.bytes.length];
    }),
    reminders: batch.reminders.map((reminder) => reminderHead(reminder, chunks)),
  }));
  return encodeFrame(FRAME.handle, heads, chunks);
}

export function decodeBatches(frame: Frame): PartitionBatch[] {
  const cut = new Cut(frame.tail);
  return (frame.head as BatchHead[]).map((head) => ({
    partition: head.partition,
    cursor: head.cursor,
    nextCursor: head.nextCursor,
    ...limitsOf(head),
    segments: head.segments.map((s): Segment => ({
      partition: head.partition,
      class: s[0],
      epoch: s[1],
      firstOffset: s[2],
      count: s[3],
      acceptedAtMs: s[4],
      bytes: cut.take(s[5]),
    })),
    reminders: head.reminders.map((reminder) => reminderOf(reminder, cut)),
  }));
}

/** Where a batch ends; absent fields stay absent. */
function limitsOf({ endOfLogAtMs, rootsMax, isFirstParked }: PartitionBatch | BatchHead) {
  return {
    ...(endOfLogAtMs === undefined ? undefined : { endOfLogAtMs }),
    ...(rootsMax === undefined ? undefined : { rootsMax }),
    ...(isFirstParked === undefined ? undefined : { isFirstParked }),
  };
}

function reminderHead(reminder: Reminder, chunks: Uint8Array[]): ReminderHead {
  chunks.push(reminder.body);
  const { to, name, dueAtMs, budget, body } = reminder;
  return [to, name, dueAtMs, budget, body.length];
}

function reminderOf(head: ReminderHead, cut: Cut): Reminder {
  const [to, name, dueAtMs, budget, bytes] = head;
  return { to, name, dueAtMs, budget, body: cut.take(bytes) };
}

interface CommitHead {
  readonly partition: number;
  readonly fromCursor: number;
  readonly toCursor: number;
  readonly processed: number;
  readonly isPartial: boolean;
  /** Address and bytes in turn; -1 bytes deletes. */
  readonly states: readonly (string | number)[];
  readonly sends: readonly (Omit<SentRecord, "body"> & { bytes: number })[];
  readonly records: readonly (Omit<OwnRecord, "body"> & { bytes: number })[];
  readonly reminders: readonly { to: string; name: string; set?: ReminderHead }[];
  readonly deadLetters: readonly (Omit<DeadLetter, "body"> & { bytes: number })[];
  readonly activities: readonly ActivityWrite[];
  readonly effects: readonly TransientEffect[];
}

/** `{...item, bytes}` without its body, which goes to the tail. */
function detach<T extends { readonly body: Uint8Array }>(
  item: T,
  chunks: Uint8Array[],
): Omit<T, "body"> & { bytes: number } {
  const { body, ...rest } = item;
  chunks.push(body);
  return { ...rest, bytes: body.length };
}

function attach<T extends { readonly bytes: number }>(
  item: T,
  cut: Cut,
): Omit<T, "bytes"> & { body: Uint8Array } {
  const { bytes, ...rest } = item;
  return { ...rest, body: cut.take(bytes) };
}

export function encodeCommits(commits: readonly PartitionCommit[]): Uint8Array<ArrayBuffer> {
  const chunks: Uint8Array[] = [];
  const heads = commits.map((commit): CommitHead => {
    const states: (string | number)[] = [];
    for (const write of commit.states) {
      states.push(write.address, write.state === undefined ? -1 : write.state.length);
      if (write.state !== undefined) chunks.push(write.state);
    }
    return {
      partition: commit.partition,
      fromCursor: commit.fromCursor,
      toCursor: commit.toCursor,
      processed: commit.processed,
      isPartial: commit.isPartial,
      states,
      sends: commit.sends.map((send) => detach(send, chunks)),
      records: commit.records.map((record) => detach(record, chunks)),
      reminders: commit.reminders.map(({ to, name, reminder }) => ({
        to,
        name,
        ...(reminder === undefined ? undefined : { set: reminderHead(reminder, chunks) }),
      })),
      deadLetters: commit.deadLetters.map((letter) => detach(letter, chunks)),
      activities: commit.activities,
      effects: commit.effects,
    };
  });
  return encodeFrame(FRAME.commits, heads, chunks);
}

export function decodeCommits(frame: Frame): PartitionCommit[] {
  const cut = new Cut(frame.tail);
  return (frame.head as CommitHead[]).map((head): PartitionCommit => ({
    partition: head.partition,
    fromCursor: head.fromCursor,
    toCursor: head.toCursor,
    processed: head.processed,
    isPartial: head.isPartial,
    states: statesOf(head.states, cut),
    sends: head.sends.map((send) => attach(send, cut)),
    records: head.records.map((record) => attach(record, cut)),
    reminders: head.reminders.map(({ to, name, set }): ReminderWrite =>
      set === undefined ? { to, name } : { to, name, reminder: reminderOf(set, cut) }
    ),
    deadLetters: head.deadLetters.map((letter) => attach(letter, cut)),
    activities: head.activities,
    effects: head.effects,
  }));
}

function statesOf(flat: readonly (string | number)[], cut: Cut): StateWrite[] {
  const writes: StateWrite[] = [];
  for (let i = 0; i < flat.length; i += 2) {
    const address = flat[i] as string;
    const bytes = flat[i + 1] as number;
    writes.push(bytes < 0 ? { address } : { address, state: cut.take(bytes) });
  }
  return writes;
}

/** Answer to `load`: lengths in the head (-1: none), bytes in the tail. */
export function encodeStates(
  states: readonly (Uint8Array | undefined)[],
): Uint8Array<ArrayBuffer> {
  const chunks = states.filter((state) => state !== undefined);
  return encodeFrame(FRAME.states, states.map((state) => state?.length ?? -1), chunks);
}

export function decodeStates(frame: Frame): (Uint8Array | undefined)[] {
  const cut = new Cut(frame.tail);
  return (frame.head as number[]).map((bytes) => bytes < 0 ? undefined : cut.take(bytes));
}
