/**
 * Points of one device and metric, packed without loss.
 *
 * Layout: u8 kind · u8 scale · varint n · times · values; the whole deflated where that is smaller
 * (`codec`). Times: float64 first, then deltas of deltas. Values by kind:
 * - decimals: integers `value * 10^scale`, each as the difference to the one before;
 * - doubles: bits XOR those before, transposed into eight planes of bytes, which deflate well;
 * - booleans: one bit each;
 * - any: a JSON array of the different values, then an index for each point.
 */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import type { Json } from "../../runtime/actor/behaviour.ts";
import { CodecError, messageOf } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { ByteReader, ByteWriter } from "./byte_buffer.ts";
import { jsonText } from "./json_text.ts";

/** `ats` never falls; equal times stand in order of acceptance. */
export interface Column {
  readonly ats: Float64Array;
  /** A Float64Array if all are numbers. As long as `ats`. */
  readonly values: ArrayLike<Json>;
}

export interface EncodedChunk {
  readonly codec: number;
  readonly bytes: Uint8Array;
}

const CODEC_PLAIN = 1;
const CODEC_DEFLATED = 2;
const KIND_DECIMALS = 0;
const KIND_DOUBLES = 1;
const KIND_BOOLEANS = 2;
const KIND_ANY = 3;

const POWERS = [1, 10, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/** Differences of such integers fit a zigzag varint of 53 bits. */
const SCALED_MAX = 2 ** 51;
/** Deflating costs 0.1 ms; small chunks are soon merged into bigger ones anyway. */
const DEFLATE_BYTES_MIN = 512;
/** Far above what `chunkPointsMax` values of a message can inflate to: a damaged blob stops there. */
const INFLATED_BYTES_MAX = LIMITS.chunkPointsMax * LIMITS.payloadBytesMax + 65_536;

const writer = new ByteWriter();
const TEXT_ENCODER = new TextEncoder();
const TEXT_DECODER = new TextDecoder("utf-8", { fatal: true });

/** Packs points `[from, to)`; at least one, at most a day apart. */
export function encodeChunk(
  ats: ArrayLike<number>,
  values: ArrayLike<Json>,
  from: number,
  to: number,
): EncodedChunk {
  writer.clear();
  const kind = kindOf(values, from, to);
  const scale = kind === KIND_DECIMALS ? scaleOf(values as ArrayLike<number>, from, to) : 0;
  writer.byte(scale < 0 ? KIND_DOUBLES : kind);
  writer.byte(Math.max(0, scale));
  writer.varint(to - from);
  writeTimes(ats, from, to);
  if (kind === KIND_ANY) writeAny(values, from, to);
  else if (kind === KIND_BOOLEANS) writeBooleans(values, from, to);
  else if (scale < 0) writeDoubles(values as ArrayLike<number>, from, to);
  else writeDecimals(values as ArrayLike<number>, from, to, POWERS[scale]!);
  const plain = writer.view();
  if (plain.length >= DEFLATE_BYTES_MIN) {
    const deflated = deflateRawSync(plain);
    if (deflated.length < plain.length) return { codec: CODEC_DEFLATED, bytes: deflated };
  }
  return { codec: CODEC_PLAIN, bytes: plain.slice() };
}

/** Throws `CodecError` if the bytes are damaged. */
export function decodeChunk(codec: number, bytes: Uint8Array): Column {
  try {
    return decode(new ByteReader(plainBytes(codec, bytes)));
  } catch (fault) {
    throw new CodecError(`Cannot read a chunk of ${bytes.length} B: ${messageOf(fault)}`, {
      cause: fault,
    });
  }
}

function plainBytes(codec: number, bytes: Uint8Array): Uint8Array {
  if (codec === CODEC_PLAIN) return bytes;
  if (codec !== CODEC_DEFLATED) throw new CodecError(`codec ${codec} is unknown`);
  return inflateRawSync(bytes, { maxOutputLength: INFLATED_BYTES_MAX });
}

function decode(reader: ByteReader): Column {
  const kind = reader.byte();
  const scale = reader.byte();
  const count = reader.varint();
  // A bit a point is the least that any kind takes, times take a byte.
  if (!(count >= 1 && count <= reader.bytes.length)) throw new CodecError(`it has ${count} points`);
  const ats = readTimes(reader, count);
  const values = kind === KIND_DECIMALS
    ? readDecimals(reader, count, POWERS[scale]!)
    : kind === KIND_DOUBLES
    ? readDoubles(reader, count)
    : kind === KIND_BOOLEANS
    ? readBooleans(reader, count)
    : readAny(reader, count);
  if (reader.at !== reader.bytes.length) throw new CodecError("its length is wrong");
  return { ats, values };
}

function kindOf(values: ArrayLike<Json>, from: number, to: number): number {
  if (values instanceof Float64Array) return KIND_DECIMALS;
  let numbers = 0;
  let booleans = 0;
  for (let i = from; i < to; i++) {
    if (typeof values[i] === "number") numbers++;
    else if (typeof values[i] === "boolean") booleans++;
    else return KIND_ANY;
  }
  return numbers === to - from ? KIND_DECIMALS : booleans === to - from ? KIND_BOOLEANS : KIND_ANY;
}

/** Decimal places at which all values are exact integers; -1 if there is no such number. */
function scaleOf(values: ArrayLike<number>, from: number, to: number): number {
  let scale = 0;
  for (let i = from; i < to; i++) {
    while (!isExact(values[i]!, POWERS[scale]!)) {
      if (++scale === POWERS.length) return -1;
    }
  }
  for (let i = from; i < to; i++) if (!isExact(values[i]!, POWERS[scale]!)) return -1;
  return scale;
}

function isExact(value: number, power: number): boolean {
  const scaled = Math.round(value * power);
  return scaled / power === value && scaled <= SCALED_MAX && scaled >= -SCALED_MAX &&
    (value !== 0 || 1 / value > 0); // -0 has no integer.
}

function writeTimes(ats: ArrayLike<number>, from: number, to: number): void {
  writer.float64(ats[from]!);
  let delta = 0;
  for (let i = from + 1; i < to; i++) {
    const next = ats[i]! - ats[i - 1]!;
    writer.zigzag(next - delta);
    delta = next;
  }
}

function readTimes(reader: ByteReader, count: number): Float64Array {
  const ats = new Float64Array(count);
  let at = reader.float64();
  let delta = 0;
  ats[0] = at;
  for (let i = 1; i < count; i++) {
    delta += reader.zigzag();
    at += delta;
    ats[i] = at;
  }
  return ats;
}

function writeDecimals(values: ArrayLike<number>, from: number, to: number, power: number): void {
  let before = 0;
  for (let i = from; i < to; i++) {
    const scaled = Math.round(values[i]! * power);
    writer.zigzag(scaled - before);
    before = scaled;
  }
}

function readDecimals(reader: ByteReader, count: number, power: number): Float64Array {
  const values = new Float64Array(count);
  let scaled = 0;
  for (let i = 0; i < count; i++) {
    scaled += reader.zigzag();
    values[i] = scaled / power;
  }
  return values;
}

function writeDoubles(values: ArrayLike<number>, from: number, to: number): void {
  const count = to - from;
  const doubles = new Float64Array(count);
  for (let i = 0; i < count; i++) doubles[i] = values[from + i]!;
  const words = new Uint32Array(doubles.buffer);
  for (let i = words.length - 1; i >= 2; i--) words[i]! ^= words[i - 2]!;
  const bytes = new Uint8Array(doubles.buffer);
  const planes = new Uint8Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) planes[(i & 7) * count + (i >> 3)] = bytes[i]!;
  writer.append(planes);
}

