/**
 * The load generator, a process of its own: `deno run -A test/bench/generator.ts '<LoadOptions>'`.
 * Prints `connected` when all connections are open, and at the end `report {LoadReport}`.
 * SIGTERM ends sending early; the report still comes.
 */
import process from "node:process";
import { systemClock } from "../../runtime/clock.ts";
import { AcknowledgedWriter } from "./load/acknowledged.ts";
import { Load } from "./load/load.ts";
import { type LoadOptions, type LoadReport, readDevices } from "./load/options.ts";
import { BODY_BYTES } from "./load/payload.ts";

if (import.meta.main) {
  const processStartedMs = systemClock.monotonicMs();
  const options: LoadOptions = JSON.parse(Deno.args[0] ?? "{}");
  using writer = options.acknowledgedFile === undefined
    ? undefined
    : new AcknowledgedWriter(options.acknowledgedFile);
  const devices = readDevices(options.devicesFile, options.devicesMax);
  using load = new Load(options, devices, systemClock, writer);
  Deno.addSignalListener("SIGTERM", () => load.stop());
  await load.connect();
  print("connected");
  const startedAtMs = systemClock.nowMs();
  const cpuBefore = process.cpuUsage();
  await load.run();
  const cpu = process.cpuUsage(cpuBefore);
  print(
    `report ${JSON.stringify(reportOf(load, options, { startedAtMs, processStartedMs, cpu }))}`,
  );
  Deno.exitCode = 0;
}

interface Circumstances {
  readonly startedAtMs: number;
  readonly processStartedMs: number;
  readonly cpu: { readonly user: number; readonly system: number };
}

function reportOf(load: Load, options: LoadOptions, at: Circumstances): LoadReport {
  const tally = load.tally;
  const measuredMs = Math.max(0, tally.measureUntilMs - tally.measureFromMs);
  return {
    devices: load.connections.length,
    inFlight: options.inFlight,
    bodyBytes: BODY_BYTES,
    sent: tally.sent,
    acknowledged: tally.acknowledgedCount,
    abandoned: tally.abandoned,
    rejected: tally.rejectedByCode,
    outOfOrder: tally.outOfOrder,
    reconnects: tally.reconnects,
    skipped: tally.skipped,
    measured: tally.measured,
    measuredMs: Math.round(measuredMs),
    ratePerSecond: measuredMs === 0 ? 0 : Math.round(tally.measured * 1_000 / measuredMs),
    perSecond: tally.perSecond,
    latencyMs: {
      p50: tally.latency.percentileMs(0.5),
      p90: tally.latency.percentileMs(0.9),
      p99: tally.latency.percentileMs(0.99),
      max: Math.round(tally.latency.maxMs * 100) / 100,
    },
    firstAcknowledgedMs: tally.firstAcknowledgedMs - at.processStartedMs,
    startedAtMs: at.startedAtMs,
    endedAtMs: Math.round(at.startedAtMs + tally.lastAcknowledgedMs - tally.startedMs),
    cpuUsPerMessage: {
      user: Math.round(at.cpu.user / Math.max(1, tally.sent) * 100) / 100,
      system: Math.round(at.cpu.system / Math.max(1, tally.sent) * 100) / 100,
    },
  };
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
}
