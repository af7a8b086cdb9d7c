/** Ranges of time that history is shown for. */

export interface TimeRange {
  readonly fromMs: number;
  readonly toMs: number;
}

const HOUR_MS = 3_600_000;

/** Lengths in milliseconds; `all` begins with the device. */
export const RANGES = {
  "5m": HOUR_MS / 12,
  "15m": HOUR_MS / 4,
  "1h": HOUR_MS,
  "6h": 6 * HOUR_MS,
  "24h": 24 * HOUR_MS,
  "7d": 7 * 24 * HOUR_MS,
  "30d": 30 * 24 * HOUR_MS,
  all: undefined,
} as const;

export type RangeId = keyof typeof RANGES;
export const RANGE_IDS = Object.keys(RANGES) as readonly RangeId[];

/** Of a range that is chosen by what there is: its data take at most four fifths of it. */
const ROOM = 1.25;

/** The shortest range that begins before what is so old. */
export function rangeOfAge(ageMs: number): RangeId {
  return RANGE_IDS.find((id) => (RANGES[id] ?? Infinity) >= ageMs * ROOM) ?? "all";
}

/** Buckets that a chart is drawn from: about one every two pixels of a wide one. */
const BUCKETS = 600;

/** Whole seconds, minutes and hours, so that means are of periods that people know. */
const STEPS_MS = [
  100,
  250,
  500,
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * 1_000),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * 60_000),
  ...[1, 2, 3, 6, 12, 24, 48, 96, 168].map((hours) => hours * HOUR_MS),
];

export function bucketMsOf({ fromMs, toMs }: TimeRange): number {
  const wanted = Math.max(1, (toMs - fromMs) / BUCKETS);
  return STEPS_MS.find((step) => step >= wanted) ?? Math.ceil(wanted / HOUR_MS) * HOUR_MS;
}

/** Parts of `{from}-{to}`, as a range chosen by hand stands in the address. */
export function parseRange(text: string): TimeRange | undefined {
  const [, from, to] = /^(\d{1,16})-(\d{1,16})$/.exec(text) ?? [];
  const range = { fromMs: Number(from), toMs: Number(to) };
  return from !== undefined && range.toMs > range.fromMs ? range : undefined;
}
