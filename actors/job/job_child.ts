/** The runner of jobs as a supervised child: its jobs are taken up again at each start. */
import { PARTITIONS } from "../../runtime/actor/address.ts";
import { killable } from "../../runtime/actor/resource_child.ts";
import type { ChildSpec } from "../../runtime/actor/supervision.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Random } from "../../runtime/random.ts";
import { UnavailableError } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { RegistryDirectory } from "../device/device_directory.ts";
import type { DeviceRegistry } from "../device/registry.ts";
import type { ViewRepairs } from "../device/views.ts";
import type { DeviceSearch } from "../device/views_worker.ts";
import type { TelemetryImports, TelemetryQueries } from "../telemetry/worker.ts";
import { deviceImport } from "./device_import.ts";
import type { JobKind } from "./job.ts";
import type { JobFiles } from "./job_files.ts";
import { startJobRunner } from "./job_runner.ts";
import { rebuildViews, type RebuildViewsOptions } from "./rebuild_views.ts";
import type { Jobs } from "./jobs.ts";
import { type DeviceNames, telemetryExport } from "./telemetry_export.ts";
import { telemetryImport } from "./telemetry_import.ts";

export interface JobChildOptions {
  readonly registry: {
    readonly jobs: Jobs;
    readonly jobFiles: JobFiles;
    readonly devices: Pick<DeviceRegistry, "find" | "createMany">;
    readonly directory: Pick<RegistryDirectory, "projectOf" | "validate">;
  };
  /** Parts that restart; undefined: not started yet. */
  readonly parts: {
    readonly telemetry?: TelemetryQueries & TelemetryImports;
    readonly views?: ViewRepairs & DeviceNames & Pick<DeviceSearch, "reindex">;
  };
  readonly log: RebuildViewsOptions["log"];
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export function jobChild(options: JobChildOptions): ChildSpec {
  const { clock } = options;
  const { jobs, jobFiles: files } = options.registry;
  const logger = options.logger.with({ part: "jobs" });
  return {
    id: "jobs",
    restart: "permanent",
    shutdownMs: 5_000,
    start: () => {
      const runner = startJobRunner({ jobs, files, kinds: kindsOf(options), clock, logger });
      return Promise.resolve(killable(runner, new Promise<void>(() => {})));
    },
  };
}

/** Every kind of job that this version has. */
export function kindsOf(options: JobChildOptions): readonly JobKind[] {
  const { registry, parts, log, clock, random, logger } = options;
  const { jobs, jobFiles: files, devices, directory } = registry;
  const views = () => started(parts.views, "views");
  const names: DeviceNames = {
    list: async (query) => await views().list(query),
    count: async (filter) => await views().count(filter),
  };
  const projectOf = (product: string) => directory.projectOf(product);
  const telemetry = () => started(parts.telemetry, "telemetry");
  return [
    telemetryExport({ files, devices: names, projectOf, telemetry }),
    telemetryImport({ files, devices, directory, telemetry, clock }),
    deviceImport({ jobs, files, devices, random }),
    rebuildViews({ log, views, partitions: PARTITIONS, logger }),
  ];
}

function started<Part>(part: Part | undefined, name: string): Part {
  if (part === undefined) throw new UnavailableError(name, "Not started");
  return part;
}
