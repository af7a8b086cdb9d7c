/** Composition root of the views' thread. */
import { runViewsWorker } from "../actors/device/views_child.ts";
import type { ViewsEndpoint } from "../actors/device/views_worker.ts";
import { systemClock } from "./clock.ts";
import { createStderrLogger } from "./logger.ts";

const logger = createStderrLogger(systemClock).with({ part: "views" });
runViewsWorker(self as unknown as ViewsEndpoint, systemClock, logger);
