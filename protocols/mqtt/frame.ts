/**
 * The packets of the hot path, read and written on raw bytes: where a packet ends, PUBLISH in, and
 * acknowledgements out. All other packets are decoded by `mqtt-packet` (codec.ts).
 */
import { Buffer } from "node:buffer";
import { LIMITS } from "../../runtime/limits.ts";
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
  /** 0: none. Then the topic may be empty. */
  topicAlias: number;
  /** -1: none. */
  expirySeconds: number;
  /** Of the properties, without their length; empty with 3.1.1. */
  propertiesStart: number;
  propertiesEnd: number;
  /** Properties that are passed on: all but the two above. */
  hasPassedOn: boolean;
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
    topicAlias: 0,
    expirySeconds: -1,
    propertiesStart: 0,
    propertiesEnd: 0,
    hasPassedOn: false,
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
  frame.topicAlias = 0;
  frame.expirySeconds = -1;
  frame.propertiesStart = frame.propertiesEnd = 0;
  frame.hasPassedOn = false;
  if (isV5) {
    const after = bytes[cursor] === 0 ? cursor + 1 : readProperties(bytes, cursor, end, frame);
    if (after < 0) return -after;
    cursor = after;
  }
  if (cursor > end) return REASON.malformed;
  frame.payloadStart = cursor;
  frame.payloadEnd = end;
  const hasTopic = frame.topicEnd > frame.topicStart || frame.topicAlias !== 0;
  return hasTopic ? 0 : isV5 ? REASON.protocolError : REASON.topicInvalid;
}

/** Ids of properties of a PUBLISH (2.2.2.2). */
export const PROPERTY = {
  payloadFormat: 0x01,
  messageExpiry: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlation: 0x09,
  subscriptionId: 0x0b,
  topicAlias: 0x23,
  user: 0x26,
} as const;

/** Checks the properties of a PUBLISH and returns where they end, or a negative `REASON`. */
function readProperties(
  bytes: Uint8Array,
  at: number,
  end: number,
  frame: PublishFrame,
): number {
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
  frame.propertiesStart = cursor;
  frame.propertiesEnd = stop;
  let seen = 0;
  while (cursor < stop) {
    const id = bytes[cursor]!;
    const next = propertyEnd(bytes, cursor, stop);
    if (next === undefined) {
      return -(id === PROPERTY.subscriptionId ? REASON.protocolError : REASON.malformed);
    }
    if (next > stop) return -REASON.malformed;
    // The alias (0x23) would fall on the content type; nothing has the bit of 0x00.
    const bit = id === PROPERTY.user ? 0 : 1 << (id === PROPERTY.topicAlias ? 0 : id);
    const fault = (seen & bit) !== 0 ? REASON.protocolError : valueFault(bytes, cursor, frame);
    if (fault !== 0) return -fault;
    seen |= bit;
    cursor = next;
  }
  return stop;
}

/** Takes over what concerns the frame. Returns a `REASON`, or 0. */
function valueFault(bytes: Uint8Array, at: number, frame: PublishFrame): number {
  const id = bytes[at]!;
  if (id === PROPERTY.topicAlias) {
    frame.topicAlias = bytes[at + 1]! << 8 | bytes[at + 2]!;
    const { topicAlias } = frame;
    const isKnown = topicAlias > 0 && topicAlias <= LIMITS.mqttTopicAliasMax;
    return isKnown ? 0 : REASON.topicAliasInvalid;
  }
  if (id === PROPERTY.messageExpiry) {
    const high = bytes[at + 1]! * 0x1000000;
    frame.expirySeconds = high + (bytes[at + 2]! << 16 | bytes[at + 3]! << 8 | bytes[at + 4]!);
    return 0;
  }
  frame.hasPassedOn = true;
  return id === PROPERTY.payloadFormat && bytes[at + 1]! > 1 ? REASON.protocolError : 0;
}

/** Where the property at `at` ends, beyond `stop` if it does not fit; undefined: it is none. */
export function propertyEnd(bytes: Uint8Array, at: number, stop: number): number | undefined {
  switch (bytes[at]) {
    case PROPERTY.payloadFormat:
      return at + 2;
    case PROPERTY.messageExpiry:
      return at + 5;
    case PROPERTY.topicAlias:
      return at + 3;
    case PROPERTY.contentType:
    case PROPERTY.responseTopic:
    case PROPERTY.correlation:
      return afterText(bytes, at + 1, stop);
    case PROPERTY.user:
      return afterText(bytes, afterText(bytes, at + 1, stop), stop);
  }
  return undefined;
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

/** A PUBLISH to a device. */
export interface OutgoingPublish {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  /** 0 with QoS 0. */
  readonly packetId: number;
  readonly isDup: boolean;
  readonly isRetained: boolean;
  /** Of MQTT 5, without their length. */
  readonly properties: Uint8Array;
}

export function encodePublish(publish: OutgoingPublish, isV5: boolean): Uint8Array {
  const { topic, payload, qos, packetId, isDup, isRetained, properties } = publish;
  const topicBytes = Buffer.byteLength(topic, "utf8");
  const idBytes = qos === 0 ? 0 : 2;
  const propertyBytes = isV5 ? lengthBytes(properties.length) + properties.length : 0;
  const remaining = 2 + topicBytes + idBytes + propertyBytes + payload.length;
  const bytes = Buffer.allocUnsafe(1 + lengthBytes(remaining) + remaining);
  bytes[0] = PACKET.publish << 4 | (isDup ? 8 : 0) | qos << 1 | (isRetained ? 1 : 0);
  let at = writeLength(bytes, 1, remaining);
  at = bytes.writeUInt16BE(topicBytes, at);
  at += bytes.write(topic, at, "utf8");
  if (qos !== 0) at = bytes.writeUInt16BE(packetId, at);
  if (isV5) {
    at = writeLength(bytes, at, properties.length);
    bytes.set(properties, at);
    at += properties.length;
  }
  bytes.set(payload, at);
  return bytes;
}

/** PUBREL of a QoS 2 message to a device. @param reason Told to MQTT 5 peers if it is not 0. */
export function encodePubrel(packetId: number, reason: number): Uint8Array {
  const id = [packetId >> 8, packetId & 255];
  const first = PACKET.pubrel << 4 | 2;
  return Uint8Array.from(reason === 0 ? [first, 2, ...id] : [first, 3, ...id, reason]);
}

/** Bytes of a variable byte integer. */
export function lengthBytes(value: number): number {
  return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4;
}

/** Writes a variable byte integer; returns its end. */
export function writeLength(bytes: Uint8Array, at: number, value: number): number {
  let left = value;
  let cursor = at;
  do {
    bytes[cursor++] = left % 128 | (left >= 128 ? 0x80 : 0);
    left = Math.floor(left / 128);
  } while (left > 0);
  return cursor;
}
