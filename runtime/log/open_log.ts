/** The durable log of an embedded node: SQLite store and head file in the data directory. */
import { statfsSync } from "node:fs";
import { join } from "node:path";
import type { Address, Partition } from "../actor/address.ts";
import type { Clock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import { openHeadFile } from "./head_file.ts";
import { openSqliteStore } from "./sqlite_store.ts";
import { openTickLog, type TickLog } from "./tick_log.ts";

/** For fail points of test builds. */
export interface LogHooks {
  /** Called at the named steps of the store. */
  readonly onStep?: (step: string) => void;
}

export interface DurableLogOptions {
  readonly dataDir: string;
  readonly readers: readonly string[];
  readonly partitionOf: (address: Address) => Partition;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly hooks: LogHooks;
  readonly onUnusable: () => void;
}

/** @throws {CodecError} The store is damaged where nothing can stand in for it. */
export function openDurableLog(options: DurableLogOptions): TickLog {
  const { dataDir, clock, logger } = options;
  return openTickLog({
    store: openSqliteStore(join(dataDir, "log.db"), options.hooks.onStep),
    head: openHeadFile(join(dataDir, "log.head"), clock),
    clock,
    partitionOf: options.partitionOf,
    readers: options.readers,
    freeDiskBytes: () => {
      const disk = statfsSync(dataDir);
      return disk.bavail * disk.bsize;
    },
    onUnusable: options.onUnusable,
    onFault: (fault) => logger.error("log fault", { ...fault }),
  });
}
