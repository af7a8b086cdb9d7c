/**
 * Composition root of a node: configuration, the supervision tree, the `ready` line, the end.
 *
 * Order of a start: lock the data directory · open the registry · log · readers · gateways. Order of
 * an end: gateways drain, readers save, the log closes, the lock goes.
 */
import { join } from "node:path";
import { partitionOfActor } from "../actors/behaviours.ts";
import { Calls } from "../actors/command/calls.ts";
import { deviceChildren } from "../actors/device/device_children.ts";
import { REMOVED } from "../actors/device/device_removals.ts";
import type { CallsWait, DeviceDownlink } from "../actors/device/messages.ts";
import { MessageTraces } from "../actors/device/message_traces.ts";
import { viewsChild } from "../actors/device/views_child.ts";
import type { ReadViews } from "../actors/device/views_worker.ts";
import { jobChild } from "../actors/job/job_child.ts";
import { liveChild } from "../actors/live/live_child.ts";
import { LiveHub } from "../actors/live/live_hub.ts";
import { openRegistry, type Registry } from "../actors/open_registry.ts";
import { keySourceOf } from "../actors/registry/master_keys.ts";
import { telemetryChild } from "../actors/telemetry/telemetry_child.ts";
import type { TelemetryClient } from "../actors/telemetry/worker.ts";
import { ConsoleSite } from "../protocols/http/console/site.ts";
import { siteBuildChild } from "../protocols/http/console/site_build.ts";
import { treeView } from "../protocols/http/cluster_views.ts";
import { type HttpGateway, startHttpGateway } from "../protocols/http/http_gateway.ts";
import { httpPortsOf, type NodeView } from "../protocols/http/node_ports.ts";
import { type MqttGateway, startMqttGateway } from "../protocols/mqtt/gateway.ts";
import { rowsOfDevice } from "../protocols/mqtt/rows_of_device.ts";
import { plantChildren } from "../protocols/simulate/plant/plant_child.ts";
import { tlsListenerOf } from "../protocols/mqtt/tls_files.ts";
import { idOf, kindOf } from "./actor/address.ts";
import type { TransientEffect } from "./actor/batch.ts";
import { logEngineEvent } from "./actor/engine_events.ts";
import { createLifecycleEvents, logLifecycle } from "./actor/lifecycle_events.ts";
import { firstListen, killable } from "./actor/resource_child.ts";
import { SuspendedActors } from "./actor/suspended_actors.ts";
import type { ChildSpec } from "./actor/supervision.ts";
import { startSupervisor, type Supervisor, supervisorChild } from "./actor/supervisor.ts";
import { systemClock } from "./clock.ts";
import { type Config, printConfig, readProcessConfig } from "./config.ts";
import { ConflictError, messageOf, UnavailableError } from "./errors.ts";
import { createStderrLogger, type Logger } from "./logger.ts";
import { GroupIngress, untilDurable } from "./log/ingress.ts";
import { logChild } from "./log/log_child.ts";
import { LogClient } from "./log/log_client.ts";
import type { GatewayRow } from "./log/partition_log.ts";
import { packHead } from "./log/record.ts";
import { StoppedPartitions } from "./log/stopped_partitions.ts";
import { LIMITS } from "./limits.ts";
import { systemRandom } from "./random.ts";
import { lockDataDirectory } from "./store/data_directory.ts";

/** Entry modules of threads and processes; test builds put others in their place. */
export interface NodeEntries {
  readonly engine: string;
  readonly logWorker: string;
  readonly telemetryWorker: string;
  readonly viewsWorker: string;
}

const ENTRIES: NodeEntries = {
  engine: import.meta.resolve("./engine_main.ts"),
  logWorker: import.meta.resolve("./log_worker_main.ts"),
  telemetryWorker: import.meta.resolve("./telemetry_worker_main.ts"),
  viewsWorker: import.meta.resolve("./views_worker_main.ts"),
};

/** Readers whose cursors hold up trimming. */
const READERS = ["telemetry", "views"] as const;
/** Longest that an end waits for what was offered to become durable. */
const DRAIN_MS = 5_000;
/** Session epochs of one start of the log are this far apart from the next start's, at least. */
const EPOCHS_PER_TOKEN = 1_024;

const clock = systemClock;
const random = systemRandom;

/** What the parts of a node hold of each other. Parts that restart are replaced here. */
interface Parts {
  mqtt?: MqttGateway;
  http?: HttpGateway;
  telemetry?: TelemetryClient;
  views?: ReadViews;
  supervisor?: Supervisor;
}

export interface RunningNode extends AsyncDisposable {
  /** For the `ready` line. */
  readonly urls: Readonly<Record<string, string>>;
  /** Resolves with the fault that the tree could not heal. */
  readonly escalated: Promise<unknown>;
  /** Lets what is not needed to be ready begin: the build of the console. Twice is harmless. */
  readonly begin: () => void;
}

