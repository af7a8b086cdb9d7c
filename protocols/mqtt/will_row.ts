/** A will, and its gateway row `mqtt-will/{product}/{device}`. */
import { Buffer } from "node:buffer";

export interface Will {
  /** Topic after the prefix of its device. */
  readonly suffix: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly isRetained: boolean;
  /** As asked; in a row no longer than the session of its connection lasts (5: 3.1.2.5). */
  readonly delaySeconds: number;
  /** From when it is published on; -1: for ever. */
  readonly expirySeconds: number;
  /** Properties of MQTT 5 that go on with it. */
  readonly passedOn: Uint8Array;
}

/** Row value, UTF-8 JSON. */
interface WillRow extends Omit<Will, "payload" | "passedOn" | "expirySeconds"> {
  readonly version: 1;
  /** Base64. */
  readonly payload: string;
  /** Absent: for ever, and in rows of before there was one. */
  readonly expirySeconds?: number;
  /** Base64. Absent: none. */
  readonly passedOn?: string;
  /** Absent while connected, and after a crash. Epoch milliseconds. */
  readonly dueAtMs?: number;
}

export const WILL_PREFIX = "mqtt-will/";

/** @param key `{product}/{device}`. */
export function willKey(key: string): string {
  return WILL_PREFIX + key;
}

export function encodeWill(will: Will, dueAtMs?: number): Uint8Array {
  const { passedOn, expirySeconds, ...rest } = will;
  const row: WillRow = {
    version: 1,
    ...rest,
    payload: Buffer.from(will.payload).toString("base64"),
    ...(expirySeconds < 0 ? undefined : { expirySeconds }),
    ...(passedOn.length === 0 ? undefined : { passedOn: Buffer.from(passedOn).toString("base64") }),
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
  const { expirySeconds = -1, passedOn = "" } = row;
  const isWhole = version === 1 && typeof suffix === "string" && typeof payload === "string" &&
    (qos === 0 || qos === 1 || qos === 2) && typeof isRetained === "boolean" &&
    typeof delaySeconds === "number" && ["number", "undefined"].includes(typeof dueAtMs) &&
    typeof expirySeconds === "number" && typeof passedOn === "string";
  if (!isWhole) return undefined;
  const will = {
    suffix,
    payload: Buffer.from(payload, "base64"),
    qos,
    isRetained,
    delaySeconds,
    expirySeconds,
    passedOn: Buffer.from(passedOn, "base64"),
  };
  return dueAtMs === undefined ? { will } : { will, dueAtMs };
}
