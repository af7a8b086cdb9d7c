/** The routes of devices, for the document and the policy; `Ingest` reads the request itself. */
import { z } from "@hono/zod-openapi";
import { LIMITS } from "../../../runtime/limits.ts";
import type { Ingest } from "../ingest.ts";
import { createRoute, type ResponseSpec, type Route } from "../route.ts";
import { DEVICE_PARAMS, name, time, VALUE, VALUES } from "../schemas.ts";

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
const DESCRIPTION = "Basic credentials: user `{product}/{device}`, password the device's secret. " +
  "503 asks to send the same again after `Retry-After`.";
const PROBLEMS = [
  "unauthorized",
  "device-disabled",
  "not-found",
  "body-timeout",
  "suspended",
  "partition-stopped",
  "too-large",
  "not-acknowledged",
] as const;

export function ingestRoutes(ingest: Ingest): Route[] {
  const properties = createRoute({
    method: "post",
    path: `${PATH}/properties`,
    tag: "ingest",
    summary: "Reports properties",
    description: DESCRIPTION,
    isRaw: true,
    params: DEVICE_PARAMS,
    body: PROPERTIES,
    bodyExample: { temperature: 21.5, on: true },
    responses: RESPONSES,
    problems: PROBLEMS,
    handle: ({ request, instance, remote }) => ingest.handle(request, instance, remote),
  });
  const events = createRoute({
    method: "post",
    path: `${PATH}/events/{event}`,
    tag: "ingest",
    summary: "Raises an event",
    description: DESCRIPTION,
    isRaw: true,
    params: DEVICE_PARAMS.extend({ event: name("Name of the event.", "overheated") }),
    body: EVENT,
    bodyExample: { at: 1_700_000_000_000, data: { celsius: 131 } },
    responses: { 202: RESPONSES[202]! },
    problems: PROBLEMS,
    handle: ({ request, instance, remote }) => ingest.handle(request, instance, remote),
  });
  return [properties, events];
}
