/** Changes of a device's state as plain functions: what was reported, what is desired, what differs. */
import { Buffer } from "node:buffer";
import type { Json } from "../../runtime/actor/behaviour.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { DeviceState, Sample, ShadowView, TimedValue, Values } from "./messages.ts";

export const INITIAL_STATE: DeviceState = {
  reported: {},
  desired: {},
  version: 0,
  epoch: 0,
  bytes: 0,
};

/** What an encoded state has beside `reported` and `desired`: link, version, times. */
const FIXED_BYTES = 1_024;
/** `"…":{"value":…,"at":1700000000000000},` without name and value. */
const ENTRY_BYTES = 48;
const NUMBER_BYTES = 24;
/** Texts up to here are estimated; longer ones are measured. */
const SHORT_CHARACTERS = 32;

export const STATE_FULL = `Cannot keep these values: the state would pass ` +
  `${LIMITS.stateBytesMax} B`;

/** The state with newer values taken over; undefined if it would pass `stateBytesMax`. */
export function withReported(
  state: DeviceState,
  samples: readonly Sample[],
  nowMs: number,
  lastSeenAtMs = nowMs,
): DeviceState | undefined {
  const reported: Record<string, TimedValue> = { ...state.reported };
  let bytes = state.bytes;
  for (let i = 0; i < samples.length; i++) {
    const { at = nowMs, values } = samples[i]!;
    for (const key in values) {
      if (key === "__proto__") continue; // Refused by gateways; here it would set the prototype.
      const value = values[key]!;
      if (Object.hasOwn(reported, key)) {
        const last = reported[key]!;
        if (at < last.at) continue;
        bytes += growth(last.value, value);
      } else bytes += entryBytes(key, value);
      reported[key] = { value, at };
    }
  }
  if (bytes + FIXED_BYTES > LIMITS.stateBytesMax && bytes > state.bytes) return undefined;
  return { ...state, reported, bytes, lastSeenAtMs };
}

/**
 * The state with other desired values; `null` removes one. The version rises if anything changed.
 * Undefined if it would pass `stateBytesMax`.
 */
export function withDesired(
  state: DeviceState,
  values: Values,
  nowMs: number,
): DeviceState | undefined {
  const desired: Record<string, TimedValue> = { ...state.desired };
  let bytes = state.bytes;
  let isChanged = false;
  for (const key of Object.keys(values)) {
    if (key === "__proto__") continue;
    const value = values[key]!;
    const last = Object.hasOwn(desired, key) ? desired[key] : undefined;
    if (value === null ? last === undefined : last !== undefined && isSame(last.value, value)) {
      continue;
    }
    isChanged = true;
    if (last !== undefined) bytes -= entryBytes(key, last.value);
    if (value === null) delete desired[key];
    else {
      desired[key] = { value, at: nowMs };
      bytes += entryBytes(key, value);
    }
  }
  if (!isChanged) return state;
  if (bytes + FIXED_BYTES > LIMITS.stateBytesMax && bytes > state.bytes) return undefined;
  return { ...state, desired, bytes, version: state.version + 1 };
}

/**
 * Desired values that differ from the reported ones; undefined if none does. A device may say 1 and 0 for
 * true and false, as thing models let it.
 */
export function deltaOf(state: DeviceState): Values | undefined {
  let delta: Record<string, Json> | undefined;
  for (const key in state.desired) {
    const { value } = state.desired[key]!;
    if (Object.hasOwn(state.reported, key) && isSame(state.reported[key]!.value, value, "bits")) {
      continue;
    }
    delta ??= {};
    delta[key] = value;
  }
  return delta;
}

export function shadowOf(state: DeviceState): ShadowView {
  return { version: state.version, desired: state.desired, reported: state.reported };
}

/** Deep equality of JSON; the order of keys does not count. @param truth `bits`: 1 is true, 0 is false. */
export function isSame(one: Json | undefined, other: Json | undefined, truth?: "bits"): boolean {
  if (one === other) return true;
  if (truth === "bits" && isBit(one) && isBit(other)) return Number(one) === Number(other);
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) {
    return false;
  }
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const left = one as { readonly [key: string]: Json | undefined };
  const right = other as { readonly [key: string]: Json | undefined };
  const keys = Object.keys(left);
  return keys.length === Object.keys(right).length &&
    keys.every((key) => Object.hasOwn(right, key) && isSame(left[key], right[key], truth));
}

function isBit(value: Json | undefined): boolean {
  return typeof value === "boolean" || value === 0 || value === 1;
}

function growth(before: Json, after: Json): number {
  if (typeof before === "number" && typeof after === "number") return 0;
  return valueBytes(after) - valueBytes(before);
}

function entryBytes(key: string, value: Json): number {
  return 3 * key.length + ENTRY_BYTES + valueBytes(value);
}

/** Never less than the value takes as JSON. */
function valueBytes(value: Json): number {
  if (typeof value === "number") return NUMBER_BYTES;
  if (typeof value === "boolean" || value === null) return 5;
  // The longest escape of one unit is \u0000.
  if (typeof value === "string" && value.length <= SHORT_CHARACTERS) return 6 * value.length + 2;
  return Buffer.byteLength(JSON.stringify(value), "utf8");
}
