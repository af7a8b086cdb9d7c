/**
 * The envelope of a stored actor: what the engine must remember of it, and its state as JSON.
 *
 * Layout, little endian: u8 format version · u8 flags · u16 state version · f64 actor version ·
 * if PARKS: u8 count, f64 epoch milliseconds each · if SUSPENDED: u32 dead letters since ·
 * if REMINDERS: u8 count, then u8 bytes and ASCII name each · if STATE: UTF-8 JSON to the end.
 */
import { CodecError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { decodeUtf8, writeUtf8 } from "./utf8.ts";

export const ENVELOPE_VERSION = 1;
const HEADER_BYTES = 12;
const STATE = 1;
const PARKS = 2;
const SUSPENDED = 4;
const REMINDERS = 8;

/** What the engine remembers of an actor besides its state. Immutable: a change makes a new one. */
export interface Traits {
  /** Record times of the last parks, oldest first, at most `parksMax`. */
  readonly parks: readonly number[];
  readonly isSuspended: boolean;
  /** Dead letters since the suspension; 0 while not suspended. */
  readonly suspendedLetters: number;
  /** Names of the reminders that are set, at most `remindersPerActorMax`. */
  readonly reminders: readonly string[];
}

/** Shared by all actors without any, so that an idle one does not pay for them. */
export const NO_TRAITS: Traits = Object.freeze({
  parks: Object.freeze([]),
  isSuspended: false,
  suspendedLetters: 0,
  reminders: Object.freeze([]),
});

/** The same traits, `NO_TRAITS` if nothing is left to remember. */
export function createTraits(traits: Traits): Traits {
  const isEmpty = traits.parks.length === 0 && !traits.isSuspended &&
    traits.reminders.length === 0;
  return isEmpty ? NO_TRAITS : traits;
}

export interface Envelope {
  readonly stateVersion: number;
  /** Rises with every change of the actor. */
  readonly version: number;
  readonly traits: Traits;
  /** UTF-8 JSON, a view of the stored bytes; absent: the actor has no state, only traits. */
  readonly json?: Uint8Array;
}

const ENVELOPE_BYTES_MAX = HEADER_BYTES + 1 + 8 * 255 + 4 + 1 + 256 * 255;
const scratch = new Uint8Array(ENVELOPE_BYTES_MAX + 3 * LIMITS.stateBytesMax);
const view = new DataView(scratch.buffer);

/**
 * @param json The state's JSON text or its bytes; undefined: no state.
 * @returns Bytes of their own, and how many of them are JSON.
 */
export function encodeEnvelope(
  stateVersion: number,
  version: number,
  traits: Traits,
  json: string | Uint8Array | undefined,
): { readonly bytes: Uint8Array; readonly jsonBytes: number } {
  scratch[0] = ENVELOPE_VERSION;
  scratch[1] = (json === undefined ? 0 : STATE) | (traits.parks.length === 0 ? 0 : PARKS) |
    (traits.isSuspended ? SUSPENDED : 0) | (traits.reminders.length === 0 ? 0 : REMINDERS);
  view.setUint16(2, stateVersion, true);
  view.setFloat64(4, version, true);
  const start = traits === NO_TRAITS ? HEADER_BYTES : writeTraits(traits);
  if (json === undefined) return { bytes: scratch.slice(0, start), jsonBytes: 0 };
  if (typeof json !== "string") {
    const bytes = new Uint8Array(start + json.length);
    bytes.set(scratch.subarray(0, start));
    bytes.set(json, start);
    return { bytes, jsonBytes: json.length };
  }
  if (json.length > LIMITS.stateBytesMax) {
    throw new CodecError(
      `Cannot encode a state of ${json.length} B: stateBytesMax is ${LIMITS.stateBytesMax}`,
    );
  }
  const end = writeUtf8(scratch, start, json);
  return { bytes: scratch.slice(0, end), jsonBytes: end - start };
}

/** Bytes that the traits of an actor take in its envelope, header included. */
export function traitsBytes(traits: Traits): number {
  if (traits === NO_TRAITS) return HEADER_BYTES;
  return writeTraits(traits);
}

/** Throws `CodecError` on bytes of another format or that do not fit. */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  if (bytes.length < HEADER_BYTES || bytes[0] !== ENVELOPE_VERSION) {
    throw new CodecError(
      `Cannot read a state: format ${bytes[0]} of ${bytes.length} B is not ${ENVELOPE_VERSION}`,
    );
  }
  const flags = bytes[1]!;
  const stored = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stateVersion = stored.getUint16(2, true);
  const version = stored.getFloat64(4, true);
  if ((flags & ~STATE) === 0) {
    const json = bytes.subarray(HEADER_BYTES);
    return { stateVersion, version, traits: NO_TRAITS, ...(flags & STATE ? { json } : undefined) };
  }
  try {
    const { traits, end } = readTraits(stored, bytes, flags);
    const json = bytes.subarray(end);
    return { stateVersion, version, traits, ...(flags & STATE ? { json } : undefined) };
  } catch (cause) {
    throw new CodecError("Cannot read a state: its envelope is cut off", { cause });
  }
}

/**
 * Committed state as the API shows it, without activating the actor.
 * @returns `state` is undefined if the actor has none. Throws `CodecError` on foreign bytes.
 */
export function peekState(
  bytes: Uint8Array,
): { readonly stateVersion: number; readonly isSuspended: boolean; readonly state: unknown } {
  const envelope = decodeEnvelope(bytes);
  const { stateVersion, traits, json } = envelope;
  const state = json === undefined ? undefined : JSON.parse(decodeUtf8(json));
  return { stateVersion, isSuspended: traits.isSuspended, state };
}

function writeTraits(traits: Traits): number {
  let at = HEADER_BYTES;
  if (traits.parks.length > 0) {
    scratch[at++] = traits.parks.length;
    for (const parkedAtMs of traits.parks) {
      view.setFloat64(at, parkedAtMs, true);
      at += 8;
    }
  }
  if (traits.isSuspended) {
    view.setUint32(at, traits.suspendedLetters, true);
    at += 4;
  }
  if (traits.reminders.length > 0) {
    scratch[at++] = traits.reminders.length;
    for (const name of traits.reminders) {
      scratch[at++] = name.length;
      at = writeUtf8(scratch, at, name);
    }
  }
  return at;
}

function readTraits(
  stored: DataView,
  bytes: Uint8Array,
  flags: number,
): { traits: Traits; end: number } {
  let at = HEADER_BYTES;
  const parks: number[] = [];
  if (flags & PARKS) {
    for (let left = stored.getUint8(at++); left > 0; left--, at += 8) {
      parks.push(stored.getFloat64(at, true));
    }
  }
  let suspendedLetters = 0;
  if (flags & SUSPENDED) {
    suspendedLetters = stored.getUint32(at, true);
    at += 4;
  }
  const reminders: string[] = [];
  if (flags & REMINDERS) {
    for (let left = stored.getUint8(at++); left > 0; left--) {
      const length = stored.getUint8(at++);
      if (at + length > bytes.length) throw new RangeError("a name does not fit");
      reminders.push(decodeUtf8(bytes.subarray(at, at + length)));
      at += length;
    }
  }
  const isSuspended = (flags & SUSPENDED) !== 0;
  return { traits: createTraits({ parks, isSuspended, suspendedLetters, reminders }), end: at };
}
