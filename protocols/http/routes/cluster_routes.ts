/** What the node counts, supervises and could not handle. */
import { z } from "@hono/zod-openapi";
import { NotFoundError } from "../../../runtime/errors.ts";
import { type TreeView, treeView } from "../cluster_views.ts";
import type { HttpPorts } from "../ports.ts";
import { answer, noContent } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { time } from "../schemas.ts";

const TERMS = {
  accepted: z.int().openapi({ description: "Acknowledged messages, ever.", example: 120 }),
  processed: z.int().openapi({ description: "Handled, or discarded.", example: 117 }),
  pending: z.int().openapi({ description: "In the log, not handled yet.", example: 2 }),
  deadLettered: z.int().openapi({ description: "Parked: could not be handled.", example: 1 }),
  rolledBack: z.int().openapi({
    description: "Lost with a store that went back, or skipped as damaged.",
    example: 0,
  }),
};
const LEDGER = z.object({
  epoch: z.int().openapi({ description: "Rises when a store was found rolled back.", example: 1 }),
  total: z.object(TERMS).describe("Sums over all partitions, in messages."),
  refused: z.record(z.string(), z.int()).openapi({
    description:
      "Messages and peers refused, but not for load, by reason, since the start of the process.",
    example: { malformed: 3 },
  }),
  partitions: z.array(z.object({
    partition: z.int().openapi({ description: "Number of the partition.", example: 0 }),
    ...TERMS,
    isBalanced: z.boolean().openapi({
      description: "`accepted` is the sum of the next four.",
      example: true,
    }),
    corrupt: z.string().optional().openapi({
      description: "Why the partition is stopped.",
      example: "segment at offset 1234 of tick 17 does not match its checksum",
    }),
    corruptOffset: z.int().optional().openapi({
      description: "Before which record it is stopped; its ingress is refused.",
      example: 1234,
    }),
  })).describe("By partition, in messages."),
}).openapi("Ledger");
const TERMS_EXAMPLE = { accepted: 120, processed: 117, pending: 2, deadLettered: 1, rolledBack: 0 };
const LEDGER_EXAMPLE = {
  epoch: 1,
  total: TERMS_EXAMPLE,
  refused: { malformed: 3 },
  partitions: [{ partition: 0, ...TERMS_EXAMPLE, isBalanced: true }],
};

const TREE: z.ZodType<TreeView> = z.object({
  id: z.string().openapi({ description: "Unique among its siblings.", example: "gateways" }),
  status: z.enum([
    "starting",
    "running",
    "restarting",
    "stopping",
    "stopped",
    "blocked",
    "failed",
  ]).openapi({
    description: "`blocked`: not retried until something changes.",
    example: "running",
  }),
  restarts: z.int().openapi({ description: "Starts after the first.", example: 0 }),
  startedAt: time("Last start that worked; null: none yet.").nullable(),
  lastFault: z.string().nullable().openapi({
    description: "Text of the last fault.",
    example: null,
  }),
  children: z.array(z.any()).openapi({
    type: "array",
    items: { $ref: "#/components/schemas/SupervisionTree" },
    description: "Its children, each in this shape.",
    example: [],
  }),
}).openapi("SupervisionTree");
const TREE_EXAMPLE = {
  id: "node",
  status: "running",
  restarts: 0,
  startedAt: 1_700_000_000_000,
  lastFault: null,
  children: [],
};
const CHILD = z.string().min(1).max(128);
const PATH_TEXT = z.string().min(1).max(1_024).transform((text) => text.split("/"));
const KILL = z.strictObject({
  path: z.union([PATH_TEXT, z.array(CHILD).min(1).max(16)]).openapi({
    description: "Ids from the root's child downwards: a list, or joined by `/`.",
    example: "gateways/mqtt",
  }),
}).openapi("Kill");

export function clusterRoutes(ports: HttpPorts): Route[] {
  return [readLedger(ports), readTree(ports), killChild(ports)];
}

function readLedger({ cluster }: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: "/api/v1/cluster/ledger",
    tag: "cluster",
    summary: "Reads the ledger",
    description: "Each term is counted on its own, in the steps that change it.",
    responses: { 200: { description: "Terms.", schema: LEDGER, example: LEDGER_EXAMPLE } },
    async handle() {
      return answer(200, { ...await cluster.ledger(), refused: cluster.refused() });
    },
  });
}

function readTree({ cluster }: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: "/api/v1/cluster/tree",
    tag: "cluster",
    summary: "Reads the supervision tree",
    responses: { 200: { description: "The live tree.", schema: TREE, example: TREE_EXAMPLE } },
    handle: () => answer(200, treeView(cluster.tree())),
  });
}

function killChild({ cluster, logger }: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: "/api/v1/cluster/tree/kill",
    tag: "cluster",
    summary: "Ends one child abnormally",
    action: "cluster.tree.kill",
    description: "Its supervisor restarts it, and its siblings as the strategy says.",
    body: KILL,
    bodyExample: { path: "gateways/mqtt" },
    responses: { 204: { description: "It was ended." } },
    problems: ["not-found"],
    async handle({ body, caller }) {
      const path = body.path.join("/");
      logger.warn("child killed by request", { path, by: caller?.name });
      if (await cluster.killChild(body.path)) return noContent();
      throw new NotFoundError(`Cannot end "${path}": there is no such child that runs`);
    },
  });
}
