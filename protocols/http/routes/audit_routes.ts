/** The audit: who did what, and whether it is what was written. */
import { z } from "@hono/zod-openapi";
import { Buffer } from "node:buffer";
import { LIMITS } from "../../../runtime/limits.ts";
import type { AuditCheck } from "../../../actors/audit/audit_check.ts";
import type { AuditRow } from "../../../actors/audit/audit_row.ts";
import { valueOf } from "../outcome_answers.ts";
import type { HttpPorts } from "../ports.ts";
import { definedOf } from "../request_input.ts";
import { answer, answerPage } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { LIST_QUERY, pageOf, time, wholeNumber } from "../schemas.ts";

const TEXT = z.string().min(1).max(512);
const HASH = z.string().openapi({
  description: "SHA-256 of the row before's hash and this row, 64 hexadecimal digits.",
  example: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
});
const ROW = z.object({
  id: z.string().openapi({
    description: "Number of the row within its project, from 1, as text.",
    example: "42",
  }),
  at: time("When it was done."),
  actor: z.string().openapi({
    description: "Name of the person or key, as it was then; of a failed log-in, what was tried.",
    example: "owner",
  }),
  actorType: z.enum(["user", "key"]).openapi({ description: "What did it.", example: "user" }),
  actorId: z.string().openapi({ description: "Its id; empty: nobody known.", example: "u1" }),
  action: z.string().openapi({ description: "What was done.", example: "devices.create" }),
  object: z.string().openapi({ description: "What to.", example: "devices/pump/p-1" }),
  detail: z.unknown().openapi({
    description: "What was asked for, secrets hidden, long ones by the names of their fields.",
    example: { product: "pump", device: "p-1" },
  }),
  remote: z.string().openapi({ description: "Network of the caller.", example: "192.0.2.1" }),
  outcome: z.string().openapi({
    description: "`ok`, or the code of the problem that refused it.",
    example: "ok",
  }),
  hash: HASH,
}).openapi("AuditRow");
const EXAMPLE = {
  id: "42",
  at: 1_700_000_000_000,
  actor: "owner",
  actorType: "user",
  actorId: "u1",
  action: "devices.create",
  object: "devices/pump/p-1",
  detail: { product: "pump", device: "p-1" },
  remote: "192.0.2.1",
  outcome: "ok",
  hash: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
};
const CHECK = z.object({
  project: z.string().openapi({ description: "Id of the project.", example: "default" }),
  isIntact: z.boolean().openapi({ description: "It is what was written.", example: true }),
  rows: z.int().openapi({ description: "Rows that belong to the chain.", example: 42 }),
  firstId: z.string().openapi({
    description: `First row that is kept; beyond ${LIMITS.auditRowsMax} the oldest give way.`,
    example: "1",
  }),
  fault: z.object({
    id: z.string().openapi({ description: "Row, or where it should be.", example: "17" }),
    reason: z.enum(["changed", "missing", "cut", "forged"]).openapi({
      description: "`changed`: the row is not what was written. `missing`: it was taken out. " +
        "`cut`: the newest rows were. `forged`: the seal of the chain is not ours.",
      example: "changed",
    }),
  }).optional().describe("The first that was found; absent: intact."),
}).openapi("AuditCheck");
const MOMENT = (description: string) =>
  wholeNumber(
    { min: 0, max: 8.64e15 },
    `${description} Epoch milliseconds.`,
    1_700_000_000_000,
  );
const PATH = "/api/v1/audit";

export function auditRoutes(ports: HttpPorts): Route[] {
  return [listAudit(ports), verifyAudit(ports)];
}

function listAudit({ audit }: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: PATH,
    tag: "access",
    summary: "Lists what was done",
    description:
      "Of the caller's project, newest first: each write through the API, each log-in, " +
      "and what was refused. Of refusals " +
      `${LIMITS.auditFailuresPerNetworkMax} a minute have a row for one network, ` +
      `${LIMITS.auditFailuresMax} in all; the next row says how many more there were.`,
    query: z.strictObject({
      ...LIST_QUERY,
      actor: TEXT.openapi({ description: "Only by this name or id.", example: "owner" }).optional(),
      action: TEXT.openapi({ description: "Only this.", example: "devices.create" }).optional(),
      object: TEXT.openapi({
        description: "Only to this, or what is under it.",
        example: "devices/pump",
      }).optional(),
      outcome: TEXT.openapi({ description: "Only with this outcome.", example: "ok" }).optional(),
      from: MOMENT("Start, inclusive.").optional(),
      to: MOMENT("End, exclusive.").optional(),
    }),
    responses: {
      200: {
        description: "A page of rows.",
        schema: pageOf(ROW),
        example: { items: [EXAMPLE], nextCursor: null },
      },
    },
    async handle({ query, caller }) {
      const { count: isCounted, from, to, limit, ...rest } = query;
      const { project } = caller!;
      const filter = definedOf({ ...rest, fromMs: from, toMs: to, limit: limit ?? 50 });
      const page = valueOf(await audit.reader.list(project, filter), "query.");
      const count = isCounted ? await audit.reader.count(project, filter) : undefined;
      return answerPage(page.items.map(viewOf), page.nextCursor, count);
    },
  });
}

function verifyAudit({ audit }: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: `${PATH}/verification`,
    tag: "access",
    summary: "Checks that the audit is what was written",
    description: "Of all projects, row by row: it may take some seconds.",
    responses: {
      200: {
        description: "By project.",
        schema: z.object({ items: z.array(CHECK) }),
        example: { items: [{ project: "default", isIntact: true, rows: 42, firstId: "1" }] },
      },
    },
    async handle() {
      return answer(200, { items: (await audit.check()).map(viewCheck) });
    },
  });
}

function viewOf({ seq, at, actor, hash, ...row }: AuditRow): z.infer<typeof ROW> {
  return {
    id: String(seq),
    at,
    actor: actor.name,
    actorType: actor.type,
    actorId: actor.id,
    action: row.action,
    object: row.object,
    detail: row.detail,
    remote: row.remote,
    outcome: row.outcome,
    hash: Buffer.from(hash).toString("hex"),
  };
}

function viewCheck({ project, isIntact, rows, firstSeq, fault }: AuditCheck) {
  return {
    project,
    isIntact,
    rows,
    firstId: String(firstSeq),
    ...(fault && { fault: { id: String(fault.seq), reason: fault.reason } }),
  };
}
