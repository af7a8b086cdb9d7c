/**
 * Children of the tree that tell actors what no connection does: deletions, and sessions that died
 * with their process. They start before gateways let devices in.
 */
import { PARTITIONS } from "../../runtime/actor/address.ts";
import { killable } from "../../runtime/actor/resource_child.ts";
import type { ChildSpec } from "../../runtime/actor/supervision.ts";
import { supervisorChild } from "../../runtime/actor/supervisor.ts";
import { type Clock, waitMs } from "../../runtime/clock.ts";
import { TimeoutError } from "../../runtime/errors.ts";
import type { Ledger } from "../../runtime/log/partition_log.ts";
import type { Logger } from "../../runtime/logger.ts";
import { partitionOfActor } from "../behaviours.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import type { ChangesFollower } from "./changes.ts";
import { type DeviceRemovalsOptions, startDeviceRemovals } from "./device_removals.ts";
import { type PresenceSweepOptions, startPresenceSweep } from "./presence_sweep.ts";
import type { Views } from "./views.ts";

export interface DeviceChildrenOptions {
  readonly store: RegistryStore;
  readonly changes: ChangesFollower;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly log: {
    head(): Promise<{ readonly tick: number }>;
    readerCursors(names: readonly string[]): Promise<number[]>;
    ledger(): Promise<Pick<Ledger, "partitions">>;
  };
  /** Of this process; asked when the sweep starts. */
  readonly incarnation: () => string;
  readonly views: () => Views | undefined;
  readonly remove: DeviceRemovalsOptions["remove"];
  /** Resolves when the message is durable. */
  readonly send: (address: string, body: Uint8Array) => Promise<void>;
}

/** Between two looks at the views' cursor, and how many before an error says that they are late. */
const LOOK_MS = 100;
const LOOKS_MAX = 100;

export function deviceChildren(options: DeviceChildrenOptions): ChildSpec {
  const { log, clock, logger, views, send } = options;
  const removals: ChildSpec = {
    id: "removals",
    restart: "permanent",
    shutdownMs: 5_000,
    start: () =>
      Promise.resolve(killable(startDeviceRemovals(options), new Promise<void>(() => {}))),
  };
  const sweep: ChildSpec = {
    id: "sweep",
    restart: "transient",
    shutdownMs: 5_000,
    start: async () => {
      const incarnation = options.incarnation();
      const running = startPresenceSweep({
        incarnation,
        views,
        partitions: PARTITIONS,
        partitionOf: partitionOfActor,
        handled: await pendingAtStart(log, clock),
        send,
        clock,
        logger,
      });
      return killable(running, running.done);
    },
  };
  return supervisorChild("devices", {
    strategy: "one_for_one",
    intensity: { restartsMax: 20, withinMs: 60_000 },
    children: [removals, sweep],
  }, { shutdownMs: 8_000 });
}

/** Tells which partitions have handled what is pending now, as the sweep asks. */
async function pendingAtStart(
  log: DeviceChildrenOptions["log"],
  clock: Clock,
): Promise<PresenceSweepOptions["handled"]> {
  const accepted = (await log.ledger()).partitions.map((partition) => partition.accepted);
  return async () => {
    const { partitions } = await log.ledger();
    const handled = partitions.filter(({ partition, corrupt, accepted: now, pending }) =>
      corrupt === undefined && now - pending >= accepted[partition]!
    );
    const { tick } = await log.head();
    const seenUpTo = async () => (await log.readerCursors(["views"]))[0]!;
    for (let looks = 0; await seenUpTo() < tick; looks++) {
      if (looks === LOOKS_MAX) throw new TimeoutError("views behind the log", looks * LOOK_MS);
      await waitMs(clock, LOOK_MS);
    }
    return new Set(handled.map(({ partition }) => partition));
  };
}
