/**
 * What the log knows of itself: per partition its offsets, cursor, token and ledger terms; written
 * whole as one row in each step. A step works on a draft and replaces the old one when it is durable.
 */
import { crc32 } from "node:zlib";
import type { Partition } from "../actor/address.ts";
import { CodecError } from "../errors.ts";
import { ByteReader, ByteWriter } from "./bytes.ts";
import type { AttemptMark, StoppedPartition } from "./partition_log.ts";

export interface PartitionMeta {
  /** Offset that the next record gets. `cursor <= nextOffset`. */
  nextOffset: number;
  /** Cursor of reader "actors": records below it are handled. */
  cursor: number;
  /** Offset of the first record to handle; `nextOffset` if there is none. All above it are stored. */
  pendingFrom: number;
  /** Epoch milliseconds of the newest record; never falls. */
  lastAcceptedAtMs: number;
  /** Terms of the ledger; each changed only by its own event. `pending` is counted from records. */
  accepted: number;
  processed: number;
  deadLettered: number;
  rolledBack: number;
  /** Token of the present owner; 0: nobody yet. */
  token: number;
  /** Last commit, to know its repeat: where it began, and for one that moved nothing its print. */
  commitFrom: number;
  commitPrint: number;
  /** Sequence of the last commit that sent to other partitions. */
  sentSequence: number;
}

/** Offsets `[from, to)` that are lost for good, and counted: rolled back, or skipped as damaged. */
export interface OffsetGap {
  readonly partition: Partition;
  readonly from: number;
  readonly to: number;
}

export interface LogMeta {
  readonly tick: number;
  readonly epoch: number;
  /** Highest token given. */
  readonly tokenLast: number;
  /** Highest dead letter id given. */
  readonly deadLetterLast: number;
  /** No record to handle stands in a tick before this one. */
  readonly pendingFromTick: number;
  readonly partitions: readonly Readonly<PartitionMeta>[];
  /** Last sequence of each gateway incarnation, least recently used first. */
  readonly incarnations: ReadonlyMap<string, number>;
  readonly readers: ReadonlyMap<string, number>;
  readonly marks: readonly AttemptMark[];
  readonly gaps: readonly OffsetGap[];
  /** At most one a partition. */
  readonly stops: readonly StoppedPartition[];
}

const META_VERSION = 2;
/** Without `stops`. */
const META_VERSION_MIN = 1;
const FIELDS = [
  "nextOffset",
  "cursor",
  "pendingFrom",
  "lastAcceptedAtMs",
  "accepted",
  "processed",
  "deadLettered",
  "rolledBack",
  "token",
  "commitFrom",
  "commitPrint",
  "sentSequence",
] as const satisfies readonly (keyof PartitionMeta)[];

export function createMeta(partitions: number): LogMeta {
  return {
    tick: 0,
    epoch: 1,
    tokenLast: 0,
    deadLetterLast: 0,
    pendingFromTick: 1,
    partitions: Array.from({ length: partitions }, createPartitionMeta),
    incarnations: new Map(),
    readers: new Map(),
    marks: [],
    gaps: [],
    stops: [],
  };
}

function createPartitionMeta(): PartitionMeta {
  return {
    nextOffset: 0,
    cursor: 0,
    pendingFrom: 0,
    lastAcceptedAtMs: 0,
    accepted: 0,
    processed: 0,
    deadLettered: 0,
    rolledBack: 0,
    token: 0,
    commitFrom: 0,
    commitPrint: 0,
    sentSequence: 0,
  };
}

const WRITER = new ByteWriter();

