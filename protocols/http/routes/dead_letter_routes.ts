/** Records that could not be handled: seen, handed in again, or given up. */
import { z } from "@hono/zod-openapi";
import { LIMITS } from "../../../runtime/limits.ts";
import type { ListedDeadLetter } from "../../../runtime/log/partition_log.ts";
import { decodeCursor, encodeCursor } from "../cursor.ts";
import type { Caller, HttpPorts } from "../ports.ts";
import { definedOf } from "../request_input.ts";
import { answer, answerPage } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { countedPageOf, LIST_QUERY, sortBy, time } from "../schemas.ts";
import { isOwnActor } from "./device_access.ts";

const ID = z.string().regex(/^\d{1,15}$/, "Cannot accept this: the id of a dead letter");
const LETTER = z.object({
  id: ID.openapi({ description: "Rising number, as text.", example: "42" }),
  to: z.string().openapi({ description: "Address of the actor.", example: "device/pump/p-1" }),
  partition: z.int().openapi({ description: "Its partition.", example: 7 }),
  recordId: z.string().openapi({ description: "Identity of the record.", example: "1-7-1234" }),
  traceId: z.string().openapi({ description: "Identity of its root record.", example: "1-7-1234" }),
  reason: z.string().openapi({
    description: "Constant: `threw`, `killed_engine`, `budget_spent`, `suspended`, …",
    example: "threw",
  }),
  detail: z.string().openapi({ description: "Message and stack.", example: "Error: no" }),
  isIngress: z.boolean().openapi({
    description: "It came from outside and counts in the ledger.",
    example: true,
  }),
  body: z.string().openapi({
    description: `JSON text of the message, its first ${LIMITS.deadLetterShownBytes} bytes.`,
    example: '{"type":"properties","samples":[{"values":{"temperature":21.5}}]}',
  }),
  bodyBytes: z.int().openapi({ description: "Bytes of the whole message.", example: 66 }),
  acceptedAt: time("When it was accepted."),
  parkedAt: time("When it was parked."),
}).openapi("DeadLetter");
const EXAMPLE = {
  id: "42",
  to: "device/pump/p-1",
  partition: 7,
  recordId: "1-7-1234",
  traceId: "1-7-1234",
  reason: "threw",
  detail: "Error: no",
  isIngress: true,
  body: '{"type":"properties","samples":[{"values":{"temperature":21.5}}]}',
  bodyBytes: 66,
  acceptedAt: 1_700_000_000_000,
  parkedAt: 1_700_000_000_100,
};
const IDS = z.strictObject({
  ids: z.array(ID).min(1).max(500).openapi({
    description: "1 to 500 ids; unknown ones are skipped.",
    example: ["42"],
  }),
}).openapi("DeadLetterIds");
const PATH = "/api/v1/cluster/dead-letters";
/** Letters read at once, and at most, to count those of one project among several. */
const PAGE = 500;
const LOOKED_MAX = 10_000;

export function deadLetterRoutes(ports: HttpPorts): Route[] {
  return [listLetters(ports), replay(ports), discard(ports)];
}

function listLetters(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: PATH,
    tag: "cluster",
    summary: "Lists dead letters",
    description:
      "Of devices of the caller's project, newest first, or as `sort` says; those of no product " +
      "belong to `default`. A page may be short, even empty, while `nextCursor` is not null. A " +
      `count stops at ${LIMITS.deadLettersCountedMax} letters, where there are several projects at ` +
      `${LOOKED_MAX} of all: beyond it \`count\` is null.`,
    query: z.strictObject({
      ...LIST_QUERY,
      sort: sortBy(["parkedAt"], "In the order they were parked in, which is that of their ids.")
        .optional(),
      to: z.string().min(1).max(255).optional().openapi({
        description: "Only of this actor.",
        example: "device/pump/p-1",
      }),
    }),
    responses: {
      200: {
        description: "A page of dead letters.",
        schema: countedPageOf(LETTER),
        example: { items: [EXAMPLE], nextCursor: null },
      },
    },
    async handle({ query, caller }) {
      const { limit = 50, cursor, to } = query;
      const isOldestFirst = query.sort === "parkedAt";
      const kind = isOldestFirst ? "parked" : "dead";
      const id = cursor === undefined ? undefined : decodeCursor(kind, cursor);
      const place = isOldestFirst ? { afterId: id ?? 0 } : { beforeId: id };
      const letters = await ports.cluster.deadLetters(
        definedOf({ limit: limit + 1, ...place, address: to }),
      );
      const looked = letters.slice(0, limit);
      const items = looked.filter((letter) => isOwnActor(ports, caller, letter.to));
      const nextCursor = letters.length > limit ? encodeCursor(kind, looked.at(-1)!.id) : null;
      const count = query.count ? await countOwn(ports, caller, to) : undefined;
      return answerPage(items.map(viewOf), nextCursor, count);
    },
  });
}

