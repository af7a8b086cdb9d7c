/** Where live events come from, as a supervised child: the log's tail, the registry, and states. */
import { killable } from "../../runtime/actor/resource_child.ts";
import type { ChildSpec } from "../../runtime/actor/supervision.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { MessageEndpoint } from "../../runtime/log/port_calls.ts";
import { connectTailPort } from "../../runtime/log/tail_port.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { ChangesFollower } from "../device/changes.ts";
import type { DeviceStandings } from "../device/device_standing.ts";
import type { PresenceRow } from "../device/messages.ts";
import type { Jobs } from "../job/jobs.ts";
import { followJobs } from "./job_source.ts";
import type { LiveHub } from "./live_hub.ts";
import { startLogSource } from "./log_source.ts";
import { followRegistry } from "./registry_source.ts";
import { startStateSource, type StatePorts } from "./state_source.ts";

export interface LiveChildOptions {
  readonly hub: () => LiveHub;
  /** A port of `serveTailPort`, a new one for each start. */
  readonly openTail: () => MessageEndpoint;
  readonly changes: ChangesFollower;
  readonly standings: DeviceStandings;
  readonly presence: (keys: readonly string[]) => Promise<ReadonlyMap<string, PresenceRow>>;
  readonly states: StatePorts;
  readonly jobs: Pick<Jobs, "onChange">;
  readonly clock: Clock;
  readonly logger: Logger;
}

export function liveChild(options: LiveChildOptions): ChildSpec {
  return {
    id: "live",
    restart: "permanent",
    shutdownMs: 5_000,
    start: async () => {
      const hub = options.hub();
      const { clock, logger, states } = options;
      const resources = new AsyncDisposableStack();
      try {
        const tail = connectTailPort(options.openTail());
        const source = resources.use(await startLogSource({ ...options, hub, tail }));
        resources.defer(followRegistry({ ...options, hub }));
        resources.defer(followJobs(options.jobs, hub, clock));
        resources.use(startStateSource({ ports: states, hub, clock, logger }));
        return killable(resources, source.done);
      } catch (fault) {
        await resources.disposeAsync();
        throw fault;
      }
    },
  };
}
