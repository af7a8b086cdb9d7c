/**
 * History as a supervised child: the store and its reader in a Worker, which knows from the start on how
 * long the history of each product is kept, and is told when a product says otherwise.
 */
import { killable } from "../../runtime/actor/resource_child.ts";
import type { ChildSpec } from "../../runtime/actor/supervision.ts";
import type { Clock } from "../../runtime/clock.ts";
import { messageOf } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { ChangesFollower } from "../device/changes.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import { type RetentionPlan, retentionPlan } from "./retention_plan.ts";
import { createTelemetryClient, type TelemetryClient } from "./worker.ts";

export interface TelemetryChildOptions {
  readonly store: RegistryStore;
  readonly changes: Pick<ChangesFollower, "onChange">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Entry module of the Worker. */
  readonly entry: string;
  /** Of `telemetry.db`. */
  readonly path: string;
  /** The node's setting; undefined: for ever. */
  readonly retentionDays: number | undefined;
  readonly openReader: () => MessagePort;
  readonly onStarted: (client: TelemetryClient) => void;
}

const RETRY_MS = 1_000;

export function telemetryChild(options: TelemetryChildOptions): ChildSpec {
  return {
    id: "telemetry",
    restart: "permanent",
    shutdownMs: 10_000,
    start: async () => {
      const { store, retentionDays, path, entry, openReader, onStarted } = options;
      const retention = await readPlan(store, retentionDays);
      const worker = new Worker(entry, { type: "module", name: "telemetry" });
      const client = await createTelemetryClient(worker, { path, retention }, openReader());
      onStarted(client);
      const resources = new AsyncDisposableStack();
      resources.use(client);
      resources.defer(followRetention(options, (plan) => client.setRetention(plan)));
      return killable(resources, client.done, () => client.kill());
    },
  };
}

/** Tells each change of what products say; returns what ends it. */
export function followRetention(
  { store, changes, clock, logger, retentionDays }: Pick<
    TelemetryChildOptions,
    "store" | "changes" | "clock" | "logger" | "retentionDays"
  >,
  tell: (plan: RetentionPlan) => Promise<void>,
): () => void {
  let isEnded = false;
  let isRunning = false;
  let isAgain = false;
  let cancelRetry = () => {};
  const run = async () => {
    isRunning = true;
    while (isAgain && !isEnded) {
      isAgain = false;
      try {
        await tell(await readPlan(store, retentionDays));
      } catch (fault) {
        if (isEnded) break;
        logger.warn("retention could not be told", { fault: messageOf(fault) });
        cancelRetry();
        cancelRetry = clock.after(RETRY_MS, wake);
      }
    }
    isRunning = false;
  };
  const wake = () => {
    if (isEnded) return;
    isAgain = true;
    if (!isRunning) void run();
  };
  const unfollow = changes.onChange(({ kind }) => {
    if (kind === "product_changed" || kind === "product_deleted" || kind === "reset") wake();
  });
  wake(); // What changed since the plan was read.
  return () => {
    isEnded = true;
    unfollow();
    cancelRetry();
  };
}

/** Keys that were deleted count as well: their history is still there. */
async function readPlan(
  { db }: RegistryStore,
  nodeDays: number | undefined,
): Promise<RetentionPlan> {
  const rows = await db.selectFrom("product_keys")
    .leftJoin("products", "products.key", "product_keys.key")
    .select(["product_keys.key as product", "products.retention_days as days"]).execute();
  return retentionPlan(nodeDays, rows);
}
