/**
 * What a device sent, decoded into the JSON of one `DeviceMessage`. Pure, and shared by all wires that
 * carry JSON. Where nothing of a payload was refused its bytes are passed on as they came, wrapped:
 * the parse is for the checks only.
 */
import { Buffer } from "node:buffer";
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { DeviceDirectory } from "./directory.ts";
import type { DeviceMessage, Sample, Values } from "./messages.ts";

export { isName } from "../registry/names.ts";

/** Why a whole message is refused: no such JSON, over a bound, nothing left that may be kept. */
export type UplinkRefusal =
  | "malformed"
  | "too_large"
  | "too_many_points"
  | "time_out_of_range"
  | "off_model";

export type DecodedUplink =
  | {
    readonly ok: true;
    /** Body of the record in pieces, for `Ingress.offer`. May view the payload. */
    readonly parts: readonly Uint8Array[];
    /** Points that are kept. */
    readonly points: number;
    /** What was refused while the rest is kept: `values.t`; in an array `2.values.t`, `2.at`. */
    readonly refused: readonly Issue[];
  }
  | {
    readonly ok: false;
    readonly code: UplinkRefusal;
    readonly detail: string;
    /** Each refused point, where the refusal is by points. */
    readonly refused: readonly Issue[];
  };

const ENCODER = new TextEncoder();
/** Keeps a byte order mark, so that it is refused: the bytes themselves are passed on. */
const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const FLAT_START = ENCODER.encode('{"type":"properties","samples":[{"values":');
const FLAT_END = ENCODER.encode("}]}");
const TIMED_START = ENCODER.encode('{"type":"properties","samples":[');
const TIMED_END = ENCODER.encode("]}");
const EVENT_END = ENCODER.encode("}");
const NONE: readonly Issue[] = [];
/** What an encoded body may be longer than its payload: numbers such as 1e20 grow when rewritten. */
const BODY_BYTES_MAX = LIMITS.payloadBytesMax + 4_096;
const DAY_MS = 86_400_000;

/**
 * Decodes `{"t": 21.5}`, `{"at": ms, "values": {…}}` or an array of either.
 * @param nowMs Epoch milliseconds; times are checked against it.
 */
export function decodeUplink(
  payload: Uint8Array,
  directory: DeviceDirectory,
  product: string,
  nowMs: number,
): DecodedUplink {
  const parsed = parseJson(payload);
  if (!parsed.ok) return parsed;
  const json = parsed.value;
  if (typeof json !== "object" || json === null) {
    return refusal("malformed", "Cannot accept properties: not an object or array");
  }
  if (Array.isArray(json)) return decodeSamples(json, directory, product, nowMs, true);
  const form = formOf(json as Values);
  if (form === "flat") {
    const points = scalarsOf(json as Values);
    if (isPoints(points) && directory.accepts(product, json as Values)) {
      return { ok: true, parts: [FLAT_START, payload, FLAT_END], points, refused: NONE };
    }
  } else if (form === "timed") {
    const { at, values } = json as unknown as { at?: number; values: Values };
    const points = scalarsOf(values);
    if (
      isPoints(points) && (at === undefined || Number.isSafeInteger(at)) &&
      issueOfTime(at, directory, product, nowMs) === undefined && directory.accepts(product, values)
    ) {
      return { ok: true, parts: [TIMED_START, payload, TIMED_END], points, refused: NONE };
    }
  }
  return decodeSamples([json as Json], directory, product, nowMs, false);
}

/** Decodes `{…output data…}` or `{"at": ms, "data": …}`; `event` is checked by the caller. */
export function decodeEvent(
  payload: Uint8Array,
  event: string,
  directory: DeviceDirectory,
  product: string,
  nowMs: number,
): DecodedUplink {
  const parsed = parseJson(payload);
  if (!parsed.ok) return parsed;
  const json = parsed.value as Json;
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    return refusal("malformed", "Cannot accept an event: not an object");
  }
  const fault = faultOf(json);
  if (fault !== undefined) return refusal("malformed", fault);
  const keys = Object.keys(json);
  const isTimed = Object.hasOwn(json, "data") &&
    keys.every((key) => key === "at" || key === "data");
  const issues = isTimed
    ? directory.eventIssues(product, event, (json as { data: Json }).data, "data")
    : directory.eventIssues(product, event, json, "");
  if (issues.length > 0) return refusal("off_model", issues[0]!.message, issues);
  if (!isTimed) {
    const start = ENCODER.encode(`{"type":"event","event":${JSON.stringify(event)},"data":`);
    return { ok: true, parts: [start, payload, EVENT_END], points: 1, refused: NONE };
  }
  const { at, data } = json as { at?: Json; data: Json };
  const issue = issueOfTime(at, directory, product, nowMs);
  if (issue !== undefined) return refusal("time_out_of_range", issue.message, [issue]);
  const rounded = at === undefined ? undefined : { at: Math.round(at as number) };
  return encoded({ type: "event", event, ...rounded, data }, 1, NONE);
}

