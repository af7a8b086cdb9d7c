/** Settings `mqttLimits`: what a connection, a device, an address and a project may use. */
import type { FieldMeta } from "./config_schema.ts";
import { z } from "./schema.ts";

function limit(description: string, unit: string, max: number) {
  return z.int().min(1).max(max).optional().meta(
    {
      description: `${description} Unset: no limit.`,
      unit,
      bounds: `1 to ${max}`,
    } satisfies FieldMeta,
  );
}

const HELD = "What is beyond waits unacknowledged; nothing is lost.";

export const MQTT_LIMITS_SCHEMA = z.strictObject({
  connectionPacketsPerSecond: limit(
    "Packets of one connection, whatever they are; ten seconds' worth may come at once. Beyond it " +
      "is disconnected (MQTT 5: 0x96).",
    "packets/s",
    1_000_000,
  ),
  deviceMessagesPerSecond: limit(`Messages of one device. ${HELD}`, "messages/s", 1_000_000),
  deviceBytesPerSecond: limit(
    `Bytes of one device's messages, topics included. ${HELD}`,
    "bytes/s",
    1_000_000_000,
  ),
  deviceConnectsPerMinute: limit(
    "Logins of one device. Beyond it one is refused (MQTT 5: 0x9F).",
    "logins/min",
    1_000_000,
  ),
  deviceSubscriptions: limit(
    "Subscriptions of one device, 32 at most. Beyond it one is refused (MQTT 5: 0x97).",
    "subscriptions",
    32,
  ),
  addressConnections: limit(
    "Logged-in connections from one address (IPv6: its /64). Beyond it a login is refused " +
      "(MQTT 5: 0x97).",
    "connections",
    1_000_000,
  ),
  addressConnectsPerMinute: limit(
    "CONNECT packets from one address. Beyond it one is refused unheard (MQTT 5: 0x9F).",
    "logins/min",
    1_000_000,
  ),
  projectConnections: limit(
    "Logged-in connections of one project's devices. Beyond it a login is refused (MQTT 5: 0x97).",
    "connections",
    1_000_000,
  ),
  projectMessagesPerSecond: limit(
    `Messages of all devices of one project. ${HELD}`,
    "messages/s",
    1_000_000,
  ),
});
