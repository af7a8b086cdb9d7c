/** The rows of the report, in the order of the table. */
import type { Row } from "../row.ts";
import { actorMessages, idleActor } from "./actor_memory.ts";
import { bytesPerPoint } from "./bytes_per_point.ts";
import { commandLatency } from "./command_latency.ts";
import { consolePages } from "./console_pages.ts";
import { deviceSearch } from "./device_search.ts";
import { handlerFaults } from "./handler_faults.ts";
import { httpIngest, telemetryQuery } from "./http_ingest.ts";
import { idleConnection } from "./idle_connection.ts";
import { liveFeed } from "./live_feed.ts";
import { mqttLatency } from "./mqtt_latency.ts";
import { mqttOne, mqttTwenty } from "./mqtt_sustained.ts";
import { registeredDevices } from "./registered_devices.ts";
import { restartPending } from "./restart_pending.ts";
import { startUp } from "./start_up.ts";

export const ROWS: readonly Row[] = [
  mqttTwenty,
  mqttOne,
  mqttLatency,
  commandLatency,
  liveFeed,
  consolePages,
  actorMessages,
  idleActor,
  idleConnection,
  startUp,
  registeredDevices,
  deviceSearch,
  bytesPerPoint,
  httpIngest,
  telemetryQuery,
  restartPending,
  handlerFaults,
];