function readDoubles(reader: ByteReader, count: number): Float64Array {
  const planes = reader.bytes.subarray(reader.at, reader.at + count * 8);
  reader.at += count * 8;
  const doubles = new Float64Array(count);
  const bytes = new Uint8Array(doubles.buffer);
  for (let i = 0; i < bytes.length; i++) bytes[i] = planes[(i & 7) * count + (i >> 3)]!;
  const words = new Uint32Array(doubles.buffer);
  for (let i = 2; i < words.length; i++) words[i]! ^= words[i - 2]!;
  return doubles;
}

function writeBooleans(values: ArrayLike<Json>, from: number, to: number): void {
  const bits = new Uint8Array((to - from + 7) >> 3);
  for (let i = from; i < to; i++) {
    if (values[i] === true) bits[(i - from) >> 3]! |= 1 << ((i - from) & 7);
  }
  writer.append(bits);
}

function readBooleans(reader: ByteReader, count: number): boolean[] {
  const start = reader.at;
  reader.at += (count + 7) >> 3;
  return Array.from(
    { length: count },
    (_, i) => (reader.bytes[start + (i >> 3)]! >> (i & 7) & 1) === 1,
  );
}

function writeAny(values: ArrayLike<Json>, from: number, to: number): void {
  const numbers = new Map<string, number>();
  const indices: number[] = [];
  for (let i = from; i < to; i++) {
    const text = jsonText(values[i]!);
    let number = numbers.get(text);
    if (number === undefined) numbers.set(text, number = numbers.size);
    indices.push(number);
  }
  const text = TEXT_ENCODER.encode(`[${[...numbers.keys()].join(",")}]`);
  writer.varint(text.length);
  writer.append(text);
  for (const number of indices) writer.varint(number);
}

function readAny(reader: ByteReader, count: number): Json[] {
  const length = reader.varint();
  const text = reader.bytes.subarray(reader.at, reader.at + length);
  reader.at += length;
  const different = JSON.parse(TEXT_DECODER.decode(text)) as Json[];
  const values: Json[] = [];
  for (let i = 0; i < count; i++) {
    const number = reader.varint();
    if (!(number < different.length)) throw new CodecError(`index ${number} is out of range`);
    values.push(different[number]!);
  }
  return values;
}