/** u32 CRC-32 of the rest · u8 version · fields as they stand in `LogMeta`. */
export function encodeMeta(meta: LogMeta): Uint8Array {
  const out = WRITER;
  out.u8(0).u8(0).u8(0).u8(0).u8(META_VERSION);
  out.integer(meta.tick).integer(meta.epoch).integer(meta.tokenLast);
  out.integer(meta.deadLetterLast).integer(meta.pendingFromTick);
  out.integer(meta.partitions.length);
  for (const own of meta.partitions) { // Field by field, in order of FIELDS: this runs each step.
    out.integer(own.nextOffset).integer(own.cursor).integer(own.pendingFrom);
    out.integer(own.lastAcceptedAtMs).integer(own.accepted).integer(own.processed);
    out.integer(own.deadLettered).integer(own.rolledBack).integer(own.token);
    out.integer(own.commitFrom).integer(own.commitPrint).integer(own.sentSequence);
  }
  out.integer(meta.incarnations.size);
  for (const [incarnation, sequence] of meta.incarnations) out.text(incarnation).integer(sequence);
  out.integer(meta.readers.size);
  for (const [reader, tick] of meta.readers) out.text(reader).integer(tick);
  out.integer(meta.marks.length);
  for (const mark of meta.marks) {
    out.integer(mark.partition).integer(mark.fromOffset).integer(mark.toOffset);
    out.integer(mark.deaths);
  }
  out.integer(meta.gaps.length);
  for (const gap of meta.gaps) out.integer(gap.partition).integer(gap.from).integer(gap.to);
  out.integer(meta.stops.length);
  for (const stop of meta.stops) {
    out.integer(stop.partition).integer(stop.offset).text(stop.detail);
  }
  const bytes = out.take();
  new DataView(bytes.buffer).setUint32(0, crc32(bytes.subarray(4)), true);
  return bytes;
}

/** @throws {CodecError} The row is damaged, or of a newer version. */
export function decodeMeta(bytes: Uint8Array): LogMeta {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 5 || view.getUint32(0, true) !== crc32(bytes.subarray(4))) {
    throw new CodecError("Cannot open the log: the checksum of its meta row does not match", {
      hint: "The file is damaged: restore log.db from a backup.",
    });
  }
  const input = new ByteReader(bytes.subarray(4));
  const version = input.u8();
  if (version < META_VERSION_MIN || version > META_VERSION) {
    throw new CodecError(
      `Cannot open the log: its version is ${version}, of ${META_VERSION_MIN} to ${META_VERSION}`,
    );
  }
  return {
    tick: input.integer(),
    epoch: input.integer(),
    tokenLast: input.integer(),
    deadLetterLast: input.integer(),
    pendingFromTick: input.integer(),
    partitions: list(input, decodePartition),
    incarnations: new Map(list(input, () => [input.text(), input.integer()] as const)),
    readers: new Map(list(input, () => [input.text(), input.integer()] as const)),
    marks: list(input, decodeMark),
    gaps: list(input, () => ({
      partition: input.integer(),
      from: input.integer(),
      to: input.integer(),
    })),
    stops: version < 2 ? [] : list(input, () => ({
      partition: input.integer(),
      offset: input.integer(),
      detail: input.text(),
    })),
  };
}

/** Tick of an encoded meta row, without checking the rest. */
export function tickOfMeta(bytes: Uint8Array): number {
  return new ByteReader(bytes.subarray(5)).integer();
}

function decodePartition(input: ByteReader): PartitionMeta {
  const partition = createPartitionMeta();
  for (let i = 0; i < FIELDS.length; i++) partition[FIELDS[i]!] = input.integer();
  return partition;
}

function decodeMark(input: ByteReader): AttemptMark {
  return {
    partition: input.integer(),
    fromOffset: input.integer(),
    toOffset: input.integer(),
    deaths: input.integer(),
  };
}

function list<T>(input: ByteReader, decode: (input: ByteReader) => T): T[] {
  return Array.from({ length: input.integer() }, () => decode(input));
}

/**
 * Highest sequence of each source that each target has taken: `seen[target * partitions + source]`.
 * Written only by steps that relay: most do not.
 */
export function encodeRelay(seen: Float64Array): Uint8Array {
  const out = WRITER;
  for (let i = 0; i < seen.length; i++) out.integer(seen[i]!);
  const bytes = out.take();
  return out.integer(crc32(bytes)).bytes(bytes).take();
}

export function decodeRelay(bytes: Uint8Array, partitions: number): Float64Array {
  const input = new ByteReader(bytes);
  const crc = input.integer();
  const rest = input.bytes();
  if (crc32(rest) !== crc) {
    throw new CodecError("Cannot open the log: the checksum of its relay row does not match");
  }
  const sequences = new ByteReader(rest);
  const seen = new Float64Array(partitions * partitions);
  for (let i = 0; i < seen.length; i++) seen[i] = sequences.integer();
  return seen;
}
