/** How a connection ends: for its peer, its device's presence and its session. */
import type { Connection } from "./connection.ts";
import { type GatewayState, keepSession } from "./gateway_state.ts";
import { packetBytes } from "./frame.ts";
import { tellDisconnected } from "./presence.ts";
import { REASON } from "./reason.ts";
import { encodeSession } from "./session.ts";

/** Ends that refuse what a peer did, counted by reason; the others are load, upkeep, or a message. */
const REFUSALS: ReadonlySet<string> = new Set([
  "address_connections",
  "address_connects",
  "bad_authentication_method",
  "bad_client_id",
  "bad_credentials",
  "bad_frame",
  "bad_upgrade",
  "bad_version",
  "certificate_expired",
  "connect_timeout",
  "device_connects",
  "disabled",
  "keepalive_timeout",
  "login_throttled",
  "malformed",
  "packet_rate",
  "packet_too_large",
  "partition_stopped",
  "project_connections",
  "protocol_error",
  "qos2_ids",
  "receive_maximum",
  "stalled",
  "unauthenticated_sockets",
]);
/** How long a peer may take to close its side after we have closed ours. */
const LINGER_MS = 2_000;

/**
 * Ends a connection that we do not want any longer. Twice is harmless.
 * @param code `REASON` for MQTT 5 peers; 0: none is sent.
 * @param reason A constant, for presence and figures.
 */
export function close(
  state: GatewayState,
  connection: Connection,
  code: number,
  reason: string,
): void {
  if (connection.stage === "closing") return;
  countClosed(state, reason);
  // Before a CONNACK no other packet may be sent.
  leave(state, connection, reason);
  const isTold = connection.session !== undefined;
  connection.end(isTold ? code : 0);
  connection.deadlineMs = state.clock.monotonicMs() + LINGER_MS;
}

/** A bug in handling one peer's bytes ends that peer's connection, not the gateway. */
export function fail(state: GatewayState, connection: Connection, fault: unknown): void {
  const device = connection.identity?.key;
  state.logger.error("connection failed", { device, fault });
  close(state, connection, REASON.unspecified, "fault");
}

/** Counts a connection that we end. */
export function countClosed(state: GatewayState, reason: string): void {
  state.figures.closed[reason] = (state.figures.closed[reason] ?? 0) + 1;
  if (REFUSALS.has(reason)) state.refuse(reason);
}

/** Sends a last packet, such as a CONNACK that refuses, and closes. */
export function closeAfter(
  state: GatewayState,
  connection: Connection,
  bytes: Uint8Array,
  reason: string,
): void {
  connection.send(bytes);
  close(state, connection, 0, reason);
}

/**
 * The device is gone from this connection: presence, session and tables. Idempotent.
 * @param isTakenOver A new connection goes on with the session.
 */
export function leave(
  state: GatewayState,
  connection: Connection,
  reason: string,
  isTakenOver = false,
): void {
  const { identity, session, stage } = connection;
  if (connection.isHolding) stopHolding(state, connection);
  countHeld(state, connection);
  if (stage === "closing" || identity === undefined) return;
  connection.stage = "closing";
  state.quotas.left(connection);
  if (state.byDevice.get(identity.key) === connection) state.byDevice.delete(identity.key);
  if (stage !== "open" || session === undefined) return;
  state.figures.connections--;
  const { key } = identity;
  tellDisconnected(state, connection, reason);
  if (connection.will !== undefined) {
    state.wills.lost(key, connection.will, session.expirySeconds);
    connection.will = undefined;
  }
  session.downlinks.rewind();
  session.endedAtMs = state.clock.nowMs();
  if (session.isLasting) {
    if (!isTakenOver) state.owed.row(key, encodeSession(session), session);
  } else if (session.hasRow) {
    state.owed.row(key, undefined, session);
  }
  // An ended session is kept too until its removal is durable: its old row must not be read.
  if (session.isLasting || session.rowAppend > state.ingress.settled) {
    keepSession(state, key, session);
  }
}

/**
 * A device was deleted: its connection ends, and nothing of its session is kept. Its row is removed
 * with the `removed` to its actor, which comes after all that was handed to the log before.
 */
export function forgetDevice(state: GatewayState, key: string, reason: string): void {
  const connection = state.byDevice.get(key);
  if (connection !== undefined) {
    const { session } = connection;
    state.wills.forget(key, connection.will);
    connection.will = undefined;
    if (session !== undefined) {
      session.expirySeconds = 0;
      session.hasRow = false;
    }
    close(state, connection, REASON.administrative, reason);
  }
  state.wills.forget(key, undefined);
  state.retained.forget(key);
  state.away.delete(key);
  state.evicted?.add(key);
  state.owed.forget(key);
  state.untold.delete(key);
}

export function stopHolding(state: GatewayState, connection: Connection): void {
  connection.isHolding = connection.isRateHeld = false;
  state.figures.holding--;
}

function countHeld(state: GatewayState, connection: Connection): void {
  const held = connection.held.view();
  for (let at = 0; at < held.length;) {
    state.figures.heldPacketsLost++;
    at += packetBytes(held, at, held.length, Infinity);
  }
  connection.held.clear();
}