/**
 * A message on a topic that nobody takes, of any bytes: as text where they are one, which is what
 * people read in a trace.
 */
export function decodeMessage(payload: Uint8Array, topic: string): DecodedUplink {
  if (payload.byteLength > LIMITS.payloadBytesMax) return tooLarge(payload);
  const text = textOf(payload);
  const body = text === undefined
    ? { type: "message", topic, base64: asBuffer(payload).toString("base64") }
    : { type: "message", topic, text };
  return { ok: true, parts: [ENCODER.encode(JSON.stringify(body))], points: 0, refused: NONE };
}

/** Undefined if it is none, or grows by more than base64 does where it is escaped. */
function textOf(payload: Uint8Array): string | undefined {
  try {
    const text = DECODER.decode(payload);
    return JSON.stringify(text).length > text.length + payload.length / 3 + 2 ? undefined : text;
  } catch {
    return undefined;
  }
}

function tooLarge(payload: Uint8Array): DecodedUplink & { ok: false } {
  return refusal(
    "too_large",
    `Cannot accept ${payload.byteLength} B: payloadBytesMax is ${LIMITS.payloadBytesMax}`,
  );
}

export function refusal(
  code: UplinkRefusal,
  detail: string,
  refused: readonly Issue[] = NONE,
): DecodedUplink & { ok: false } {
  return { ok: false, code, detail, refused };
}

export type Parsed = { readonly ok: true; readonly value: unknown } | DecodedUplink & { ok: false };

/** JSON of a payload, in whatever shape. */
export function parseJson(payload: Uint8Array): Parsed {
  if (payload.byteLength > LIMITS.payloadBytesMax) return tooLarge(payload);
  let text: string;
  try {
    text = isAscii(payload) ? asBuffer(payload).latin1Slice() : DECODER.decode(payload);
  } catch {
    return refusal("malformed", "Cannot accept the payload: not UTF-8");
  }
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch {
    return refusal("malformed", "Cannot accept the payload: not JSON");
  }
}

/** ASCII is decoded three times as fast as UTF-8, and nearly all payloads are. */
function isAscii(bytes: Uint8Array): boolean {
  let all = 0;
  for (let i = 0; i < bytes.length; i++) all |= bytes[i]!;
  return all < 0x80;
}

function asBuffer(bytes: Uint8Array): Buffer & { latin1Slice(): string } {
  const buffer = bytes instanceof Buffer
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer as Buffer & { latin1Slice(): string };
}

/** `{"at", "values"}` with nothing else is a timed sample, `values` alone too; the rest is flat. */
function formOf(json: Values): "flat" | "timed" {
  if (!Object.hasOwn(json, "values") || !isObject(json.values)) return "flat";
  for (const key in json) if (key !== "values" && key !== "at") return "flat";
  return "timed";
}

