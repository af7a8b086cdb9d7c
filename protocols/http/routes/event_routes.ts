/** Events that a device raised, newest first. */
import { z } from "@hono/zod-openapi";
import { InvalidError } from "../../../runtime/errors.ts";
import type { HttpPorts } from "../ports.ts";
import { definedOf } from "../request_input.ts";
import { answer } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import {
  CURSOR,
  DEVICE_PARAMS,
  LIMIT,
  NAME,
  name,
  pageOf,
  time,
  VALUE,
  wholeNumber,
} from "../schemas.ts";
import { requireDevice } from "./device_access.ts";

const TIME_MAX = 8.64e15;
const LIMIT_DEFAULT = 50;
const EVENT = z.object({
  event: name("Name of the event.", "overheated"),
  at: time("When it happened, as the device says, or when it was accepted."),
  data: VALUE.describe("Output data of the event."),
}).openapi("DeviceEvent");
const EXAMPLE = { event: "overheated", at: 1_700_000_000_000, data: { celsius: 131 } };

export function eventRoutes(ports: HttpPorts): Route[] {
  return [createRoute({
    method: "get",
    path: "/api/v1/devices/{product}/{device}/events",
    tag: "telemetry",
    summary: "Reads events",
    description: "Newest first. A page of long events may be short while `nextCursor` is not null.",
    params: DEVICE_PARAMS,
    query: z.strictObject({
      event: NAME.openapi({ description: "Only of this name.", example: "overheated" }).optional(),
      from: timeOf("Start, inclusive; 0 by default.", 1_700_000_000_000).optional(),
      to: timeOf("End, exclusive; without it, no end.", 1_700_003_600_000).optional(),
      limit: LIMIT.optional(),
      cursor: CURSOR.optional(),
    }),
    responses: {
      200: {
        description: "A page of events.",
        schema: pageOf(EVENT),
        example: { items: [EXAMPLE], nextCursor: null },
      },
    },
    problems: ["not-found", "unavailable"],
    async handle({ params, query, caller }) {
      const device = await requireDevice(ports, caller, params);
      const fromMs = query.from ?? 0;
      const toMs = query.to ?? TIME_MAX;
      if (fromMs > toMs) {
        const message = `Cannot read from ${fromMs} to ${toMs}`;
        throw new InvalidError(message, [{ path: "query.from", rule: "order", message }]);
      }
      const limit = query.limit ?? LIMIT_DEFAULT;
      const asked = definedOf({ event: query.event, cursor: query.cursor });
      return answer(200, await ports.telemetry.events({ device, fromMs, toMs, limit, ...asked }));
    },
  })];
}

function timeOf(description: string, example: number) {
  return wholeNumber({ min: 0, max: TIME_MAX }, `${description} Epoch milliseconds.`, example);
}
