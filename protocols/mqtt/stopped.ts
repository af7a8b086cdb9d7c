/**
 * Devices of a partition that damage has stopped. A valid message is not refused for good on account
 * of a fault of ours: none is acknowledged and none is taken, so that its sender keeps it and comes
 * again. As long as the partition is stopped none of its devices is connected.
 */
import { LIMITS } from "../../runtime/limits.ts";
import { STOPPED_DETAIL } from "../../runtime/log/stopped_partitions.ts";
import { close, countClosed } from "./closing.ts";
import type { Connection } from "./connection.ts";
import { publishOnce } from "./downlink.ts";
import type { GatewayState } from "./gateway_state.ts";
import { REASON } from "./reason.ts";

const CODE = "partition_stopped";

/** Ends a connection when its partition is stopped, and says why as far as its peer can hear it. */
export function closeStopped(state: GatewayState, connection: Connection): void {
  if (connection.isOpen) {
    const topic = `${connection.identity!.prefix}#`;
    publishOnce(state, connection, "errors", { topic, code: CODE, detail: STOPPED_DETAIL });
  }
  close(state, connection, REASON.serverBusy, CODE);
}

/**
 * Leaves a login unanswered if its partition is stopped; it is closed after `acknowledgeMsMax`, and at
 * once for a newer login of its device. A CONNACK with an error is final for common clients (mqtt.js
 * 5.16 does not come again), and to close at once would have hasty ones log in all the time.
 * @returns True if it did.
 */
export function withhold(state: GatewayState, connection: Connection): boolean {
  const { stopped, clock } = state;
  if (stopped.size === 0 || !stopped.has(connection.identity!.target.partition)) return false;
  countClosed(state, CODE);
  connection.stage = "withheld";
  connection.deadlineMs = clock.monotonicMs() + LIMITS.acknowledgeMsMax;
  return true;
}
