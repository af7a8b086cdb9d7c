/** The listeners for devices and callers, as children of the node's tree. */
import { firstListen, killable } from "../runtime/actor/resource_child.ts";
import type { ChildSpec } from "../runtime/actor/supervision.ts";
import { supervisorChild } from "../runtime/actor/supervisor.ts";
import type { Config } from "../runtime/config.ts";
import { startHttpGateway } from "./http/http_gateway.ts";
import { httpPortsOf, type NodeView } from "./http/node_ports.ts";
import type { LinkPorts } from "./http/poll_sessions.ts";
import { type MqttGateway, startMqttGateway } from "./mqtt/gateway.ts";
import type { MqttPorts } from "./mqtt/gateway_state.ts";
import { tlsListenerOf } from "./mqtt/tls_files.ts";
import { type NodeParts, urlsOf } from "./node_parts.ts";

/** Parts of a node that gateways hold all the time, and what makes the rest of a view of it. */
export interface GatewayChildrenOptions
  extends Omit<NodeView, Asked | "ingress" | "live" | "link">, Pick<MqttPorts, "untold"> {
  readonly config: Pick<Config, "listen" | "http" | "mqtt" | "mqttLimits">;
  readonly parts: NodeParts;
  /** Made when the log starts, before any gateway does. */
  readonly ingress: () => NodeView["ingress"];
  readonly live: () => NodeView["live"];
  /** Fencing token of the first log of this process. */
  readonly token: () => number;
}

/** Answered by `parts`. */
type Asked = "telemetry" | "views" | "supervisor" | "endpoints" | "mqttFigures" | "httpFigures";

/** Session epochs of one start of the log are this far apart from the next start's, at least. */
const EPOCHS_PER_TOKEN = 1_024;

export function gatewayChildren(options: GatewayChildrenOptions): ChildSpec {
  const nextLink = linksOf(options.token);
  return supervisorChild("gateways", {
    strategy: "one_for_one",
    intensity: { restartsMax: 20, withinMs: 60_000 },
    children: [mqttChild(options, nextLink), httpChild(options, nextLink)],
  }, { shutdownMs: 10_000 });
}

/** Of one start of a gateway, which numbers its sessions from 1. */
function linksOf(token: () => number): () => LinkPorts {
  let gateways = 0;
  let epochs = 0;
  return () => ({
    incarnation: `${token()}.${++gateways}`,
    nextEpoch: () => token() * EPOCHS_PER_TOKEN + ++epochs,
  });
}

function mqttChild(options: GatewayChildrenOptions, nextLink: () => LinkPorts): ChildSpec {
  const { parts } = options;
  return {
    id: "mqtt",
    restart: "permanent",
    shutdownMs: 6_000,
    start: async () => {
      const gateway = await firstListen(parts.mqtt, () => startMqtt(options, nextLink()));
      parts.mqtt = gateway;
      return killable(gateway, new Promise<void>(() => {}));
    },
  };
}

function startMqtt(options: GatewayChildrenOptions, link: LinkPorts): Promise<MqttGateway> {
  const { config, parts, registry, log, clock, suspended, untold, stopped, traces } = options;
  return startMqttGateway({
    host: config.listen,
    // After a restart the same port as before, also when any free one was asked for.
    port: parts.mqtt?.port ?? config.mqtt.port,
    tls: tlsListenerOf(config.mqtt, parts.mqtt?.tlsPort),
    limits: config.mqttLimits,
    ingress: options.ingress(),
    directory: registry.directory,
    readRow: (key) => log.gatewayRow(key),
    readRows: (query) => log.gatewayRows(query),
    logger: options.logger.with({ part: "mqtt" }),
    refuse: (reason) => options.countRefused(reason),
    ...{ clock, suspended, untold, stopped, traces },
    ...link,
  });
}

function httpChild(options: GatewayChildrenOptions, nextLink: () => LinkPorts): ChildSpec {
  const { config, parts } = options;
  return {
    id: "http",
    restart: "permanent",
    shutdownMs: 6_000,
    start: async () => {
      const gateway = await firstListen(parts.http, () =>
        startHttpGateway({
          hostname: config.listen,
          port: parts.http?.port ?? config.http.port,
          ports: httpPortsOf(viewOf(options, nextLink())),
        }));
      parts.http = gateway;
      return killable(gateway, gateway.done);
    },
  };
}

function viewOf(options: GatewayChildrenOptions, link: LinkPorts): NodeView {
  const { config, parts } = options;
  return {
    ...options,
    ingress: options.ingress(),
    live: options.live(),
    link,
    telemetry: () => parts.telemetry,
    views: () => parts.views,
    supervisor: () => parts.supervisor!,
    endpoints: () => urlsOf(parts, config.listen),
    mqttFigures: () => parts.mqtt?.figures,
    httpFigures: () => parts.http?.figures(),
  };
}
