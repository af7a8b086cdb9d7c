/** What a history query may ask for, checked once for every store. */
import { InvalidError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { BucketQuery, EventQuery, RangeQuery, ThinQuery } from "./store.ts";

export const DAY_MS = 86_400_000;
/** Largest time that a `Date` can hold. */
export const AT_MS_MAX = 8_640_000_000_000_000;

export function dayOf(atMs: number): number {
  return Math.floor(atMs / DAY_MS);
}

/** An integer of milliseconds that a `Date` can hold. */
export function isTime(atMs: unknown): atMs is number {
  return Number.isInteger(atMs) && Math.abs(atMs as number) <= AT_MS_MAX;
}

const AGGREGATES: readonly string[] = ["avg", "min", "max", "count", "first", "last"];

/** Throws `InvalidError` on a query out of bounds; returns its metrics without repeats. */
export function checkRange(query: RangeQuery): string[] {
  checkWhole("limit", query.limit, 1, LIMITS.queryPointsMax);
  return checkSpan(query);
}

/** The same for buckets: at most `queryBucketsMax` of them. */
export function checkBuckets(query: BucketQuery): string[] {
  checkWhole("bucketMs", query.bucketMs, 1, AT_MS_MAX);
  for (const aggregate of query.aggregates) {
    if (!AGGREGATES.includes(aggregate)) refuse("aggregates", "unknown", aggregate, AGGREGATES);
  }
  const metrics = checkSpan(query);
  const count = Math.ceil((query.toMs - query.fromMs) / query.bucketMs);
  if (count > LIMITS.queryBucketsMax) {
    refuse("bucketMs", "max", `${count} buckets`, LIMITS.queryBucketsMax);
  }
  return metrics;
}

/** The same for a thinned range. */
export function checkThin(query: ThinQuery): string[] {
  checkWhole("points", query.points, 3, LIMITS.thinnedPointsMax);
  return checkSpan(query);
}

/** The same for events. */
export function checkEvents(query: EventQuery): void {
  checkWhole("limit", query.limit, 1, LIMITS.eventsPageMax);
  checkTimes(query);
}

function checkSpan(
  query: { readonly metrics: readonly string[]; readonly fromMs: number; readonly toMs: number },
): string[] {
  const metrics = [...new Set(query.metrics)];
  if (metrics.length < 1 || metrics.length > LIMITS.queryMetricsMax) {
    refuse("metrics", "count", metrics.length, `1 to ${LIMITS.queryMetricsMax}`);
  }
  checkTimes(query);
  return metrics;
}

function checkTimes({ fromMs, toMs }: { readonly fromMs: number; readonly toMs: number }): void {
  checkWhole("fromMs", fromMs, -AT_MS_MAX, AT_MS_MAX);
  checkWhole("toMs", toMs, -AT_MS_MAX, AT_MS_MAX + 1);
  if (fromMs > toMs) refuse("fromMs", "order", fromMs, `toMs ${toMs}`);
}

function checkWhole(path: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    refuse(path, "range", value, `an integer from ${min} to ${max}`);
  }
}

function refuse(path: string, rule: string, value: unknown, bound: unknown): never {
  const message = `Cannot query history: ${path} is ${value}, the bound is ${bound}`;
  throw new InvalidError(message, [{ path, rule, message }]);
}
