/** Messages to a device: what a commit asked for, and answers of the gateway itself. */
import { LIMITS } from "../../runtime/limits.ts";
import type { DeviceDownlink } from "../../actors/device/messages.ts";
import { type Connection, PAUSE } from "./connection.ts";
import { bytesOf, type Copy, type QueuedDownlink } from "./downlinks.ts";
import { encodePublish, encodePubrel } from "./frame.ts";
import type { GatewayState } from "./gateway_state.ts";
import { deliveryProperties, NO_PROPERTIES } from "./publish_properties.ts";
import { encodeSession, sessionKey } from "./session.ts";
import { callTopic, type DownTopic } from "./topic.ts";

const ENCODER = new TextEncoder();

/** @returns False if the device is not connected here, or does not want it. */
export function deliver(
  state: GatewayState,
  product: string,
  device: string,
  downlink: DeviceDownlink,
): boolean {
  const connection = state.byDevice.get(`${product}/${device}`);
  if (connection?.isOpen !== true || connection.isPeerDone) return unwanted(state);
  switch (downlink.type) {
    case "propertySet": {
      const { version, values } = downlink;
      return publish(state, connection, "properties/set", { version, values });
    }
    case "shadow":
      if (downlink.session !== connection.identity!.id) return unwanted(state);
      return publish(state, connection, "shadow", downlink.shadow);
    case "call": {
      const { service, callId, input, expiresAtMs } = downlink;
      return publish(state, connection, callTopic(service, callId), { input }, expiresAtMs);
    }
    case "callEnded":
      connection.session!.downlinks.drop(callTopic(downlink.service, downlink.callId));
      return true;
  }
}

/** QoS 1 if the device subscribed so: kept until it is acknowledged. */
function publish(
  state: GatewayState,
  connection: Connection,
  topic: DownTopic,
  body: unknown,
  expiresAtMs?: number,
): boolean {
  const session = connection.session!;
  const match = session.match(connection.identity!.prefix + topic, false);
  if (match === undefined) return unwanted(state);
  if (match.qos === 0) return publishOnce(state, connection, topic, body, expiresAtMs);
  const payload = ENCODER.encode(JSON.stringify(body));
  if (!session.downlinks.push(topic, payload, expiresAtMs, match.ids)) {
    state.figures.downlinksDropped++;
    return false;
  }
  pumpDownlinks(state, connection);
  return true;
}

/** QoS 0, for what is worth nothing later: times, errors. */
export function publishOnce(
  state: GatewayState,
  connection: Connection,
  topic: DownTopic,
  body: unknown,
  expiresAtMs = Infinity,
): boolean {
  const match = connection.session!.match(connection.identity!.prefix + topic, false);
  if (match === undefined) return unwanted(state);
  const payload = ENCODER.encode(JSON.stringify(body));
  const { ids: subscriptionIds } = match;
  const message = { topic, payload, qos: 0, isRetained: false, passedOn: NO_PROPERTIES } as const;
  return sendOnce(state, connection, { ...message, subscriptionIds, expiresAtMs });
}

/** A copy of a message of the device itself. @returns False if it was dropped. */
export function sendCopy(state: GatewayState, connection: Connection, copy: Copy): boolean {
  if (copy.qos === 0) return sendOnce(state, connection, copy);
  const bytes = bytesOf(copy);
  const isFull = state.copyBytes + bytes > LIMITS.mqttCopiesBytesMax;
  if (isFull || !connection.session!.downlinks.pushCopy(copy)) {
    state.figures.downlinksDropped++;
    return false;
  }
  state.copyBytes += bytes;
  pumpDownlinks(state, connection);
  return true;
}

/** Dropped for a peer that does not read. */
function sendOnce(state: GatewayState, connection: Connection, message: Copy): boolean {
  const isUnread = (connection.paused & PAUSE.unread) !== 0;
  const bytes = isUnread
    ? undefined
    : encode(state, connection, { ...message, packetId: 0, isDup: false });
  if (bytes === undefined || bytes.length > connection.packetBytesMax) {
    state.figures.downlinksDropped++;
    return false;
  }
  connection.send(bytes);
  state.figures.downlinksSent++;
  return true;
}

/** Undefined if its time is over. */
function encode(
  { clock }: GatewayState,
  { identity, isV5 }: Connection,
  message: Copy & { readonly packetId: number; readonly isDup: boolean },
): Uint8Array | undefined {
  const { topic, passedOn, subscriptionIds, expiresAtMs } = message;
  // What was sent before is sent until the device has it, also beyond its time.
  const leftMin = message.isDup ? 1 : 0;
  const left = Math.max(leftMin, Math.ceil((expiresAtMs - clock.nowMs()) / 1_000));
  if (left <= 0) return undefined;
  // The time that is left, not what was asked for (5: 3.3.2-6).
  const properties = isV5 ? deliveryProperties(passedOn, left, subscriptionIds) : NO_PROPERTIES;
  return encodePublish({ ...message, topic: identity!.prefix + topic, properties }, isV5);
}

/** Sends what waits, as far as the client's Receive Maximum allows. */
export function pumpDownlinks(state: GatewayState, connection: Connection): void {
  const { downlinks } = connection.session!;
  const next = () => downlinks.next(connection.window, state.clock.nowMs());
  for (let item = next(); item !== undefined; item = next()) {
    if (item.qos === 2 && !isIdStored(state, connection, item)) return;
    const isDup = item.isRepeat;
    item.isSent = true;
    item.isRepeat = true;
    if (item.isReleased) {
      connection.send(encodePubrel(item.packetId, 0));
      continue;
    }
    const bytes = encode(state, connection, { ...item, isDup });
    if (bytes === undefined || bytes.length > connection.packetBytesMax) {
      state.figures.downlinksDropped++;
      complete(state, connection, item.packetId, item.qos as 1 | 2);
      continue;
    }
    connection.send(bytes);
    state.figures.downlinksSent++;
  }
}

/**
 * Whether the id of a QoS 2 message outlives this gateway. Asks for it: once that is durable,
 * `pumpDownlinks` is called again.
 */
function isIdStored(state: GatewayState, connection: Connection, item: QueuedDownlink): boolean {
  const session = connection.session!;
  if (!session.isLasting || item.isReleased) return true;
  const { key } = connection.identity!;
  const { ingress, appends, clock } = state;
  if (item.storedBy === 0) {
    item.storedBy = Infinity;
    session.outgoing.add(item.packetId);
    session.rowAppend = Infinity;
    state.owed.put(key, sessionKey(key), encodeSession(session), (append) => {
      item.storedBy = append;
      session.rowAppend = append;
      const present = state.byDevice.get(key);
      if (present?.isOpen === true) appends.add(append, present, clock.monotonicMs());
    });
  } else if (Number.isFinite(item.storedBy) && item.storedBy > ingress.settled) {
    appends.add(item.storedBy, connection, clock.monotonicMs());
  }
  return item.storedBy <= ingress.settled;
}

/** The device has the message for good. @returns False if it is none of this session. */
export function complete(
  state: GatewayState,
  connection: Connection,
  packetId: number,
  qos: 1 | 2,
): boolean {
  const session = connection.session!;
  if (!session.downlinks.acknowledge(packetId, qos)) return false;
  const { key } = connection.identity!;
  // Not waited for: after a crash the device is released once more, which changes nothing.
  if (session.outgoing.delete(packetId) && session.isLasting) {
    state.owed.row(key, encodeSession(session), session);
  }
  return true;
}

function unwanted(state: GatewayState): false {
  state.figures.downlinksUnwanted++;
  return false;
}