/**
 * @param onOwner Called with the owner's random password as soon as that user is stored: it is known
 *   to nobody else, and a start that fails later does not make it again.
 */
export async function startNode(
  config: Config,
  onOwner: (password: string) => void,
  entries = ENTRIES,
): Promise<RunningNode> {
  const logger = createStderrLogger(clock, config.log.level);
  const resources = new AsyncDisposableStack();
  try {
    resources.use(lockDataDirectory(config.data.dir, clock.nowMs()));
    return await new Node(config, entries, logger, resources).start(onOwner);
  } catch (fault) {
    await resources.disposeAsync();
    throw fault;
  }
}

class Node {
  readonly parts: Parts = {};
  readonly refused: Record<string, number> = {};
  readonly suspended = new SuspendedActors();
  /** See `MqttPorts`. */
  readonly untold = new Set<string>();
  readonly stopped = new StoppedPartitions();
  readonly site: ConsoleSite;
  readonly log: LogClient;
  readonly calls = new Calls({
    ask: (address, message, options) => this.ingress.ask(address, message, options),
    rows: async (query) => {
      const { tick } = await this.log.head();
      const views = this.#views();
      await views.reach(tick);
      return await views.calls(query);
    },
    clock,
    random,
  });
  readonly traces = new MessageTraces(() => this.ingress.lastIndex);
  ingress!: GroupIngress;
  live!: LiveHub;
  /** Fencing token of the first log of this process: its incarnation. */
  #token = 0;
  #epochs = 0;
  #gateways = 0;
  readonly #begun = Promise.withResolvers<void>();

  constructor(
    readonly config: Config,
    readonly entries: NodeEntries,
    readonly logger: Logger,
    readonly resources: AsyncDisposableStack,
  ) {
    this.site = new ConsoleSite({ clock, logger });
    this.log = new LogClient({
      onEffects: (effects) => this.#letOut(effects),
      // No product behaviour asks for activities yet; those of a newer version stay stored.
      onActivities: () => logger.warn("activities wait: this version has no kind of them"),
      onLifecycle: (events) => {
        for (const event of events) {
          logEngineEvent(event, this.suspended.take(event), logger);
          if (event.type === "resumed") this.#tellPresence([event.address]);
        }
      },
      onStops: (partitions) => this.stopped.replace(partitions),
      onRunner: (event) => logger.info("engine", { ...event.detail, event: event.type }),
    });
  }

  async start(onOwner: (password: string) => void): Promise<RunningNode> {
    const { password } = this.config.owner;
    const registry = this.resources.use(
      await openRegistry({
        path: join(this.config.data.dir, "registry.db"),
        masterKeys: keySourceOf(this.config.secrets, this.config.data.dir),
        ...(password === undefined ? undefined : { ownerPassword: password }),
        clock,
        random,
        logger: this.logger,
      }),
    );
    if (registry.ownerPassword !== undefined) onOwner(registry.ownerPassword);
    const events = createLifecycleEvents();
    this.resources.defer(logLifecycle(events, this.logger));
    const escalated = Promise.withResolvers<unknown>();
    const supervisor = await startSupervisor(this.config.node.id, {
      strategy: "rest_for_one",
      intensity: { restartsMax: 5, withinMs: 30_000 },
      children: [
        supervisorChild("storage", {
          strategy: "rest_for_one",
          intensity: { restartsMax: 20, withinMs: 60_000 },
          children: [this.#logSpec(), this.#readersSpec(registry)],
        }, { shutdownMs: 20_000 }),
        this.#devicesSpec(registry),
        jobChild({
          registry,
          parts: this.parts,
          log: this.log,
          clock,
          random,
          logger: this.logger,
        }),
        supervisorChild("gateways", {
          strategy: "one_for_one",
          intensity: { restartsMax: 20, withinMs: 60_000 },
          children: [this.#mqttSpec(registry), this.#httpSpec(registry)],
        }, { shutdownMs: 10_000 }),
        siteBuildChild({
          site: this.site,
          logger: this.logger.with({ part: "console" }),
          root: new URL("../", import.meta.url),
          begin: this.#begun.promise,
          isBuilt: this.config.console.build === "auto",
        }),
        ...plantChildren({
          ...{ ...registry, clock, random, mode: this.config.demo.plant },
          logger: this.logger.with({ part: "demo" }),
          listen: this.config.listen,
          port: () => this.parts.mqtt?.port,
        }),
      ],
    }, { clock, random, events, onEscalated: (fault) => escalated.resolve(fault) });
    this.parts.supervisor = supervisor;
    const { mqtt, http } = this.parts;
    if (mqtt === undefined || http === undefined) {
      const fault = JSON.stringify(supervisor.live(), ["id", "status", "lastFault", "children"]);
      await supervisor.stop();
      throw new UnavailableError("node", `Cannot start: ${fault}`);
    }
    return {
      urls: this.#urls(),
      escalated: escalated.promise,
      begin: this.#begun.resolve,
      [Symbol.asyncDispose]: () => this.#stop(supervisor),
    };
  }

  #urls(): Readonly<Record<string, string>> {
    const at = hostOf(this.config.listen);
    const { http, mqtt } = this.parts;
    return { http: `http://${at}:${http?.port}`, ...mqtt?.urls(at) };
  }

  async #stop(supervisor: Supervisor): Promise<void> {
    const isDrained = await this.ingress.drain(DRAIN_MS);
    if (!isDrained) this.logger.warn("stopped with unacknowledged messages");
    await supervisor.stop();
    this.ingress.close();
    await this.resources.disposeAsync();
  }

