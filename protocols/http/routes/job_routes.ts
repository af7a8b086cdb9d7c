/** Long work: what there is of it, how far it is, what it made; and how it is started. */
import { z } from "@hono/zod-openapi";
import { NotFoundError } from "../../../runtime/errors.ts";
import type { Json } from "../../../runtime/actor/behaviour.ts";
import type { Job, JobKindName } from "../../../actors/job/job.ts";
import type { NewJob } from "../../../actors/job/jobs.ts";
import type { TelemetryExportInput } from "../../../actors/job/telemetry_export.ts";
import { rangeOf, streamOf } from "../file_range.ts";
import { assertAllowed } from "../guard.ts";
import { valueOf } from "../outcome_answers.ts";
import { type CallerPolicy, policyOf } from "../policy.ts";
import type { Caller, HttpPorts } from "../ports.ts";
import { ProblemError } from "../problem.ts";
import { definedOf } from "../request_input.ts";
import { type Answer, answer, answerPage, noContent, respond } from "../responses.ts";
import { createRoute, type Keep, type Route } from "../route.ts";
import { countedPageOf, LIST_QUERY, NAME, time } from "../schemas.ts";
import { isOwn, requireDevice } from "./device_access.ts";
import { historyEndMs } from "./telemetry_routes.ts";

const KINDS = [
  "telemetryExport",
  "telemetryImport",
  "deviceImport",
  "rebuildViews",
] as const satisfies readonly JobKindName[];
const STATUSES = ["queued", "running", "done", "failed", "cancelled"] as const;
const DEVICES_MAX = 1_000;
const KEYS_MAX = 100;
const ID = z.string().min(1).max(64).openapi({
  description: "Id of the job.",
  example: "0lq2k5g3x-9f2c41d0a7b35e8816",
});
const KIND = z.enum(KINDS).openapi({ description: "What it does.", example: "telemetryExport" });
const STATUS = z.enum(STATUSES).openapi({
  description: "`queued` and `running` are open, the others are final.",
  example: "running",
});
const JOB = z.object({
  id: ID,
  kind: KIND,
  status: STATUS,
  progress: z.number().min(0).max(1).openapi({ description: "0 to 1.", example: 0.4 }),
  createdAt: time("When it was asked for."),
  startedAt: time("When it began.").optional(),
  finishedAt: time("When it ended.").optional(),
  createdBy: z.string().openapi({ description: "Id of the user or key.", example: "u1" }),
  detail: z.string().optional().openapi({
    description: "What it is at, or was at last, for people.",
    example: "4 of 10 devices, 12000 points",
  }),
  result: z.record(z.string(), z.unknown()).optional().openapi({
    description: "What came of it, by kind; `expiresAt`: until when its file can be fetched.",
    example: { devices: 10, points: 30_000, bytes: 1_234_567, expiresAt: 1_700_086_400_000 },
  }),
  problem: z.object({
    type: z.string().openapi({
      description: "`urn:roost:problem:{code}`.",
      example: "urn:roost:problem:interrupted",
    }),
    detail: z.string().openapi({ description: "What went wrong.", example: "No room" }),
  }).optional().describe("Why it failed."),
}).openapi("Job");
const EXAMPLE = {
  id: "0lq2k5g3x-9f2c41d0a7b35e8816",
  kind: "telemetryExport",
  status: "running",
  progress: 0.4,
  createdAt: 1_700_000_000_000,
  startedAt: 1_700_000_000_100,
  createdBy: "u1",
  detail: "4 of 10 devices, 12000 points",
};
const EXPORT = z.strictObject({
  format: z.enum(["csv", "ndjson"]).openapi({
    description:
      "CSV: a line a point or event. NDJSON: a line for the points of one moment, or an event.",
    example: "csv",
  }),
  kind: z.enum(["points", "events"]).optional().openapi({
    description: "Points of properties, the default, or events; these newest first of each device.",
    example: "points",
  }),
  product: NAME.optional().openapi({
    description: "Only devices of this product; all of the project by default.",
    example: "pump",
  }),
  devices: z.array(z.string().min(3).max(129)).min(1).max(DEVICES_MAX).optional().openapi({
    description: `Only these, \`{product}/{device}\`; up to ${DEVICES_MAX}.`,
    example: ["pump/p-1"],
  }),
  keys: z.array(NAME).min(1).max(KEYS_MAX).optional().openapi({
    description: `Only these properties, or events, up to ${KEYS_MAX}; all by default.`,
    example: ["temperature"],
  }),
  from: time("Start, inclusive; 0 by default.").optional(),
  to: time(
    "End, exclusive; by default all that devices had reported, whose clocks may be ahead.",
  ).optional(),
}).openapi("TelemetryExport");
const LIST = "/api/v1/jobs";
const PARAMS = z.object({ id: ID });
export const STARTED = {
  202: {
    description: "The job.",
    schema: JOB,
    example: { ...EXAMPLE, status: "queued", progress: 0 },
    headers: { Location: "Path of the job." },
  },
};
/** Who may start a job of a kind may also read what it made. */
const STARTS: Readonly<Record<typeof KINDS[number], string>> = {
  telemetryExport: `POST ${LIST}/telemetry-export`,
  telemetryImport: `POST ${LIST}/telemetry-import`,
  deviceImport: `POST ${LIST}/device-import`,
  rebuildViews: `POST ${LIST}/rebuild-views`,
};

