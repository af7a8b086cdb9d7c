/** Changes of the registry that a list of devices shows: disabled, enabled, removed. */
import { messageOf } from "../../runtime/errors.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { ChangesFollower, FollowedChange } from "../device/changes.ts";
import type { DeviceStandings } from "../device/device_standing.ts";
import type { PresenceRow } from "../device/messages.ts";
import type { LiveHub } from "./live_hub.ts";
import { publishPresence } from "./log_events.ts";
import { deviceKey, projectKey } from "./topics.ts";

export interface RegistrySourceOptions {
  readonly hub: LiveHub;
  readonly changes: ChangesFollower;
  readonly standings: DeviceStandings;
  readonly presence: (keys: readonly string[]) => Promise<ReadonlyMap<string, PresenceRow>>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Returns what ends it. */
export function followRegistry(options: RegistrySourceOptions): () => void {
  return options.changes.onChange((change) => {
    tell(options, change).catch((fault) =>
      options.logger.warn("presence was not told live", { fault: messageOf(fault) })
    );
  });
}

async function tell(options: RegistrySourceOptions, change: FollowedChange): Promise<void> {
  const { hub, clock, standings } = options;
  if (change.kind === "reset") return hub.lose(["devices", "device"], null);
  const { kind, product, device } = change;
  if (kind !== "device_enabled" && kind !== "device_disabled" && kind !== "device_deleted") return;
  const project = standings.projectOf(product);
  const isWanted = hub.wants(deviceKey(product, device)) ||
    (project !== undefined && hub.wants(projectKey("devices", project)));
  if (!isWanted) return;
  const atMs = clock.nowMs();
  if (kind === "device_deleted") {
    const shown = { status: "removed", lastSeenAt: null };
    hub.publish(deviceKey(product, device), { type: "presence", ...shown }, atMs);
    hub.end(deviceKey(product, device));
    if (project === undefined) return;
    return hub.publish(projectKey("devices", project), { product, device, ...shown }, atMs);
  }
  const key = `${product}/${device}`;
  const row = (await options.presence([key])).get(key);
  publishPresence({ product, device, atMs }, row, standings.standing(product, device), {
    publish: hub.publish.bind(hub),
    devicesKey: (of) => projectKey("devices", of),
  });
}
