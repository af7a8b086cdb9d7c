/**
 * Finds the samples and events in packed segments. Gateways write the JSON of a properties message in one way,
 * which is cut out by a scan that checks every byte it passes; whatever looks different is parsed.
 */
import type { Json } from "../../runtime/actor/behaviour.ts";
import { addressAt, bodyAt, recordEnd } from "../../runtime/log/record.ts";
import type { Segment } from "../../runtime/log/partition_log.ts";
import { isTime } from "./bounds.ts";
import { jsonText } from "./json_text.ts";
import type { StoredEvent, StoredSample } from "./store.ts";

const TEXT_ENCODER = new TextEncoder();
const TEXT_DECODER = new TextDecoder();
const KIND = TEXT_ENCODER.encode("device/");
const PREFIX = TEXT_ENCODER.encode('{"type":"properties","samples":[');
const PROPERTIES_TYPE = TEXT_ENCODER.encode('{"type":"properties"');
const EVENT_TYPE = TEXT_ENCODER.encode('{"type":"event"');
const AT = TEXT_ENCODER.encode('"at":');
const VALUES = TEXT_ENCODER.encode('"values":');
const HEADER_BYTES = 12;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const CLOSE_LIST = 0x5d;

/** Slots of the cache of addresses: a power of two. */
const ADDRESSES = 16_384;

interface CachedAddress {
  readonly bytes: Uint8Array;
  readonly device: string;
}

/** One for a reader: it remembers the addresses that it has seen lately. */
export class SampleDecoder {
  /** Messages of type `properties` or `event`, or samples, that have not the shape of one. */
  malformed = 0;
  readonly #addresses: (CachedAddress | undefined)[] = new Array(ADDRESSES).fill(undefined);

  /**
   * Adds the samples of a segment to `into`, and its events to `events`; `values` are views of its
   * bytes where they could be cut out. Throws `CodecError` if the segment is damaged.
   */
  decode(segment: Segment, into: StoredSample[], events: StoredEvent[]): void {
    const { bytes, partition } = segment;
    let at = 0;
    for (let i = 0; i < segment.count; i++) {
      const end = recordEnd(bytes, at);
      const isDevice = startsWith(bytes, at + HEADER_BYTES, KIND) && bytes[at + 6]! > KIND.length;
      if (isDevice) {
        const body = bodyAt(bytes, at, end);
        if (startsWith(body, 0, PROPERTIES_TYPE)) {
          const offset = segment.firstOffset + i;
          const from = into.length;
          const device = this.#deviceAt(bytes, at);
          if (!this.#cut(body, device, partition, offset, segment.acceptedAtMs, into)) {
            into.length = from;
            this.#parse(body, device, partition, offset, segment.acceptedAtMs, into);
          }
        } else if (startsWith(body, 0, EVENT_TYPE)) {
          const event = eventOf(body, segment.acceptedAtMs);
          if (event === undefined) this.malformed++;
          else {
            const offset = segment.firstOffset + i;
            events.push({ ...event, device: this.#deviceAt(bytes, at), partition, offset });
          }
        }
      }
      at = end;
    }
  }

  /** False if the body is not written the usual way; `into` may then hold some samples too many. */
  #cut(
    body: Uint8Array,
    device: string,
    partition: number,
    offset: number,
    acceptedAtMs: number,
    into: StoredSample[],
  ): boolean {
    if (!startsWith(body, 0, PREFIX)) return false;
    let at = PREFIX.length;
    for (let position = 0;; position++) {
      if (body[at++] !== OPEN) return false;
      let atMs = acceptedAtMs;
      if (startsWith(body, at, AT)) {
        at += AT.length;
        const start = at;
        atMs = 0;
        for (let digit = body[at]! - 0x30; digit >= 0 && digit <= 9; digit = body[++at]! - 0x30) {
          atMs = atMs * 10 + digit;
        }
        if (at === start || at - start > 15 || body[at++] !== COMMA) return false;
      }
      if (!startsWith(body, at, VALUES)) return false;
      at += VALUES.length;
      const end = objectEnd(body, at);
      if (end === -1 || body[end] !== CLOSE) return false;
      into.push({ device, atMs, partition, offset, position, values: body.subarray(at, end) });
      at = end + 1;
      const next = body[at++];
      if (next === COMMA) continue;
      return next === CLOSE_LIST && body[at] === CLOSE && at + 1 === body.length;
    }
  }

  #parse(
    body: Uint8Array,
    device: string,
    partition: number,
    offset: number,
    acceptedAtMs: number,
    into: StoredSample[],
  ): void {
    const samples = samplesOf(body);
    if (samples === undefined) {
      this.malformed++;
      return;
    }
    for (let position = 0; position < samples.length; position++) {
      const sample = samples[position] as { at?: unknown; values?: Json } | null;
      const atMs = sample?.at === undefined ? acceptedAtMs : sample.at;
      const values = sample?.values;
      const isSample = isTime(atMs) && typeof values === "object" && values !== null &&
        !Array.isArray(values);
      const text = isSample ? textOf(values) : undefined;
      if (!isSample || text === undefined) {
        this.malformed++;
        continue;
      }
      into.push({ device, atMs, partition, offset, position, values: TEXT_ENCODER.encode(text) });
    }
  }

