/** Partitions that damage has stopped: what waits in them, and the way back. */
import { z } from "@hono/zod-openapi";
import { PARTITIONS } from "../../../runtime/actor/address.ts";
import { ConflictError, NotFoundError } from "../../../runtime/errors.ts";
import type { PendingRecord } from "../../../runtime/log/partition_log.ts";
import { decodeCursor, encodeCursor } from "../cursor.ts";
import type { HttpPorts } from "../ports.ts";
import { answer } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { CURSOR, LIMIT, pageOf, time } from "../schemas.ts";
import { isOwnActor } from "./device_access.ts";

const BODY_CHARACTERS_MAX = 4_096;
const PATH = "/api/v1/cluster/partitions/{partition}";
const PARAMS = z.object({
  partition: z.string().regex(/^\d{1,5}$/, "Cannot accept this: the number of a partition")
    .openapi({ description: "Number of the partition, as in the ledger.", example: "7" }),
});
const OFFSET = z.int().min(0);
const RECORD = z.object({
  offset: OFFSET.openapi({ description: "Of the record within its partition.", example: 1234 }),
  count: z.int().openapi({ description: "1, or how many are damaged from here on.", example: 1 }),
  class: z.enum(["ingress", "replay", "sent"]).nullable().openapi({
    description: "From outside, a dead letter again, or from an actor; null: not known.",
    example: "ingress",
  }),
  to: z.string().nullable().openapi({
    description: "Address of the actor; null: not known.",
    example: "device/pump/p-1",
  }),
  acceptedAt: time("When it was accepted; null: not known.").nullable(),
  body: z.string().openapi({
    description: "JSON text of the message, or what is left of damaged records: the first " +
      `${BODY_CHARACTERS_MAX} characters.`,
    example: '{"type":"properties","samples":[{"values":{"temperature":21.5}}]}',
  }),
  damage: z.string().nullable().openapi({
    description: "Why these records cannot be handled.",
    example: null,
  }),
}).openapi("PendingRecord");
const EXAMPLE = {
  offset: 1234,
  count: 1,
  class: "ingress",
  to: "device/pump/p-1",
  acceptedAt: 1_700_000_000_000,
  body: '{"type":"properties","samples":[{"values":{"temperature":21.5}}]}',
  damage: null,
};
const SKIP = z.strictObject({
  offset: OFFSET.openapi({
    description: "`corruptOffset` of the ledger: no damage is skipped that was not looked at.",
    example: 1234,
  }),
}).openapi("SkipDamage");
const SKIPPED = z.object({
  partition: z.int().openapi({ description: "Number of the partition.", example: 7 }),
  fromOffset: OFFSET.openapi({ description: "First record given up.", example: 1234 }),
  toOffset: OFFSET.openapi({
    description: "Where it goes on. As `fromOffset`: the records could be read after all.",
    example: 1236,
  }),
  lost: z.int().openapi({
    description: "Accepted messages given up: pending before, rolled back now.",
    example: 2,
  }),
}).openapi("SkippedDamage");
const DECODER = new TextDecoder();

export function partitionRoutes(ports: HttpPorts): Route[] {
  return [listPending(ports), skipDamage(ports)];
}

function listPending(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: `${PATH}/pending`,
    tag: "cluster",
    summary: "Lists what is pending in a partition",
    description: "In order of acceptance, as it is stored now. Damaged records are one item. " +
      "Records of other projects show neither their actor nor what they hold.",
    params: PARAMS,
    query: z.strictObject({ limit: LIMIT.optional(), cursor: CURSOR.optional() }),
    responses: {
      200: {
        description: "A page of records.",
        schema: pageOf(RECORD),
        example: { items: [EXAMPLE], nextCursor: null },
      },
    },
    problems: ["not-found"],
    async handle({ params, query, caller }) {
      const partition = partitionOf(params.partition);
      const from = query.cursor === undefined ? 0 : decodeCursor("pending", query.cursor);
      const page = await ports.cluster.peekPending(partition, from, query.limit ?? 50);
      const nextCursor = page.nextOffset === undefined
        ? null
        : encodeCursor("pending", page.nextOffset);
      const isAlone = await ports.projects.count({}) === 1;
      const isShown = ({ to }: PendingRecord) =>
        isAlone || (to !== undefined && isOwnActor(ports, caller, to));
      const items = page.records.map((record) => viewOf(record, isShown(record)));
      return answer(200, { items, nextCursor });
    },
  });
}

function skipDamage({ cluster, logger }: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: `${PATH}/skip-damage`,
    tag: "cluster",
    summary: "Gives up damaged records and puts their partition back into service",
    action: "cluster.partitions.skip-damage",
    description: "What waits behind them is handled in order, up to the next damage. 409: the " +
      "partition is not stopped, or not at this offset, or has records before it to handle first.",
    params: PARAMS,
    body: SKIP,
    bodyExample: { offset: 1234 },
    responses: {
      200: {
        description: "It goes on.",
        schema: SKIPPED,
        example: { partition: 7, fromOffset: 1234, toOffset: 1236, lost: 2 },
      },
    },
    problems: ["not-found", "conflict"],
    async handle({ params, body, caller }) {
      const partition = partitionOf(params.partition);
      const outcome = await cluster.skipDamage(partition, body.offset);
      if (!outcome.ok) throw new ConflictError(outcome.detail);
      const { fromOffset, toOffset, lost } = outcome;
      const skipped = { partition, fromOffset, toOffset, lost };
      logger.warn("damaged records skipped by request", { ...skipped, by: caller?.name });
      return answer(200, skipped);
    },
  });
}

/** @throws {NotFoundError} */
function partitionOf(text: string): number {
  const partition = Number(text);
  if (partition < PARTITIONS) return partition;
  throw new NotFoundError(`There is no partition ${partition}: there are ${PARTITIONS}, from 0`);
}

function viewOf(record: PendingRecord, isShown: boolean): z.infer<typeof RECORD> {
  // A character is at most 4 bytes.
  const text = !isShown ? "" : DECODER.decode(record.body.subarray(0, BODY_CHARACTERS_MAX * 4));
  return {
    offset: record.offset,
    count: record.count,
    class: record.class === "replay" || record.class === "sent" || record.class === "ingress"
      ? record.class
      : null,
    to: isShown ? record.to ?? null : null,
    acceptedAt: record.acceptedAtMs ?? null,
    body: text.slice(0, BODY_CHARACTERS_MAX).toWellFormed(),
    damage: record.damage ?? null,
  };
}
