/** Retained messages of a device, all in one gateway row `mqtt-retained/{product}/{device}`. */
import { Buffer } from "node:buffer";

export interface RetainedMessage {
  /** Topic after the prefix of its device. */
  readonly suffix: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  /** Properties of MQTT 5 that go on with it. */
  readonly passedOn: Uint8Array;
  /** Epoch milliseconds; `Infinity`: it stays. */
  readonly expiresAtMs: number;
}

/** Row value, UTF-8 JSON; bytes are base64. */
interface RetainedRow {
  readonly version: 1;
  readonly messages: readonly StoredMessage[];
}

interface StoredMessage {
  readonly suffix: string;
  readonly payload: string;
  readonly qos: 0 | 1 | 2;
  readonly passedOn?: string;
  readonly expiresAtMs?: number;
}

export const RETAINED_PREFIX = "mqtt-retained/";

/** @param key `{product}/{device}`. */
export function retainedKey(key: string): string {
  return RETAINED_PREFIX + key;
}

/** What one takes of its bounds: a topic is text in the row, where `"` and `\` take two bytes. */
export function sizeOf({ suffix, payload, passedOn }: RetainedMessage): number {
  return 2 * Buffer.byteLength(suffix, "utf8") + payload.length + passedOn.length;
}

/** Undefined if there are none: the row is to be removed. */
export function encodeRetained(messages: Iterable<RetainedMessage>): Uint8Array | undefined {
  const stored = Array.from(messages, ({ suffix, payload, qos, passedOn, expiresAtMs }) => ({
    suffix,
    payload: Buffer.from(payload).toString("base64"),
    qos,
    ...(passedOn.length === 0 ? undefined : { passedOn: Buffer.from(passedOn).toString("base64") }),
    ...(expiresAtMs === Infinity ? undefined : { expiresAtMs }),
  }));
  if (stored.length === 0) return undefined;
  const row: RetainedRow = { version: 1, messages: stored };
  return new TextEncoder().encode(JSON.stringify(row));
}

/** Undefined if the row is not one that `encodeRetained` made. */
export function decodeRetained(bytes: Uint8Array): readonly RetainedMessage[] | undefined {
  let row: Partial<RetainedRow>;
  try {
    row = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) ?? {};
  } catch {
    return undefined;
  }
  const { version, messages } = row;
  if (version !== 1 || !Array.isArray(messages) || !messages.every(isStored)) return undefined;
  return messages.map(({ suffix, payload, qos, passedOn = "", expiresAtMs = Infinity }) => ({
    suffix,
    payload: bytesOf(payload),
    qos,
    passedOn: bytesOf(passedOn),
    expiresAtMs,
  }));
}

/** No slice of a pool, which would be kept as a whole. */
function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(Buffer.from(base64, "base64"));
}

function isStored(value: unknown): value is StoredMessage {
  const { suffix, payload, qos, passedOn = "", expiresAtMs = 0 } = (value ?? {}) as StoredMessage;
  return typeof suffix === "string" && typeof payload === "string" &&
    (qos === 0 || qos === 1 || qos === 2) && typeof passedOn === "string" &&
    typeof expiresAtMs === "number";
}
