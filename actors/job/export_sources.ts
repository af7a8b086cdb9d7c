/** What an export of history is of: points or events of one device, page by page, as text. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { DeviceEvent } from "../telemetry/store.ts";
import type { TelemetryQueries } from "../telemetry/worker.ts";
import { cellOfValue, csvLine } from "./csv.ts";
import type { TableFormat } from "./upload_records.ts";

/** `points`, or `events` instead of them. */
export type ExportedKind = "points" | "events";

export interface ExportedSpan {
  readonly format: TableFormat;
  /** Inclusive, epoch milliseconds. */
  readonly fromMs: number;
  /** Exclusive. */
  readonly toMs: number;
}

export interface ExportedPage {
  readonly text: string;
  /** Points, or events. */
  readonly count: number;
  /** How many of the names it has; all of them, once `nextCursor` is null. */
  readonly names: number;
  readonly nextCursor: string | null;
}

export interface ExportSource {
  /** First line of CSV. */
  readonly header: string;
  /** Of what a device has, as `page` takes them. @param device `{product}/{device}`. */
  namesOf(device: string): Promise<readonly string[]>;
  /** Of the first ones of `names`. */
  page(device: string, names: readonly string[], cursor: string | null): Promise<ExportedPage>;
}

type Telemetry = () => Pick<TelemetryQueries, "range" | "latest" | "events">;

/** Stands for events of all names: itself it is none. */
const ALL_EVENTS = "";

export function exportSource(
  kind: ExportedKind,
  span: ExportedSpan,
  telemetry: Telemetry,
): ExportSource {
  return kind === "events" ? eventSource(span, telemetry) : pointSource(span, telemetry);
}

function pointSource({ format, fromMs, toMs }: ExportedSpan, telemetry: Telemetry): ExportSource {
  return {
    header: csvLine(["product", "device", "key", "at", "value"]),
    namesOf: async (device) => Object.keys(await telemetry().latest(device)).sort(),
    async page(name, names, cursor) {
      const metrics = names.slice(0, LIMITS.queryMetricsMax);
      const limit = JOB_LIMITS.jobSlicePoints;
      const asked = { device: name, metrics, fromMs, toMs, limit, ...(cursor && { cursor }) };
      const { series, nextCursor } = await telemetry().range(asked);
      const points = pointsOf(series);
      const [product, device] = name.split("/") as [string, string];
      const lines = format === "csv"
        ? points.map(({ key, at, value }) =>
          csvLine([product, device, key, at, cellOfValue(value)])
        )
        : samplesOf(points).map((sample) => JSON.stringify({ product, device, ...sample }) + "\n");
      return { text: lines.join(""), count: points.length, names: metrics.length, nextCursor };
    },
  };
}

/** Newest first, as they are read. */
function eventSource({ format, fromMs, toMs }: ExportedSpan, telemetry: Telemetry): ExportSource {
  const lineOf = (product: string, device: string, { event, at, data }: DeviceEvent) =>
    format === "csv"
      ? csvLine([product, device, event, at, JSON.stringify(data)])
      : JSON.stringify({ product, device, event, at, data }) + "\n";
  return {
    header: csvLine(["product", "device", "event", "at", "data"]),
    namesOf: () => Promise.resolve([ALL_EVENTS]),
    async page(name, [event], cursor) {
      const { items, nextCursor } = await telemetry().events({
        device: name,
        fromMs,
        toMs,
        limit: LIMITS.eventsPageMax,
        ...(event !== ALL_EVENTS && event !== undefined ? { event } : undefined),
        ...(cursor && { cursor }),
      });
      const [product, device] = name.split("/") as [string, string];
      const text = items.map((item) => lineOf(product, device, item)).join("");
      return { text, count: items.length, names: 1, nextCursor };
    },
  };
}

interface ExportedPoint {
  readonly key: string;
  readonly at: number;
  readonly value: Json;
}

/** In order of time; equal times keep the order of their series. */
function pointsOf(series: Readonly<Record<string, readonly (readonly [number, Json])[]>>) {
  const points = Object.entries(series).flatMap(([key, list]) =>
    list.map(([at, value]): ExportedPoint => ({ key, at, value }))
  );
  return points.sort((a, b) => a.at - b.at);
}

/** Points of one moment together, unless one of a key is there already. */
function samplesOf(points: readonly ExportedPoint[]) {
  const samples: { at: number; values: Record<string, Json> }[] = [];
  for (const { key, at, value } of points) {
    const last = samples.at(-1);
    if (last?.at === at && !Object.hasOwn(last.values, key)) last.values[key] = value;
    else {
      // Without a prototype: a key may be called like what objects have.
      const values: Record<string, Json> = Object.create(null);
      values[key] = value;
      samples.push({ at, values });
    }
  }
  return samples;
}
