/** Bytes of a socket, cut into packets, each handled in order of arrival. */
import { Buffer } from "node:buffer";
import type { IDisconnectPacket } from "mqtt-packet";
import { LIMITS } from "../../runtime/limits.ts";
import { close, leave, stopHolding } from "./closing.ts";
import { decodePacket } from "./codec.ts";
import { type Connection, PAUSE } from "./connection.ts";
import { complete, pumpDownlinks } from "./downlink.ts";
import {
  bodyStart,
  encodePubrel,
  INCOMPLETE,
  MALFORMED,
  PACKET,
  packetBytes,
  packetIdOf,
} from "./frame.ts";
import type { GatewayState } from "./gateway_state.ts";
import { connect, PACKET_BYTES_MAX } from "./login.ts";
import { formFault } from "./packet_form.ts";
import { askDelivery } from "./presence.ts";
import { REASON } from "./reason.ts";
import { sendRetained, subscribe, unsubscribe } from "./subscriptions.ts";
import { publish, release } from "./uplinks.ts";

/** Handles what a socket gave. `chunk` is not kept. */
export function receive(state: GatewayState, connection: Connection, chunk: Buffer): void {
  if (!isHeard(connection)) return;
  connection.readAtMs = state.clock.monotonicMs();
  state.nowMs = state.clock.nowMs();
  // A peer of another protocol may announce more than it sends, and would be waited for.
  if (connection.stage === "new" && connection.partial.length === 0 && chunk[0] !== 0x10) {
    return close(state, connection, 0, "malformed");
  }
  let at = 0;
  if (connection.partial.length > 0) at = completePartial(state, connection, chunk);
  while (at < chunk.length && isHeard(connection)) {
    const length = packetBytes(chunk, at, chunk.length, bytesMax(connection));
    if (length < 0) refuseLength(state, connection, length);
    else if (length === INCOMPLETE || at + length > chunk.length) break;
    else arrive(state, connection, chunk, at, at + length);
    at += length;
  }
  if (!isHeard(connection)) return;
  if (at < chunk.length) {
    connection.partial.append(chunk.subarray(at));
    if (isOverBudget(state, connection)) {
      return close(state, connection, REASON.quotaExceeded, "buffers_full");
    }
  }
  finishTurn(state, connection);
}

/** A function, since handling a packet changes the stage behind the compiler's back. */
function isHeard(connection: Connection): boolean {
  return connection.stage !== "closing" && connection.stage !== "withheld";
}

function bytesMax(connection: Connection): number {
  return connection.stage === "new" ? LIMITS.mqttConnectBytesMax : PACKET_BYTES_MAX;
}

function isOverBudget(state: GatewayState, connection: Connection): boolean {
  return state.budget.bytes > 2 * LIMITS.mqttBufferedBytesMax &&
    (connection.stage === "new" || connection.partial.length > LIMITS.mqttConnectBytesMax);
}

function refuseLength(state: GatewayState, connection: Connection, length: number): void {
  if (length === MALFORMED) return close(state, connection, REASON.malformed, "malformed");
  close(state, connection, REASON.packetTooLarge, "packet_too_large");
}

