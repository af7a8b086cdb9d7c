/** Root module of a telemetry Worker in tests. */
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { startTelemetryWorker, type WorkerScope } from "../../actors/telemetry/worker.ts";

startTelemetryWorker(globalThis as unknown as WorkerScope, {
  clock: systemClock,
  logger: silentLogger,
});
