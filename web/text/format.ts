/** Numbers, times and durations as people of either language write them. */
import { computed } from "vue";
import { language } from "./i18n.ts";

const tag = computed(() => language.value === "zh" ? "zh-CN" : "en-GB");

const formats = computed(() => ({
  whole: new Intl.NumberFormat(tag.value, { maximumFractionDigits: 0 }),
  value: new Intl.NumberFormat(tag.value, { maximumSignificantDigits: 7 }),
  share: new Intl.NumberFormat(tag.value, {
    style: "percent",
    maximumFractionDigits: 1,
  }),
  moment: new Intl.DateTimeFormat(tag.value, {
    dateStyle: "medium",
    timeStyle: "medium",
  }),
  day: new Intl.DateTimeFormat(tag.value, { dateStyle: "medium" }),
  shortDay: new Intl.DateTimeFormat(tag.value, { day: "numeric", month: "short" }),
  clock: new Intl.DateTimeFormat(tag.value, { timeStyle: "medium" }),
  ago: new Intl.RelativeTimeFormat(tag.value, {
    numeric: "auto",
    style: "long",
  }),
}));

/** Counts: grouped, without a fraction. */
export function whole(count: number): string {
  return formats.value.whole.format(count);
}

/** Measured values: at most seven significant digits. */
export function measured(value: number): string {
  return Number.isFinite(value) ? formats.value.value.format(value) : String(value);
}

/** @param rate A second. */
export function perSecond(rate: number): string {
  return rate < 10 && rate > 0
    ? new Intl.NumberFormat(tag.value, { maximumFractionDigits: 1 }).format(
      rate,
    )
    : whole(rate);
}

/** @param part 0 to 1. */
export function share(part: number): string {
  return formats.value.share.format(part);
}

export function moment(atMs: number): string {
  return formats.value.moment.format(atMs);
}

export function dayOf(atMs: number): string {
  return formats.value.day.format(atMs);
}

/** Without its year. */
export function shortDay(atMs: number): string {
  return formats.value.shortDay.format(atMs);
}

export function clockTime(atMs: number): string {
  return formats.value.clock.format(atMs);
}

const UNITS = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1_000],
] as const;

/** "3 minutes ago"; below a second it is now. */
export function ago(atMs: number, nowMs: number): string {
  const distance = atMs - nowMs;
  const [unit, length] = UNITS.find(([, ms]) => Math.abs(distance) >= ms) ??
    UNITS[3];
  return formats.value.ago.format(Math.trunc(distance / length), unit);
}

/** The two largest units: "2 hr 5 min", "340 ms". */
export function duration(ms: number): string {
  if (ms < 1_000) return unitText(Math.round(ms), "millisecond");
  const parts: string[] = [];
  let rest = ms;
  for (const [unit, length] of UNITS) {
    const count = Math.floor(rest / length);
    rest -= count * length;
    if (count > 0) parts.push(unitText(count, unit));
    if (parts.length === 2 || (parts.length === 1 && count === 0)) break;
  }
  return parts.join(language.value === "zh" ? "" : " ");
}

function unitText(count: number, unit: string): string {
  const options = { style: "unit", unit, unitDisplay: "short" } as const;
  return new Intl.NumberFormat(tag.value, options).format(count);
}

const BYTE_UNITS = [
  "byte",
  "kilobyte",
  "megabyte",
  "gigabyte",
  "terabyte",
] as const;

export function bytes(count: number): string {
  const step = Math.min(
    4,
    count < 1 ? 0 : Math.floor(Math.log(count) / Math.log(1_024)),
  );
  return new Intl.NumberFormat(tag.value, {
    style: "unit",
    unit: BYTE_UNITS[step]!,
    unitDisplay: step === 0 ? "long" : "short",
    maximumFractionDigits: step === 0 ? 0 : 1,
  }).format(count / 1_024 ** step);
}