function isObject(json: unknown): json is { readonly [key: string]: Json } {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

/** Points of an object of scalars; -1 if anything in it needs the slow look. Names: `accepts`. */
function scalarsOf(values: Values): number {
  let points = 0;
  for (const key in values) {
    const value = values[key];
    if (key === "__proto__" || !key.isWellFormed()) return -1;
    if (typeof value === "number") {
      if (!Number.isFinite(value)) return -1; // 1e999 parses to Infinity.
    } else if (typeof value === "string") {
      if (!value.isWellFormed()) return -1; // "\ud800" is valid JSON and no valid text.
    } else if (typeof value !== "boolean") {
      return -1;
    }
    points++;
  }
  return points;
}

function isPoints(points: number): boolean {
  return points > 0 && points <= LIMITS.pointsPerMessageMax;
}

function decodeSamples(
  list: readonly Json[],
  directory: DeviceDirectory,
  product: string,
  nowMs: number,
  isArray: boolean,
): DecodedUplink {
  const fault = faultOf(list);
  if (fault !== undefined) return refusal("malformed", fault);
  const samples: Sample[] = [];
  const refused: Issue[] = [];
  let points = 0;
  let kept = 0;
  for (let i = 0; i < list.length; i++) {
    const json = list[i];
    if (!isObject(json)) return refusal("malformed", "Cannot accept a sample: not an object");
    const isTimed = formOf(json) === "timed";
    const values = isTimed ? json.values as Values : json;
    points += Math.max(1, Object.keys(values).length); // An empty sample costs too.
    if (points > LIMITS.pointsPerMessageMax) {
      return refusal(
        "too_many_points",
        `Cannot accept the message: pointsPerMessageMax is ${LIMITS.pointsPerMessageMax}`,
      );
    }
    const path = (isArray ? `${i}.` : "") + (isTimed ? "values." : "");
    const issue = isTimed ? issueOfTime(json.at, directory, product, nowMs) : undefined;
    if (issue !== undefined) {
      refused.push({ ...issue, path: isArray ? `${i}.at` : "at" });
      continue;
    }
    const left = keptValues(values, directory, product, path, refused);
    const count = Object.keys(left).length;
    if (count === 0) continue;
    kept += count;
    samples.push(
      isTimed && json.at !== undefined
        ? { at: Math.round(json.at as number), values: left }
        : { values: left },
    );
  }
  if (kept > 0) return encoded({ type: "properties", samples }, kept, refused);
  const first = refused[0];
  if (first === undefined) return refusal("malformed", "Cannot accept a message without values");
  const code = first.rule === "ahead" || first.rule === "late" ? "time_out_of_range" : "off_model";
  return refusal(code, first.message, refused);
}

/** The values that the product keeps; what it refuses is added to `refused`. */
function keptValues(
  values: Values,
  directory: DeviceDirectory,
  product: string,
  path: string,
  refused: Issue[],
): Values {
  const checked = directory.validate(product, values);
  for (const issue of checked.refused) refused.push({ ...issue, path: path + issue.path });
  return checked.values;
}

function issueOfTime(
  at: Json | undefined,
  directory: DeviceDirectory,
  product: string,
  nowMs: number,
): Issue | undefined {
  if (at === undefined) return undefined;
  if (typeof at !== "number" || !Number.isFinite(at)) {
    return { path: "at", rule: "type", message: "Cannot accept a time: not epoch milliseconds" };
  }
  if (at > nowMs + LIMITS.aheadMsMax) {
    const message = `Cannot accept time ${at}: more than ${LIMITS.aheadMsMax} ms ahead of ${nowMs}`;
    return { path: "at", rule: "ahead", message };
  }
  const days = directory.lateDaysMax(product);
  if (at >= 0 && at >= nowMs - days * DAY_MS) return undefined;
  const message = `Cannot accept time ${at}: older than ${days} days before ${nowMs}`;
  return { path: "at", rule: "late", message };
}

/** What no stored message may contain, whatever the model says; walks at most `jsonDepthMax` deep. */
export function faultOf(json: Json, depth = 0): string | undefined {
  if (typeof json === "number") {
    return Number.isFinite(json) ? undefined : "Cannot accept a number: it is not finite";
  }
  if (typeof json === "string") {
    return json.isWellFormed() ? undefined : "Cannot accept a text: it has a lone surrogate";
  }
  if (typeof json !== "object" || json === null) return undefined;
  if (depth > LIMITS.jsonDepthMax) {
    return `Cannot accept the payload: jsonDepthMax is ${LIMITS.jsonDepthMax}`;
  }
  for (const key of Object.keys(json)) {
    if (key === "__proto__") return `Cannot accept the name "__proto__"`;
    if (!key.isWellFormed()) return "Cannot accept a name: it has a lone surrogate";
    const fault = faultOf((json as { readonly [key: string]: Json })[key]!, depth + 1);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function encoded(
  message: DeviceMessage,
  points: number,
  refused: readonly Issue[],
): DecodedUplink {
  const body = ENCODER.encode(JSON.stringify(message));
  if (body.length > BODY_BYTES_MAX) {
    return refusal(
      "too_large",
      `Cannot accept ${body.length} B once encoded: the bound is ${BODY_BYTES_MAX}`,
    );
  }
  return { ok: true, parts: [body], points, refused };
}

/** Paths of refused points that a device, and a trace, is told of. */
const ISSUES_TOLD_MAX = 10;

export function detailOf(refused: readonly Issue[]): string {
  const told = refused.slice(0, ISSUES_TOLD_MAX).map(({ path, message }) => `${path}: ${message}`);
  const more = refused.length - told.length;
  return told.join("; ") + (more > 0 ? `; and ${more} more` : "");
}