/** Adds to the packet that had begun only what it lacks. Returns where the next one begins. */
function completePartial(state: GatewayState, connection: Connection, chunk: Buffer): number {
  const { partial } = connection;
  let at = 0;
  let length = packetBytes(partial.view(), 0, partial.length, bytesMax(connection));
  while (length === INCOMPLETE && at < chunk.length) {
    partial.append(chunk.subarray(at, ++at));
    length = packetBytes(partial.view(), 0, partial.length, bytesMax(connection));
  }
  if (length < 0) {
    refuseLength(state, connection, length);
    return chunk.length;
  }
  if (length === INCOMPLETE) return at;
  const taken = Math.min(length - partial.length, chunk.length - at);
  partial.append(chunk.subarray(at, at + taken));
  if (partial.length === length) {
    const whole = asBuffer(partial.view());
    partial.clear();
    arrive(state, connection, whole, 0, length);
  }
  return at + taken;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A packet has come in whole: handled now, or kept behind others that wait for room. */
function arrive(
  state: GatewayState,
  connection: Connection,
  bytes: Buffer,
  at: number,
  end: number,
): void {
  const type = bytes[at]! >> 4;
  if (connection.stage === "new") {
    return connect(state, connection, bytes.subarray(at, end), (opened) => {
      handleHeld(state, opened);
      finishTurn(state, opened);
    });
  }
  if (connection.stage === "connecting") return hold(state, connection, bytes, at, end);
  if (connection.meter?.isFlood(state.clock.monotonicMs()) === true) {
    return close(state, connection, REASON.messageRateTooHigh, "packet_rate");
  }
  if (type === PACKET.pingreq) return ping(state, connection, bytes, at, end);
  if (type === PACKET.puback || type === PACKET.pubrec || type === PACKET.pubcomp) {
    return acknowledged(state, connection, bytes, at, end);
  }
  if (type === PACKET.publish && (bytes[at]! & 6) !== 0) {
    connection.inFlight++;
    if (connection.isV5 && connection.inFlight > LIMITS.mqttReceiveMaximum) {
      return close(state, connection, REASON.receiveMaximumExceeded, "receive_maximum");
    }
  }
  if (connection.isHolding) return hold(state, connection, bytes, at, end);
  if (handle(state, connection, bytes, at, end)) return;
  connection.isHolding = true;
  if (!connection.isRateHeld) state.holding.push(connection);
  state.figures.holds++;
  state.figures.holding++;
  hold(state, connection, bytes, at, end);
}

function hold(
  state: GatewayState,
  connection: Connection,
  bytes: Buffer,
  at: number,
  end: number,
): void {
  connection.held.append(bytes.subarray(at, end));
  if (
    connection.held.length > LIMITS.mqttHeldBytesMax ||
    state.budget.bytes > LIMITS.mqttBufferedBytesMax
  ) connection.pause(PAUSE.held);
}

/** Handles a packet whose order counts. False: the log has no room for it. */
function handle(
  state: GatewayState,
  connection: Connection,
  bytes: Buffer,
  at: number,
  end: number,
): boolean {
  const type = bytes[at]! >> 4;
  if (type === PACKET.publish) {
    if (connection.meter !== undefined) return publishMetered(state, connection, bytes, at, end);
    return publish(state, connection, bytes, at, end);
  }
  if (type === PACKET.pubrel) {
    const packetId = packetIdOf(bytes, at, end);
    if ((bytes[at]! & 15) !== 2) { // 5: 3.6.1-1.
      close(state, connection, REASON.malformed, "malformed");
      return true;
    }
    if (packetId === 0) return violates(state, connection);
    if (!isFormSound(state, connection, bytes.subarray(at, end))) return true;
    return release(state, connection, packetId);
  }
  const packet = decodePacket(bytes.subarray(at, end), connection.version);
  if (packet !== undefined && !isFormSound(state, connection, bytes.subarray(at, end))) return true;
  switch (packet?.cmd) {
    case "subscribe":
      return subscribe(state, connection, packet);
    case "unsubscribe":
      return unsubscribe(state, connection, packet);
    case "disconnect":
      return disconnect(state, connection, packet);
    case undefined:
      close(state, connection, REASON.malformed, "malformed");
      return true;
    default: // A second CONNECT, AUTH, or a packet that only servers send.
      return violates(state, connection);
  }
}

/** Beyond a rate a message waits as it does without room: false. */
function publishMetered(
  state: GatewayState,
  connection: Connection,
  bytes: Buffer,
  at: number,
  end: number,
): boolean {
  const meter = connection.meter!;
  const heldBy = meter.heldBy(state.clock.monotonicMs());
  if (heldBy !== undefined) {
    state.figures[heldBy]++;
    state.rateHolds.add(connection);
    return false;
  }
  if (!publish(state, connection, bytes, at, end)) return false;
  meter.take(end - at);
  return true;
}

/** Ends the connection if it is not. */
function isFormSound(state: GatewayState, connection: Connection, bytes: Uint8Array): boolean {
  const fault = formFault(bytes, connection.isV5);
  if (fault === undefined) return true;
  close(state, connection, REASON[fault], fault === "malformed" ? "malformed" : "protocol_error");
  return false;
}

function violates(state: GatewayState, connection: Connection): true {
  close(state, connection, REASON.protocolError, "protocol_error");
  return true;
}

function ping(
  state: GatewayState,
  connection: Connection,
  bytes: Buffer,
  at: number,
  end: number,
): void {
  if (bytes[at] !== 0xc0 || end - at !== 2) {
    return close(state, connection, REASON.malformed, "malformed");
  }
  connection.pings++;
}

/** PUBACK, PUBREC and PUBCOMP of downlinks. One of a session before is passed over. */
function acknowledged(
  state: GatewayState,
  connection: Connection,
  bytes: Buffer,
  at: number,
  end: number,
): void {
  const packetId = packetIdOf(bytes, at, end);
  const start = bodyStart(bytes, at);
  if (packetId === 0 || (bytes[at]! & 15) !== 0) {
    return close(state, connection, REASON.malformed, "malformed");
  }
  if (!isFormSound(state, connection, bytes.subarray(at, end))) return;
  const type = bytes[at]! >> 4;
  const reason = end - start > 2 ? bytes[start + 2]! : 0;
  if (type === PACKET.pubrec && reason < 0x80) {
    const isKnown = connection.session!.downlinks.receive(packetId);
    const answer = isKnown || !connection.isV5 ? 0 : REASON.unknownPacketId;
    return connection.send(encodePubrel(packetId, answer));
  }
  if (!complete(state, connection, packetId, type === PACKET.puback ? 1 : 2)) return;
  state.figures.downlinksAcknowledged++;
  pumpDownlinks(state, connection);
}

/** DISCONNECT of the client; MQTT 5 may change how long its session lasts, but not from nothing. */
function disconnect(
  state: GatewayState,
  connection: Connection,
  packet: IDisconnectPacket,
): true {
  const session = connection.session!;
  const expirySeconds = packet.properties?.sessionExpiryInterval;
  if (connection.isV5 && expirySeconds !== undefined) {
    if (!session.isLasting && expirySeconds > 0) return violates(state, connection);
    session.expirySeconds = Math.min(expirySeconds, LIMITS.mqttSessionExpirySecondsMax);
  }
  // 3: 3.1.2-10, 5: 3.14.4-3. With any other reason the client wants its will published.
  if (connection.will !== undefined && (packet.reasonCode ?? 0) === 0) {
    state.wills.drop(connection.identity!.key, connection.will);
    connection.will = undefined;
  }
  close(state, connection, 0, "disconnect");
  return true;
}

/** Handles held packets in order until one finds no room again. True: nothing is held any more. */
export function handleHeld(state: GatewayState, connection: Connection): boolean {
  if (!connection.isOpen) return true;
  state.nowMs = state.clock.nowMs();
  const wasHolding = connection.isHolding;
  const held = asBuffer(connection.held.view());
  let at = 0;
  // What comes out of hold goes through `handle` alone if it was counted when it arrived.
  while (at < held.length && isHeard(connection)) {
    const end = at + packetBytes(held, at, held.length, PACKET_BYTES_MAX);
    if (!wasHolding) arrive(state, connection, copyOf(held, at, end), 0, end - at);
    else if (!handle(state, connection, held, at, end)) break;
    at = end;
  }
  if (!isHeard(connection)) return true;
  if (!wasHolding) {
    connection.held.consume(held.length);
    if (!connection.isHolding) connection.unpause(PAUSE.held, state.clock.monotonicMs());
    return true;
  }
  connection.held.consume(at);
  if (connection.held.length > 0) return false;
  stopHolding(state, connection);
  connection.unpause(PAUSE.held, state.clock.monotonicMs());
  return true;
}

function copyOf(bytes: Buffer, at: number, end: number): Buffer {
  return Buffer.from(bytes.subarray(at, end));
}

/** After a chunk or a settled append: everything that may be sent goes out, in one write. */
export function finishTurn(state: GatewayState, connection: Connection): void {
  if (!connection.isOpen) return;
  if (connection.pings > 0) connection.sendPings();
  acknowledgeSettled(state, connection);
  if (connection.isOverdrawn) connection.pause(PAUSE.unacked);
  state.ingress.flushIfDue();
}

/** Sends the acknowledgements that are durable; reads on if there are few enough left. */
export function acknowledgeSettled(state: GatewayState, connection: Connection): void {
  if (!connection.isOpen) return;
  const { count, isDelivering } = connection.sendAcknowledgements(state.ingress.settled);
  state.figures.acknowledgementsSent += count;
  // Ids of QoS 2 messages may be durable now.
  if (connection.session!.outgoing.size > 0) pumpDownlinks(state, connection);
  if (connection.fresh !== undefined) sendRetained(state, connection);
  if (isDelivering) askDelivery(state, connection);
  if (count > 0 && (connection.paused & PAUSE.unacked) !== 0 && !connection.isOverdrawn) {
    connection.unpause(PAUSE.unacked, state.clock.monotonicMs());
  }
  if (connection.isPeerDone && connection.acks.length === 0 && !connection.isHolding) {
    leave(state, connection, "closed");
    connection.end(0);
  }
}
