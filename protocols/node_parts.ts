/** What the parts of a node hold of each other. Parts that restart are replaced here. */
import type { ReadViews } from "../actors/device/views_worker.ts";
import type { TelemetryClient } from "../actors/telemetry/worker.ts";
import type { Supervisor } from "../runtime/actor/supervisor.ts";
import { UnavailableError } from "../runtime/errors.ts";
import type { HttpGateway } from "./http/http_gateway.ts";
import type { MqttGateway } from "./mqtt/gateway.ts";

/** Absent: not started yet. */
export interface NodeParts {
  mqtt?: MqttGateway;
  http?: HttpGateway;
  telemetry?: TelemetryClient;
  views?: ReadViews;
  supervisor?: Supervisor;
}

/** @throws {UnavailableError} */
export function startedViews(parts: NodeParts): ReadViews {
  if (parts.views === undefined) throw new UnavailableError("views", "Not started");
  return parts.views;
}

/**
 * Where clients reach the listeners, by wire.
 * @param listen Address that the listeners bind.
 */
export function urlsOf(
  { http, mqtt }: NodeParts,
  listen: string,
): Readonly<Record<string, string>> {
  const at = hostOf(listen);
  return { http: `http://${at}:${http?.port}`, ...mqtt?.urls(at) };
}

/** An address as it stands in a URL; one that means all interfaces is reached by loopback. */
function hostOf(listen: string): string {
  if (listen === "0.0.0.0") return "127.0.0.1";
  if (listen === "::") return "[::1]";
  return listen.includes(":") ? `[${listen}]` : listen;
}
