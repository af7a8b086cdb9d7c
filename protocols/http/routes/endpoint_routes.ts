/** Where devices connect to this node, for commands that a person pastes. */
import { z } from "@hono/zod-openapi";
import type { HttpPorts } from "../ports.ts";
import { answer } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";

const ENDPOINTS = z.record(z.string(), z.string()).openapi("Endpoints", {
  description: "URL by wire, as the `ready` line says it: `http`, `mqtt`, …",
});
const EXAMPLE = { mqtt: "mqtt://127.0.0.1:1883" };

export function endpointRoutes({ endpoints }: HttpPorts): Route[] {
  return [createRoute({
    method: "get",
    path: "/api/v1/endpoints",
    tag: "endpoints",
    summary: "Says where devices connect",
    description: "A node that listens on all interfaces names a loopback address: put the node's " +
      "own in its place.",
    responses: { 200: { description: "By wire.", schema: ENDPOINTS, example: EXAMPLE } },
    handle: () => answer(200, endpoints()),
  })];
}
