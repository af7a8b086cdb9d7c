/** A service call from the API to the device and back, at a fixed rate: open loop. */
import { systemClock } from "../../../runtime/clock.ts";
import { Fleet } from "../fleet.ts";
import { CallLoad, type CallReport } from "../load/call_load.ts";
import { type BenchContext, median, type Row, type RowResult } from "../row.ts";

const DEVICES = 100;
const RATE = 500;
const RUN_MS = 10_000;
const WARM_UP_MS = 2_000;

export const commandLatency: Row = {
  name: "command-latency",
  what: "API call to a device and its answer back, 500/s over 100 MQTT connections, open loop",
  run: runCommands,
};

async function runCommands(context: BenchContext): Promise<RowResult> {
  const { isShort } = context;
  await using fleet = await Fleet.start(context.directory, isShort ? 10 : DEVICES);
  const { roost, devices } = fleet;
  using load = new CallLoad({
    host: "127.0.0.1",
    mqttPort: roost.mqttPort,
    httpPort: roost.httpPort,
    devices,
    authorizations: fleet.api.authorizations,
    clock: systemClock,
  });
  await load.connect();
  const rate = isShort ? RATE / 10 : RATE;
  const durationMs = isShort ? 1_000 : RUN_MS + WARM_UP_MS;
  const runs: CallReport[] = [];
  for (let run = 0; run < context.runs; run++) {
    runs.push(await load.run(rate, durationMs, isShort ? 0 : WARM_UP_MS));
  }
  const percentileOf = (share: number) =>
    median(runs.map(({ latency }) => latency.percentileMs(share)));
  const failed = runs.reduce((sum, run) => sum + run.failed, 0);
  return {
    measures: [
      { name: "p50", value: percentileOf(0.5), unit: "ms" },
      { name: "p99", value: percentileOf(0.99), unit: "ms", target: 20, isLessBetter: true },
    ],
    facts: {
      devices: devices.length,
      "calls/s": rate,
      "max ms": Math.max(...runs.map(({ latency }) => latency.maxMs)),
      runs: runs.length,
    },
    faults: failed === 0 ? [] : [`${failed} calls were not answered`],
  };
}
