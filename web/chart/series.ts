/** What a chart draws. Times are epoch milliseconds. */

export type ChartPoint = readonly [atMs: number, value: number | null];

export interface ChartSeries {
  readonly name: string;
  /** Number of its colour, from 1. */
  readonly colour: number;
  /** In order of time; null is a gap. */
  readonly points: readonly ChartPoint[];
  /** Smallest and largest value around each point, behind the line. */
  readonly band?: readonly (readonly [atMs: number, min: number, max: number])[];
  /** A value holds until the next one: for states. */
  readonly isStep?: boolean;
}

/**
 * Puts a gap between points further apart than `gapMs`: silence of a device is not drawn as a line.
 */
export function withGaps(points: readonly ChartPoint[], gapMs: number): ChartPoint[] {
  const found: ChartPoint[] = [];
  for (const point of points) {
    const last = found.at(-1);
    if (last !== undefined && point[0] - last[0] > gapMs) found.push([last[0] + 1, null]);
    found.push(point);
  }
  return found;
}

/** How far apart points are apart as a rule, times four; undefined for too few to tell. */
export function gapOf(points: readonly ChartPoint[]): number | undefined {
  if (points.length < 8) return undefined;
  const steps = points.slice(1).map(([at], index) => at - points[index]![0]).sort((a, b) => a - b);
  return Math.max(1_000, 4 * steps[Math.floor(steps.length * 0.9)]!);
}
