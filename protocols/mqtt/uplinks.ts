/**
 * PUBLISH from a device: routed by topic, decoded, handed to the log. Acknowledgements are queued in
 * order of arrival, whatever becomes of the messages, and sent when their appends are durable.
 */
import type { Buffer } from "node:buffer";
import type { Issue } from "../../runtime/errors.ts";
import type { GatewayRow } from "../../runtime/log/partition_log.ts";
import type { TraceFacts } from "../../actors/device/message_ring.ts";
import { factsOf } from "../../actors/device/message_traces.ts";
import { type Carried, withCarried } from "../../actors/device/carried.ts";
import { type DecodedUplink, decodeUplink, detailOf } from "../../actors/device/uplink.ts";
import { denialOf } from "./access.ts";
import { ACK } from "./ack_queue.ts";
import { close } from "./closing.ts";
import type { Connection } from "./connection.ts";
import { publishOnce, sendCopy } from "./downlink.ts";
import { createPublishFrame, type PublishFrame, readPublish } from "./frame.ts";
import {
  countRefusal,
  encodeMessage,
  type GatewayState,
  isSuspended,
  offer,
  offerSession,
} from "./gateway_state.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { carriedOf, NO_PROPERTIES, passedOnOf } from "./publish_properties.ts";
import { REASON } from "./reason.ts";
import type { RetainedChange } from "./retained.ts";
import { decodeTopic, isOwnTopic } from "./routing.ts";
import { encodeSession } from "./session.ts";

const RETAINED_FULL =
  "Cannot retain the message: too many, or too large, for its device or project";

const frame: PublishFrame = createPublishFrame();
const TEXT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Handles the complete PUBLISH in `[at, end)`.
 * @returns False if the log has no room: keep the packet and hand it in again, before any later one.
 */
export function publish(
  state: GatewayState,
  connection: Connection,
  bytes: Buffer,
  at: number,
  end: number,
): boolean {
  const fault = readPublish(bytes, at, end, connection.isV5, frame);
  if (fault !== 0) return violates(state, connection, fault);
  if (frame.qos === 2) {
    const { qos2 } = connection.session!;
    if (qos2.has(frame.packetId)) return repeat(state, connection);
    if (qos2.size >= LIMITS.mqttUnackedMax) {
      close(state, connection, REASON.quotaExceeded, "qos2_ids");
      return true;
    }
  }
  const payload = bytes.subarray(frame.payloadStart, frame.payloadEnd);
  const { product, propertiesTopic } = connection.identity!;
  const isPlain = frame.topicAlias === 0 && !frame.hasPassedOn && !frame.isRetain;
  const isTaken = isPlain && isTopic(bytes, frame, propertiesTopic)
    ? take(
      state,
      connection,
      "properties",
      decodeUplink(payload, state.directory, product, state.nowMs),
    )
    : route(state, connection, bytes, payload);
  if (isTaken) {
    state.figures.publishesReceived++;
    state.figures.payloadBytesReceived += payload.length;
  }
  return isTaken;
}

function violates(state: GatewayState, connection: Connection, reason: number): true {
  close(state, connection, reason, reason === REASON.malformed ? "malformed" : "protocol_error");
  return true;
}

function isTopic(bytes: Uint8Array, { topicStart, topicEnd }: PublishFrame, topic: Uint8Array) {
  if (topicEnd - topicStart !== topic.length) return false;
  // From the end: the topics of two devices differ last.
  for (let i = topic.length - 1; i >= 0; i--) if (bytes[topicStart + i] !== topic[i]) return false;
  return true;
}

