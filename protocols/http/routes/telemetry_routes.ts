/** History of a device: raw points with paging, buckets, or thinned for a chart. */
import { z } from "@hono/zod-openapi";
import { InvalidError } from "../../../runtime/errors.ts";
import { LIMITS } from "../../../runtime/limits.ts";
import type { Aggregate } from "../../../actors/telemetry/store.ts";
import type { HttpPorts } from "../ports.ts";
import { answer } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { CURSOR, DEVICE_PARAMS, nameList, NEXT_CURSOR, VALUE, wholeNumber } from "../schemas.ts";
import { requireDevice } from "./device_access.ts";

const AGGREGATES: readonly Aggregate[] = ["avg", "min", "max", "count", "first", "last"];
const KEYS_MAX = LIMITS.queryMetricsMax;
const POINTS_MAX = LIMITS.queryPointsMax;
const LIMIT_DEFAULT = 1_000;
const BUCKETS_MAX = LIMITS.queryBucketsMax;
const THIN_MIN = 3;
const THIN_MAX = LIMITS.thinnedPointsMax;
const TIME_MAX = 8.64e15;

const QUERY = z.strictObject({
  keys: nameList(KEYS_MAX, `Properties, comma-separated, 1 to ${KEYS_MAX}.`, "temperature,on"),
  from: timeParameter("Start, inclusive; 0 by default.", 1_700_000_000_000).optional(),
  to: timeParameter("End, exclusive; without it, no end.", 1_700_003_600_000).optional(),
  limit: wholeNumber(
    { min: 1, max: POINTS_MAX },
    `Raw points of all keys together; ${LIMIT_DEFAULT} by default.`,
    500,
  ).optional(),
  cursor: CURSOR.optional(),
  bucketMs: wholeNumber(
    { min: 1, max: 366 * 86_400_000 },
    `Milliseconds of a bucket; at most ${BUCKETS_MAX} buckets in the range. Needs \`agg\`.`,
    60_000,
  ).optional(),
  agg: z.string().transform((text) => [...new Set(text.split(","))] as Aggregate[])
    .refine((list) => list.every((one) => AGGREGATES.includes(one)), {
      error: `Cannot accept the aggregates: of ${AGGREGATES.join(", ")}`,
    })
    .openapi({
      type: "string",
      description: `What of each bucket, comma-separated: ${AGGREGATES.join(", ")}. ` +
        "`avg`, `min` and `max` look at numbers only.",
      example: "avg,max",
    }).optional(),
  points: wholeNumber(
    { min: THIN_MIN, max: THIN_MAX },
    "Thins numbers to this many points a key (Largest-Triangle-Three-Buckets).",
    500,
  ).optional(),
});

const POINT = z.tuple([z.int().describe("Epoch milliseconds."), VALUE]);
const BUCKET = z.object({
  at: z.int().describe("Start of the bucket, a multiple of `bucketMs`. Epoch milliseconds."),
  avg: z.number().optional().describe("Mean of the numbers, in the property's unit."),
  min: z.number().optional().describe("Smallest number, in the property's unit."),
  max: z.number().optional().describe("Largest number, in the property's unit."),
  count: z.int().optional().describe("Points in the bucket."),
  first: VALUE.optional(),
  last: VALUE.optional(),
});
const HISTORY = z.object({
  series: z.record(z.string(), z.array(z.union([POINT, BUCKET])))
    .describe("By key: points `[at, value]`, or with `bucketMs` buckets, in order of time."),
  nextCursor: NEXT_CURSOR.optional(),
}).openapi("Telemetry");

export function telemetryRoutes(ports: HttpPorts): Route[] {
  return [createRoute({
    method: "get",
    path: "/api/v1/devices/{product}/{device}/telemetry",
    tag: "telemetry",
    summary: "Reads history",
    description: "Raw points page by page; `bucketMs` with `agg` gives buckets; `points` thins. " +
      "`bucketMs`, `points` and `cursor` exclude each other.",
    params: DEVICE_PARAMS,
    query: QUERY,
    responses: {
      200: {
        description: "Points or buckets by key.",
        schema: HISTORY,
        example: { series: { temperature: [[1_700_000_000_000, 21.5]] }, nextCursor: null },
      },
    },
    problems: ["not-found", "unavailable"],
    async handle({ params, query, caller }) {
      const device = await requireDevice(ports, caller, params);
      const fromMs = query.from ?? 0;
      const toMs = query.to ?? historyEndMs(ports.clock.nowMs());
      const range = { device, metrics: query.keys, fromMs, toMs };
      assertForm(query, fromMs, toMs);
      if (query.bucketMs !== undefined) {
        const { bucketMs, agg } = query;
        const buckets = { ...range, bucketMs, aggregates: agg! };
        return answer(200, { series: await ports.telemetry.buckets(buckets) });
      }
      if (query.points !== undefined) {
        return answer(200, {
          series: await ports.telemetry.thin({ ...range, points: query.points }),
        });
      }
      const cursor = query.cursor === undefined ? undefined : { cursor: query.cursor };
      const limit = query.limit ?? LIMIT_DEFAULT;
      return answer(200, await ports.telemetry.range({ ...range, limit, ...cursor }));
    },
  })];
}

/** All that there is: clocks of devices may be ahead. */
export function historyEndMs(nowMs: number): number {
  return nowMs + LIMITS.aheadMsMax + 1;
}

function timeParameter(description: string, example: number) {
  return wholeNumber({ min: 0, max: TIME_MAX }, `${description} Epoch milliseconds.`, example);
}

function assertForm(query: z.infer<typeof QUERY>, fromMs: number, toMs: number): void {
  const { bucketMs, agg, points, cursor, limit } = query;
  if (fromMs > toMs) throw refused("from", "order", `Cannot read from ${fromMs} to ${toMs}`);
  if ((bucketMs === undefined) !== (agg === undefined)) {
    throw refused("agg", "together", "Cannot aggregate: `bucketMs` and `agg` go together");
  }
  if (bucketMs !== undefined && points !== undefined) {
    throw refused("points", "exclusive", "Cannot both thin and aggregate");
  }
  if ((bucketMs ?? points) !== undefined && (cursor ?? limit) !== undefined) {
    throw refused("cursor", "exclusive", "Cannot page what is aggregated or thinned");
  }
  if (bucketMs !== undefined && (toMs - fromMs) / bucketMs > BUCKETS_MAX) {
    const count = Math.ceil((toMs - fromMs) / bucketMs);
    throw refused("bucketMs", "max", `Cannot make ${count} buckets: ${BUCKETS_MAX} are the bound`);
  }
}

function refused(parameter: string, rule: string, message: string): InvalidError {
  return new InvalidError(message, [{ path: `query.${parameter}`, rule, message }]);
}
