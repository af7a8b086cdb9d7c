/** MQTT 3.1.1, QoS 1: CONNECT, PUBLISH with packet ids that follow the sequence, PUBACK. */
import { bodyTemplate } from "./payload.ts";
import { concatBytes, type MessageTemplate, type Wire } from "./wire.ts";

const CONNACK = 0x20;
const PUBACK = 0x40;
const KEEP_ALIVE_S = 600;
const PACKET_IDS = 65_535;
const ENCODER = new TextEncoder();

/** Packet ids count 1 to 65,535 and again, so that order can be checked without a table. */
export function packetIdOf(sequence: number): number {
  return sequence % PACKET_IDS + 1;
}

export const mqttWire: Wire = {
  greeting(device) {
    const login = `${device.product}/${device.device}`;
    const variable = Uint8Array.of(
      0,
      4,
      77,
      81,
      84,
      84,
      4,
      0xc2,
      KEEP_ALIVE_S >> 8,
      KEEP_ALIVE_S & 255,
    );
    return packetOf(0x10, [variable, text(`load-${login}`), text(login), text(device.secret)]);
  },

  template(device): MessageTemplate {
    const topic = text(`v1/${device.product}/${device.device}/properties`);
    const body = bodyTemplate();
    const bytes = packetOf(0x32, [topic, new Uint8Array(2), body]);
    return { bytes, bodyAt: bytes.length - body.length };
  },

  stamp(target, at, template, sequence) {
    const id = packetIdOf(sequence);
    target[at + template.bodyAt - 2] = id >> 8;
    target[at + template.bodyAt - 1] = id & 255;
  },

  read(bytes, length, sink) {
    let at = 0;
    while (at + 4 <= length) {
      const type = bytes[at]!;
      if (type === PUBACK && bytes[at + 1] === 2) {
        sink.acknowledged(bytes[at + 2]! << 8 | bytes[at + 3]!);
        at += 4;
        continue;
      }
      const end = packetEnd(bytes, at, length);
      if (end === undefined || end > length) break;
      if (type === CONNACK) {
        if (bytes[at + 3] === 0) sink.opened();
        else sink.refused(`connack_${bytes[at + 3]}`);
      }
      at = end;
    }
    return at;
  },
};

export const MQTT_DISCONNECT = Uint8Array.of(0xe0, 0);

export function packetOf(type: number, parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const length = size < 128 ? [size] : [size & 127 | 128, size >> 7];
  return concatBytes([Uint8Array.of(type, ...length), ...parts]);
}

export function text(value: string): Uint8Array {
  const bytes = ENCODER.encode(value);
  return concatBytes([Uint8Array.of(bytes.length >> 8, bytes.length & 255), bytes]);
}

/** End of the packet at `at` by its announced length; undefined if that is not complete. */
export function packetEnd(bytes: Uint8Array, at: number, length: number): number | undefined {
  let size = 0;
  for (let i = 0; i < 4 && at + 1 + i < length; i++) {
    const byte = bytes[at + 1 + i]!;
    size |= (byte & 127) << 7 * i;
    if (byte < 128) return at + 2 + i + size;
  }
  return undefined;
}
