/** Properties of MQTT 5 messages: what is kept with a record, and what is passed on to a device. */
import { Buffer } from "node:buffer";
import { LIMITS } from "../../runtime/limits.ts";
import type { Carried } from "../../actors/device/carried.ts";
import { lengthBytes, PROPERTY, propertyEnd, type PublishFrame, writeLength } from "./frame.ts";

const TEXT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
export const NO_PROPERTIES: Uint8Array = new Uint8Array();
/** Id of the Will Delay Interval, which no PUBLISH has. */
const WILL_DELAY = 0x18;

/** Those of a PUBLISH that go on with it, unchanged and in order (5: 3.3.2-15, -16, -17, -18, -20). */
export function passedOnOf(bytes: Uint8Array, frame: PublishFrame): Uint8Array {
  if (!frame.hasPassedOn) return NO_PROPERTIES;
  return passedOnIn(bytes.subarray(frame.propertiesStart, frame.propertiesEnd));
}

/** The same of a will (5: 3.1.3-10). @param properties Sound ones, without their length. */
export function passedOnIn(properties: Uint8Array): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < properties.length;) {
    const id = properties[at];
    const end = id === WILL_DELAY ? at + 5 : propertyEnd(properties, at, properties.length)!;
    const isOurs = id === PROPERTY.topicAlias || id === PROPERTY.messageExpiry || id === WILL_DELAY;
    if (!isOurs) pieces.push(properties.subarray(at, end));
    at = end;
  }
  return Uint8Array.from(Buffer.concat(pieces)); // No slice of a pool: it may be kept long.
}

/**
 * What is kept with the record of a message; undefined: nothing. `invalid`: a text is none, or its response topic no topic
 * (5: 1.5.4-1, 3.3.2-14); `too_large`: more than is kept.
 */
export function carriedOf(passedOn: Uint8Array): Carried | undefined | "invalid" | "too_large" {
  if (passedOn.length === 0) return undefined;
  const carried: { -readonly [Key in keyof Carried]: Carried[Key] } = {};
  const user: [string, string][] = [];
  try {
    for (let at = 0; at < passedOn.length;) {
      const end = propertyEnd(passedOn, at, passedOn.length)!;
      const id = passedOn[at++]!;
      if (id === PROPERTY.user) {
        const middle = at + 2 + (passedOn[at]! << 8 | passedOn[at + 1]!);
        user.push([textAt(passedOn, at, middle), textAt(passedOn, middle, end)]);
      } else if (id === PROPERTY.contentType) carried.contentType = textAt(passedOn, at, end);
      else if (id === PROPERTY.responseTopic) carried.responseTopic = textAt(passedOn, at, end);
      else if (id === PROPERTY.correlation) {
        carried.correlation = Buffer.from(passedOn.subarray(at + 2, end)).toString("base64");
      }
      at = end;
    }
  } catch {
    return "invalid";
  }
  if (user.length > 0) carried.userProperties = user;
  const { responseTopic = "x" } = carried;
  if (responseTopic === "" || /[+#]/.test(responseTopic)) return "invalid";
  if (Object.keys(carried).length === 0) return undefined;
  const size = Buffer.byteLength(JSON.stringify(carried), "utf8");
  return size > LIMITS.mqttCarriedBytesMax ? "too_large" : carried;
}

/** What a message to a device has of its own besides: the time that is left, and who asked for it. */
export function deliveryProperties(
  passedOn: Uint8Array,
  expirySeconds: number,
  subscriptionIds: readonly number[],
): Uint8Array {
  const hasExpiry = expirySeconds !== Infinity;
  if (!hasExpiry && subscriptionIds.length === 0) return passedOn;
  const idBytes = subscriptionIds.reduce((sum, id) => sum + 1 + lengthBytes(id), 0);
  const bytes = Buffer.allocUnsafe(passedOn.length + (hasExpiry ? 5 : 0) + idBytes);
  bytes.set(passedOn);
  let at = passedOn.length;
  if (hasExpiry) {
    bytes[at] = PROPERTY.messageExpiry;
    at = bytes.writeUInt32BE(expirySeconds, at + 1);
  }
  for (const id of subscriptionIds) {
    bytes[at] = PROPERTY.subscriptionId;
    at = writeLength(bytes, at + 1, id);
  }
  return bytes;
}

/** A text with its length before it. Throws if it is no UTF-8. */
function textAt(bytes: Uint8Array, at: number, end: number): string {
  const text = TEXT.decode(bytes.subarray(at + 2, end));
  if (text.includes("\0")) throw new RangeError("a text has no U+0000 (1.5.4-2)");
  return text;
}