export function jobRoutes(ports: HttpPorts): Route[] {
  return [
    list(ports),
    read(ports),
    cancel(ports),
    fetchResult(ports),
    startExport(ports),
    startRebuild(ports),
  ];
}

function list({ jobs }: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: LIST,
    tag: "jobs",
    summary: "Lists jobs",
    description: "Newest first.",
    query: z.strictObject({
      ...LIST_QUERY,
      status: STATUS.optional(),
      kind: KIND.optional(),
    }),
    responses: {
      200: {
        description: "A page of jobs.",
        schema: countedPageOf(JOB),
        example: { items: [EXAMPLE], nextCursor: null },
      },
    },
    async handle({ query, caller }) {
      const { count: isCounted, ...rest } = query;
      const { project } = caller!;
      const asked = definedOf({ ...rest, limit: query.limit ?? 50 });
      const page = valueOf(await jobs.list(project, asked), "query.");
      const count = isCounted ? await jobs.count(project, asked) : undefined;
      return answerPage(page.items, page.nextCursor, count);
    },
  });
}

function read(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: `${LIST}/{id}`,
    tag: "jobs",
    summary: "Reads a job",
    params: PARAMS,
    responses: { 200: { description: "The job.", schema: JOB, example: EXAMPLE } },
    problems: ["not-found"],
    async handle({ params, caller }) {
      return answer(200, await requireJob(ports, caller, params.id));
    },
  });
}

function cancel({ jobs }: HttpPorts): Route {
  return createRoute({
    method: "delete",
    path: `${LIST}/{id}`,
    tag: "jobs",
    summary: "Cancels a job",
    description: "Of one that is over, the file is removed. Twice is harmless.",
    params: PARAMS,
    responses: { 204: { description: "It does not go on." } },
    async handle({ params, caller }) {
      await jobs.cancel(caller!.project, params.id);
      return noContent();
    },
  });
}

function fetchResult(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: `${LIST}/{id}/result`,
    tag: "jobs",
    summary: "Fetches the file that a job has made",
    description: "`Range` with one range of bytes is honoured. It also takes the role or scope " +
      "that reading the same otherwise does.",
    params: PARAMS,
    responses: {
      200: {
        description: "The file.",
        mediaType: "text/csv",
        schema: z.string(),
        example: "product,device,key,at,value\r\n",
        headers: { "Content-Disposition": "Its name.", ETag: "Strong tag of the file." },
      },
      206: {
        description: "A part of the file.",
        mediaType: "text/csv",
        schema: z.string(),
        example: "product",
        headers: { "Content-Range": "Which bytes, of how many." },
      },
    },
    problems: ["not-found", "conflict", "gone", "range-not-satisfiable"],
    async handle({ params: { id }, caller, request }) {
      const job = await requireJob(ports, caller, id);
      const start = STARTS[job.kind as typeof KINDS[number]];
      assertAllowed(policyOf(start) as CallerPolicy, caller!);
      return await answerFile(ports, caller!, job, request);
    },
  });
}

