/** Composition root of the log's thread. */
import { partitionOfActor } from "../actors/behaviours.ts";
import { startLogWorker, type WorkerScope } from "./log/log_worker.ts";

startLogWorker(self as unknown as WorkerScope, { partitionOf: partitionOfActor });
