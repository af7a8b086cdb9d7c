/** For whoever starts, balances and watches the process. None tells a version. */
import { z } from "@hono/zod-openapi";
import type { HttpPorts } from "../ports.ts";
import { ProblemError } from "../problem.ts";
import { answer } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";

const STATUS = z.object({
  status: z.string().openapi({ description: "A word.", example: "ready" }),
});
const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export function healthRoutes({ health }: HttpPorts): Route[] {
  const live = createRoute({
    method: "get",
    path: "/livez",
    tag: "health",
    summary: "Says that the process answers",
    responses: { 200: { description: "It does.", schema: STATUS, example: { status: "alive" } } },
    handle: () => answer(200, { status: "alive" }),
  });
  const ready = createRoute({
    method: "get",
    path: "/readyz",
    tag: "health",
    summary: "Says whether it may be sent work",
    responses: { 200: { description: "It may.", schema: STATUS, example: { status: "ready" } } },
    problems: ["unavailable"],
    handle() {
      const parts = health.notReady();
      if (parts.length === 0) return answer(200, { status: "ready" });
      const detail = `Not ready yet: ${parts.join(", ")}`;
      throw new ProblemError("unavailable", detail, { retryAfterMs: 1_000 });
    },
  });
  const metrics = createRoute({
    method: "get",
    path: "/metrics",
    tag: "health",
    summary: "Reads the metrics",
    responses: {
      200: {
        description: "In Prometheus' exposition format.",
        mediaType: "text/plain",
        schema: z.string(),
        example: "roost_accepted_total 120\n",
      },
    },
    async handle() {
      const headers = { "content-type": METRICS_TYPE, "cache-control": "no-store" };
      return new Response(await health.metrics(), { headers });
    },
  });
  return [live, ready, metrics];
}
