/**
 * The records of one durable step, packed: a header with a range per segment, and the bytes of all
 * segments back to back. The header is stored apart, so that an index is rebuilt without the bodies.
 *
 * Header, little endian: u32 CRC-32 of the rest · u8 version · u8 0 · u16 ranges · per range 40 B:
 * u16 partition · u8 class · u8 0 · u32 epoch · f64 firstOffset · f64 acceptedAtMs · u32 count ·
 * u32 bytes · u32 CRC-32 of the bytes · u32 0.
 */
import { crc32 } from "node:zlib";
import { CodecError } from "../errors.ts";
import type { Segment, SegmentClass } from "./partition_log.ts";
import type { TickBlob } from "./tick_store.ts";

export const TICK_VERSION = 1;
const HEAD_BYTES = 8;
const RANGE_BYTES = 40;
export const SEGMENT_CLASSES: readonly SegmentClass[] = [
  "ingress",
  "replay",
  "sent",
  "record",
  "view",
];

/** Where a segment stands in the body of its tick. */
export interface TickRange {
  readonly partition: number;
  readonly class: SegmentClass;
  readonly epoch: number;
  readonly firstOffset: number;
  readonly count: number;
  readonly acceptedAtMs: number;
  readonly at: number;
  readonly length: number;
  readonly crc: number;
}

/** A segment before it is packed; its bytes may be in pieces. */
export interface StagedSegment {
  readonly partition: number;
  readonly class: SegmentClass;
  readonly epoch: number;
  readonly firstOffset: number;
  readonly count: number;
  readonly acceptedAtMs: number;
  readonly parts: readonly Uint8Array[];
}

export function packTick(
  segments: readonly StagedSegment[],
): TickBlob & { readonly ranges: readonly TickRange[] } {
  let total = 0;
  for (const segment of segments) {
    for (const part of segment.parts) total += part.length;
  }
  const header = new Uint8Array(HEAD_BYTES + segments.length * RANGE_BYTES);
  const body = new Uint8Array(total);
  const view = new DataView(header.buffer);
  const ranges: TickRange[] = [];
  let end = 0;
  for (const segment of segments) {
    const at = end;
    for (const part of segment.parts) {
      body.set(part, end);
      end += part.length;
    }
    const range: TickRange = {
      partition: segment.partition,
      class: segment.class,
      epoch: segment.epoch,
      firstOffset: segment.firstOffset,
      count: segment.count,
      acceptedAtMs: segment.acceptedAtMs,
      at,
      length: end - at,
      crc: crc32(body.subarray(at, end)),
    };
    writeRange(view, HEAD_BYTES + ranges.length * RANGE_BYTES, range);
    ranges.push(range);
  }
  seal(header, view, segments.length);
  return { header, body, ranges };
}

/** Some segments of a stored tick, as they are: damaged ones keep the checksum that they do not match. */
export function repackTick(ranges: readonly TickRange[], from: Uint8Array): TickBlob {
  const header = new Uint8Array(HEAD_BYTES + ranges.length * RANGE_BYTES);
  const body = new Uint8Array(ranges.reduce((sum, range) => sum + range.length, 0));
  const view = new DataView(header.buffer);
  let at = 0;
  ranges.forEach((range, i) => {
    writeRange(view, HEAD_BYTES + i * RANGE_BYTES, range);
    body.set(from.subarray(range.at, range.at + range.length), at);
    at += range.length;
  });
  seal(header, view, ranges.length);
  return { header, body };
}

function seal(header: Uint8Array, view: DataView, ranges: number): void {
  header[4] = TICK_VERSION;
  view.setUint16(6, ranges, true);
  view.setUint32(0, crc32(header.subarray(4)), true);
}

/** @throws {CodecError} The header is damaged or of another version. */
export function decodeRanges(header: Uint8Array): TickRange[] {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  if (header.length < HEAD_BYTES || view.getUint32(0, true) !== crc32(header.subarray(4))) {
    throw new CodecError("Cannot read a tick: the checksum of its header does not match");
  }
  if (header[4] !== TICK_VERSION) {
    throw new CodecError(`Cannot read a tick: version ${header[4]} is not ${TICK_VERSION}`);
  }
  const ranges: TickRange[] = [];
  let at = 0;
  for (let i = 0; i < view.getUint16(6, true); i++) {
    const range = readRange(view, HEAD_BYTES + i * RANGE_BYTES, at);
    at += range.length;
    ranges.push(range);
  }
  return ranges;
}

/** The segment of a range; undefined if its bytes do not match their checksum. */
export function segmentAt(
  body: Uint8Array,
  range: TickRange,
  isVerified: boolean,
): Segment | undefined {
  const bytes = body.subarray(range.at, range.at + range.length);
  if (!isVerified && (bytes.length !== range.length || crc32(bytes) !== range.crc)) {
    return undefined;
  }
  const { partition, epoch, firstOffset, count, acceptedAtMs } = range;
  return { partition, class: range.class, epoch, firstOffset, count, acceptedAtMs, bytes };
}

function writeRange(view: DataView, at: number, range: TickRange): void {
  view.setUint16(at, range.partition, true);
  view.setUint8(at + 2, SEGMENT_CLASSES.indexOf(range.class));
  view.setUint32(at + 4, range.epoch, true);
  view.setFloat64(at + 8, range.firstOffset, true);
  view.setFloat64(at + 16, range.acceptedAtMs, true);
  view.setUint32(at + 24, range.count, true);
  view.setUint32(at + 28, range.length, true);
  view.setUint32(at + 32, range.crc, true);
}

function readRange(view: DataView, at: number, bodyAt: number): TickRange {
  return {
    partition: view.getUint16(at, true),
    class: SEGMENT_CLASSES[view.getUint8(at + 2)]!,
    epoch: view.getUint32(at + 4, true),
    firstOffset: view.getFloat64(at + 8, true),
    acceptedAtMs: view.getFloat64(at + 16, true),
    count: view.getUint32(at + 24, true),
    at: bodyAt,
    length: view.getUint32(at + 28, true),
    crc: view.getUint32(at + 32, true),
  };
}