  #logSpec(): ChildSpec {
    const { config, entries, logger } = this;
    return logChild({
      client: this.log,
      workerEntry: new URL(entries.logWorker),
      start: {
        type: "start",
        dataDir: config.data.dir,
        engineEntry: entries.engine,
        logLevel: config.log.level,
        ...{ readers: READERS, historyReader: "telemetry" },
      },
      clock,
      logger,
      onStarted: ({ token }) => {
        // A resume may have been committed and not told.
        this.#tellPresence(this.suspended.clear());
        if (this.#token !== 0) {
          this.parts.http?.wakeAll();
          return this.parts.mqtt?.tellAll();
        }
        this.#token = token;
        this.live = new LiveHub({ clock, logger, incarnation: String(token) });
        this.resources.use(this.live);
        this.ingress = new GroupIngress({
          log: this.log,
          clock,
          logger,
          incarnation: String(token),
          partitionOf: (address) => partitionOfActor(address),
          stopped: this.stopped,
          refuse: (reason) => this.#countRefused(reason),
        });
      },
    });
  }

  #readersSpec({ store, changes, standings, jobs }: Registry): ChildSpec {
    const { config, entries, logger, parts, log } = this;
    const telemetry = telemetryChild({
      ...{ store, changes, clock, logger },
      entry: entries.telemetryWorker,
      path: join(config.data.dir, "telemetry.db"),
      retentionDays: config.telemetry.retentionDays,
      openReader: () => log.openReader("telemetry"),
      onStarted: (client) => parts.telemetry = client,
    });
    const views = viewsChild({
      entry: entries.viewsWorker,
      path: join(config.data.dir, "views.db"),
      openReader: () => log.openReader("views"),
      onStarted: (started) => parts.views = started,
    });
    const live = liveChild({
      hub: () => this.live,
      openTail: () => log.openTail(),
      changes,
      standings,
      jobs,
      presence: async (keys) => await this.#views().presence(keys),
      states: {
        ledger: () => log.ledger(),
        refused: () => this.refused,
        tree: () => treeView(parts.supervisor!.live()),
      },
      clock,
      logger,
    });
    return supervisorChild("readers", {
      strategy: "one_for_one",
      intensity: { restartsMax: 20, withinMs: 60_000 },
      children: [telemetry, views, live],
    }, { shutdownMs: 15_000 });
  }

  #devicesSpec({ store, changes }: Registry): ChildSpec {
    const { logger, log } = this;
    return deviceChildren({
      store,
      changes,
      clock,
      logger,
      log,
      incarnation: () => String(this.#token),
      views: () => this.parts.views,
      remove: (product, device) => {
        const name = `${product}/${device}`;
        this.traces.forget(name);
        return this.#tell(`device/${name}`, REMOVED, rowsOfDevice(name));
      },
      send: (address, body) => this.#tell(address, body),
    });
  }

  #mqttSpec({ directory }: Registry): ChildSpec {
    const { config, logger, parts } = this;
    return {
      id: "mqtt",
      restart: "permanent",
      shutdownMs: 6_000,
      start: async () => {
        const gateway = await firstListen(parts.mqtt, () =>
          startMqttGateway({
            host: config.listen,
            // After a restart the same port as before, also when any free one was asked for.
            port: parts.mqtt?.port ?? config.mqtt.port,
            tls: tlsListenerOf(config.mqtt, parts.mqtt?.tlsPort),
            limits: config.mqttLimits,
            ingress: this.ingress,
            directory,
            readRow: (key) => this.log.gatewayRow(key),
            readRows: (query) => this.log.gatewayRows(query),
            clock,
            logger: logger.with({ part: "mqtt" }),
            refuse: (reason) => this.#countRefused(reason),
            suspended: this.suspended,
            ...{ untold: this.untold, stopped: this.stopped, traces: this.traces },
            ...this.#nextLink(),
          }));
        parts.mqtt = gateway;
        return killable(gateway, new Promise<void>(() => {}));
      },
    };
  }

  #httpSpec(registry: Registry): ChildSpec {
    const { config, parts } = this;
    return {
      id: "http",
      restart: "permanent",
      shutdownMs: 6_000,
      start: async () => {
        const gateway = await firstListen(parts.http, () =>
          startHttpGateway({
            hostname: config.listen,
            port: parts.http?.port ?? config.http.port,
            ports: httpPortsOf(this.#nodeView(registry)),
          }));
        parts.http = gateway;
        return killable(gateway, gateway.done);
      },
    };
  }

  #nodeView(registry: Registry): NodeView {
    const { logger, log, live, calls, site, ingress, refused, suspended, stopped, parts } = this;
    return {
      ...{ clock, logger, log, live, calls, site, ingress, refused, suspended, stopped, registry },
      traces: this.traces,
      link: this.#nextLink(),
      telemetry: () => parts.telemetry,
      views: () => parts.views,
      supervisor: () => parts.supervisor!,
      endpoints: () => this.#urls(),
      mqttFigures: () => parts.mqtt?.figures,
      httpFigures: () => parts.http?.figures(),
      countRefused: (reason) => this.#countRefused(reason),
    };
  }

  /** Of one start of a gateway, which numbers its sessions from 1. */
  #nextLink() {
    return {
      incarnation: `${this.#token}.${++this.#gateways}`,
      nextEpoch: () => this.#token * EPOCHS_PER_TOKEN + ++this.#epochs,
    };
  }

  #countRefused(reason: string): void {
    this.refused[reason] = (this.refused[reason] ?? 0) + 1;
  }

  /** A suspended actor is not told of connections: when it is resumed, it is told how things are. */
  #tellPresence(addresses: readonly string[]): void {
    for (const address of addresses) {
      if (kindOf(address) === "device") this.untold.add(idOf(address));
    }
    this.parts.mqtt?.tellUntold();
  }

  /** @throws {UnavailableError} */
  #views(): ReadViews {
    if (this.parts.views === undefined) throw new UnavailableError("views", "Not started");
    return this.parts.views;
  }

  /** Effects of a durable commit. */
  #letOut(effects: readonly TransientEffect[]): void {
    for (const effect of effects) {
      if (effect.type === "reply") this.ingress.resolveReply(effect.replyTo, effect.value);
      else if (effect.type === "downlink") {
        const [product, device] = idOf(effect.from).split("/") as [string, string];
        const message = effect.message as DeviceDownlink | CallsWait;
        this.parts.http?.wake(product, device);
        if (message.type !== "callsWait") this.parts.mqtt?.deliver(product, device, message);
      } else if (!this.calls.settle(effect.topic, effect.value)) {
        this.live.publish(effect.topic, effect.value, clock.nowMs());
      }
    }
  }

  /** A message of the node itself to an actor, with rows; resolves when all are durable. */
  async #tell(address: string, body: Uint8Array, rows: readonly GatewayRow[] = []): Promise<void> {
    const head = packHead({ to: address, budget: LIMITS.budgetPerRootRecord });
    const target = { partition: partitionOfActor(address), head };
    const number = this.ingress.offerWithRows(target, [body], rows);
    if (number === undefined) throw new UnavailableError("log", "No room in the log");
    await untilDurable(this.ingress, number);
  }
}

