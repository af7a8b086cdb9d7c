/** What `GET /metrics` of a node shows: its ledger, its gateways, its history, its memory. */
import type { Ledger } from "./log/partition_log.ts";
import { createMetrics } from "./metrics.ts";

/** Plain counters; fields that are no numbers are left out. */
type Figures = Readonly<Record<string, unknown>> | object;

export interface NodeFigures {
  readonly mqtt: () => Figures | undefined;
  readonly http: () => {
    readonly answers: ReadonlyMap<number, number>;
    readonly inFlight: number;
  } | undefined;
  readonly refused: () => Readonly<Record<string, number>>;
  readonly unacknowledgedBytes: () => number;
}

export interface NodeMetrics {
  /**
   * @param logBytes Of all that the log holds, handled or not.
   * @param history Figures of the telemetry store, if it runs.
   */
  render(ledger: Ledger, logBytes: number, history: Figures | undefined): string;
}

const TERMS = ["accepted", "processed", "pending", "deadLettered", "rolledBack"] as const;

export function nodeMetrics(figures: NodeFigures): NodeMetrics {
  const metrics = createMetrics();
  const byTerm = metrics.gauges("ledger_messages", "Terms of the ledger, all partitions", {
    labels: ["term"],
  });
  const unbalanced = metrics.gauge(
    "ledger_unbalanced_partitions",
    "Partitions whose ledger terms do not add up",
  );
  const corrupt = metrics.gauge(
    "ledger_corrupt_partitions",
    "Partitions that are stopped before a damaged record",
  );
  const log = metrics.gauge("log_bytes", "Bytes of the log: what is set aside, too");
  const refused = metrics.gauges("refused_messages", "Messages and peers refused, not for load", {
    labels: ["reason"],
  });
  const mqtt = metrics.gauges("mqtt", "Figures of the MQTT gateway", { labels: ["figure"] });
  const httpNow = metrics.gauges("http", "Requests that are open, by what they wait for", {
    labels: ["figure"],
  });
  const http = metrics.gauges("http_answers", "HTTP answers since the start", {
    labels: ["status"],
  });
  const history = metrics.gauges("telemetry", "Figures of the telemetry store", {
    labels: ["figure"],
  });
  metrics.gauge(
    "unacknowledged_bytes",
    "Ingress bytes that wait for the log",
    figures.unacknowledgedBytes,
  );
  metrics.gauge(
    "resident_bytes",
    "Resident memory of the main process",
    () => Deno.memoryUsage().rss,
  );
  return {
    render(ledger, logBytes, historyFigures) {
      log.value = logBytes;
      for (const term of TERMS) byTerm.of(term).value = ledger.total[term];
      unbalanced.value = ledger.partitions.filter((terms) => !terms.isBalanced).length;
      corrupt.value = ledger.partitions.filter((terms) => terms.corrupt !== undefined).length;
      for (const [reason, count] of Object.entries(figures.refused())) {
        refused.of(reason).value = count;
      }
      copy(figures.mqtt(), (name) => mqtt.of(name));
      copy(figures.http(), (name) => httpNow.of(name));
      copy(historyFigures, (name) => history.of(name));
      for (const [status, count] of figures.http()?.answers ?? []) {
        http.of(String(status)).value = count;
      }
      return metrics.render();
    },
  };
}

function copy(from: Figures | undefined, of: (name: string) => { value: number }): void {
  for (const [name, value] of Object.entries(from ?? {})) {
    if (typeof value === "number") of(name).value = value;
  }
}
