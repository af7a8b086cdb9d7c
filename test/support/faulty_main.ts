/** The product's composition root with fail points in its stores and faults in its engine. */
import { runNode } from "../../runtime/main.ts";

await runNode({
  engine: import.meta.resolve("./faulty_engine_main.ts"),
  logWorker: import.meta.resolve("./faulty_log_worker_main.ts"),
  telemetryWorker: import.meta.resolve("./faulty_telemetry_worker_main.ts"),
  viewsWorker: import.meta.resolve("../../runtime/views_worker_main.ts"),
});
