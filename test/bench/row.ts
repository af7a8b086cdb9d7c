/** A row of the report: what it measures, against which target and floor, and what it must prove. */

export interface Measure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly target?: number;
  readonly floor?: number;
  /** Latency, memory: the bound is an upper one. */
  readonly isLessBetter?: boolean;
}

export interface RowResult {
  readonly measures: readonly Measure[];
  /** Circumstances: devices, in flight, peers, medians of how many. */
  readonly facts: Readonly<Record<string, string | number>>;
  /** What is wrong whatever the speed: counts that disagree. Any of these fails the bench. */
  readonly faults: readonly string[];
}

export interface BenchContext {
  /** Everything tiny: proves that rows run and counts agree; figures mean nothing. */
  readonly isShort: boolean;
  /** Length of the sustained rows. */
  readonly sustainMs: number;
  /** Points in the telemetry store before the sustained rows begin. */
  readonly preloadPoints: number;
  /** Runs of rows that report a median. */
  readonly runs: number;
  /** For files of a row; removed at the end. */
  readonly directory: string;
  say(line: string): void;
}

export interface Row {
  readonly name: string;
  readonly what: string;
  run(context: BenchContext): Promise<RowResult>;
}

export type Verdict = "PASS" | "FLOOR" | "MISS" | "-";

/** PASS: reaches its target. FLOOR: its floor only. MISS: below what it has of both. */
export function verdictOf(measure: Measure): Verdict {
  const reaches = (bound: number) =>
    measure.isLessBetter ? measure.value <= bound : measure.value >= bound;
  if (measure.target === undefined && measure.floor === undefined) return "-";
  if (measure.target !== undefined && reaches(measure.target)) return "PASS";
  return measure.floor !== undefined && reaches(measure.floor) ? "FLOOR" : "MISS";
}

/** The middle value; the lower one of two. NaN of an empty list. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[(sorted.length - 1) >> 1] ?? NaN;
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}
