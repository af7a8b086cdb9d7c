import type { ByteBudget } from "./byte_queue.ts";

/** Plain counters of the gateway, rising from its start; the metrics page maps them. */
export interface MqttFigures {
  /** Logged-in connections now. */
  connections: number;
  /** Sockets now, logged in or not. */
  sockets: number;
  socketsAccepted: number;
  /** Now, not logged in. */
  readonly strangers: number;
  /** Closed at once: `mqttConnectionsMax` were open. */
  socketsRefused: number;
  logins: number;
  loginsRefused: number;
  loginsThrottled: number;
  sessionsResumed: number;
  /** Of absent devices, removed with their rows. */
  sessionsExpired: number;
  /** Rows that the last pass over all of them could not read. */
  sessionRowsUnreadable: number;
  /** Old connections closed by a new one of the same device. */
  takeovers: number;
  publishesReceived: number;
  payloadBytesReceived: number;
  /** Properties and event messages handed to the log, and their points. */
  offered: number;
  pointsOffered: number;
  pointsRefused: number;
  acknowledgementsSent: number;
  /** Messages refused for good, all reasons; `refuse` has them by reason. */
  refused: number;
  /** On unknown topics under the own prefix: kept in the log, and nobody there yet to take them. */
  unrouted: number;
  /** Wills handed to the log. */
  willsPublished: number;
  /** Rows found at the start that could not be read. */
  willRowsUnreadable: number;
  retainedRowsUnreadable: number;
  /** Retained messages now. */
  readonly retained: number;
  readonly retainedBytes: number;
  qos2Repeats: number;
  downlinksSent: number;
  downlinksAcknowledged: number;
  /** Downlinks for devices that are away or not subscribed. */
  downlinksUnwanted: number;
  /** Downlinks above the client's Maximum Packet Size, or beyond the bounds of its queue. */
  downlinksDropped: number;
  /** Times that a connection had to wait for room in the log, and connections that wait now. */
  holds: number;
  holding: number;
  /** Times that a connection had to wait for a rate, by rate. */
  heldByDeviceMessages: number;
  heldByDeviceBytes: number;
  heldByProjectMessages: number;
  /** Bytes of partial and held packets now, of all connections. */
  readonly bufferedBytes: number;
  /** Packets received, not handled when their connection was lost; none was acknowledged. */
  heldPacketsLost: number;
  /** Connections closed by us, by reason. */
  readonly closed: Record<string, number>;
}

export function createFigures(
  budget: ByteBudget,
  strangers: { readonly count: number },
  retained: () => { readonly count: number; readonly bytes: number },
): MqttFigures {
  return {
    connections: 0,
    sockets: 0,
    socketsAccepted: 0,
    get strangers() {
      return strangers.count;
    },
    socketsRefused: 0,
    logins: 0,
    loginsRefused: 0,
    loginsThrottled: 0,
    sessionsResumed: 0,
    sessionsExpired: 0,
    sessionRowsUnreadable: 0,
    takeovers: 0,
    publishesReceived: 0,
    payloadBytesReceived: 0,
    offered: 0,
    pointsOffered: 0,
    pointsRefused: 0,
    acknowledgementsSent: 0,
    refused: 0,
    unrouted: 0,
    willsPublished: 0,
    willRowsUnreadable: 0,
    retainedRowsUnreadable: 0,
    get retained() {
      return retained().count;
    },
    get retainedBytes() {
      return retained().bytes;
    },
    qos2Repeats: 0,
    downlinksSent: 0,
    downlinksAcknowledged: 0,
    downlinksUnwanted: 0,
    downlinksDropped: 0,
    holds: 0,
    holding: 0,
    heldByDeviceMessages: 0,
    heldByDeviceBytes: 0,
    heldByProjectMessages: 0,
    get bufferedBytes() {
      return budget.bytes;
    },
    heldPacketsLost: 0,
    closed: Object.create(null) as Record<string, number>,
  };
}
