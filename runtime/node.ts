/**
 * Composition root of a node: the supervision tree.
 *
 * Order of a start: lock the data directory · open the registry · log · readers · gateways. Order of
 * an end: gateways drain, readers save, the log closes, the lock goes.
 */
import { join } from "node:path";
import { deviceChildren } from "../actors/device/device_children.ts";
import { REMOVED } from "../actors/device/device_removals.ts";
import { jobChild } from "../actors/job/job_child.ts";
import { openRegistry, type Registry } from "../actors/open_registry.ts";
import { readerChildren } from "../actors/reader_children.ts";
import { keySourceOf } from "../actors/registry/master_keys.ts";
import { gatewayChildren } from "../protocols/gateway_children.ts";
import { treeView } from "../protocols/http/cluster_views.ts";
import { keyedPostsRow } from "../protocols/http/device_repeats.ts";
import { ConsoleSite } from "../protocols/http/console/site.ts";
import { siteBuildChild } from "../protocols/http/console/site_build.ts";
import { rowsOfDevice } from "../protocols/mqtt/rows_of_device.ts";
import { NodeLog } from "../protocols/node_log.ts";
import { type NodeParts, startedViews, urlsOf } from "../protocols/node_parts.ts";
import { plantChildren } from "../protocols/simulate/plant/plant_child.ts";
import { createLifecycleEvents, logLifecycle } from "./actor/lifecycle_events.ts";
import type { ChildSpec } from "./actor/supervision.ts";
import { startSupervisor, type Supervisor, supervisorChild } from "./actor/supervisor.ts";
import { systemClock } from "./clock.ts";
import type { Config } from "./config.ts";
import { messageOf, UnavailableError } from "./errors.ts";
import { createStderrLogger, type Logger } from "./logger.ts";
import { systemRandom } from "./random.ts";
import { lockDataDirectory } from "./store/data_directory.ts";
import { removeLeftWorkFolders } from "./store/work_folder.ts";

/** Entry modules of threads and processes; test builds put others in their place. */
export interface NodeEntries {
  readonly engine: string;
  readonly logWorker: string;
  readonly telemetryWorker: string;
  readonly viewsWorker: string;
}

export interface RunningNode extends AsyncDisposable {
  /** For the `ready` line. */
  readonly urls: Readonly<Record<string, string>>;
  /** Resolves with the fault that the tree could not heal. */
  readonly escalated: Promise<unknown>;
  /** Lets what is not needed to be ready begin: the build of the console. Twice is harmless. */
  readonly begin: () => void;
}

/** Longest that an end waits for what was offered to become durable. */
const DRAIN_MS = 5_000;

const clock = systemClock;
const random = systemRandom;

/**
 * @param onOwner Called with the owner's random password as soon as that user is stored: it is known
 *   to nobody else, and a start that fails later does not make it again.
 */
export async function startNode(
  config: Config,
  onOwner: (password: string) => void,
  entries: NodeEntries,
): Promise<RunningNode> {
  const logger = createStderrLogger(clock, config.log.level);
  const resources = new AsyncDisposableStack();
  try {
    resources.use(lockDataDirectory(config.data.dir, clock.nowMs()));
    removeLeftovers(config.data.dir, logger);
    return await new Node(config, entries, logger, resources).start(onOwner);
  } catch (fault) {
    await resources.disposeAsync();
    throw fault;
  }
}

/** Copies of a backup that was killed: as large as the data, and of no use to anybody. */
function removeLeftovers(dataDir: string, logger: Logger): void {
  try {
    const folders = removeLeftWorkFolders(dataDir);
    if (folders.length > 0) logger.info("left over folders removed", { folders });
  } catch (fault) { // They only take room.
    logger.warn("left over folders stay", { fault: messageOf(fault) });
  }
}

class Node {
  readonly parts: NodeParts = {};
  readonly site: ConsoleSite;
  readonly log: NodeLog;
  readonly #begun = Promise.withResolvers<void>();

  constructor(
    readonly config: Config,
    readonly entries: NodeEntries,
    readonly logger: Logger,
    readonly resources: AsyncDisposableStack,
  ) {
    this.site = new ConsoleSite({ clock, logger });
    this.log = new NodeLog({ config, entries, parts: this.parts, clock, random, logger });
  }

