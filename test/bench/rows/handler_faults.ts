/**
 * What other devices notice of a handler that throws or loops: their PUBACK latency with it, divided
 * by that without, in turns on one product. The engine is the one of the chaos tests, whose devices
 * do as a property says.
 */
import { systemClock } from "../../../runtime/clock.ts";
import { waitFor } from "../../support/wait.ts";
import { Fleet } from "../fleet.ts";
import type { DeviceLogin, LoadReport } from "../load/options.ts";
import { type BenchContext, median, type Row, type RowResult } from "../row.ts";

const CONNECTIONS = 200;
const RATE = 2_000;
const RUN_MS = 12_000;
const WARM_UP_MS = 2_000;
/** Records that throw in one run. Each parks; five in a minute suspend their actor. */
const THROWS = 4;
const PARKED_MS_MAX = 240_000;
const RATIO_MAX = 1.2;

export const handlerFaults: Row = {
  name: "handler-faults",
  what: "PUBACK p99 of other devices at 2,000/s while a handler throws, and while one loops",
  run: runFaults,
};

async function runFaults(context: BenchContext): Promise<RowResult> {
  const connections = context.isShort ? 20 : CONNECTIONS;
  const runs = context.isShort ? 1 : context.runs;
  await using fleet = await Fleet.start(
    context.directory,
    connections + 2 * runs,
    { entry: "test/support/faulty_main.ts" },
  );
  const bad = fleet.devices.slice(connections);
  const faults: string[] = [];
  const ratios = { throw: [] as number[], loop: [] as number[] };
  const quiet: number[] = [];
  const parkedMs: number[] = [];
  let firstSequence = 1_000_000_000;
  const load = async (): Promise<LoadReport> => {
    firstSequence += 10_000_000;
    const report = await fleet.load("mqtt", {
      inFlight: 64,
      devicesMax: connections,
      ratePerSecond: context.isShort ? 200 : RATE,
      durationMs: context.isShort ? 1_500 : RUN_MS,
      warmUpMs: context.isShort ? 200 : WARM_UP_MS,
      firstSequence,
    });
    if (report.abandoned > 0) faults.push(`${report.abandoned} messages were not acknowledged`);
    return report;
  };
  for (let run = 0; run < runs; run++) {
    for (const fault of ["throw", "loop"] as const) {
      const device = bad.pop()!;
      const before = (await load()).latencyMs.p99;
      const loaded = load();
      const startedMs = systemClock.monotonicMs();
      const count = fault === "throw" ? THROWS : 1;
      for (let i = 0; i < count; i++) await misbehave(fleet, device, fault);
      const parked = untilParked(fleet, device, count).then(() =>
        systemClock.monotonicMs() - startedMs
      );
      const [report, tookMs] = await Promise.all([loaded, parked]);
      await fleet.untilHandled();
      if (fault === "loop") parkedMs.push(tookMs);
      ratios[fault].push(report.latencyMs.p99 / before);
      quiet.push(before);
    }
  }
  return {
    measures: [
      ratioOf("p99 while a handler throws / without", ratios.throw),
      ratioOf("p99 while a handler loops / without", ratios.loop),
    ],
    facts: {
      connections,
      "messages/s": context.isShort ? 200 : RATE,
      "p99 ms without": median(quiet),
      "loop parked within s": Math.max(...parkedMs) / 1_000,
      runs,
    },
    faults,
  };
}

function ratioOf(name: string, values: readonly number[]) {
  return { name, value: median(values), unit: "", target: RATIO_MAX, isLessBetter: true };
}

async function misbehave(fleet: Fleet, device: DeviceLogin, fault: string): Promise<void> {
  const { product, device: name, secret } = device;
  const response = await fetch(
    `${fleet.roost.urls.http}/ingest/v1/${product}/${name}/properties`,
    {
      method: "POST",
      headers: {
        authorization: `Basic ${btoa(`${product}/${name}:${secret}`)}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({ fault }),
    },
  );
  const text = await response.text();
  if (response.status !== 202) throw new Error(`The fault was answered ${response.status} ${text}`);
}

async function untilParked(fleet: Fleet, device: DeviceLogin, count: number): Promise<void> {
  const address = `device/${device.product}/${device.device}`;
  let found = 0;
  await waitFor(async () => {
    const { items } = await fleet.api.deadLetters();
    found = items.filter((letter) => letter.to === address).length;
    return found === count;
  }, {
    what: `${count} dead letters of ${address}`,
    withinMs: PARKED_MS_MAX,
    actual: () => found,
  });
}
