/** HTTP ingest, durable, one request in flight a connection; and history queries of one day. */
import { systemClock } from "../../../runtime/clock.ts";
import { LIMITS } from "../../../runtime/limits.ts";
import { waitFor } from "../../support/wait.ts";
import { faultsOf, Fleet, PRODUCT } from "../fleet.ts";
import { type BenchContext, percentile, type Row, type RowResult } from "../row.ts";

const CONNECTIONS = 256;
const RUN_MS = 10_000;
const DAY_S = 86_400;
const SAMPLES_PER_REQUEST = 400;
const QUERIES = 300;
const POINTS = 500;

export const httpIngest: Row = {
  name: "http-ingest",
  what: "HTTP POST of one message, durable; 256 connections x 1 in flight",
  run: runIngest,
};

export const telemetryQuery: Row = {
  name: "telemetry-query",
  what: "one day at 1 Hz to 500 points (LTTB) over the API",
  run: runQuery,
};

async function runIngest(context: BenchContext): Promise<RowResult> {
  await using fleet = await Fleet.start(context.directory, context.isShort ? 20 : CONNECTIONS);
  const report = await fleet.load("http", {
    inFlight: 1,
    durationMs: context.isShort ? 1_000 : RUN_MS,
    warmUpMs: context.isShort ? 0 : 2_000,
  });
  const stored = await fleet.countStored(report);
  return {
    measures: [
      { name: "durable", value: report.ratePerSecond, unit: "requests/s", target: 30_000 },
    ],
    facts: {
      connections: report.devices,
      "p99 ms": report.latencyMs.p99,
      "stored after s": stored.storedMs / 1_000,
      "generator µs/message": report.cpuUsPerMessage.user + report.cpuUsPerMessage.system,
    },
    faults: faultsOf(report, stored.points),
  };
}

async function runQuery(context: BenchContext): Promise<RowResult> {
  await using fleet = await Fleet.start(context.directory, 1);
  const seconds = context.isShort ? 2_000 : DAY_S;
  const toMs = Math.floor(systemClock.nowMs() / 1_000) * 1_000;
  const fromMs = toMs - seconds * 1_000;
  await sendDay(fleet, fromMs, seconds);
  await fleet.untilHandled();
  const device = fleet.devices[0]!.device;
  const points = await storedCount(fleet, fromMs, toMs, seconds);
  await untilCompacted(fleet);
  const times: number[] = [];
  let thinned = 0;
  for (let i = 0; i < (context.isShort ? 20 : QUERIES); i++) {
    const startedMs = systemClock.monotonicMs();
    const query = { keys: "temperature", from: fromMs, to: toMs, points: POINTS };
    const page = await fleet.api.telemetry(PRODUCT, device, query);
    times.push(systemClock.monotonicMs() - startedMs);
    thinned = page.series["temperature"]?.length ?? 0;
  }
  const faults = points === seconds ? [] : [`stored ${points} points, sent ${seconds}`];
  if (thinned !== POINTS) faults.push(`asked for ${POINTS} points, got ${thinned}`);
  const p99 = percentile(times, 0.99);
  return {
    measures: [
      { name: "p99", value: p99, unit: "ms", target: 15, isLessBetter: true },
      { name: "p50", value: percentile(times, 0.5), unit: "ms" },
    ],
    facts: { points, queries: times.length },
    faults,
  };
}

/** A day of samples with their own times, in requests of 400. */
async function sendDay(fleet: Fleet, fromMs: number, seconds: number): Promise<void> {
  const { product, device, secret } = fleet.devices[0]!;
  const url = `${fleet.roost.urls.http}/ingest/v1/${product}/${device}/properties`;
  for (let from = 0; from < seconds; from += SAMPLES_PER_REQUEST) {
    const count = Math.min(SAMPLES_PER_REQUEST, seconds - from);
    const samples = Array.from({ length: count }, (_, i) => ({
      at: fromMs + (from + i) * 1_000,
      values: { temperature: temperatureAt(from + i) },
    }));
    const response = await fetch(url, {
      method: "POST",
      headers: {
        "Authorization": `Basic ${btoa(`${product}/${device}:${secret}`)}`,
        "Content-Type": "application/json",
      },
      body: JSON.stringify(samples),
    });
    const text = await response.text();
    if (response.status !== 202) throw new Error(`ingest answered ${response.status}: ${text}`);
  }
}

/** History of a day is read from chunks; hot rows are the last minutes of a device, not its day. */
async function untilCompacted(fleet: Fleet): Promise<void> {
  let hot = NaN;
  await waitFor(async () => {
    const text = await fleet.api.metrics();
    hot = Number(/figure="hotRows"\} (\d+)/.exec(text)?.[1] ?? NaN);
    return hot < LIMITS.compactAtDeviceRows;
  }, { what: "compaction of the day", withinMs: 60_000, actual: () => hot });
}

function temperatureAt(second: number): number {
  const slow = 20 + 6 * Math.sin(second * 2 * Math.PI / DAY_S);
  return Math.round((slow + 0.3 * Math.sin(second / 37) + 0.05 * Math.sin(second * 7)) * 1_000) /
    1_000;
}

async function storedCount(
  fleet: Fleet,
  fromMs: number,
  toMs: number,
  expected: number,
): Promise<number> {
  type Buckets = { readonly series: Record<string, readonly { readonly count?: number }[]> };
  let count = 0;
  await waitFor(async () => {
    const query = {
      keys: "temperature",
      from: fromMs,
      to: toMs,
      bucketMs: 3_600_000,
      agg: "count",
    };
    const answer = await fleet.api.telemetry<Buckets>(PRODUCT, fleet.devices[0]!.device, query);
    count = (answer.series["temperature"] ?? []).reduce((all, one) => all + (one.count ?? 0), 0);
    return count >= expected;
  }, { what: "a day of points to be stored", withinMs: 60_000, actual: () => count });
  return count;
}
