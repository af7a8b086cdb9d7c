/** A will, and its gateway row `mqtt-will/{product}/{device}`. */
import { Buffer } from "node:buffer";

export interface Will {
  /** Topic after the prefix of its device. */
  readonly suffix: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly isRetained: boolean;
  /** No longer than the session of its connection lasts. */
  readonly delaySeconds: number;
}

/** Row value, UTF-8 JSON. */
interface WillRow extends Omit<Will, "payload"> {
  readonly version: 1;
  /** Base64. */
  readonly payload: string;
  /** Absent while connected, and after a crash. Epoch milliseconds. */
  readonly dueAtMs?: number;
}

export const WILL_PREFIX = "mqtt-will/";

/** @param key `{product}/{device}`. */
export function willKey(key: string): string {
  return WILL_PREFIX + key;
}

export function encodeWill(will: Will, dueAtMs?: number): Uint8Array {
  const row: WillRow = {
    version: 1,
    ...will,
    payload: Buffer.from(will.payload).toString("base64"),
    ...(dueAtMs === undefined ? undefined : { dueAtMs }),
  };
  return new TextEncoder().encode(JSON.stringify(row));
}

/** Undefined if the row is not one that `encodeWill` made. */
export function decodeWill(
  bytes: Uint8Array,
): { readonly will: Will; readonly dueAtMs?: number } | undefined {
  let row: Partial<WillRow>;
  try {
    row = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) ?? {};
  } catch {
    return undefined;
  }
  const { version, suffix, payload, qos, isRetained, delaySeconds, dueAtMs } = row;
  const isWhole = version === 1 && typeof suffix === "string" && typeof payload === "string" &&
    (qos === 0 || qos === 1 || qos === 2) && typeof isRetained === "boolean" &&
    typeof delaySeconds === "number" && ["number", "undefined"].includes(typeof dueAtMs);
  if (!isWhole) return undefined;
  const will = { suffix, payload: Buffer.from(payload, "base64"), qos, isRetained, delaySeconds };
  return dueAtMs === undefined ? { will } : { will, dueAtMs };
}
