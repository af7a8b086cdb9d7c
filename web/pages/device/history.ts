/**
 * History of some properties over a range, and what comes live behind it. A range with few points is
 * read raw, one with many as means with their smallest and largest values.
 */
import { onScopeDispose, type Ref, shallowRef, watch } from "vue";
import { api } from "../../api/client.ts";
import type { DeviceName } from "../../api/devices.ts";
import { ApiError } from "../../api/problem.ts";
import { type ChartPoint, type ChartSeries, gapOf, withGaps } from "../../chart/series.ts";
import { bucketMsOf, type TimeRange } from "./ranges.ts";

/** Points of one property that are drawn raw. */
const RAW_POINTS_MAX = 2_000;
/** Live points kept behind what was read. */
const LIVE_POINTS_MAX = 5_000;
/** Properties that are read at once, at most. */
export const KEYS_MAX = 32;

interface Bucket {
  readonly at: number;
  readonly avg?: number;
  readonly min?: number;
  readonly max?: number;
  readonly count?: number;
  readonly last?: unknown;
}

export interface PropertyHistory {
  readonly points: readonly ChartPoint[];
  readonly band: readonly (readonly [number, number, number])[] | undefined;
  /** Milliseconds of a mean; undefined: raw points. */
  readonly bucketMs: number | undefined;
  readonly isState: boolean;
}

export interface Sample {
  readonly at: number;
  readonly values: Readonly<Record<string, unknown>>;
}

export interface History {
  readonly series: Ref<ReadonlyMap<string, PropertyHistory>>;
  readonly error: Ref<ApiError | undefined>;
  /** Appends what a device has just sent. */
  push(samples: readonly Sample[]): void;
  reload(): Promise<void>;
}

export function useHistory(
  device: DeviceName,
  asked: () => { readonly keys: readonly string[]; readonly range: TimeRange },
  /** A change of it reads again; the range of a live view moves without. */
  on: () => string,
): History {
  const series = shallowRef<ReadonlyMap<string, PropertyHistory>>(new Map());
  const error = shallowRef<ApiError>();
  let own = new AbortController();

  const reload = async () => {
    own.abort();
    const mine = own = new AbortController();
    const { keys, range } = asked();
    try {
      const found = keys.length === 0
        ? new Map()
        : await readHistory(device, keys.slice(0, KEYS_MAX), range, mine.signal);
      if (mine.signal.aborted) return;
      series.value = found;
      error.value = undefined;
    } catch (fault) {
      if (mine.signal.aborted) return;
      if (!(fault instanceof ApiError)) throw fault;
      error.value = fault;
    }
  };
  watch(on, () => void reload(), { immediate: true });
  onScopeDispose(() => own.abort());
  return {
    series,
    error,
    reload,
    push: (samples) => series.value = pushed(series.value, samples),
  };
}

async function readHistory(
  device: DeviceName,
  keys: readonly string[],
  range: TimeRange,
  signal: AbortSignal,
): Promise<Map<string, PropertyHistory>> {
  const bucketMs = bucketMsOf(range);
  const { series } = await api.get("/api/v1/devices/{product}/{device}/telemetry", {
    params: { product: device.product, device: device.device },
    query: {
      keys: keys.join(","),
      from: Math.max(0, range.fromMs),
      to: range.toMs,
      bucketMs,
      agg: "avg,min,max,count,last",
    },
    signal,
  });
  const found = new Map<string, PropertyHistory>();
  const reads = keys.map(async (key) => {
    const buckets = (series[key] ?? []) as unknown as readonly Bucket[];
    const count = buckets.reduce((sum, { count: own = 0 }) => sum + own, 0);
    found.set(
      key,
      count <= RAW_POINTS_MAX
        ? await readRaw(device, key, range, signal)
        : ofBuckets(buckets, bucketMs),
    );
  });
  await Promise.all(reads);
  return found;
}

async function readRaw(
  device: DeviceName,
  key: string,
  { fromMs, toMs }: TimeRange,
  signal: AbortSignal,
): Promise<PropertyHistory> {
  const { series } = await api.get("/api/v1/devices/{product}/{device}/telemetry", {
    params: { product: device.product, device: device.device },
    query: { keys: key, from: Math.max(0, fromMs), to: toMs, limit: RAW_POINTS_MAX },
    signal,
  });
  const raw = (series[key] ?? []) as unknown as readonly (readonly [number, unknown])[];
  const points = raw.flatMap(([at, value]): ChartPoint[] => {
    const number = numberOf(value);
    return number === undefined ? [] : [[at, number]];
  });
  const isState = raw.some(([, value]) => typeof value === "boolean");
  return { points, band: undefined, bucketMs: undefined, isState };
}

function ofBuckets(buckets: readonly Bucket[], bucketMs: number): PropertyHistory {
  const isState = buckets.some(({ last }) => typeof last === "boolean");
  const points = buckets.flatMap(({ at, avg, last }): ChartPoint[] => {
    const value = avg ?? numberOf(last);
    return value === undefined ? [] : [[at, value]];
  });
  const band = buckets.flatMap(({ at, min, max }) =>
    min === undefined || max === undefined ? [] : [[at, min, max] as const]
  );
  return { points, band: band.length === 0 ? undefined : band, bucketMs, isState };
}

function pushed(
  before: ReadonlyMap<string, PropertyHistory>,
  samples: readonly Sample[],
): ReadonlyMap<string, PropertyHistory> {
  const after = new Map(before);
  for (const { at, values } of samples) {
    for (const [key, value] of Object.entries(values)) {
      const own = after.get(key);
      const number = numberOf(value);
      if (own === undefined || number === undefined) continue;
      const last = own.points.at(-1);
      if (last !== undefined && last[0] > at) continue; // Late: it is there after the next read.
      const points = [...own.points, [at, number] as const].slice(-LIVE_POINTS_MAX);
      after.set(key, { ...own, points });
    }
  }
  return after;
}

/** What a chart can draw of a value: numbers, and states as 0 and 1. */
export function numberOf(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  return typeof value === "boolean" ? Number(value) : undefined;
}

export function chartSeriesOf(name: string, colour: number, own: PropertyHistory): ChartSeries {
  const gapMs = own.bucketMs === undefined ? gapOf(own.points) : own.bucketMs * 3;
  const points = gapMs === undefined || own.isState ? own.points : withGaps(own.points, gapMs);
  const band = own.band === undefined ? {} : { band: own.band };
  return { name, colour, points, isStep: own.isState, ...band };
}
