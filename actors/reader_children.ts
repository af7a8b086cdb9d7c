/** Readers of the log as children of the node's tree: history, views, the live feed. */
import { join } from "node:path";
import type { ChildSpec } from "../runtime/actor/supervision.ts";
import { supervisorChild } from "../runtime/actor/supervisor.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Config } from "../runtime/config.ts";
import type { LogClient } from "../runtime/log/log_client.ts";
import type { Logger } from "../runtime/logger.ts";
import { viewsChild } from "./device/views_child.ts";
import type { ReadViews } from "./device/views_worker.ts";
import { liveChild, type LiveChildOptions } from "./live/live_child.ts";
import type { Registry } from "./open_registry.ts";
import { telemetryChild } from "./telemetry/telemetry_child.ts";
import type { TelemetryClient } from "./telemetry/worker.ts";

/** Readers whose cursors hold up trimming. */
export const READERS = ["telemetry", "views"] as const;

export interface ReaderChildrenOptions
  extends Pick<LiveChildOptions, "hub" | "presence" | "states"> {
  readonly config: Pick<Config, "data" | "telemetry">;
  /** Entry modules of their threads. */
  readonly entries: { readonly telemetryWorker: string; readonly viewsWorker: string };
  readonly registry: Pick<Registry, "store" | "changes" | "standings" | "jobs">;
  readonly log: Pick<LogClient, "openReader" | "openTail">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called at each start of theirs. */
  readonly onTelemetry: (client: TelemetryClient) => void;
  readonly onViews: (views: ReadViews) => void;
}

export function readerChildren(options: ReaderChildrenOptions): ChildSpec {
  const { config, entries, registry, log, clock, logger } = options;
  const { store, changes, standings, jobs } = registry;
  const telemetry = telemetryChild({
    ...{ store, changes, clock, logger },
    entry: entries.telemetryWorker,
    path: join(config.data.dir, "telemetry.db"),
    retentionDays: config.telemetry.retentionDays,
    openReader: () => log.openReader("telemetry"),
    onStarted: options.onTelemetry,
  });
  const views = viewsChild({
    entry: entries.viewsWorker,
    dataDir: config.data.dir,
    openReader: () => log.openReader("views"),
    onStarted: options.onViews,
  });
  const { hub, presence, states } = options;
  const live = liveChild({
    ...{ hub, presence, states, changes, standings, jobs, clock, logger },
    openTail: () => log.openTail(),
  });
  return supervisorChild("readers", {
    strategy: "one_for_one",
    intensity: { restartsMax: 20, withinMs: 60_000 },
    children: [telemetry, views, live],
  }, { shutdownMs: 15_000 });
}
