/** Bounds of the MQTT gateway's newer parts; the others are in limits.ts. */
import { assert } from "./errors.ts";
import { LIMITS } from "./limits.ts";

export const MQTT_LIMITS = {
  /** Retained messages of one device. */
  retainedPerDeviceMax: 32,
  /**
   * Their bytes: topics, payloads and properties. All of a device are one row, written anew with each
   * change. Too big: the row has no room.
   */
  retainedBytesPerDeviceMax: 32 * 1024,
  /** Of all devices of one project, so that no project takes all the memory there is. */
  retainedPerProjectMax: 100_000,
  retainedBytesPerProjectMax: 64 * 1024 * 1024,
  /** Of all: they are in memory. */
  retainedBytesMax: 128 * 1024 * 1024,
  /** Rows of one page when they are read at the start; each may be as large as a row can be. */
  retainedPageRows: 100,
  /** How often expired ones are looked for, and devices whose row is written for it at a time. */
  retainedExpiryMs: 60_000,
  retainedExpiryRowsMax: 1_000,
  /**
   * Devices away whose used-up rates are remembered. Too small: of more that reconnect all the time
   * some begin anew.
   */
  awayRatesMax: 10_000,
  /**
   * Answers that an MQTT 5 client waits for, beyond which its socket is not read. Its Receive Maximum
   * bounds only messages, so it is well above that. Too big: a client can make us keep many.
   */
  acksV5Max: 4_000,
} as const;

assert(
  MQTT_LIMITS.retainedBytesPerDeviceMax * 4 / 3 + MQTT_LIMITS.retainedPerDeviceMax * 200 < 65_536,
  "retained messages of a device must fit into their row",
);
assert(
  MQTT_LIMITS.acksV5Max >= 2 * LIMITS.mqttReceiveMaximum,
  "a client within our Receive Maximum must always be read",
);
assert(
  MQTT_LIMITS.retainedPerDeviceMax <= LIMITS.mqttCopiesMax &&
    MQTT_LIMITS.retainedBytesPerDeviceMax <= LIMITS.mqttCopyBytesMax,
  "all retained messages of a device must be able to wait for it",
);
