/**
 * The form of packets that are off the hot path, checked on their bytes: `mqtt-packet` replaces what is
 * no UTF-8, does not see a property again that was 0, and passes over what stands behind the last field.
 */
import { bodyStart, PACKET, PROPERTY } from "./frame.ts";

/** Names of `REASON`. */
export type FormFault = "malformed" | "protocolError";

/** Ids of properties (5: 2.2.2.2) that no PUBLISH has. */
const ID = {
  sessionExpiry: 0x11,
  authenticationMethod: 0x15,
  authenticationData: 0x16,
  requestProblem: 0x17,
  willDelay: 0x18,
  requestResponse: 0x19,
  reasonString: 0x1f,
  receiveMaximum: 0x21,
  topicAliasMaximum: 0x22,
  packetBytesMax: 0x27,
} as const;

const OF_CONNECT: readonly number[] = [
  ID.sessionExpiry,
  ID.receiveMaximum,
  ID.packetBytesMax,
  ID.topicAliasMaximum,
  ID.requestResponse,
  ID.requestProblem,
  PROPERTY.user,
  ID.authenticationMethod,
  ID.authenticationData,
];
const OF_WILL: readonly number[] = [
  ID.willDelay,
  PROPERTY.payloadFormat,
  PROPERTY.messageExpiry,
  PROPERTY.contentType,
  PROPERTY.responseTopic,
  PROPERTY.correlation,
  PROPERTY.user,
];
const OF_SUBSCRIBE: readonly number[] = [PROPERTY.subscriptionId, PROPERTY.user];
const OF_UNSUBSCRIBE: readonly number[] = [PROPERTY.user];
const OF_DISCONNECT: readonly number[] = [ID.sessionExpiry, ID.reasonString, PROPERTY.user];
const OF_ACKNOWLEDGEMENT: readonly number[] = [ID.reasonString, PROPERTY.user];

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Goes over the fields of a body; after a fault it goes no further. */
class FieldWalk {
  fault: FormFault | undefined;
  readonly bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.at = bodyStart(bytes, 0);
  }

  get hasMore(): boolean {
    return this.fault === undefined && this.at < this.bytes.length;
  }

  /** To be asked last: nothing may stand behind the last field. */
  end(): FormFault | undefined {
    if (this.hasMore) this.#fail("malformed");
    return this.fault;
  }

  skip(count: number): void {
    if (this.fault !== undefined) return;
    if (this.at + count > this.bytes.length) return this.#fail("malformed");
    this.at += count;
  }

  binary(): void {
    this.skip(2);
    if (this.fault === undefined) this.skip(this.#number(this.at - 2, 2));
  }

  /** UTF-8 without U+0000 (5: 1.5.4-1, 1.5.4-2). */
  text(): void {
    const from = this.at + 2;
    this.binary();
    if (this.fault === undefined && !isText(this.bytes.subarray(from, this.at))) {
      this.#fail("malformed");
    }
  }

  /** @param allowed Ids that the packet may have. @returns The properties without their length. */
  properties(allowed: readonly number[]): Uint8Array {
    const length = this.#variable();
    const start = this.at;
    const stop = start + length;
    const seen = new Set<number>();
    while (this.hasMore && this.at < stop) {
      const id = this.bytes[this.at++]!;
      if (!allowed.includes(id)) this.#fail("malformed");
      else if (seen.has(id) && id !== PROPERTY.user) this.#fail("protocolError");
      else this.#value(id);
      seen.add(id);
    }
    const hasData = seen.has(ID.authenticationData) && !seen.has(ID.authenticationMethod);
    if (this.fault === undefined && hasData) this.#fail("protocolError");
    if (this.fault === undefined && this.at !== stop) this.#fail("malformed");
    return this.bytes.subarray(start, this.at);
  }

  #value(id: number): void {
    switch (id) {
      case PROPERTY.payloadFormat:
      case ID.requestProblem:
      case ID.requestResponse:
        this.skip(1);
        if (this.fault === undefined && this.bytes[this.at - 1]! > 1) this.#fail("protocolError");
        return;
      case ID.topicAliasMaximum:
        return this.skip(2);
      case ID.receiveMaximum:
        return this.#positive(2);
      case ID.packetBytesMax:
        return this.#positive(4);
      case ID.sessionExpiry:
      case ID.willDelay:
      case PROPERTY.messageExpiry:
        return this.skip(4);
      case PROPERTY.subscriptionId:
        if (this.#variable() === 0 && this.fault === undefined) this.#fail("protocolError");
        return;
      case PROPERTY.correlation:
      case ID.authenticationData:
        return this.binary();
      case PROPERTY.user:
        this.text();
        return this.text();
      default: // Content type, response topic, reason string, authentication method.
        return this.text();
    }
  }

  #positive(count: number): void {
    this.skip(count);
    if (this.fault === undefined && this.#number(this.at - count, count) === 0) {
      this.#fail("protocolError");
    }
  }

  #number(at: number, count: number): number {
    let value = 0;
    for (let i = at; i < at + count; i++) value = value * 256 + this.bytes[i]!;
    return value;
  }

  #variable(): number {
    let value = 0;
    for (let i = 0; i < 4 && this.hasMore; i++) {
      const byte = this.bytes[this.at++]!;
      value += (byte & 0x7f) * 128 ** i;
      if (byte < 0x80) return value;
    }
    this.#fail("malformed");
    return 0;
  }

  #fail(fault: FormFault): void {
    this.fault ??= fault;
  }
}

