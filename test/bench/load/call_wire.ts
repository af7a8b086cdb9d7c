/** Bytes of a service call at both ends: a device that answers by MQTT 3.1.1, a caller by HTTP/1.1. */
import { headEnd } from "./http_wire.ts";
import { packetEnd, packetOf, text } from "./mqtt_wire.ts";
import type { DeviceLogin } from "./options.ts";
import { concatBytes } from "./wire.ts";

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder();
const CONNACK = 2;
const PUBLISH = 3;
const SUBACK = 9;
const OUTPUT = ENCODER.encode('{"ok":true}');

/** For all calls of the device, QoS 1. */
export function subscribeOf({ product, device }: DeviceLogin): Uint8Array<ArrayBuffer> {
  const topic = text(`v1/${product}/${device}/services/+/+`);
  return packetOf(0x82, [Uint8Array.of(0, 1), topic, Uint8Array.of(1)]);
}

export interface DeviceRead {
  /** Bytes of whole packets. */
  readonly used: number;
  readonly isConnected: boolean;
  readonly isSubscribed: boolean;
  /** What the device has to send: acknowledgements and answers. */
  readonly replies: readonly Uint8Array[];
}

/**
 * Whole packets of `bytes[0, length)`.
 * @param nextId Packet id of the next answer.
 * @throws The login or the subscription was refused.
 */
export function readDevice(bytes: Uint8Array, length: number, nextId: () => number): DeviceRead {
  let used = 0;
  let isConnected = false;
  let isSubscribed = false;
  const replies: Uint8Array[] = [];
  for (;;) {
    const end = packetEnd(bytes, used, length);
    if (end === undefined || end > length) return { used, isConnected, isSubscribed, replies };
    const type = bytes[used]! >> 4;
    if (type === CONNACK) {
      if (bytes[used + 3] !== 0) throw new Error(`A device was refused: ${bytes[used + 3]}`);
      isConnected = true;
    } else if (type === SUBACK) {
      if (bytes[end - 1] !== 1) throw new Error(`A subscription was refused: ${bytes[end - 1]}`);
      isSubscribed = true;
    } else if (type === PUBLISH) replies.push(...answerOf(bytes, used, end, nextId()));
    used = end;
  }
}

/** PUBACK of the call in `[at, end)`, and its answer. */
function answerOf(bytes: Uint8Array, at: number, end: number, id: number): Uint8Array[] {
  let start = at + 1;
  while (bytes[start]! >= 128) start++;
  start++;
  const topicEnd = start + 2 + (bytes[start]! << 8 | bytes[start + 1]!);
  if (topicEnd + 2 > end) throw new Error("A call is cut short");
  const topic = DECODER.decode(bytes.subarray(start + 2, topicEnd));
  const acknowledgement = Uint8Array.of(0x40, 2, bytes[topicEnd]!, bytes[topicEnd + 1]!);
  const packetId = Uint8Array.of(id >> 8, id & 255);
  return [acknowledgement, packetOf(0x32, [text(`${topic}/reply`), packetId, OUTPUT])];
}

export function callOf(
  { product, device }: DeviceLogin,
  authorization: string,
  number: number,
): Uint8Array<ArrayBuffer> {
  const body = ENCODER.encode(JSON.stringify({ input: { number } }));
  const head = `POST /api/v1/devices/${product}/${device}/services/ping HTTP/1.1\r\n` +
    `Host: localhost\r\nAuthorization: ${authorization}\r\n` +
    `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
  return concatBytes([ENCODER.encode(head), body]);
}

/** Whether the whole answer in `bytes[0, length)` is the device's; undefined: it is not whole yet. */
export function readAnswer(bytes: Uint8Array, length: number): boolean | undefined {
  const bodyAt = headEnd(bytes, 0, length);
  if (bodyAt === undefined) return undefined;
  const head = DECODER.decode(bytes.subarray(0, bodyAt));
  const size = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (size === undefined) throw new Error(`Cannot read an answer without a length: ${head}`);
  const end = bodyAt + Number(size);
  if (end > length) return undefined;
  if (!head.startsWith("HTTP/1.1 200 ")) return false;
  return JSON.parse(DECODER.decode(bytes.subarray(bodyAt, end))).ok === true;
}
