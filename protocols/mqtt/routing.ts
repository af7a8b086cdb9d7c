/** A topic after its device's prefix, and what a message on it becomes. */
import type { DeviceDirectory } from "../../actors/device/directory.ts";
import {
  type DecodedUplink,
  decodeEvent,
  decodeMessage,
  decodeUplink,
  isName,
} from "../../actors/device/uplink.ts";
import { decodeReply } from "../../actors/device/uplink_reply.ts";
import { parseReplyTopic } from "./topic.ts";

/** Topics that nobody takes are the device's own: their messages are kept as they are. */
export function isOwnTopic(suffix: string): boolean {
  return suffix !== "properties" && !isEventTopic(suffix) && parseReplyTopic(suffix) === undefined;
}

export function decodeTopic(
  suffix: string,
  payload: Uint8Array,
  directory: DeviceDirectory,
  product: string,
  nowMs: number,
): DecodedUplink {
  if (suffix === "properties") return decodeUplink(payload, directory, product, nowMs);
  const call = parseReplyTopic(suffix);
  if (call !== undefined) return decodeReply(payload, call, directory, product);
  if (!isEventTopic(suffix)) return decodeMessage(payload, suffix);
  const event = suffix.slice(7);
  if (isName(event)) return decodeEvent(payload, event, directory, product, nowMs);
  const detail = "Cannot accept the event: its name is not 1 to 64 of A-Z a-z 0-9 _ . : -";
  return { ok: false, code: "malformed", detail, refused: [] };
}

function isEventTopic(suffix: string): boolean {
  return suffix.startsWith("events/") && !suffix.includes("/", 7);
}