/** Everything but plain `properties`. */
function route(
  state: GatewayState,
  connection: Connection,
  bytes: Buffer,
  payload: Uint8Array,
): boolean {
  const topic = frame.topicAlias === 0 ? topicOf(bytes) : topicByAlias(connection, bytes);
  if (topic === undefined) return violates(state, connection, REASON.topicInvalid);
  if (topic === "") return violates(state, connection, REASON.protocolError);
  const { product, prefix } = connection.identity!;
  const suffix = topic.slice(prefix.length);
  const denial = denialOf(frame.isRetain ? "retain" : "publish", topic, prefix);
  if (denial === "invalid") return violates(state, connection, REASON.topicInvalid);
  if (denial === "outside_prefix") return refuseOutside(state, connection, topic);
  if (denial === "platform_topic") {
    const detail = "Cannot accept the topic: only the platform publishes on it";
    return refuse(state, connection, suffix, denial, detail, REASON.notAuthorized);
  }
  if (suffix === "shadow/get") return askShadow(state, connection);
  if (suffix === "time/get") return answerTime(state, connection, payload);
  const passedOn = passedOnOf(bytes, frame);
  const carried = carriedOf(passedOn);
  if (carried === "invalid") return violates(state, connection, REASON.malformed);
  if (carried === "too_large") {
    const detail =
      `Cannot keep its properties: mqttCarriedBytesMax is ${LIMITS.mqttCarriedBytesMax}`;
    return refuse(state, connection, suffix, "properties_too_large", detail, REASON.quotaExceeded);
  }
  if (frame.isRetain && payload.length === 0 && !isOwnTopic(suffix)) {
    return deleteRetained(state, connection, suffix);
  }
  const decoded = decodeTopic(suffix, payload, state.directory, product, state.nowMs);
  const change = frame.isRetain && decoded.ok
    ? planRetained(state, connection, suffix, payload, passedOn)
    : undefined;
  // Where it cannot be said so, the message is taken, and the one before not kept either.
  const isFull = change === "full";
  if (isFull && connection.isV5 && frame.qos > 0) {
    return refuse(state, connection, suffix, "retained_full", RETAINED_FULL, REASON.quotaExceeded);
  }
  const made = isFull ? planRetained(state, connection, suffix, NO_PROPERTIES) : change;
  if (!take(state, connection, suffix, decoded, carried, made as RetainedChange | undefined)) {
    return false;
  }
  const isKept = decoded.ok && !isSuspended(state, connection.identity!.key);
  if (isFull && isKept) {
    countRefusal(state, "retained_full");
    tell(state, connection, suffix, "retained_full", RETAINED_FULL);
  }
  if (!isKept || !isOwnTopic(suffix)) return true;
  state.figures.unrouted++;
  copyToItself(state, connection, suffix, payload, passedOn);
  return true;
}

function planRetained(
  state: GatewayState,
  connection: Connection,
  suffix: string,
  payload: Uint8Array,
  passedOn: Uint8Array = NO_PROPERTIES,
): RetainedChange | "full" | undefined {
  return state.retained.plan(connection.identity!.key, {
    suffix,
    payload: Uint8Array.from(payload), // A view of what the next read overwrites.
    qos: frame.qos as 0 | 1 | 2,
    passedOn,
    expiresAtMs: expiresAtMs(state),
  });
}

/** No message of properties or an event is empty: this one only deletes what was retained. */
function deleteRetained(state: GatewayState, connection: Connection, suffix: string): boolean {
  const change = planRetained(state, connection, suffix, NO_PROPERTIES) as
    | RetainedChange
    | undefined;
  const { session, identity } = connection;
  let append: number | undefined = 0;
  if (change !== undefined) {
    const { key, value } = change.row;
    if (state.owed.length > 0 && !state.owed.flush()) return false;
    append = state.ingress.offerRow(key, value);
    if (append === undefined) return false;
    change.commit();
  }
  if (frame.qos === 2) {
    session!.qos2.add(frame.packetId);
    if (session!.isLasting) state.owed.row(identity!.key, encodeSession(session!), session!);
  }
  acknowledge(state, connection, append, REASON.ok, 0);
  return true;
}

/** Of the message in `frame`. */
function expiresAtMs(state: GatewayState): number {
  return frame.expirySeconds < 0 ? Infinity : state.nowMs + frame.expirySeconds * 1_000;
}

/**
 * A topic of the device's own goes to its own subscriptions too, as with any broker. What the platform
 * takes (properties, events, answers) does not: it has arrived.
 */
function copyToItself(
  state: GatewayState,
  connection: Connection,
  topic: string,
  payload: Uint8Array,
  passedOn: Uint8Array,
): void {
  const { identity, session, isOpen } = connection;
  const match = isOpen ? session!.match(identity!.prefix + topic, true) : undefined;
  if (match === undefined) return;
  sendCopy(state, connection, {
    topic,
    payload: Uint8Array.from(payload), // A view of what the next read overwrites.
    qos: Math.min(frame.qos, match.qos) as 0 | 1 | 2,
    isRetained: frame.isRetain && match.isRetainKept,
    passedOn,
    subscriptionIds: match.ids,
    expiresAtMs: expiresAtMs(state),
  });
}

