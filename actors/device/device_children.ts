/**
 * Children of the tree that tell actors what no connection does: deletions, and sessions that died
 * with their process. They start before gateways let devices in.
 */
import { killable } from "../../runtime/actor/resource_child.ts";
import type { ChildSpec } from "../../runtime/actor/supervision.ts";
import { supervisorChild } from "../../runtime/actor/supervisor.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Ledger } from "../../runtime/log/partition_log.ts";
import type { Logger } from "../../runtime/logger.ts";
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
      const gates = await gatesOf(log);
      const running = startPresenceSweep({ incarnation, views, ...gates, send, clock, logger });
      return killable(running, running.done);
    },
  };
  return supervisorChild("devices", {
    strategy: "one_for_one",
    intensity: { restartsMax: 20, withinMs: 60_000 },
    children: [removals, sweep],
  }, { shutdownMs: 8_000 });
}

/** What the sweep waits for, of a log as it is now. */
async function gatesOf(
  log: DeviceChildrenOptions["log"],
): Promise<Pick<PresenceSweepOptions, "hasCaughtUp" | "hasHandled">> {
  const { tick } = await log.head();
  const accepted = (await log.ledger()).partitions.map((partition) => partition.accepted);
  let handledTick: number | undefined;
  const haveSeen = async (upTo: number) => (await log.readerCursors(["views"]))[0]! >= upTo;
  return {
    hasCaughtUp: () => haveSeen(tick),
    async hasHandled() {
      if (handledTick === undefined) {
        const { partitions } = await log.ledger();
        const isHandled = partitions.every(({ partition, corrupt, accepted: now, pending }) =>
          corrupt !== undefined || now - pending >= accepted[partition]!
        );
        if (!isHandled) return false;
        handledTick = (await log.head()).tick;
      }
      return await haveSeen(handledTick);
    },
  };
}
