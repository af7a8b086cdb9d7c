/** Tables that are uploaded and imported as jobs. */
import { z } from "@hono/zod-openapi";
import { NotFoundError } from "../../../runtime/errors.ts";
import { JOB_LIMITS } from "../../../runtime/job_limits.ts";
import type { Json } from "../../../runtime/actor/behaviour.ts";
import type { JobKindName } from "../../../actors/job/job.ts";
import { noteAudit } from "../../../actors/audit/audit_scope.ts";
import type { Caller, HttpPorts } from "../ports.ts";
import { definedOf } from "../request_input.ts";
import { createRoute, type Keep, type Route } from "../route.ts";
import { NAME } from "../schemas.ts";
import { TABLE_TYPES, tableFormatOf, Uploads } from "../uploads.ts";
import { isOwn } from "./device_access.ts";
import { answerStarted, STARTED } from "./job_routes.ts";

const QUERY = z.strictObject({
  product: NAME.optional().openapi({
    description: "Product of lines that name none.",
    example: "pump",
  }),
});
const BODY_TYPES = Object.keys(TABLE_TYPES);
const REPEATS = "Under an `Idempotency-Key` the body is not compared with the first one's.";

export function importRoutes(ports: HttpPorts): Route[] {
  const uploads = new Uploads(ports.jobFiles, ports.clock);
  return [importTelemetry(ports, uploads), importDevices(ports, uploads)];
}

function importTelemetry(ports: HttpPorts, uploads: Uploads): Route {
  return createRoute({
    method: "post",
    path: "/api/v1/jobs/telemetry-import",
    tag: "jobs",
    summary: "Imports history with its own times",
    description: "CSV whose first line names its columns (`device`, `key`, `at`, `value`, and " +
      "`product` if need be), or NDJSON, a line `{device, key, at, value}` or `{device, at, " +
      "values}`; also what the export wrote. A point that is stored already is left out: importing " +
      "again changes nothing. Lines that cannot be taken are refused one by one; the file of the " +
      "job lists them. Current values, rules and alarms are not touched. " + REPEATS,
    query: QUERY,
    body: z.string(),
    bodyTypes: BODY_TYPES,
    bodyExample: "device,key,at,value\npump/p-1,temperature,1700000000000,21.5\n",
    isStreamed: true,
    responses: STARTED,
    problems: ["not-found", "conflict"],
    async handle({ query, caller, request, keep }) {
      const upload = { kind: "telemetryImport", request, product: query.product } as const;
      return await startImport(ports, uploads, caller!, keep, upload);
    },
  });
}

function importDevices(ports: HttpPorts, uploads: Uploads): Route {
  return createRoute({
    method: "post",
    path: "/api/v1/jobs/device-import",
    tag: "jobs",
    summary: "Creates many devices",
    description:
      "CSV whose first line names its columns (`device`, and `product`, `name`, `tags` " +
      "with `;` between them, `enabled`, `secret` if need be), or NDJSON, a line as `POST /devices` " +
      "takes it. Devices that exist stay as they are. The file of the job lists the new ones with " +
      "the secrets that were made for them, for an hour, and the lines that were refused. " +
      REPEATS,
    query: QUERY,
    body: z.string(),
    bodyTypes: BODY_TYPES,
    bodyExample: "product,device,name,tags\npump,p-1,Pump 1,hall-2;spare\n",
    isStreamed: true,
    responses: STARTED,
    problems: ["not-found", "conflict"],
    async handle({ query, caller, request, keep }) {
      const upload = { kind: "deviceImport", request, product: query.product } as const;
      return await startImport(ports, uploads, caller!, keep, upload);
    },
  });
}

async function startImport(
  ports: HttpPorts,
  uploads: Uploads,
  caller: Caller,
  keep: Keep,
  upload: {
    readonly kind: JobKindName;
    readonly request: Request;
    readonly product: string | undefined;
  },
): Promise<Response> {
  const { kind, request, product } = upload;
  const format = tableFormatOf(request);
  if (product !== undefined && !isOwn(ports, caller, product)) {
    throw new NotFoundError(`Cannot find product "${product}"`);
  }
  const id = ports.jobs.createId();
  noteAudit({ object: `jobs/${id}` });
  const isOfDevices = kind === "deviceImport";
  const { jobUploadBytesMax, jobDeviceUploadBytesMax } = JOB_LIMITS;
  const bytesMax = isOfDevices ? jobDeviceUploadBytesMax : jobUploadBytesMax;
  await uploads.receive(request, { id, project: caller.project }, bytesMax);
  try {
    const input: Json = definedOf({ format, product });
    return await answerStarted(ports, caller, keep, { kind, input, id });
  } catch (fault) {
    await ports.jobFiles.remove(id, "in");
    throw fault;
  }
}