function isText(bytes: Uint8Array): boolean {
  if (bytes.includes(0)) return false;
  try {
    UTF8.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

export type ConnectForm =
  /** Properties of its will in MQTT 5, without their length; empty if it has none. */
  | { readonly ok: true; readonly willProperties: Uint8Array }
  | { readonly ok: false; readonly fault: FormFault };

/** Of a complete CONNECT whose protocol name was looked at. */
export function connectForm(bytes: Uint8Array, isV5: boolean): ConnectForm {
  const walk = new FieldWalk(bytes);
  walk.skip(10); // Protocol name, version, flags, keep-alive.
  const flags = bytes[walk.at - 3]!;
  if (isV5) walk.properties(OF_CONNECT);
  walk.text();
  let willProperties = bytes.subarray(0, 0);
  if ((flags & 4) !== 0) {
    if (isV5) willProperties = walk.properties(OF_WILL);
    walk.text();
    walk.binary();
  }
  if ((flags & 0x80) !== 0) walk.text();
  if ((flags & 0x40) !== 0) walk.binary();
  const fault = walk.end();
  return fault === undefined ? { ok: true, willProperties } : { ok: false, fault };
}

/** Of any other complete packet that a client sends, but PUBLISH and PINGREQ. */
export function formFault(bytes: Uint8Array, isV5: boolean): FormFault | undefined {
  const walk = new FieldWalk(bytes);
  switch (bytes[0]! >> 4) {
    case PACKET.puback:
    case PACKET.pubrec:
    case PACKET.pubrel:
    case PACKET.pubcomp:
      walk.skip(2);
      if (isV5) reasonAndProperties(walk, OF_ACKNOWLEDGEMENT);
      return walk.end();
    case PACKET.disconnect:
      if (isV5) reasonAndProperties(walk, OF_DISCONNECT);
      return walk.end();
    case PACKET.subscribe:
    case PACKET.unsubscribe: {
      const isSubscribe = bytes[0]! >> 4 === PACKET.subscribe;
      walk.skip(2);
      if (isV5) walk.properties(isSubscribe ? OF_SUBSCRIBE : OF_UNSUBSCRIBE);
      while (walk.hasMore) {
        walk.text();
        if (isSubscribe) walk.skip(1);
      }
      return walk.end();
    }
  }
  return undefined;
}

/** Both may be left out, the properties with the reason. */
function reasonAndProperties(walk: FieldWalk, allowed: readonly number[]): void {
  if (walk.hasMore) walk.skip(1);
  if (walk.hasMore) walk.properties(allowed);
}
