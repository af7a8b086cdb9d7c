/** The product's telemetry store on a file, opened in this thread. */
import { SqliteTelemetryStore } from "../../actors/telemetry/sqlite_store.ts";
import type { TelemetryStore } from "../../actors/telemetry/store.ts";
import { systemClock } from "../../runtime/clock.ts";

export function openTelemetry(path: string): TelemetryStore {
  return new SqliteTelemetryStore({ path, clock: systemClock });
}