async function answerFile(
  { jobs, jobFiles }: HttpPorts,
  caller: Caller,
  job: Job,
  request: Request,
): Promise<Response> {
  if (job.status !== "done") {
    throw new ProblemError("conflict", `Cannot fetch the file: the job is ${job.status}`);
  }
  const known = await jobs.fileOf(caller.project, job.id);
  const file = known && await jobFiles.open(job.id, "out");
  const size = jobFiles.sizeOf(job.id, "out");
  if (known === undefined || file === undefined || size === undefined) {
    file?.close();
    throw new ProblemError("gone", "Cannot fetch the file: it was removed, or never made");
  }
  const etag = `"${job.id}"`;
  const headers: Record<string, string> = {
    "content-type": known.mediaType,
    "content-disposition": `attachment; filename="${known.name}"`,
    "accept-ranges": "bytes",
    "cache-control": "no-store",
    etag,
  };
  const range = rangeOf(request.headers, size, etag);
  if (range === "none") {
    file.close();
    const detail = `Cannot send this range: the file has ${size} B`;
    const options = { headers: { "content-range": `bytes */${size}` } };
    throw new ProblemError("range-not-satisfiable", detail, options);
  }
  const { from, to } = range ?? { from: 0, to: size };
  headers["content-length"] = String(to - from);
  if (range !== undefined) headers["content-range"] = `bytes ${from}-${to - 1}/${size}`;
  const status = range === undefined ? 200 : 206;
  if (request.method === "HEAD") {
    file.close();
    return new Response(null, { status, headers });
  }
  return new Response(streamOf(file, { from, to }), { status, headers });
}

function startExport(ports: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: `${LIST}/telemetry-export`,
    tag: "jobs",
    summary: "Exports history into a file",
    description: "Cells of CSV that a spreadsheet would take for a formula begin with `'`.",
    body: EXPORT,
    bodyExample: { format: "csv", product: "pump", keys: ["temperature"] },
    responses: STARTED,
    problems: ["not-found", "conflict"],
    async handle({ body, caller, keep }) {
      const { product, devices, from = 0, to = historyEndMs(ports.clock.nowMs()) } = body;
      if (product !== undefined && !isOwn(ports, caller, product)) {
        throw new NotFoundError(`Cannot find product "${product}"`);
      }
      for (const name of new Set(devices)) {
        const [ofProduct = "", device = ""] = name.split("/", 2);
        await requireDevice(ports, caller, { product: ofProduct, device });
      }
      const input: TelemetryExportInput = {
        ...definedOf({ format: body.format, kind: body.kind, product, keys: body.keys }),
        ...(devices === undefined ? undefined : { devices: [...new Set(devices)] }),
        fromMs: from,
        toMs: Math.max(from, to),
      };
      const kind = "telemetryExport";
      return await answerStarted(ports, caller!, keep, { kind, input: input as unknown as Json });
    },
  });
}

function startRebuild(ports: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: `${LIST}/rebuild-views`,
    tag: "jobs",
    summary: "Rebuilds what lists show of devices from their states",
    description:
      "Presence of all devices and their open calls, put right row by row while they are " +
      "read and written. Calls that have ended are in no state, and stay as they are.",
    body: z.strictObject({}).openapi("ViewsRebuild"),
    bodyExample: {},
    isBodyOptional: true,
    responses: STARTED,
    problems: ["conflict"],
    async handle({ caller, keep }) {
      return await answerStarted(ports, caller!, keep, { kind: "rebuildViews", input: {} });
    },
  });
}

/** Starts a job for its caller and answers with it. */
export async function answerStarted(
  { jobs }: Pick<HttpPorts, "jobs">,
  { project, id: createdBy }: Caller,
  keep: Keep,
  job: Pick<NewJob, "kind" | "input" | "id">,
): Promise<Response> {
  const started = (made: Job): Answer => {
    return { status: 202, value: made, location: `${LIST}/${made.id}` };
  };
  const made = valueOf(await jobs.create({ ...job, project, createdBy }, keep(started)));
  return respond(started(made));
}

/** @throws {NotFoundError} Also for a job of another project. */
async function requireJob(
  { jobs }: HttpPorts,
  caller: Caller | undefined,
  id: string,
): Promise<Job> {
  const job = caller && await jobs.get(caller.project, id);
  if (job === undefined) throw new NotFoundError(`Cannot find job "${id}"`);
  return job;
}
