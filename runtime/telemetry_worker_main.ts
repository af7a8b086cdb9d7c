/** Composition root of the telemetry thread. */
import { startTelemetryWorker, type WorkerScope } from "../actors/telemetry/worker.ts";
import { systemClock } from "./clock.ts";
import { createStderrLogger } from "./logger.ts";

const logger = createStderrLogger(systemClock).with({ part: "telemetry" });
startTelemetryWorker(self as unknown as WorkerScope, { clock: systemClock, logger });
