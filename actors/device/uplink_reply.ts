/** A device's answer to a service call, decoded into the JSON of a `DeviceMessage`. */
import { Buffer } from "node:buffer";
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { CallAnswer } from "../command/messages.ts";
import type { DeviceDirectory } from "./directory.ts";
import type { DeviceMessage } from "./messages.ts";
import { type DecodedUplink, faultOf, parseJson, refusal } from "./uplink.ts";

/** Characters of an error that are kept. */
const ERROR_CHARACTERS_MAX = 1_024;

export type ReadReply =
  /** `refused`: why an output was left out. */
  | { readonly ok: true; readonly answer: CallAnswer; readonly refused: readonly Issue[] }
  | DecodedUplink & { ok: false };

/**
 * Reads `{"ok": true, "output": {…}}` or `{"ok": false, "error": "text"}`. An output that the model
 * refuses is left out: the call has failed, with that as its error.
 */
export function readReply(
  payload: Uint8Array,
  service: string,
  directory: DeviceDirectory,
  product: string,
): ReadReply {
  const parsed = parseJson(payload);
  if (!parsed.ok) return parsed;
  const json = parsed.value as Json;
  const shape =
    `Cannot accept the answer: it is not {"ok": true, "output"} or {"ok": false, "error"}`;
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    return refusal("malformed", shape);
  }
  const fault = faultOf(json);
  if (fault !== undefined) return refusal("malformed", fault);
  const { ok, output = {}, error = "" } = json as { readonly [key: string]: Json | undefined };
  if (ok === false && typeof error === "string") {
    return { ok: true, answer: { ok, error: keptError(error) }, refused: [] };
  }
  if (ok !== true) return refusal("malformed", shape);
  const refused = outputIssues(output, service, directory, product);
  if (refused.length === 0) return { ok: true, answer: { ok, output }, refused };
  const { path, message } = refused[0]!;
  const why = keptError(`The output was refused: ${path}: ${message}`);
  return { ok: true, answer: { ok: false, error: why }, refused };
}

/** As `readReply`, as the body of a record for the device's actor; names are checked by the caller. */
export function decodeReply(
  payload: Uint8Array,
  { service, callId }: { readonly service: string; readonly callId: string },
  directory: DeviceDirectory,
  product: string,
): DecodedUplink {
  const read = readReply(payload, service, directory, product);
  if (!read.ok) return read;
  const message: DeviceMessage = { type: "reply", callId, answer: read.answer };
  const body = new TextEncoder().encode(JSON.stringify(message));
  return { ok: true, parts: [body], points: 1, refused: read.refused };
}

function keptError(text: string): string {
  return text.slice(0, ERROR_CHARACTERS_MAX).toWellFormed();
}

function outputIssues(
  output: Json,
  service: string,
  directory: DeviceDirectory,
  product: string,
): readonly Issue[] {
  const bytes = Buffer.byteLength(JSON.stringify(output), "utf8");
  const { callOutputBytesMax } = LIMITS;
  if (bytes <= callOutputBytesMax) return directory.callIssues(product, service, "output", output);
  const message = `Cannot accept an output of ${bytes} B: callOutputBytesMax is ` +
    `${callOutputBytesMax}`;
  return [{ path: "output", rule: "size", message }];
}
