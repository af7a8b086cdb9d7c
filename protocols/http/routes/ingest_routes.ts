/** The routes of devices, for the document and the policy; `Ingest` reads the request itself. */
import { z } from "@hono/zod-openapi";
import { LIMITS } from "../../../runtime/limits.ts";
import type { Ingest } from "../ingest.ts";
import { DOWNLINKS_QUERY } from "../device_polls.ts";
import { TIME_QUERY } from "../device_reads.ts";
import { createRoute, type ResponseSpec, type Route, type RouteRequest } from "../route.ts";
import { DEVICE_PARAMS, name, TIME, time, VALUE, VALUES } from "../schemas.ts";

type Asked = Pick<RouteRequest<unknown, unknown, unknown>, "request" | "instance" | "remote">;

const CALL_ID = name("Id of the call.", "q0t8Vn3dLxA1-b2C");
const SERVICE = name("Name of the service.", "restart");
const TIMED_VALUES = z.record(
  z.string(),
  z.object({ value: VALUE, at: time("When it was set.") }),
).openapi({ example: { on: { value: true, at: 1_700_000_000_000 } } });
const SAMPLE = z.object({ at: time("Time of the values.").optional(), values: VALUES });
const PROPERTIES = z.union([VALUES, SAMPLE, z.array(z.union([VALUES, SAMPLE]))]).openapi({
  description: `Values by property, or timed, or a list of either; at most ` +
    `${LIMITS.pointsPerMessageMax} points and ${LIMITS.payloadBytesMax} B.`,
});
const EVENT = z.union([
  z.record(z.string(), VALUE),
  z.object({ at: time("Time of the event.").optional(), data: VALUE }),
]).openapi({ description: "Output data of the event, or timed." });
const ACCEPTED = z.object({
  accepted: z.int().openapi({ description: "Points that are durable.", example: 2 }),
});
const PARTIAL = ACCEPTED.extend({
  refused: z.array(z.object({
    path: z.string().openapi({ description: "Where.", example: "values.temperature" }),
    rule: z.string().openapi({ description: "The rule that was broken.", example: "max" }),
    message: z.string().openapi({
      description: "What was refused, the bound and the value.",
      example: "Cannot accept 130: the maximum is 125",
    }),
  })).describe("Points that were refused; the others are durable."),
});
const RESPONSES: Readonly<Record<number, ResponseSpec>> = {
  202: { description: "Durable.", schema: ACCEPTED, example: { accepted: 2 } },
  207: {
    description: "Some points were refused, the others are durable.",
    schema: PARTIAL,
    example: {
      accepted: 1,
      refused: [{
        path: "values.temperature",
        rule: "max",
        message: "Cannot accept 130: the maximum is 125",
      }],
    },
  },
};
const PATH = "/ingest/v1/{product}/{device}";
const DESCRIPTION =
  "503 asks to send the same again after `Retry-After`. A body may be compressed " +
  "(`Content-Encoding: gzip`), and CBOR instead of JSON (`Content-Type: application/cbor`).";
/** What every request of a device may be refused with. */
const COMMON = ["unauthorized", "device-disabled", "not-found", "method-not-allowed"] as const;
const PROBLEMS = [
  ...COMMON,
  "body-timeout",
  "suspended",
  "partition-stopped",
  "too-large",
  "media-type",
  "not-acknowledged",
] as const;
const TOKEN = z.object({
  token: z.string().openapi({
    description: "Sent as `Authorization: Bearer`. Good for this device only.",
    example: "dt.lox7v2sw.4be1c0de1f2a.T0b9mQ4cYq0Zc7w0l2m1m5o8yJ0m8y3Jw3l4l5o6p7A",
  }),
  expiresAt: time("When it ends."),
});
const DOWNLINKS = z.object({
  calls: z.array(z.object({
    callId: CALL_ID,
    service: SERVICE,
    input: VALUES.describe("Input as the thing model has it."),
    expiresAt: time("From when on nobody wants the answer."),
  })).describe("Calls to answer, in the order they were made."),
  desired: z.object({
    version: z.int().openapi({ description: "Rises with each change.", example: 7 }),
    values: VALUES.describe("Desired values that differ from the reported ones."),
  }).nullable().describe("Null: nothing differs, or it was fetched just now."),
});
const SHADOW = z.object({
  version: z.int().openapi({ description: "Rises with each change of desired.", example: 7 }),
  desired: TIMED_VALUES.describe("What the values should be."),
  reported: TIMED_VALUES.describe("What the device said last."),
});
const TIMES = z.object({
  sent: TIME.optional().describe("As it was sent."),
  received: time("When the request came."),
  replied: time("When the answer went out."),
});
const REPLY = z.object({
  ok: z.boolean().openapi({ description: "Whether the device did it.", example: true }),
  output: VALUE.optional().describe("Output, if it did."),
  error: z.string().optional().openapi({
    description: "Why not, in the device's words.",
    example: "jammed",
  }),
});

