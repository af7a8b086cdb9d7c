/** The log's thread with fail points, and commits slowed by `ROOST_TEST_STEP_MS`. */
import { partitionOfActor } from "../../actors/behaviours.ts";
import { startLogWorker, type WorkerScope } from "../../runtime/log/log_worker.ts";
import { failPoint, stopPoint } from "./fail_point.ts";

const fail = failPoint();
const stop = stopPoint();
const stepMs = Number(Deno.env.get("ROOST_TEST_STEP_MS") ?? "0");
const sleeper = new Int32Array(new SharedArrayBuffer(4));

startLogWorker(self as unknown as WorkerScope, {
  partitionOf: partitionOfActor,
  hooks: {
    onStep: (step) => {
      fail(step);
      stop(step);
      if (stepMs > 0 && step === "after-commit") Atomics.wait(sleeper, 0, 0, stepMs);
    },
  },
});
