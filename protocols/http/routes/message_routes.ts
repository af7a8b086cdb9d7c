/** The last messages of a device and what became of them. */
import { z } from "@hono/zod-openapi";
import type { HttpPorts } from "../ports.ts";
import { answer } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { DEVICE_PARAMS, LIMIT, time } from "../schemas.ts";
import { findDevice } from "./device_access.ts";

const LIMIT_DEFAULT = 50;
const MESSAGE = z.object({
  id: z.string().openapi({ description: "Of this device; rises.", example: "17" }),
  wire: z.enum(["mqtt", "http"]).openapi({ description: "How it came.", example: "mqtt" }),
  topic: z.string().openapi({ description: "After the device's prefix.", example: "properties" }),
  bytes: z.int().openapi({ description: "Of its payload.", example: 21 }),
  acceptedAt: time("When it came; also of a refused one."),
  handledAt: time("When its actor had handled it, at the latest.").nullable(),
  storedAt: time("When the history was known to have it, at the latest.").nullable(),
  status: z.enum(["accepted", "handled", "stored", "deadLettered", "refused"])
    .openapi({ description: "How far it is known to have come.", example: "stored" }),
  reason: z.string().openapi({ description: "Why not all of it was taken.", example: "invalid" })
    .optional(),
  detail: z.string().openapi({ description: "The same in words.", example: "t: max is 100" })
    .optional(),
  userProperties: z.array(z.array(z.string()).length(2))
    .openapi({ description: "Of MQTT 5: names and values.", example: [["shift", "night"]] })
    .optional(),
  isWill: z.literal(true).openapi({
    description: "Sent for a device that was lost.",
    example: true,
  })
    .optional(),
}).openapi("DeviceTracedMessage");
const EXAMPLE = {
  id: "17",
  wire: "mqtt" as const,
  topic: "properties",
  bytes: 21,
  acceptedAt: 1_700_000_000_000,
  handledAt: 1_700_000_000_012,
  storedAt: 1_700_000_000_040,
  status: "stored" as const,
  userProperties: [["shift", "night"]],
};

export function messageRoutes(ports: HttpPorts): Route[] {
  return [createRoute({
    method: "get",
    path: "/api/v1/devices/{product}/{device}/messages",
    tag: "telemetry",
    summary: "Reads the trace of last messages",
    description: "Newest first, from memory: a restart forgets them, and so do many other devices.",
    params: DEVICE_PARAMS,
    query: z.strictObject({ limit: LIMIT.optional() }),
    responses: {
      200: {
        description: "The last messages.",
        schema: z.object({ items: z.array(MESSAGE) }),
        example: { items: [EXAMPLE] },
      },
    },
    problems: ["not-found", "unavailable"],
    async handle({ params, query, caller }) {
      const { product, device } = await findDevice(ports, caller, params);
      const limit = query.limit ?? LIMIT_DEFAULT;
      const items = await ports.messages(product, device, limit);
      const copied = items.map(({ userProperties, ...rest }) => ({
        ...rest,
        ...(userProperties && { userProperties: userProperties.map((pair) => [...pair]) }),
      }));
      return answer(200, { items: copied });
    },
  })];
}