  /** `{product}/{device}` of the record at `at`, the same string each time. */
  #deviceAt(bytes: Uint8Array, at: number): string {
    const from = at + HEADER_BYTES;
    const to = from + bytes[at + 6]!;
    let hash = 0x811c9dc5;
    for (let i = from; i < to; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
    const slot = (hash ^ hash >>> 15) & (ADDRESSES - 1);
    const cached = this.#addresses[slot];
    if (cached !== undefined && isSame(cached.bytes, bytes, from, to)) return cached.device;
    const device = addressAt(bytes, at).slice(KIND.length);
    this.#addresses[slot] = { bytes: bytes.slice(from, to), device };
    return device;
  }
}

type EventParts = Pick<StoredEvent, "event" | "atMs" | "body">;

function eventOf(body: Uint8Array, acceptedAtMs: number): EventParts | undefined {
  let message: { readonly event?: unknown; readonly at?: unknown; readonly data?: Json } | null;
  try {
    message = JSON.parse(TEXT_DECODER.decode(body));
  } catch { // Counted by the caller; no gateway lets it through.
    return undefined;
  }
  const { event, at = acceptedAtMs, data } = message ?? {};
  const text = data === undefined ? undefined : textOf(data);
  if (typeof event !== "string" || !isTime(at) || text === undefined) return undefined;
  return { event, atMs: at, body: TEXT_ENCODER.encode(text) };
}

function samplesOf(body: Uint8Array): readonly unknown[] | undefined {
  try {
    const message = JSON.parse(TEXT_DECODER.decode(body)) as { samples?: unknown } | null;
    return Array.isArray(message?.samples) ? message.samples : undefined;
  } catch { // Counted by the caller; no gateway lets it through.
    return undefined;
  }
}

function textOf(values: Json): string | undefined {
  try {
    return jsonText(values);
  } catch { // Too deep; counted by the caller.
    return undefined;
  }
}

/** Just after the object that begins at `at`, or -1. Checks braces and strings, nothing else. */
function objectEnd(bytes: Uint8Array, at: number): number {
  if (bytes[at] !== OPEN) return -1;
  let depth = 0;
  for (let i = at; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === QUOTE) {
      i++;
      while (i < bytes.length && bytes[i] !== QUOTE) i += bytes[i] === BACKSLASH ? 2 : 1;
    } else if (byte === OPEN) {
      depth++;
    } else if (byte === CLOSE && --depth === 0) {
      return i + 1;
    }
  }
  return -1;
}

function startsWith(bytes: Uint8Array, at: number, part: Uint8Array): boolean {
  for (let i = 0; i < part.length; i++) if (bytes[at + i] !== part[i]) return false;
  return true;
}

function isSame(known: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  if (known.length !== to - from) return false;
  for (let i = from; i < to; i++) if (known[i - from] !== bytes[i]) return false;
  return true;
}
