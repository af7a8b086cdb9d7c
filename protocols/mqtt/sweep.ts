/** Timeouts of all connections, looked at together: a timer each would cost more than it is worth. */
import { LIMITS } from "../../runtime/limits.ts";
import { close, countClosed, leave } from "./closing.ts";
import { type Connection, PAUSE } from "./connection.ts";
import type { GatewayState } from "./gateway_state.ts";
import { REASON } from "./reason.ts";

export function sweep(state: GatewayState): void {
  const now = state.clock.monotonicMs();
  state.wills.publishDue();
  state.retained.deleteExpired();
  state.copyBytes = copyBytesOf(state);
  for (const connection of state.sockets) sweepOne(state, connection, now);
  for (const { deadlineMs, socket } of state.handshakes) {
    if (now < deadlineMs) continue;
    state.refuse("tls_handshake");
    socket.destroy();
  }
  for (const connection of state.appends.waitingSince(now - LIMITS.acknowledgeMsMax)) {
    if (connection.isOpen && connection.acks.length > 0) {
      close(state, connection, REASON.serverBusy, "acknowledged_late");
    }
  }
}

function copyBytesOf({ byDevice, away }: GatewayState): number {
  let bytes = 0;
  for (const { session } of byDevice.values()) bytes += session?.downlinks.copyBytes ?? 0;
  for (const { downlinks } of away.values()) bytes += downlinks.copyBytes;
  return bytes;
}

function sweepOne(state: GatewayState, connection: Connection, now: number): void {
  if (connection.deadlineMs !== 0 && now >= connection.deadlineMs) return expire(state, connection);
  if (!connection.isOpen) return;
  if ((connection.paused & PAUSE.unread) !== 0 && connection.deadlineMs === 0) {
    connection.deadlineMs = now + LIMITS.acknowledgeMsMax;
  }
  if (connection.certificateEndsAtMs <= state.clock.nowMs()) {
    return close(state, connection, REASON.administrative, "certificate_expired");
  }
  // A socket that is not read cannot show that its peer is alive.
  const isSilent = connection.keepAliveMs > 0 && connection.paused === 0 &&
    now - connection.readAtMs > connection.keepAliveMs;
  if (isSilent) close(state, connection, REASON.keepAliveTimeout, "keepalive_timeout");
}

/** No CONNECT in time, a peer that does not read, or one that does not close its side. */
function expire(state: GatewayState, connection: Connection): void {
  if (connection.stage !== "closing") {
    const reason = connection.stage === "new" ? "connect_timeout" : "stalled";
    if (connection.stage !== "withheld") countClosed(state, reason); // It was, at its login.
    leave(state, connection, reason);
  }
  connection.stage = "closing";
  connection.socket.destroy();
}
