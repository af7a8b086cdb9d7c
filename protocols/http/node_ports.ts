/** The ports of the HTTP gateway, made of the parts of a node. Parts that restart are asked for. */
import type { Calls } from "../../actors/command/calls.ts";
import type { CommandState } from "../../actors/command/messages.ts";
import { listMessages } from "../../actors/device/message_list.ts";
import type { MessageTraces } from "../../actors/device/message_traces.ts";
import type { DeviceState } from "../../actors/device/messages.ts";
import type { ReadViews } from "../../actors/device/views_worker.ts";
import type { LiveHub } from "../../actors/live/live_hub.ts";
import type { Registry } from "../../actors/open_registry.ts";
import type { TelemetryClient } from "../../actors/telemetry/worker.ts";
import { peekState } from "../../runtime/actor/state_codec.ts";
import type { Supervisor } from "../../runtime/actor/supervisor.ts";
import type { SuspendedActors } from "../../runtime/actor/suspended_actors.ts";
import type { Clock } from "../../runtime/clock.ts";
import { UnavailableError } from "../../runtime/errors.ts";
import type { GroupIngress } from "../../runtime/log/ingress.ts";
import type { LogClient } from "../../runtime/log/log_client.ts";
import type { StoppedPartitions } from "../../runtime/log/stopped_partitions.ts";
import type { Logger } from "../../runtime/logger.ts";
import { nodeMetrics } from "../../runtime/node_metrics.ts";
import type { ConsoleSite } from "./console/site.ts";
import type { HttpFigures } from "./http_app.ts";
import type { LinkPorts } from "./poll_sessions.ts";
import type { ClusterPorts, HealthPorts, HttpPorts } from "./ports.ts";

export interface NodeView {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly log: LogClient;
  readonly ingress: GroupIngress;
  readonly traces: MessageTraces;
  readonly live: LiveHub;
  readonly calls: Calls;
  readonly link: LinkPorts;
  readonly site: ConsoleSite;
  /** Refused messages by reason, since the start of the process. */
  readonly refused: Readonly<Record<string, number>>;
  readonly suspended: SuspendedActors;
  readonly stopped: StoppedPartitions;
  /** Undefined: not started yet. */
  telemetry(): TelemetryClient | undefined;
  views(): ReadViews | undefined;
  supervisor(): Supervisor;
  /** URLs of the listeners, by wire. */
  endpoints(): Readonly<Record<string, string>>;
  mqttFigures(): object | undefined;
  httpFigures(): HttpFigures | undefined;
  countRefused(reason: string): void;
}

export function httpPortsOf(node: NodeView): HttpPorts {
  const { registry, log } = node;
  const history = () => started(node.telemetry(), "telemetry");
  const views = () => started(node.views(), "views");
  return {
    clock: node.clock,
    logger: node.logger.with({ part: "http" }),
    ...registry,
    ingress: node.ingress,
    endpoints: () => node.endpoints(),
    telemetry: {
      range: async (query) => await history().range(query),
      buckets: async (query) => await history().buckets(query),
      thin: async (query) => await history().thin(query),
      events: async (query) => await history().events(query),
    },
    traces: node.traces,
    messages: async (product, device, limit) => {
      const settled = () => node.ingress.settled;
      return await listMessages({ traces: node.traces, settled, log }, product, device, limit);
    },
    peekState: (address) => peekAt<DeviceState>(log, address),
    peekCalls: (address) => peekAt<CommandState>(log, address),
    readRow: (key) => log.gatewayRow(key),
    link: node.link,
    presence: async (names) => await views().presence(names),
    finder: {
      list: async (query) => await views().list(query),
      count: async (filter) => await views().count(filter),
    },
    site: node.site,
    live: { hub: node.live },
    calls: node.calls,
    cluster: clusterPorts(node),
    health: healthPorts(node),
    countRefused: (reason) => node.countRefused(reason),
    suspended: node.suspended,
    stopped: node.stopped,
  };
}

/** Committed state of an actor; undefined if it has none. */
async function peekAt<State>(log: LogClient, address: string): Promise<State | undefined> {
  const stored = await log.peek(address);
  return stored === undefined ? undefined : peekState(stored).state as State | undefined;
}

function clusterPorts(node: NodeView): ClusterPorts {
  const { log } = node;
  return {
    ledger: () => log.ledger(),
    refused: () => node.refused,
    tree: () => node.supervisor().live(),
    killChild: (path) => node.supervisor().kill(path),
    deadLetters: (query) => log.deadLetters(query),
    countDeadLetters: (address) => log.countDeadLetters(address),
    replayDeadLetters: (ids) => log.replayDeadLetters(ids),
    discardDeadLetters: async (ids) => {
      const discarded = await log.discardDeadLetters(ids);
      node.suspended.clear(); // Else nothing could come that a replay resumes them by.
      return discarded;
    },
    peekPending: (partition, offset, limit) => log.peekPending(partition, offset, limit),
    skipDamage: (partition, offset) => log.skipDamage(partition, offset),
  };
}

function healthPorts(node: NodeView): HealthPorts {
  const metrics = nodeMetrics({
    mqtt: () => node.mqttFigures(),
    http: () => node.httpFigures(),
    refused: () => node.refused,
    unacknowledgedBytes: () => node.ingress.unacknowledgedBytes,
  });
  return {
    notReady() {
      const missing: string[] = [];
      if (node.telemetry() === undefined) missing.push("telemetry");
      if (node.views() === undefined) missing.push("views");
      if (node.ingress.refusal !== undefined) missing.push("log");
      return missing;
    },
    async metrics() {
      const [ledger, head] = await Promise.all([node.log.ledger(), node.log.head()]);
      const history = await node.telemetry()?.figures();
      return metrics.render(ledger, head.logBytes, history?.store);
    },
  };
}

function started<Part>(part: Part | undefined, name: string): Part {
  if (part === undefined) throw new UnavailableError(name, "Not started");
  return part;
}