/** Sets or resolves an alias (5: 3.3.2-8 to -12). Empty: it was never set. */
function topicByAlias(connection: Connection, bytes: Buffer): string | undefined {
  const aliases = connection.aliases ??= new Map();
  if (frame.topicStart === frame.topicEnd) return aliases.get(frame.topicAlias) ?? "";
  const topic = topicOf(bytes);
  if (topic !== undefined && topic.length <= LIMITS.mqttFilterCharactersMax) {
    aliases.set(frame.topicAlias, topic);
  }
  return topic;
}

/** Undefined if it is not UTF-8. */
function topicOf(bytes: Buffer): string | undefined {
  try {
    return TEXT.decode(bytes.subarray(frame.topicStart, frame.topicEnd));
  } catch {
    return undefined;
  }
}

/** Offers a decoded message, or refuses it. */
function take(
  state: GatewayState,
  connection: Connection,
  suffix: string,
  decoded: DecodedUplink,
  carried?: Carried,
  change?: RetainedChange,
): boolean {
  if (!decoded.ok) {
    state.figures.pointsRefused += decoded.refused.length;
    return refuse(
      state,
      connection,
      suffix,
      decoded.code,
      decoded.refused.length === 0 ? decoded.detail : detailOf(decoded.refused),
    );
  }
  if (isSuspended(state, connection.identity!.key)) {
    return refuseSuspended(state, connection, suffix);
  }
  const parts = carried === undefined ? decoded.parts : withCarried(decoded.parts, carried);
  const facts = factsOf(decoded.refused, carried);
  if (!accept(state, connection, suffix, parts, change, facts)) return false;
  state.figures.pointsOffered += decoded.points;
  if (decoded.refused.length > 0) tellRefused(state, connection, suffix, decoded.refused);
  return true;
}

/** Offers a message and queues its acknowledgement. */
function accept(
  state: GatewayState,
  connection: Connection,
  suffix: string,
  parts: readonly Uint8Array[],
  change?: RetainedChange,
  facts?: TraceFacts,
): boolean {
  const append = frame.qos === 2
    ? offerOnce(state, connection, parts, change?.row)
    : offer(state, connection.identity!.target, parts, change?.row);
  if (append === undefined) return false;
  const bytes = frame.payloadEnd - frame.payloadStart;
  state.traces.accept(connection.identity!, "mqtt", suffix, bytes, state.nowMs, append, facts);
  change?.commit();
  state.figures.offered++;
  acknowledge(state, connection, append, REASON.ok, bytes);
  return true;
}

/** Offers a QoS 2 message with its id, which is kept until its PUBREL, as one. */
function offerOnce(
  state: GatewayState,
  connection: Connection,
  parts: readonly Uint8Array[],
  row: GatewayRow | undefined,
): number | undefined {
  const identity = connection.identity!;
  const session = connection.session!;
  session.qos2.add(frame.packetId);
  const append = session.isLasting
    ? offerSession(state, identity, session, parts, row === undefined ? [] : [row])
    : offer(state, identity.target, parts, row);
  if (append === undefined) session.qos2.delete(frame.packetId);
  return append;
}

/** A QoS 2 message that is in already: its PUBREC again, once the first would have been sent. */
function repeat(state: GatewayState, connection: Connection): boolean {
  if (state.owed.length > 0 && !state.owed.flush()) return false; // Its row may be among them.
  state.figures.qos2Repeats++;
  const session = connection.session!;
  const append = session.isLasting ? session.rowAppend : connection.listedAppend;
  acknowledge(state, connection, append, REASON.ok, 0);
  return true;
}

/** Queues the acknowledgement of the message in `frame` behind `append` (0: behind earlier ones). */
function acknowledge(
  state: GatewayState,
  connection: Connection,
  append: number,
  reason: number,
  bytes: number,
): void {
  if (frame.qos === 0) return;
  const kind = frame.qos === 1 ? ACK.puback : ACK.pubrec;
  connection.acks.push(append, kind, connection.isV5 ? reason : 0, frame.packetId, bytes);
  if (append > state.ingress.settled && connection.listedAppend !== append) {
    state.appends.add(append, connection, state.clock.monotonicMs());
  }
}

