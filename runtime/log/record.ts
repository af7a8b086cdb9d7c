/**
 * A record, packed. Segments are these back to back, so that a gateway packs each message once and
 * the log, the engine and the readers pass the bytes on untouched.
 *
 * Layout, little endian: u32 bytes of the whole record · u8 format version · u8 flags · u8 address
 * bytes · u8 metadata bytes · u32 budget · address (ASCII) · metadata (ASCII, `replyTo` LF `traceId`
 * LF `firstId`; empty where all three are absent) · body (UTF-8 JSON, to the end).
 */
import { type Address, ADDRESS_BYTES_MAX } from "../actor/address.ts";
import type { DeadLetter, LogRecord } from "../actor/batch.ts";
import { CodecError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Segment } from "./partition_log.ts";

export const RECORD_VERSION = 1;
/** Bytes before the address: the address of the record at `at` starts at `at + HEADER_BYTES`. */
export const HEADER_BYTES = 12;
const METADATA_BYTES_MAX = 255;
/** Characters of a `traceId` or `firstId`: both fit in the metadata of one record. */
const ID_CHARACTERS_MAX = 96;

export interface RecordHead {
  readonly to: Address;
  /** Messages that this record may cause, itself included. */
  readonly budget: number;
  readonly replyTo?: string;
  readonly traceId?: string;
  readonly firstId?: string;
}

/**
 * The bytes before the body, with length 0: made once per connection and kind of message, then copied
 * per message by `writeRecord`.
 */
export function packHead(head: RecordHead): Uint8Array {
  const metadata = head.replyTo === undefined && head.traceId === undefined &&
      head.firstId === undefined
    ? ""
    : `${head.replyTo ?? ""}\n${head.traceId ?? ""}\n${head.firstId ?? ""}`;
  if (head.to.length > ADDRESS_BYTES_MAX || metadata.length > METADATA_BYTES_MAX) {
    throw new CodecError(
      `Cannot pack a record to "${
        head.to.slice(0, 64)
      }": address and metadata are bounded to 255 B`,
    );
  }
  const bytes = new Uint8Array(HEADER_BYTES + head.to.length + metadata.length);
  bytes[4] = RECORD_VERSION;
  bytes[6] = head.to.length;
  bytes[7] = metadata.length;
  writeU32(bytes, 8, head.budget);
  writeAscii(bytes, HEADER_BYTES, head.to);
  writeAscii(bytes, HEADER_BYTES + head.to.length, metadata);
  return bytes;
}

/** Writes head and body parts at `at`; the caller has made room. Returns the end. */
export function writeRecord(
  target: Uint8Array,
  at: number,
  head: Uint8Array,
  parts: readonly Uint8Array[],
): number {
  target.set(head, at);
  let end = at + head.length;
  for (const part of parts) {
    target.set(part, end);
    end += part.length;
  }
  writeU32(target, at, end - at);
  return end;
}

export function packRecord(head: RecordHead, body: Uint8Array): Uint8Array {
  const packed = packHead(head);
  const bytes = new Uint8Array(packed.length + body.length);
  writeRecord(bytes, 0, packed, [body]);
  return bytes;
}

/** A dead letter as a record again: a new root that keeps its first identity. */
export function packLetter({ to, recordId, traceId, body }: DeadLetter): Uint8Array {
  const firstId = boundedId(recordId);
  const trace = boundedId(traceId);
  const ids = trace === firstId ? { firstId } : { firstId, traceId: trace };
  return packRecord({ to, budget: LIMITS.budgetPerRootRecord, ...ids }, body);
}

/** Where the record at `at` ends. Throws `CodecError` if it does not fit. */
export function recordEnd(bytes: Uint8Array, at: number): number {
  const end = at + HEADER_BYTES > bytes.length ? -1 : at + readU32(bytes, at);
  if (end > bytes.length || end < at + HEADER_BYTES + bytes[at + 6]! + bytes[at + 7]!) {
    throw new CodecError(`Cannot read a record: it does not fit at byte ${at} of ${bytes.length}`);
  }
  if (bytes[at + 4] !== RECORD_VERSION) {
    throw new CodecError(`Cannot read a record: version ${bytes[at + 4]} is not ${RECORD_VERSION}`);
  }
  return end;
}

