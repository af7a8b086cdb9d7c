/** The demo plant as a child of the node's tree, after its gateways. */
import { killable } from "../../../runtime/actor/resource_child.ts";
import type { ChildSpec } from "../../../runtime/actor/supervision.ts";
import type { Groups } from "../../../actors/group/groups.ts";
import { type PlantOptions, removePlant, startPlant } from "./plant.ts";
import { ownGroups } from "./plant_registry.ts";

export type PlantMode = "off" | "run" | "remove";

export interface PlantChildOptions extends Omit<PlantOptions, "target" | "groups"> {
  readonly groups: Groups;
  readonly mode: PlantMode;
  /** Address that the node's listeners bind. */
  readonly listen: string;
  /** Of MQTT without TLS; undefined: not there now. */
  readonly port: () => number | undefined;
}

/** None when the plant is off. */
export function plantChildren(options: PlantChildOptions): readonly ChildSpec[] {
  const { mode, listen, port } = options;
  if (mode === "off") return [];
  const host = LOOPBACKS[listen] ?? listen;
  const target = () => {
    const open = port();
    return open === undefined ? undefined : { host, port: open };
  };
  const registry = { ...options, groups: ownGroups(options.groups) };
  const never = new Promise<void>(() => {});
  return [{
    id: "demo",
    restart: "transient",
    shutdownMs: 2_000,
    start: async () => {
      if (mode === "run") return killable(await startPlant({ ...registry, target }), never);
      await removePlant(registry);
      return killable({ [Symbol.asyncDispose]: () => Promise.resolve() }, Promise.resolve());
    },
  }];
}

/** Where a listener on all interfaces is reached from here. */
const LOOPBACKS: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
