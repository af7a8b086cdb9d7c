/**
 * MQTT QoS 1 → durable → actor → telemetry stored. The figure is messages over the whole time until
 * every point can be read, not the rate of acknowledgements: a backlog is no throughput.
 */
import { requirePeer, startMosquitto } from "../../support/peers.ts";
import { faultsOf, Fleet } from "../fleet.ts";
import { runLoad } from "../load/start_load.ts";
import type { LoadReport } from "../load/options.ts";
import { preload } from "../preload.ts";
import type { BenchContext, Measure, Row, RowResult } from "../row.ts";

const DEVICES = 2_000;
const DEVICES_SHORT = 50;
/** Mosquitto acknowledges from memory: it needs no long run. */
const PEER_MS = 5_000;

interface Bounds {
  readonly target: number;
  readonly floor: number;
  readonly ratioTarget?: number;
}

export const mqttTwenty = sustainedRow("mqtt-20", 20, { target: 80_000, floor: 30_000 });
export const mqttOne = sustainedRow("mqtt-1", 1, {
  target: 25_000,
  floor: 12_000,
  ratioTarget: 0.5,
});

function sustainedRow(name: string, inFlight: number, bounds: Bounds): Row {
  return {
    name,
    what: `MQTT QoS 1, durable, handled and stored; 2,000 devices x ${inFlight} in flight`,
    run: (context) => runSustained(context, inFlight, bounds),
  };
}

async function runSustained(
  context: BenchContext,
  inFlight: number,
  bounds: Bounds,
): Promise<RowResult> {
  const preloaded = await preload(`${context.directory}/data`, context);
  await using fleet = await Fleet.start(
    context.directory,
    context.isShort ? DEVICES_SHORT : DEVICES,
  );
  const report = await fleet.load("mqtt", { inFlight, durationMs: context.sustainMs });
  const busy = fleet.roost.memory();
  const stored = await fleet.countStored(report);
  const peer = await runPeer(context, fleet, inFlight);
  return {
    measures: measuresOf(report, stored.storedMs, peer, bounds),
    facts: {
      devices: report.devices,
      "in flight": inFlight,
      "body B": report.bodyBytes,
      seconds: context.sustainMs / 1_000,
      "preloaded points": preloaded,
      "stored after s": stored.storedMs / 1_000,
      "slowest second": Math.min(...report.perSecond.slice(0, context.sustainMs / 1_000)),
      "mosquitto/s": peer?.ratePerSecond ?? "missing",
      "PUBACK p99 ms": report.latencyMs.p99,
      "PSS MB": Math.round(busy.pssBytes / 1e6),
      "generator µs/message": report.cpuUsPerMessage.user + report.cpuUsPerMessage.system,
    },
    faults: faultsOf(report, stored.points),
  };
}

function measuresOf(
  report: LoadReport,
  storedMs: number,
  peer: LoadReport | undefined,
  { target, floor, ratioTarget }: Bounds,
): Measure[] {
  const perSecond = report.acknowledged / Math.max(storedMs, report.measuredMs) * 1_000;
  const measures: Measure[] = [
    { name: "stored", value: perSecond, unit: "messages/s", target, floor },
    { name: "acknowledged", value: report.ratePerSecond, unit: "messages/s" },
  ];
  if (peer === undefined) return measures;
  return [...measures, {
    name: "acknowledged / mosquitto's",
    value: report.ratePerSecond / peer.ratePerSecond,
    unit: "",
    ...(ratioTarget === undefined ? {} : { target: ratioTarget }),
  }];
}

async function runPeer(
  context: BenchContext,
  fleet: Fleet,
  inFlight: number,
): Promise<LoadReport | undefined> {
  if (await requirePeer("mosquitto") === undefined) return undefined;
  await fleet.roost.kill("SIGTERM"); // It would compact beside the peer.
  await using mosquitto = await startMosquitto();
  return await runLoad({
    ...fleet.target("mqtt"),
    port: mosquitto.port,
    inFlight,
    durationMs: context.isShort ? 1_000 : PEER_MS,
  });
}
