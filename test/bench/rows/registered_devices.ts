/**
 * A million devices that the registry knows, ten thousand that send. Activation is measured by a
 * question that only the actor can answer: a desired value set through the API on a device whose
 * actor was never activated, round trip, so it is an upper bound.
 */
import { systemClock } from "../../../runtime/clock.ts";
import type { RoostApi } from "../../support/roost_api.ts";
import { faultsOf, Fleet, PRODUCT } from "../fleet.ts";
import { POINTS_PER_MESSAGE } from "../load/payload.ts";
import { type BenchContext, percentile, type Row, type RowResult } from "../row.ts";

const REGISTERED = 1_000_000;
const ACTIVE = 10_000;
const ACTIVATIONS = 1_000;

export const registeredDevices: Row = {
  name: "registered-devices",
  what: "1,000,000 registered devices, 10,000 active: resident memory; activation p99",
  run: runRegistered,
};

async function runRegistered(context: BenchContext): Promise<RowResult> {
  const registered = context.isShort ? 2_000 : REGISTERED;
  const active = context.isShort ? 100 : ACTIVE;
  const startedMs = systemClock.monotonicMs();
  await using fleet = await Fleet.start(context.directory, registered);
  const preparedMs = systemClock.monotonicMs() - startedMs;
  const report = await fleet.load("mqtt", {
    devicesMax: active,
    inFlight: 4,
    durationMs: context.isShort ? 1_000 : 10_000,
    ratePerSecond: context.isShort ? 200 : 5_000,
  });
  const memory = fleet.roost.memory();
  const times = await activate(fleet.api, active, context.isShort ? 50 : ACTIVATIONS);
  return {
    measures: [
      {
        name: "memory (PSS, all processes)",
        value: memory.pssBytes / 1e6,
        unit: "MB",
        target: 400,
        isLessBetter: true,
      },
      {
        name: "activation p99",
        value: percentile(times, 0.99),
        unit: "ms",
        target: 5,
        isLessBetter: true,
      },
    ],
    facts: {
      registered,
      active,
      "ready line s": fleet.roost.readyMs / 1_000,
      "registration and start s": preparedMs / 1_000,
      "RSS MB": Math.round(memory.rssBytes / 1e6),
      "activation p50 ms": percentile(times, 0.5),
    },
    faults: faultsOf(report, report.acknowledged * POINTS_PER_MESSAGE),
  };
}

/** Milliseconds of a first question to actors of devices that never sent anything. */
async function activate(api: RoostApi, from: number, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = from; i < from + count; i++) {
    const startedMs = systemClock.monotonicMs();
    await api.desire(PRODUCT, `d-${i}`, { speed: i });
    times.push(systemClock.monotonicMs() - startedMs);
  }
  return times;
}