function refuse(
  state: GatewayState,
  connection: Connection,
  suffix: string,
  code: string,
  detail: string,
  reason: number = REASON.payloadInvalid,
): true {
  countRefusal(state, code);
  traceRefused(state, connection, suffix, code, detail);
  acknowledge(state, connection, 0, reason, 0);
  tell(state, connection, suffix, code, detail);
  return true;
}

function traceRefused(
  state: GatewayState,
  connection: Connection,
  topic: string,
  reason: string,
  detail: string,
): void {
  const bytes = frame.payloadEnd - frame.payloadStart;
  const { nowMs, traces } = state;
  traces.refuse(connection.identity!, "mqtt", topic, bytes, nowMs, { reason, detail });
}

/** Not load: until an operator acts, a repeat is refused as well. */
function refuseSuspended(state: GatewayState, connection: Connection, suffix: string): true {
  const detail = "Cannot accept messages: the device has too many dead letters. Replay one of them";
  return refuse(state, connection, suffix, "suspended", detail, REASON.quotaExceeded);
}

/** On MQTT 3.1.1 there is no word for it but to close, as the standard allows. */
function refuseOutside(state: GatewayState, connection: Connection, topic: string): true {
  const code = "outside_prefix";
  const detail = `Cannot accept the topic: it is not under ${connection.identity!.prefix}`;
  countRefusal(state, code);
  traceRefused(state, connection, topic, code, detail);
  if (!connection.isV5) {
    close(state, connection, 0, code);
    return true;
  }
  acknowledge(state, connection, 0, REASON.notAuthorized, 0);
  const told = topic.slice(0, LIMITS.mqttFilterCharactersMax).toWellFormed();
  publishOnce(state, connection, "errors", { topic: told, code, detail });
  return true;
}

function tellRefused(
  state: GatewayState,
  connection: Connection,
  suffix: string,
  refused: readonly Issue[],
): void {
  state.figures.pointsRefused += refused.length;
  for (const issue of refused) state.refuse(`point_${issue.rule}`);
  tell(state, connection, suffix, "partially_refused", detailOf(refused));
}

function tell(
  state: GatewayState,
  connection: Connection,
  suffix: string,
  code: string,
  detail: string,
): void {
  const { prefix } = connection.identity!;
  publishOnce(state, connection, "errors", { topic: prefix + suffix, code, detail });
}

function askShadow(state: GatewayState, connection: Connection): boolean {
  if (isSuspended(state, connection.identity!.key)) {
    return refuseSuspended(state, connection, "shadow/get");
  }
  const { id } = connection.identity!;
  const parts = [encodeMessage({ type: "shadowGet", session: id })];
  return accept(state, connection, "shadow/get", parts);
}

/** Answered at once: a time that waited for the log would be wrong. */
function answerTime(state: GatewayState, connection: Connection, payload: Uint8Array): true {
  const received = state.nowMs;
  const sent = payload.length > LIMITS.nameCharactersMax ? undefined : sentOf(payload);
  if (sent === undefined) {
    const detail = 'Cannot answer the time: the payload is not {"sent": ms}';
    return refuse(state, connection, "time/get", "malformed", detail);
  }
  acknowledge(state, connection, 0, REASON.ok, 0);
  publishOnce(state, connection, "time", { sent, received, replied: state.clock.nowMs() });
  return true;
}

function sentOf(payload: Uint8Array): number | undefined {
  try {
    const json: unknown = JSON.parse(TEXT.decode(payload));
    const { sent } = (json ?? {}) as { sent?: unknown };
    return typeof sent === "number" && Number.isFinite(sent) ? sent : undefined;
  } catch {
    return undefined;
  }
}

/** PUBREL: the id is free again. False if its row finds no room: nothing was changed. */
export function release(state: GatewayState, connection: Connection, packetId: number): boolean {
  const session = connection.session!;
  const isKnown = session.qos2.delete(packetId);
  let append: number | undefined = 0;
  if (isKnown && session.isLasting) {
    append = offerSession(state, connection.identity!, session);
    if (append === undefined) {
      session.qos2.add(packetId);
      return false;
    }
  }
  const reason = isKnown || !connection.isV5 ? REASON.ok : REASON.unknownPacketId;
  connection.acks.push(append, ACK.pubcomp, reason, packetId, 0);
  if (append > state.ingress.settled) {
    state.appends.add(append, connection, state.clock.monotonicMs());
  }
  return true;
}