function replay(ports: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: `${PATH}/replay`,
    tag: "cluster",
    summary: "Hands dead letters to their actors again",
    action: "cluster.dead-letters.replay",
    description: "They become pending; what they were stored as before is not stored again.",
    body: IDS,
    bodyExample: { ids: ["42"] },
    responses: {
      200: {
        description: "How many there were.",
        schema: z.object({ replayed: z.int().describe("Dead letters that are pending now.") }),
        example: { replayed: 1 },
      },
    },
    async handle({ body, caller }) {
      const ids = await ownLetters(ports, caller!, body.ids);
      return answer(200, { replayed: await ports.cluster.replayDeadLetters(ids) });
    },
  });
}

function discard(ports: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: `${PATH}/discard`,
    tag: "cluster",
    summary: "Gives dead letters up",
    action: "cluster.dead-letters.discard",
    description: "They count as processed.",
    body: IDS,
    bodyExample: { ids: ["42"] },
    responses: {
      200: {
        description: "How many there were.",
        schema: z.object({ discarded: z.int().describe("Dead letters that are processed now.") }),
        example: { discarded: 1 },
      },
    },
    async handle({ body, caller }) {
      const ids = await ownLetters(ports, caller!, body.ids);
      return answer(200, { discarded: await ports.cluster.discardDeadLetters(ids) });
    },
  });
}

/** Null: too many. Among several projects the letters are looked at one by one. */
async function countOwn(
  ports: HttpPorts,
  caller: Caller | undefined,
  to: string | undefined,
): Promise<number | null> {
  if (to !== undefined && !isOwnActor(ports, caller, to)) return 0;
  if (to !== undefined || await ports.projects.count({}) === 1) {
    return await ports.cluster.countDeadLetters(to);
  }
  let count = 0;
  let beforeId: number | undefined;
  for (let looked = 0; looked < LOOKED_MAX; looked += PAGE) {
    const letters = await ports.cluster.deadLetters(definedOf({ limit: PAGE, beforeId }));
    count += letters.filter((letter) => isOwnActor(ports, caller, letter.to)).length;
    if (letters.length < PAGE) return count;
    beforeId = letters.at(-1)!.id;
  }
  return null;
}

/** Those of the ids that are there and of the caller's project. */
async function ownLetters(
  ports: HttpPorts,
  caller: Caller,
  ids: readonly string[],
): Promise<number[]> {
  const own: number[] = [];
  for (const id of new Set(ids.map(Number))) {
    const [letter] = await ports.cluster.deadLetters({ beforeId: id + 1, limit: 1 });
    if (letter?.id === id && isOwnActor(ports, caller, letter.to)) own.push(id);
  }
  return own;
}

function viewOf(letter: ListedDeadLetter): z.infer<typeof LETTER> {
  return {
    id: String(letter.id),
    to: letter.to,
    partition: letter.partition,
    recordId: letter.recordId,
    traceId: letter.traceId,
    reason: letter.reason,
    detail: letter.detail,
    isIngress: letter.isIngress,
    // In stream mode a character that was cut off at the end is left out.
    body: new TextDecoder().decode(letter.body, { stream: true }),
    bodyBytes: letter.bodyBytes,
    acceptedAt: letter.acceptedAtMs,
    parkedAt: letter.parkedAtMs,
  };
}