export function ingestRoutes(ingest: Ingest): Route[] {
  return [...upRoutes(ingest), ...readRoutes(ingest)];
}

function upRoutes(ingest: Ingest): Route[] {
  const common = commonOf(ingest);
  const post = {
    ...common,
    method: "post",
    description: DESCRIPTION,
    problems: PROBLEMS,
    bodyTypes: ["application/json", "application/cbor"],
  } as const;
  const keyed = { isKeyed: true, problems: [...PROBLEMS, "idempotency-key-reused"] } as const;
  const properties = createRoute({
    ...post,
    ...keyed,
    path: `${PATH}/properties`,
    summary: "Reports properties",
    params: DEVICE_PARAMS,
    body: PROPERTIES,
    bodyExample: { temperature: 21.5, on: true },
    responses: RESPONSES,
  });
  const events = createRoute({
    ...post,
    ...keyed,
    path: `${PATH}/events/{event}`,
    summary: "Raises an event",
    params: DEVICE_PARAMS.extend({ event: name("Name of the event.", "overheated") }),
    body: EVENT,
    bodyExample: { at: 1_700_000_000_000, data: { celsius: 131 } },
    responses: { 202: RESPONSES[202]! },
  });
  const reply = createRoute({
    ...post,
    path: `${PATH}/services/{service}/{callId}/reply`,
    summary: "Answers a service call",
    description:
      "The first answer counts; one to a call that is over gets 409, which says how it " +
      `ended. 207: the model refused the output, so the call has failed. ${DESCRIPTION}`,
    params: DEVICE_PARAMS.extend({ service: SERVICE, callId: CALL_ID }),
    body: REPLY,
    bodyExample: { ok: true, output: { at: 1_700_000_003_000 } },
    responses: { ...RESPONSES, 202: { ...RESPONSES[202]!, example: { accepted: 1 } } },
    problems: [...PROBLEMS, "call-ended", "unavailable"],
  });
  const token = createRoute({
    ...common,
    method: "post",
    path: `${PATH}/token`,
    summary: "Makes a token",
    description: "By the device's secret only. The token is good for an hour, and ends with the " +
      "secret, and when the device is disabled or deleted.",
    params: DEVICE_PARAMS,
    responses: {
      200: {
        description: "The token.",
        schema: TOKEN,
        example: {
          token: "dt.lox7v2sw.4be1c0de1f2a.T0b9mQ4cYq0Zc7w0l2m1m5o8yJ0m8y3Jw3l4l5o6p7A",
          expiresAt: 1_700_003_600_000,
        },
      },
    },
    problems: COMMON,
  });
  return [properties, events, reply, token];
}

function readRoutes(ingest: Ingest): Route[] {
  const get = { ...commonOf(ingest), method: "get", params: DEVICE_PARAMS } as const;
  const downlinks = createRoute({
    ...get,
    path: `${PATH}/downlinks`,
    summary: "Fetches service calls and desired values, or waits for them",
    description: "What was fetched is offered again, first after 10 s: calls until they are " +
      "answered, desired values until they are reported. One poll of a device waits at a time; a " +
      "second one ends the first with 409.",
    query: DOWNLINKS_QUERY,
    responses: {
      200: {
        description: "What there is; both empty: the time is over.",
        schema: DOWNLINKS,
        example: {
          calls: [{
            callId: "q0t8Vn3dLxA1-b2C",
            service: "restart",
            input: { delay: 3 },
            expiresAt: 1_700_000_005_000,
          }],
          desired: { version: 7, values: { on: false } },
        },
      },
    },
    problems: [...COMMON, "superseded", "suspended", "partition-stopped", "unavailable"],
  });
  const shadow = createRoute({
    ...get,
    path: `${PATH}/shadow`,
    summary: "Reads the device's own shadow",
    responses: {
      200: {
        description: "The shadow.",
        schema: SHADOW,
        example: {
          version: 7,
          desired: { on: { value: false, at: 1_700_000_000_000 } },
          reported: { on: { value: true, at: 1_700_000_000_500 } },
        },
      },
    },
    problems: [...COMMON, "unavailable"],
  });
  const clock = createRoute({
    ...get,
    path: `${PATH}/time`,
    summary: "Tells the time",
    query: TIME_QUERY,
    responses: {
      200: {
        description: "Times of the platform's clock.",
        schema: TIMES,
        example: {
          sent: 1_700_000_000_000,
          received: 1_700_000_000_020,
          replied: 1_700_000_000_020,
        },
      },
    },
    problems: COMMON,
  });
  return [downlinks, shadow, clock];
}

function commonOf(ingest: Ingest) {
  return {
    tag: "ingest",
    isRaw: true,
    handle: ({ request, instance, remote }: Asked) => ingest.handle(request, instance, remote),
  };
}
