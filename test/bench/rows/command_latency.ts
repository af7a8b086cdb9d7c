/** A service call from the API to the device and back, at a fixed rate: open loop. */
import { connectAsync, type MqttClient } from "mqtt";
import { systemClock, waitMs } from "../../../runtime/clock.ts";
import { Histogram } from "../../../protocols/simulate/histogram.ts";
import { Fleet } from "../fleet.ts";
import { type BenchContext, median, type Row, type RowResult } from "../row.ts";

const DEVICES = 100;
const RATE = 500;
const RUN_MS = 10_000;
const WARM_UP_MS = 2_000;
const TICK_MS = 2;

export const commandLatency: Row = {
  name: "command-latency",
  what: "API call to a device and its answer back, 500/s over 100 MQTT connections, open loop",
  run: runCommands,
};

interface Run {
  readonly latency: Histogram;
  /** Calls that were not answered by their device. */
  failed: number;
}

async function runCommands(context: BenchContext): Promise<RowResult> {
  await using fleet = await Fleet.start(context.directory, context.isShort ? 10 : DEVICES);
  const clients = await Promise.all(fleet.devices.map((_, index) => answering(fleet, index)));
  try {
    const runs: Run[] = [];
    for (let run = 0; run < context.runs; run++) runs.push(await callAll(fleet, context));
    const percentileOf = (share: number) =>
      median(runs.map(({ latency }) => latency.percentileMs(share)));
    const failed = runs.reduce((sum, run) => sum + run.failed, 0);
    return {
      measures: [
        { name: "p50", value: percentileOf(0.5), unit: "ms" },
        { name: "p99", value: percentileOf(0.99), unit: "ms", target: 20, isLessBetter: true },
      ],
      facts: {
        devices: fleet.devices.length,
        "calls/s": context.isShort ? RATE / 10 : RATE,
        "max ms": Math.max(...runs.map(({ latency }) => latency.maxMs)),
        runs: runs.length,
      },
      faults: failed === 0 ? [] : [`${failed} calls were not answered`],
    };
  } finally {
    await Promise.all(clients.map((client) => client.endAsync(true)));
  }
}

/** A device that answers each call at once. */
async function answering(fleet: Fleet, index: number): Promise<MqttClient> {
  const { product, device, secret } = fleet.devices[index]!;
  const client = await connectAsync(fleet.roost.urls.mqtt, {
    protocolVersion: 5,
    username: `${product}/${device}`,
    password: secret,
    reconnectPeriod: 0,
  });
  client.on("message", (topic) => void client.publish(`${topic}/reply`, '{"ok":true}', { qos: 1 }));
  await client.subscribeAsync(`v1/${product}/${device}/services/+/+`, { qos: 1 });
  return client;
}

/** Latency counts from when a call was due, so that a stall is seen by all that it delays. */
async function callAll(fleet: Fleet, context: BenchContext): Promise<Run> {
  const run: Run = { latency: new Histogram(), failed: 0 };
  const perMs = (context.isShort ? RATE / 10 : RATE) / 1_000;
  const durationMs = context.isShort ? 1_000 : RUN_MS + WARM_UP_MS;
  const warmUpMs = context.isShort ? 0 : WARM_UP_MS;
  const startedMs = systemClock.monotonicMs();
  const open: Promise<void>[] = [];
  for (let made = 0; made < durationMs * perMs;) {
    const elapsedMs = systemClock.monotonicMs() - startedMs;
    for (; made < Math.min(elapsedMs, durationMs) * perMs; made++) {
      const dueMs = made / perMs;
      open.push(callOne(fleet, made, run, startedMs + dueMs, dueMs >= warmUpMs));
    }
    await waitMs(systemClock, TICK_MS);
  }
  await Promise.all(open);
  return run;
}

async function callOne(
  fleet: Fleet,
  number: number,
  run: Run,
  dueMs: number,
  isCounted: boolean,
): Promise<void> {
  const { product, device } = fleet.devices[number % fleet.devices.length]!;
  const path = `/api/v1/devices/${product}/${device}/services/ping`;
  const answer = await fleet.api.fetch("POST", path, { input: { number } });
  const body = await answer.json();
  if (isCounted) run.latency.add(systemClock.monotonicMs() - dueMs);
  if (answer.status !== 200 || body.ok !== true) run.failed++;
}
