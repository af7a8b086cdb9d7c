/** `deno task simulate --demo`: the demo plant from outside of the node. */
import type { Clock } from "../../../runtime/clock.ts";
import { createStderrLogger } from "../../../runtime/logger.ts";
import type { Random } from "../../../runtime/random.ts";
import type { ApiClient } from "../api_client.ts";
import type { LinkTarget } from "../link.ts";
import { apiRegistry } from "./api_registry.ts";
import { removePlant, startPlant } from "./plant.ts";

export interface PlantRun {
  readonly target: LinkTarget;
  readonly clock: Clock;
  readonly random: Random;
  readonly durationMs: number;
  readonly isKept: boolean;
  /** Ends the run early. */
  readonly ended: Promise<void>;
}

export async function runPlant(api: ApiClient, run: PlantRun): Promise<void> {
  const { target, clock, random, durationMs, isKept, ended } = run;
  const logger = createStderrLogger(clock, "info");
  const options = { ...apiRegistry(api), clock, random, logger };
  try {
    await using _plant = await startPlant({ ...options, target: () => target });
    const over = Promise.withResolvers<void>();
    const cancel = clock.after(durationMs, over.resolve);
    await Promise.race([over.promise, ended]);
    cancel();
  } finally {
    if (!isKept) await removePlant(options);
  }
}
