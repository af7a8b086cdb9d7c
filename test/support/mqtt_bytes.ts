/** MQTT packets as bytes, made by hand: for tests that must not depend on an encoder. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { RawMqtt } from "./raw_mqtt.ts";
import { waitFor } from "./wait.ts";

export type Version = 4 | 5;

/** UTF-8 with its length before it. */
export function text(value: string): number[] {
  const bytes = Buffer.from(value);
  return [bytes.length >> 8, bytes.length & 255, ...bytes];
}

/** Of at most 16,383 bytes. */
export function packet(first: number, body: readonly number[]): Buffer {
  const { length } = body;
  const size = length < 128 ? [length] : [length & 127 | 128, length >> 7];
  return Buffer.from([first, ...size, ...body]);
}

function propertiesOf(version: Version, properties: readonly number[]): number[] {
  return version === 5 ? [properties.length, ...properties] : [];
}

export interface ConnectBytes {
  /** Default true. */
  readonly isClean?: boolean;
  /** Seconds; default 0. */
  readonly keepAlive?: number;
  readonly properties?: readonly number[];
  readonly secret?: string;
  readonly will?: { readonly topic: string; readonly payload: string; readonly flags: number };
}

/** CONNECT of device `p/{device}`. */
export function connect(version: Version, device: string, more: ConnectBytes = {}): Buffer {
  const { isClean = true, keepAlive = 0, properties = [], will } = more;
  const flags = 0xc0 | (isClean ? 2 : 0) | (will === undefined ? 0 : 4 | will.flags);
  const body = [...text("MQTT"), version, flags, keepAlive >> 8, keepAlive & 255];
  body.push(...propertiesOf(version, properties), ...text("any"));
  if (will !== undefined) {
    body.push(...propertiesOf(version, []), ...text(will.topic), ...text(will.payload));
  }
  return packet(0x10, [
    ...body,
    ...text(`p/${device}`),
    ...text(more.secret ?? `secret-of-${device}`),
  ]);
}

/** @param first With flags: 0x30 is QoS 0, 0x32 QoS 1, 0x34 QoS 2; 1 more: RETAIN, 8 more: DUP. */
export function publish(
  version: Version,
  first: number,
  topic: string,
  id: number,
  payload: string,
  properties: readonly number[] = [],
): Buffer {
  const ids = (first & 6) === 0 ? [] : [id >> 8, id & 255];
  const head = [...text(topic), ...ids, ...propertiesOf(version, properties)];
  return packet(first, [...head, ...Buffer.from(payload)]);
}

/** @param options QoS in bits 0 and 1. */
export function subscribe(version: Version, id: number, filter: string, options: number): Buffer {
  const head = [id >> 8, id & 255, ...propertiesOf(version, [])];
  return packet(0x82, [...head, ...text(filter), options]);
}

export const PINGREQ: Buffer = Buffer.of(0xc0, 0);
export const PINGRESP: Buffer = Buffer.of(0xd0, 0);
export const DISCONNECT: Buffer = Buffer.of(0xe0, 0);

/** Takes what was received, which is to be these bytes; waits until there are as many. */
export async function expectBytes(
  peer: RawMqtt,
  ...expected: readonly Uint8Array[]
): Promise<void> {
  const wanted = Buffer.concat(expected);
  const received = () => Buffer.concat(peer.chunks);
  await waitFor(() => received().length >= wanted.length || peer.isClosed, {
    what: `${wanted.length} bytes`,
    withinMs: 5_000,
    everyMs: 1,
    actual: () => received().toString("hex"),
  });
  assert.equal(received().toString("hex"), wanted.toString("hex"));
  peer.chunks.length = 0;
}

/** Takes the first packet, of at most 129 bytes; what came behind it stays. */
export async function takePacket(peer: RawMqtt): Promise<Buffer> {
  const received = () => Buffer.concat(peer.chunks);
  const isWhole = () => received().length >= 2 && received().length >= received()[1]! + 2;
  await waitFor(isWhole, {
    what: "a packet",
    withinMs: 5_000,
    everyMs: 1,
    actual: () => peer.isClosed ? "closed" : received().toString("hex"),
  });
  const bytes = received();
  const end = bytes[1]! + 2;
  peer.chunks.length = 0;
  if (bytes.length > end) peer.chunks.push(bytes.subarray(end));
  return bytes.subarray(0, end);
}
