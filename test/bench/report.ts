/** The report: a table for people, JSON for comparisons between commits. */
import { systemClock } from "../../runtime/clock.ts";
import { type Measure, median, type RowResult, verdictOf } from "./row.ts";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly deno: string;
  /** Median of `fdatasync` after 4 KiB, milliseconds: what every durable figure stands on. */
  readonly fdatasyncMs: number;
}

export interface RowReport extends RowResult {
  readonly row: string;
  readonly what: string;
  readonly tookMs: number;
}

export function readMachine(directory: string): Machine {
  const cpu = /model name\s*: (.+)/.exec(Deno.readTextFileSync("/proc/cpuinfo"))?.[1] ?? "unknown";
  return {
    cpu,
    cores: navigator.hardwareConcurrency,
    memoryGib: Math.round(Deno.systemMemoryInfo().total / 2 ** 30),
    kernel: Deno.osRelease(),
    deno: Deno.version.deno,
    fdatasyncMs: measureSync(`${directory}/fdatasync`),
  };
}

/** Short hash of HEAD, with `+` if the working tree differs. */
export async function readCommit(): Promise<string> {
  const git = async (...args: string[]) => {
    const { success, stdout } = await new Deno.Command("git", { args, stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout).trim() : undefined;
  };
  const head = await git("rev-parse", "--short", "HEAD");
  if (head === undefined) return "unknown";
  return await git("status", "--porcelain") === "" ? head : `${head}+`;
}

export function tableOf(reports: readonly RowReport[]): string {
  const lines = [["row", "measure", "value", "target", "floor", ""]];
  for (const report of reports) {
    for (const measure of report.measures) {
      lines.push([
        report.row,
        measure.name,
        `${figure(measure.value)} ${measure.unit}`,
        boundOf(measure, measure.target),
        boundOf(measure, measure.floor),
        verdictOf(measure),
      ]);
    }
  }
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((l) => l[column]!.length)));
  const table = lines.map((line) =>
    line.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd()
  );
  const facts = reports.map((report) =>
    `${report.row}: ${
      Object.entries(report.facts).map(([key, value]) => `${key} ${value}`).join(", ")
    }`
  );
  const faults = reports.flatMap((report) => report.faults.map((one) => `${report.row}: ${one}`));
  return [...table, "", ...facts, ...faults.map((one) => `FAULT ${one}`)].join("\n");
}

function boundOf(measure: Measure, bound: number | undefined): string {
  return bound === undefined ? "" : `${measure.isLessBetter ? "<=" : ">="} ${figure(bound)}`;
}

function figure(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: value < 100 ? 2 : 0 });
}

function measureSync(path: string): number {
  using file = Deno.openSync(path, { write: true, create: true });
  const block = new Uint8Array(4_096);
  const times: number[] = [];
  for (let i = 0; i < 50; i++) {
    file.writeSync(block);
    const startedMs = systemClock.monotonicMs();
    file.syncDataSync();
    times.push(systemClock.monotonicMs() - startedMs);
  }
  return Math.round(median(times) * 1_000) / 1_000;
}