  async start(onOwner: (password: string) => void): Promise<RunningNode> {
    const registry = await this.#openRegistry(onOwner);
    const events = createLifecycleEvents();
    this.resources.defer(logLifecycle(events, this.logger));
    this.resources.use(this.log);
    const escalated = Promise.withResolvers<unknown>();
    const supervisor = await startSupervisor(this.config.node.id, {
      strategy: "rest_for_one",
      intensity: { restartsMax: 5, withinMs: 30_000 },
      children: this.#children(registry),
    }, { clock, random, events, onEscalated: (fault) => escalated.resolve(fault) });
    this.parts.supervisor = supervisor;
    const { mqtt, http } = this.parts;
    if (mqtt === undefined || http === undefined) {
      const fault = JSON.stringify(supervisor.live(), ["id", "status", "lastFault", "children"]);
      await supervisor.stop();
      throw new UnavailableError("node", `Cannot start: ${fault}`);
    }
    return {
      urls: urlsOf(this.parts, this.config.listen),
      escalated: escalated.promise,
      begin: this.#begun.resolve,
      [Symbol.asyncDispose]: () => this.#stop(supervisor),
    };
  }

  async #openRegistry(onOwner: (password: string) => void): Promise<Registry> {
    const { config, logger } = this;
    const { password } = config.owner;
    const registry = this.resources.use(
      await openRegistry({
        path: join(config.data.dir, "registry.db"),
        masterKeys: keySourceOf(config.secrets, config.data.dir),
        ...(password === undefined ? undefined : { ownerPassword: password }),
        ...{ clock, random, logger },
      }),
    );
    if (registry.ownerPassword !== undefined) onOwner(registry.ownerPassword);
    return registry;
  }

  async #stop(supervisor: Supervisor): Promise<void> {
    const { ingress } = this.log;
    const isDrained = await ingress.drain(DRAIN_MS);
    if (!isDrained) this.logger.warn("stopped with unacknowledged messages");
    await supervisor.stop();
    ingress.close();
    await this.resources.disposeAsync();
  }

  #children(registry: Registry): readonly ChildSpec[] {
    const { config, logger, parts, site } = this;
    const log = this.log.client;
    return [
      supervisorChild("storage", {
        strategy: "rest_for_one",
        intensity: { restartsMax: 20, withinMs: 60_000 },
        children: [this.log.child(), this.#readers(registry)],
      }, { shutdownMs: 20_000 }),
      this.#devices(registry),
      jobChild({ registry, parts, log, clock, random, logger }),
      this.#gateways(registry),
      siteBuildChild({
        site,
        logger: logger.with({ part: "console" }),
        root: new URL("../", import.meta.url),
        begin: this.#begun.promise,
        isBuilt: config.console.build === "auto",
      }),
      ...plantChildren({
        ...{ ...registry, clock, random, mode: config.demo.plant },
        logger: logger.with({ part: "demo" }),
        listen: config.listen,
        port: () => parts.mqtt?.port,
      }),
    ];
  }

  #readers(registry: Registry): ChildSpec {
    const { config, entries, logger, log, parts } = this;
    return readerChildren({
      ...{ config, entries, registry, clock, logger, log: log.client },
      hub: () => log.live,
      presence: async (keys) => await startedViews(parts).presence(keys),
      states: {
        ledger: () => log.client.ledger(),
        refused: () => log.refused,
        tree: () => treeView(parts.supervisor!.live()),
      },
      onTelemetry: (client) => parts.telemetry = client,
      onViews: (views) => parts.views = views,
    });
  }

  #devices({ store, changes }: Registry): ChildSpec {
    const { logger, log, parts } = this;
    return deviceChildren({
      ...{ store, changes, clock, logger, log: log.client },
      incarnation: () => String(log.token),
      views: () => parts.views,
      remove: (product, device) => {
        const name = `${product}/${device}`;
        log.traces.forget(name);
        const rows = [...rowsOfDevice(name), { key: keyedPostsRow(name) }];
        return log.tell(`device/${name}`, REMOVED, rows);
      },
      send: (address, body) => log.tell(address, body),
    });
  }

  #gateways(registry: Registry): ChildSpec {
    const { config, logger, log, parts, site } = this;
    const { calls, traces, refused, suspended, untold, stopped } = log;
    return gatewayChildren({
      ...{ config, parts, registry, site, clock, logger, log: log.client },
      ...{ calls, traces, refused, suspended, untold, stopped },
      ingress: () => log.ingress,
      live: () => log.live,
      token: () => log.token,
      countRefused: (reason) => log.countRefused(reason),
    });
  }
}
