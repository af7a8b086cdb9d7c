/**
 * The log of a node and what comes of its commits: replies, downlinks, live events, and what devices
 * are told when their actors are resumed. Outlives the log's thread, which restarts.
 */
import { partitionOfActor } from "../actors/behaviours.ts";
import { Calls } from "../actors/command/calls.ts";
import type { CallsWait, DeviceDownlink } from "../actors/device/messages.ts";
import { MessageTraces } from "../actors/device/message_traces.ts";
import { LiveHub } from "../actors/live/live_hub.ts";
import { READERS } from "../actors/reader_children.ts";
import { type Address, idOf, kindOf } from "../runtime/actor/address.ts";
import type { TransientEffect } from "../runtime/actor/batch.ts";
import { type EngineEvent, logEngineEvent } from "../runtime/actor/engine_events.ts";
import { SuspendedActors } from "../runtime/actor/suspended_actors.ts";
import type { ChildSpec } from "../runtime/actor/supervision.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Config } from "../runtime/config.ts";
import { UnavailableError } from "../runtime/errors.ts";
import { LIMITS } from "../runtime/limits.ts";
import { GroupIngress, untilDurable } from "../runtime/log/ingress.ts";
import { logChild } from "../runtime/log/log_child.ts";
import { LogClient } from "../runtime/log/log_client.ts";
import type { GatewayRow } from "../runtime/log/partition_log.ts";
import { packHead } from "../runtime/log/record.ts";
import { StoppedPartitions } from "../runtime/log/stopped_partitions.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Random } from "../runtime/random.ts";
import { type NodeParts, startedViews } from "./node_parts.ts";

export interface NodeLogOptions {
  readonly config: Pick<Config, "data" | "log">;
  /** Entry modules of the log's thread and of engine processes. */
  readonly entries: { readonly logWorker: string; readonly engine: string };
  readonly parts: NodeParts;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export class NodeLog implements Disposable {
  readonly client: LogClient;
  readonly calls: Calls;
  readonly traces = new MessageTraces(() => this.ingress.lastIndex);
  /** Refused messages by reason, since the start of the process. */
  readonly refused: Record<string, number> = {};
  readonly suspended = new SuspendedActors();
  readonly stopped = new StoppedPartitions();
  /** See `MqttPorts`. */
  readonly untold = new Set<string>();
  /** From the first start of the log on, like `live`. */
  ingress!: GroupIngress;
  live!: LiveHub;
  /** Fencing token of the first log of this process: its incarnation. */
  token = 0;
  readonly #options: NodeLogOptions;

  constructor(options: NodeLogOptions) {
    this.#options = options;
    const { clock, random, logger, parts } = options;
    this.calls = new Calls({
      ask: (address, message, options) => this.ingress.ask(address, message, options),
      rows: async (query) => {
        const { tick } = await this.client.head();
        const views = startedViews(parts);
        await views.reach(tick);
        return await views.calls(query);
      },
      clock,
      random,
    });
    this.client = new LogClient({
      onEffects: (effects) => this.#letOut(effects),
      // No product behaviour asks for activities yet; those of a newer version stay stored.
      onActivities: () => logger.warn("activities wait: this version has no kind of them"),
      onLifecycle: (events) => this.#tellOf(events),
      onStops: (partitions) => this.stopped.replace(partitions),
      onRunner: (event) => logger.info("engine", { ...event.detail, event: event.type }),
    });
  }

  child(): ChildSpec {
    const { config, entries, clock, logger } = this.#options;
    return logChild({
      client: this.client,
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
      onStarted: ({ token }) => this.#takeUp(token),
    });
  }

  /** A message of the node itself to an actor, with rows; resolves when all are durable. */
  async tell(
    address: Address,
    body: Uint8Array,
    rows: readonly GatewayRow[] = [],
  ): Promise<void> {
    const head = packHead({ to: address, budget: LIMITS.budgetPerRootRecord });
    const target = { partition: partitionOfActor(address), head };
    const number = this.ingress.offerWithRows(target, [body], rows);
    if (number === undefined) throw new UnavailableError("log", "No room in the log");
    await untilDurable(this.ingress, number);
  }

  countRefused(reason: string): void {
    this.refused[reason] = (this.refused[reason] ?? 0) + 1;
  }

  /** Ends live feeds; the ingress is its owner's to drain and close. */
  [Symbol.dispose](): void {
    this.live?.[Symbol.dispose]();
  }

  #takeUp(token: number): void {
    const { clock, logger, parts } = this.#options;
    // A resume may have been committed and not told.
    this.#tellPresence(this.suspended.clear());
    if (this.token !== 0) {
      parts.http?.wakeAll();
      return parts.mqtt?.tellAll();
    }
    this.token = token;
    this.live = new LiveHub({ clock, logger, incarnation: String(token) });
    this.ingress = new GroupIngress({
      log: this.client,
      clock,
      logger,
      incarnation: String(token),
      partitionOf: (address) => partitionOfActor(address),
      stopped: this.stopped,
      refuse: (reason) => this.countRefused(reason),
    });
  }

  #tellOf(events: readonly EngineEvent[]): void {
    for (const event of events) {
      logEngineEvent(event, this.suspended.take(event), this.#options.logger);
      if (event.type === "resumed") this.#tellPresence([event.address]);
    }
  }

  /** A suspended actor is not told of connections: when it is resumed, it is told how things are. */
  #tellPresence(addresses: readonly string[]): void {
    for (const address of addresses) {
      if (kindOf(address) === "device") this.untold.add(idOf(address));
    }
    this.#options.parts.mqtt?.tellUntold();
  }

  /** Effects of a durable commit. */
  #letOut(effects: readonly TransientEffect[]): void {
    const { parts, clock } = this.#options;
    for (const effect of effects) {
      if (effect.type === "reply") this.ingress.resolveReply(effect.replyTo, effect.value);
      else if (effect.type === "downlink") {
        const [product, device] = idOf(effect.from).split("/") as [string, string];
        const message = effect.message as DeviceDownlink | CallsWait;
        parts.http?.wake(product, device);
        if (message.type !== "callsWait") parts.mqtt?.deliver(product, device, message);
      } else if (!this.calls.settle(effect.topic, effect.value)) {
        this.live.publish(effect.topic, effect.value, clock.nowMs());
      }
    }
  }
}