/** An address as it stands in a URL; one that means all interfaces is reached by loopback. */
function hostOf(listen: string): string {
  if (listen === "0.0.0.0") return "127.0.0.1";
  if (listen === "::") return "[::1]";
  return listen.includes(":") ? `[${listen}]` : listen;
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
}

/** Runs a node until SIGINT or SIGTERM; exits 1 on what cannot be healed. */
export async function runNode(entries = ENTRIES): Promise<void> {
  const end = Promise.withResolvers<unknown>();
  try {
    const { config, isPrintRequested } = readProcessConfig();
    if (isPrintRequested) return print(printConfig(config));
    const onOwner = (password: string) =>
      print(`User "owner" was made; its password, shown once: ${password}`);
    const node = await startNode(config, onOwner, entries);
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      Deno.addSignalListener(signal, () => end.resolve(undefined));
    }
    print(`Roost runs at ${node.urls.http}`);
    print(`ready ${JSON.stringify(node.urls)}`);
    node.begin();
    const fault = await Promise.race([end.promise, node.escalated]);
    await node[Symbol.asyncDispose]();
    if (fault === undefined) Deno.exit(0);
    throw fault;
  } catch (fault) {
    const hint = fault instanceof ConflictError && fault.hint !== undefined ? ` ${fault.hint}` : "";
    Deno.stderr.writeSync(new TextEncoder().encode(`${messageOf(fault)}${hint}\n`));
    Deno.exit(1);
  }
}

if (import.meta.main) await runNode();
