/** The telemetry thread with fail points, compacting early so that they are met. */
import { startTelemetryWorker, type WorkerScope } from "../../actors/telemetry/worker.ts";
import { systemClock } from "../../runtime/clock.ts";
import { createStderrLogger } from "../../runtime/logger.ts";
import { failPoint } from "./fail_point.ts";

const scope = self as unknown as WorkerScope;
const logger = createStderrLogger(systemClock);
startTelemetryWorker(scope, { clock: systemClock, logger, onStep: failPoint() });

const handle = scope.onmessage!;
scope.onmessage = (event) => {
  if (event.data.type === "start") event.data.start.compactAtRows = 500;
  handle(event);
};
