/** The one importer of `mqtt-packet`: every packet that is not on the hot path. */
import { Buffer } from "node:buffer";
import { generate, type Packet, type Parser, parser } from "mqtt-packet";

export type MqttVersion = 4 | 5;

interface Decoder {
  readonly parser: Parser;
  packet: Packet | undefined;
}

const decoders: { [V in MqttVersion]?: Decoder } = {};

/**
 * Decodes exactly one complete packet, whose bytes were counted and bounded before.
 * @returns undefined if it is malformed.
 */
export function decodePacket(bytes: Uint8Array, version: MqttVersion): Packet | undefined {
  const decoder = decoders[version] ??= createDecoder(version);
  const packet = decodeBy(decoder, bytes);
  // A parser that failed, or that took a packet to be longer than it is, has state left over.
  if (packet === undefined) delete decoders[version];
  return packet;
}

/** Decodes a CONNECT; its parser is not used again, since it keeps the packet as its settings. */
export function decodeConnect(bytes: Uint8Array): Packet | undefined {
  return decodeBy(createDecoder(4), bytes);
}

export function encodePacket(packet: Packet, version: MqttVersion): Uint8Array {
  return generate(packet, { protocolVersion: version });
}

function createDecoder(protocolVersion: MqttVersion): Decoder {
  const decoder: Decoder = { parser: parser({ protocolVersion }), packet: undefined };
  decoder.parser.on("packet", (packet) => decoder.packet = packet);
  // The error says only what `undefined` does: this packet is malformed.
  decoder.parser.on("error", () => decoder.packet = undefined);
  return decoder;
}

function decodeBy(decoder: Decoder, bytes: Uint8Array): Packet | undefined {
  decoder.packet = undefined;
  try {
    const left = decoder.parser.parse(Buffer.from(bytes));
    return left === 0 ? decoder.packet : undefined;
  } catch {
    return undefined; // It reads past the end of some malformed packets.
  }
}
