/**
 * The packets of the hot path, read and written on raw bytes: where a packet ends, PUBLISH in, and
 * acknowledgements out. All other packets are decoded by `mqtt-packet` (codec.ts).
 */
import { REASON } from "./reason.ts";

/** Packet types (MQTT 3.1.1 table 2.1). */
export const PACKET = {
  connect: 1,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  unsubscribe: 10,
  pingreq: 12,
  disconnect: 14,
  auth: 15,
} as const;

/** Results of `packetBytes` that are no length. */
export const INCOMPLETE = 0;
export const MALFORMED = -1;
export const TOO_LARGE = -2;

/**
 * Bytes of the packet that starts at `at`, its header included, as it announces itself; it need not
 * have arrived. `INCOMPLETE` if its length has not arrived, `MALFORMED`, or `TOO_LARGE`.
 * @param end Where the bytes that have arrived end.
 */
export function packetBytes(bytes: Uint8Array, at: number, end: number, bytesMax: number): number {
  let remaining = 0;
  for (let i = 1; i <= 4; i++) {
    if (at + i >= end) return INCOMPLETE;
    const byte = bytes[at + i]!;
    remaining += (byte & 0x7f) * 128 ** (i - 1);
    if (byte < 0x80) return 1 + i + remaining > bytesMax ? TOO_LARGE : 1 + i + remaining;
  }
  return MALFORMED;
}

/** Where the body of a complete packet starts. */
export function bodyStart(bytes: Uint8Array, at: number): number {
  let start = at + 1;
  while (bytes[start]! >= 0x80) start++;
  return start + 1;
}

/** Offsets into the bytes of a PUBLISH; one object is filled again and again. */
export interface PublishFrame {
  qos: number;
  isRetain: boolean;
  /** 0 with QoS 0. */
  packetId: number;
  topicStart: number;
  topicEnd: number;
  payloadStart: number;
  payloadEnd: number;
}

export function createPublishFrame(): PublishFrame {
  return {
    qos: 0,
    isRetain: false,
    packetId: 0,
    topicStart: 0,
    topicEnd: 0,
    payloadStart: 0,
    payloadEnd: 0,
  };
}

/** Fills `frame` from the complete PUBLISH in `[at, end)`. Returns a `REASON` to disconnect, or 0. */
export function readPublish(
  bytes: Uint8Array,
  at: number,
  end: number,
  isV5: boolean,
  frame: PublishFrame,
): number {
  const flags = bytes[at]!;
  frame.qos = flags >> 1 & 3;
  frame.isRetain = (flags & 1) !== 0;
  if (frame.qos === 3 || (frame.qos === 0 && (flags & 8) !== 0)) return REASON.malformed;
  let cursor = bodyStart(bytes, at);
  if (cursor + 2 > end) return REASON.malformed;
  frame.topicStart = cursor + 2;
  frame.topicEnd = frame.topicStart + (bytes[cursor]! << 8 | bytes[cursor + 1]!);
  cursor = frame.topicEnd;
  frame.packetId = 0;
  if (frame.qos > 0) {
    if (cursor + 2 > end) return REASON.malformed;
    frame.packetId = bytes[cursor]! << 8 | bytes[cursor + 1]!;
    if (frame.packetId === 0) return REASON.protocolError;
    cursor += 2;
  }
  if (cursor > end) return REASON.malformed;
  if (isV5) {
    const after = bytes[cursor] === 0 ? cursor + 1 : afterProperties(bytes, cursor, end);
    if (after < 0) return -after;
    cursor = after;
  }
  if (cursor > end) return REASON.malformed;
  frame.payloadStart = cursor;
  frame.payloadEnd = end;
  return frame.topicEnd === frame.topicStart ? REASON.topicInvalid : 0;
}

/** Checks the properties of a PUBLISH and returns where they end, or a negative `REASON`. */
function afterProperties(bytes: Uint8Array, at: number, end: number): number {
  let cursor = at;
  let length = 0;
  for (let shift = 1;; shift *= 128) {
    if (cursor >= end || shift > 128 ** 3) return -REASON.malformed;
    const byte = bytes[cursor++]!;
    length += (byte & 0x7f) * shift;
    if (byte < 0x80) break;
  }
  const stop = cursor + length;
  if (stop > end) return -REASON.malformed;
  while (cursor < stop) {
    const id = bytes[cursor++]!;
    if (id === 0x01) cursor += 1; // Payload format.
    else if (id === 0x02) cursor += 4; // Message expiry.
    else if (id === 0x03 || id === 0x08 || id === 0x09) cursor = afterText(bytes, cursor, stop);
    else if (id === 0x26) cursor = afterText(bytes, afterText(bytes, cursor, stop), stop);
    else if (id === 0x23) return -REASON.topicAliasInvalid; // We announce a maximum of none.
    else return -(id === 0x0b ? REASON.protocolError : REASON.malformed);
  }
  return cursor === stop ? stop : -REASON.malformed;
}

/** Where a length-prefixed field ends; beyond `stop` if it does not fit. */
function afterText(bytes: Uint8Array, at: number, stop: number): number {
  return at + 2 > stop ? stop + 1 : at + 2 + (bytes[at]! << 8 | bytes[at + 1]!);
}

/** Packet id in the first two bytes of a body: PUBACK, PUBREL. 0 if there is none. */
export function packetIdOf(bytes: Uint8Array, at: number, end: number): number {
  const start = bodyStart(bytes, at);
  return start + 2 > end ? 0 : bytes[start]! << 8 | bytes[start + 1]!;
}

/** A PUBLISH to a device. `packetId` 0: QoS 0. */
export function encodePublish(
  topic: string,
  payload: Uint8Array,
  packetId: number,
  isDup: boolean,
  isV5: boolean,
): Uint8Array {
  const remaining = 2 + topic.length + (packetId === 0 ? 0 : 2) + (isV5 ? 1 : 0) + payload.length;
  const lengthBytes = remaining < 128 ? 1 : remaining < 16_384 ? 2 : remaining < 2_097_152 ? 3 : 4;
  const bytes = new Uint8Array(1 + lengthBytes + remaining);
  bytes[0] = PACKET.publish << 4 | (isDup ? 8 : 0) | (packetId === 0 ? 0 : 2);
  let at = 1;
  for (let left = remaining; at <= lengthBytes; left = Math.floor(left / 128)) {
    bytes[at] = left % 128 | (at < lengthBytes ? 0x80 : 0);
    at++;
  }
  bytes[at++] = topic.length >> 8;
  bytes[at++] = topic.length;
  for (let i = 0; i < topic.length; i++) bytes[at++] = topic.charCodeAt(i);
  if (packetId !== 0) {
    bytes[at++] = packetId >> 8;
    bytes[at++] = packetId;
  }
  if (isV5) bytes[at++] = 0;
  bytes.set(payload, at);
  return bytes;
}
