/** What a run says of itself: a line a second, and the report at its end. */
import type { Histogram } from "./histogram.ts";
import type { SimulateOptions } from "./options.ts";
import type { Tally } from "./tally.ts";
import type { Verification } from "./verify.ts";

export interface LatencyReport {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

export interface SimulateReport {
  readonly product: string;
  readonly devices: number;
  readonly wire: "mqtt" | "http";
  readonly ratePerSecond: number;
  readonly sendingMs: number;
  readonly readings: number;
  /** Transmissions: the sum of the next three. */
  readonly sent: number;
  readonly acknowledged: number;
  readonly unanswered: number;
  readonly refusedTotal: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly acknowledgedPerSecond: number;
  readonly resent: number;
  /** Readings that no device had room for, and those that were owed at the end. */
  readonly discarded: number;
  readonly owed: number;
  readonly dropouts: number;
  readonly brokenConnections: number;
  readonly closedByNode: Readonly<Record<string, number>>;
  readonly latencyMs: LatencyReport;
  readonly deliveryMs: LatencyReport;
  readonly verification?: Verification;
}

export function reportOf(
  options: SimulateOptions,
  run: {
    readonly product: string;
    readonly tally: Tally;
    readonly sendingMs: number;
    readonly owed: number;
    readonly verification?: Verification;
  },
): SimulateReport {
  const { tally, sendingMs, verification } = run;
  return {
    product: run.product,
    devices: options.devices,
    wire: options.wire,
    ratePerSecond: options.ratePerSecond,
    sendingMs: Math.round(sendingMs),
    readings: tally.readings,
    sent: tally.sent,
    acknowledged: tally.acknowledged,
    unanswered: tally.unanswered,
    refusedTotal: tally.refusedTotal,
    refused: tally.refused,
    acknowledgedPerSecond: Math.round(tally.acknowledged * 1_000 / Math.max(1, sendingMs)),
    resent: tally.resent,
    discarded: tally.discarded,
    owed: run.owed,
    dropouts: tally.dropouts,
    brokenConnections: tally.broken,
    closedByNode: tally.closed,
    latencyMs: latencyOf(tally.latency),
    deliveryMs: latencyOf(tally.delivery),
    ...(verification === undefined ? {} : { verification }),
  };
}

export function progressLine(tally: Tally, devices: number, elapsedMs: number): string {
  const seconds = Math.max(1, Math.round(elapsedMs / 1_000));
  return `${seconds} s: ${tally.open} of ${devices} connected, ${tally.sent} sent, ` +
    `${tally.acknowledged} acknowledged (${Math.round(tally.acknowledged / seconds)}/s), ` +
    `${tally.refusedTotal} refused, ${tally.unanswered} unanswered, ` +
    `p99 ${tally.latency.percentileMs(0.99)} ms`;
}

export function renderReport(report: SimulateReport): string {
  const { latencyMs, deliveryMs, verification } = report;
  const lines = [
    `${report.devices} devices of product ${report.product} over ${report.wire}, ` +
    `${(report.sendingMs / 1_000).toFixed(1)} s at ${report.ratePerSecond}/s`,
    `  readings     ${report.readings}, of them discarded ${report.discarded}, ` +
    `owed at the end ${report.owed}`,
    `  sent         ${report.sent}, of them again ${report.resent}`,
    `  acknowledged ${report.acknowledged} (${report.acknowledgedPerSecond}/s)`,
    `  refused      ${report.refusedTotal}${reasonsOf(report.refused)}`,
    `  unanswered   ${report.unanswered}`,
    `  connections  ${report.dropouts} dropped by devices, ${report.brokenConnections} broken` +
    reasonsOf(report.closedByNode),
    `  answer after ${textOfLatency(latencyMs)}`,
    `  durable      ${textOfLatency(deliveryMs)} after the reading`,
  ];
  if (verification !== undefined) {
    const { stored, storedUnanswered, ledger, acceptedSince } = verification;
    lines.push(
      `  history      ${stored} messages, of them unanswered ${storedUnanswered}`,
      `  ledger       accepted ${ledger.accepted} = processed ${ledger.processed} + pending ` +
        `${ledger.pending} + dead-lettered ${ledger.deadLettered} + rolled back ` +
        `${ledger.rolledBack}; ${acceptedSince} in this run`,
      verification.ok ? "  report, ledger and history agree" : "  DISAGREEMENT:",
      ...verification.faults.map((fault) => `    ${fault}`),
    );
  }
  return lines.join("\n");
}

function latencyOf(histogram: Histogram): LatencyReport {
  return {
    p50: histogram.percentileMs(0.5),
    p90: histogram.percentileMs(0.9),
    p99: histogram.percentileMs(0.99),
    max: Math.round(histogram.maxMs * 100) / 100,
  };
}

function textOfLatency({ p50, p90, p99, max }: LatencyReport): string {
  return `p50 ${p50}, p90 ${p90}, p99 ${p99}, max ${max} ms`;
}

function reasonsOf(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([reason, count]) => `${reason} ${count}`);
  return parts.length === 0 ? "" : ` (${parts.join(", ")})`;
}
