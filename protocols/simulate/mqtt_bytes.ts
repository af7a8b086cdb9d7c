/** The packets of MQTT 5 that a device needs, written and read: as small and fast as its use. */
import { Buffer } from "node:buffer";
import { CodecError } from "../../runtime/errors.ts";

export const CONNACK = 2;
export const PUBLISH = 3;
export const PUBACK = 4;
export const DISCONNECT = 14;

/** Largest packet that is read: what the platform sends a device is far below. */
const PACKET_BYTES_MAX = 256 * 1024;

export const PINGREQ_BYTES = Buffer.of(0xc0, 0);
export const DISCONNECT_BYTES = Buffer.of(0xe0, 0);

/** A packet's type, flags, and all after its length. */
export interface RawPacket {
  readonly type: number;
  readonly flags: number;
  readonly body: Buffer;
}

export function connectPacket(
  client: string,
  login: { readonly user: string; readonly password: string },
  keepAliveS: number,
): Buffer {
  const fixed = Buffer.of(0, 4, 77, 81, 84, 84, 5, 0xc2, keepAliveS >> 8, keepAliveS & 255, 0);
  return packet(0x10, [fixed, text(client), text(login.user), text(login.password)]);
}

/** QoS 1. */
export function publishPacket(topic: Buffer, id: number, payload: string): Buffer {
  const length = Buffer.byteLength(payload);
  const size = topic.length + 3 + length;
  const head = lengthBytes(size);
  const whole = Buffer.allocUnsafe(1 + head.length + size);
  whole[0] = 0x32;
  head.copy(whole, 1);
  let at = 1 + head.length;
  at += topic.copy(whole, at);
  whole[at++] = id >> 8;
  whole[at++] = id & 255;
  whole[at++] = 0;
  whole.write(payload, at, "utf8");
  return whole;
}

/** QoS 1 on each. */
export function subscribePacket(id: number, filters: readonly string[]): Buffer {
  const parts = filters.flatMap((filter) => [text(filter), Buffer.of(1)]);
  return packet(0x82, [Buffer.of(id >> 8, id & 255, 0), ...parts]);
}

export function pubackPacket(id: number): Buffer {
  return Buffer.of(0x40, 2, id >> 8, id & 255);
}

/** A text with its length before it. */
export function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 255), bytes]);
}

/** Reason code of a PUBACK, CONNACK or DISCONNECT body; 0 where it says none. */
export function reasonOf(body: Buffer, at: number): number {
  return body[at] ?? 0;
}

/** Topic, packet id (0: QoS 0) and payload of a PUBLISH. @throws {CodecError} It is cut short. */
export function readPublish({ flags, body }: RawPacket) {
  const topicEnd = 2 + body.readUInt16BE(0);
  const hasId = (flags & 6) !== 0;
  const id = hasId ? body.readUInt16BE(topicEnd) : 0;
  const properties = readLength(body, topicEnd + (hasId ? 2 : 0));
  if (properties === undefined) throw new CodecError("Cannot read a PUBLISH that is cut short");
  const payload = body.subarray(properties.end + properties.value);
  return { topic: body.toString("utf8", 2, topicEnd), id, payload };
}

/** Cuts a stream into packets. */
export class PacketReader {
  #rest: Buffer | undefined;

  /** @throws {CodecError} A packet is longer than any that a device gets. */
  *read(chunk: Buffer): Generator<RawPacket> {
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (at < bytes.length) {
      const length = readLength(bytes, at + 1);
      if (length === undefined) break;
      if (length.value > PACKET_BYTES_MAX) {
        throw new CodecError(`Cannot read a packet of ${length.value} B: ${PACKET_BYTES_MAX} B`);
      }
      const end = length.end + length.value;
      if (end > bytes.length) break;
      const first = bytes[at]!;
      yield { type: first >> 4, flags: first & 15, body: bytes.subarray(length.end, end) };
      at = end;
    }
    this.#rest = at < bytes.length ? bytes.subarray(at) : undefined;
  }
}

function readLength(bytes: Buffer, at: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let i = 0; i < 4 && at + i < bytes.length; i++) {
    const byte = bytes[at + i]!;
    value |= (byte & 127) << 7 * i;
    if (byte < 128) return { value, end: at + i + 1 };
  }
  return undefined;
}

function lengthBytes(size: number): Buffer {
  const bytes: number[] = [];
  let rest = size;
  do {
    const low = rest & 127;
    rest >>= 7;
    bytes.push(rest > 0 ? low | 128 : low);
  } while (rest > 0);
  return Buffer.from(bytes);
}

function packet(type: number, parts: readonly Buffer[]): Buffer {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([Buffer.of(type), lengthBytes(size), ...parts]);
}
