/** PUBACK latency under an open loop: due times are fixed, so a stall is seen by all it delays. */
import { faultsOf, Fleet } from "../fleet.ts";
import type { LoadReport } from "../load/options.ts";
import { type BenchContext, median, type Row, type RowResult } from "../row.ts";

const CONNECTIONS = 500;
const RATE = 10_000;
const WINDOW = 64;
const RUN_MS = 15_000;
const WARM_UP_MS = 3_000;

export const mqttLatency: Row = {
  name: "mqtt-latency",
  what: "PUBACK at 10,000/s from 500 connections, open loop",
  run: runLatency,
};

async function runLatency(context: BenchContext): Promise<RowResult> {
  await using fleet = await Fleet.start(context.directory, context.isShort ? 50 : CONNECTIONS);
  const reports: LoadReport[] = [];
  const faults: string[] = [];
  for (let run = 0; run < context.runs; run++) {
    const report = await fleet.load("mqtt", {
      inFlight: WINDOW,
      ratePerSecond: context.isShort ? 500 : RATE,
      durationMs: context.isShort ? 1_500 : RUN_MS,
      warmUpMs: context.isShort ? 200 : WARM_UP_MS,
      firstSequence: 1_000_000_000 + run * 10_000_000,
    });
    reports.push(report);
    if (report.skipped > 0) faults.push(`${report.skipped} messages were due and never sent`);
    faults.push(...faultsOf(report, report.acknowledged * 3));
  }
  const total = { ...reports[0]!, acknowledged: sum(reports.map((one) => one.acknowledged)) };
  const stored = await fleet.countStored(total);
  faults.push(...faultsOf(total, stored.points));
  const p99 = median(reports.map((one) => one.latencyMs.p99));
  return {
    measures: [
      {
        name: "p50",
        value: median(reports.map((one) => one.latencyMs.p50)),
        unit: "ms",
        target: 4,
        isLessBetter: true,
      },
      { name: "p99", value: p99, unit: "ms", target: 12, floor: 60, isLessBetter: true },
    ],
    facts: {
      connections: reports[0]!.devices,
      "messages/s": median(reports.map((one) => one.ratePerSecond)),
      "max ms": Math.max(...reports.map((one) => one.latencyMs.max)),
      runs: reports.length,
    },
    faults: [...new Set(faults)],
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