/** Address of the record at `at`, without decoding the rest. */
export function addressAt(bytes: Uint8Array, at: number): Address {
  return readAscii(bytes, at + HEADER_BYTES, bytes[at + 6]!);
}

/** Body of the record at `at`, a view. */
export function bodyAt(bytes: Uint8Array, at: number, end: number): Uint8Array {
  return bytes.subarray(at + HEADER_BYTES + bytes[at + 6]! + bytes[at + 7]!, end);
}

/** Where the body of the record at `at` starts. */
export function bodyStartAt(bytes: Uint8Array, at: number): number {
  return at + HEADER_BYTES + bytes[at + 6]! + bytes[at + 7]!;
}

/** Messages that the record at `at` may still cause, itself included. */
export function budgetAt(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at + 8);
}

/** `replyTo`, `traceId` and `firstId` of the record at `at`; undefined where all are absent. */
export function metadataAt(
  bytes: Uint8Array,
  at: number,
): Pick<LogRecord, "replyTo" | "traceId" | "firstId"> | undefined {
  const length = bytes[at + 7]!;
  if (length === 0) return undefined;
  return metadataOf(readAscii(bytes, at + HEADER_BYTES + bytes[at + 6]!, length));
}

/** Decodes the records of a segment in order of offset. Bodies are views of `segment.bytes`. */
export function* recordsOf(segment: Segment): Generator<LogRecord> {
  const bytes = segment.bytes;
  const isIngress = segment.class === "ingress" || segment.class === "replay";
  let at = 0;
  for (let i = 0; i < segment.count; i++) {
    const end = recordEnd(bytes, at);
    const metadataBytes = bytes[at + 7]!;
    yield {
      offset: segment.firstOffset + i,
      epoch: segment.epoch,
      acceptedAtMs: segment.acceptedAtMs,
      to: addressAt(bytes, at),
      body: bodyAt(bytes, at, end),
      budget: readU32(bytes, at + 8),
      isIngress,
      ...(metadataBytes === 0
        ? undefined
        : metadataOf(readAscii(bytes, at + HEADER_BYTES + bytes[at + 6]!, metadataBytes))),
    };
    at = end;
  }
}

/**
 * An identity that fits in the metadata: the end of a long one, which is what tells it from others
 * (name and due time of a reminder), with characters that would break the layout replaced.
 */
export function boundedId(id: string): string {
  const short = id.length <= ID_CHARACTERS_MAX ? id : "~" + id.slice(1 - ID_CHARACTERS_MAX);
  return /^[!-~]*$/.test(short) ? short : short.replace(/[^!-~]/g, "_");
}

/** Identity of a record: `{epoch}-{partition}-{offset}`. */
export function recordId(segment: Segment, record: LogRecord): string {
  return record.firstId ?? `${record.epoch}-${segment.partition}-${record.offset}`;
}

/** A segment without its first `skip` records (`0 <= skip < count`). Bytes are a view. */
export function sliceSegment(segment: Segment, skip: number, take: number): Segment {
  let at = 0;
  for (let i = 0; i < skip; i++) at = recordEnd(segment.bytes, at);
  let end = at;
  const count = Math.min(take, segment.count - skip);
  for (let i = 0; i < count; i++) end = recordEnd(segment.bytes, end);
  return {
    ...segment,
    firstOffset: segment.firstOffset + skip,
    count,
    bytes: segment.bytes.subarray(at, end),
  };
}

function metadataOf(text: string): Pick<LogRecord, "replyTo" | "traceId" | "firstId"> {
  const [replyTo, traceId, firstId] = text.split("\n");
  return {
    ...(replyTo ? { replyTo } : undefined),
    ...(traceId ? { traceId } : undefined),
    ...(firstId ? { firstId } : undefined),
  };
}

function readU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24) >>> 0;
}

function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

function readAscii(bytes: Uint8Array, at: number, length: number): string {
  let text = "";
  for (let i = at; i < at + length; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}

function writeAscii(bytes: Uint8Array, at: number, text: string): void {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
}
