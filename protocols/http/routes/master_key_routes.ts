/** The master key of the installation: which keys are in use, and a new one. */
import { z } from "@hono/zod-openapi";
import { valueOf } from "../outcome_answers.ts";
import type { HttpPorts } from "../ports.ts";
import { answer } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { time } from "../schemas.ts";

const KEYS = z.object({
  items: z.array(z.object({
    id: z.string().openapi({ description: "Made of the key itself.", example: "4be1c0de1f2a" }),
    createdAt: time("When it was taken into use."),
    isCurrent: z.boolean().openapi({
      description: "It seals; the others open what they sealed before.",
      example: true,
    }),
    rows: z.int().openapi({ description: "Rows that are sealed with it.", example: 12 }),
  })),
}).openapi("MasterKeys");
const EXAMPLE = {
  items: [
    { id: "4be1c0de1f2a", createdAt: 1_700_000_000_000, isCurrent: true, rows: 2 },
    { id: "07aa51bc93d0", createdAt: 1_690_000_000_000, isCurrent: false, rows: 10 },
  ],
};
const PATH = "/api/v1/master-keys";

export function masterKeyRoutes({ masterKeys }: HttpPorts): Route[] {
  const list = createRoute({
    method: "get",
    path: PATH,
    tag: "access",
    summary: "Lists the master keys in use",
    responses: { 200: { description: "The current one first.", schema: KEYS, example: EXAMPLE } },
    handle: async () => answer(200, { items: await masterKeys.list() }),
  });
  const rotate = createRoute({
    method: "post",
    path: `${PATH}/rotate`,
    tag: "access",
    summary: "Takes a new master key into use",
    description: "At once, for all that is sealed from now on; what older keys sealed is sealed " +
      "again in the background. A key that nothing is sealed with any more leaves the key file, an " +
      "hour after it was replaced at the earliest. 409 where the key comes by the configuration.",
    action: "master-keys.rotate",
    body: z.strictObject({}),
    isBodyOptional: true,
    bodyExample: {},
    responses: { 200: { description: "The keys in use.", schema: KEYS, example: EXAMPLE } },
    problems: ["conflict"],
    handle: async () => answer(200, { items: valueOf(await masterKeys.rotate()) }),
  });
  return [list, rotate];
}
