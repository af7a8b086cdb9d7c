/**
 * Counters, gauges and histograms in the Prometheus text format, version 0.0.4.
 * A hot path holds the `Counter` itself and adds to its field: `accepted.value += batch.length`.
 * Series are looked up by labels outside of it, once.
 */
import { assert } from "./errors.ts";

/** Series of one family without a bound of its own. A label with device ids would end here. */
const SERIES_MAX_DEFAULT = 64;
/** Where values go once a family is full: its labels all have this value. */
const OVERFLOW_LABEL = "other";
const NAME = /^[a-z][a-z0-9_]*$/;

/** Only ever grows: `counter.value += n`, `n >= 0`. */
export interface Counter {
  value: number;
}

/** A value now: set it, or give a `read` when it is made. */
export interface Gauge {
  value: number;
}

export interface Histogram {
  /** @param value Finite. */
  observe(value: number): void;
  readonly count: number;
  readonly sum: number;
  /** Upper bound of the bucket that holds the quantile, 0 to 1; `Infinity` beyond the last. */
  quantile(share: number): number;
}

/** The series of one name, by label values in the order of its label names. */
export interface Family<Series> {
  /** Makes it on first use; beyond `seriesMax` all share the series with labels `other`. */
  of(...labels: string[]): Series;
}

export interface FamilyOptions {
  readonly labels: readonly string[];
  readonly seriesMax?: number;
}

export interface Metrics {
  counter(name: string, help: string): Counter;
  counters(name: string, help: string, options: FamilyOptions): Family<Counter>;
  /** @param read Called at each render instead of reading the field. */
  gauge(name: string, help: string, read?: () => number): Gauge;
  gauges(name: string, help: string, options: FamilyOptions): Family<Gauge>;
  /** @param bounds Upper bounds of buckets, rising, without infinity. */
  histogram(name: string, help: string, bounds: readonly number[]): Histogram;
  histograms(
    name: string,
    help: string,
    bounds: readonly number[],
    options: FamilyOptions,
  ): Family<Histogram>;
  /** Called before each render, to copy in what another thread or module counts. */
  beforeRender(refresh: () => void): void;
  /** The body of `GET /metrics`, content type `METRICS_CONTENT_TYPE`. */
  render(): string;
}

export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Milliseconds, from a fast append to a client that gives up. */
export const LATENCY_BOUNDS_MS: readonly number[] = [
  0.5,
  1,
  2,
  4,
  8,
  12,
  16,
  24,
  32,
  64,
  128,
  256,
  512,
  1_000,
  2_500,
  5_000,
  10_000,
];

interface Rendered {
  renderTo(lines: string[]): void;
}

/** Names are those of the text, unique, without a prefix: `render` puts `roost_` before them. */
export function createMetrics(): Metrics {
  const families = new Map<string, Rendered>();
  const refreshes: (() => void)[] = [];
  const add = <Series>(
    name: string,
    type: string,
    help: string,
    options: FamilyOptions,
    kind: SeriesKind<Series>,
  ): SeriesFamily<Series> => {
    assert(NAME.test(name) && !families.has(name), `metric ${name} must be a new snake_case name`);
    assert(options.labels.every((label) => NAME.test(label)), `labels of ${name} are snake_case`);
    const family = new SeriesFamily(`roost_${name}`, type, help, options, kind);
    families.set(name, family);
    return family;
  };
  const gauges = (name: string, help: string, options: FamilyOptions, read?: () => number) =>
    add(name, "gauge", help, options, { make: () => ({ value: 0 }), render: renderValue(read) });
  const counters = (name: string, help: string, options: FamilyOptions) =>
    add<Counter>(name, "counter", help, options, {
      make: () => ({ value: 0 }),
      render: renderValue(),
    });
  const histograms = (
    name: string,
    help: string,
    bounds: readonly number[],
    options: FamilyOptions,
  ) => {
    const rising = bounds.every((bound, at) => at === 0 || bound > (bounds[at - 1] ?? bound));
    assert(rising && bounds.every(Number.isFinite), `bounds of ${name} must be finite and rise`);
    return add(name, "histogram", help, options, {
      make: () => new BucketHistogram(bounds),
      render: renderHistogram,
    });
  };
  return {
    counter: (name, help) => counters(name, help, { labels: [] }).of(),
    counters,
    gauge: (name, help, read) => gauges(name, help, { labels: [] }, read).of(),
    gauges: (name, help, options) => gauges(name, help, options),
    histogram: (name, help, bounds) => histograms(name, help, bounds, { labels: [] }).of(),
    histograms,
    beforeRender: (refresh) => void refreshes.push(refresh),
    render() {
      for (const refresh of refreshes) refresh();
      const lines: string[] = [];
      for (const family of families.values()) family.renderTo(lines);
      return lines.join("\n") + "\n";
    },
  };
}

interface SeriesKind<Series> {
  make(): Series;
  /** @param labels `{a="b"}` parts without the braces, or empty. */
  render(name: string, labels: string, series: Series, lines: string[]): void;
}

class SeriesFamily<Series> implements Family<Series>, Rendered {
  readonly #name: string;
  readonly #head: readonly string[];
  readonly #labels: readonly string[];
  readonly #seriesMax: number;
  readonly #kind: SeriesKind<Series>;
  /** By rendered labels. */
  readonly #series = new Map<string, Series>();

  constructor(
    name: string,
    type: string,
    help: string,
    options: FamilyOptions,
    kind: SeriesKind<Series>,
  ) {
    this.#name = name;
    this.#head = [`# HELP ${name} ${escapeHelp(help)}`, `# TYPE ${name} ${type}`];
    this.#labels = options.labels;
    this.#seriesMax = options.seriesMax ?? SERIES_MAX_DEFAULT;
    this.#kind = kind;
  }

  of(...values: string[]): Series {
    assert(values.length === this.#labels.length, `${this.#name} has labels ${this.#labels}`);
    const key = this.#keyOf(values);
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    if (this.#series.size < this.#seriesMax) return this.#make(key);
    const overflow = this.#keyOf(this.#labels.map(() => OVERFLOW_LABEL));
    return this.#series.get(overflow) ?? this.#make(overflow);
  }

  renderTo(lines: string[]): void {
    if (this.#series.size === 0) return;
    lines.push(...this.#head);
    for (const [labels, series] of this.#series) {
      this.#kind.render(this.#name, labels, series, lines);
    }
  }

  #make(key: string): Series {
    const series = this.#kind.make();
    this.#series.set(key, series);
    return series;
  }

  #keyOf(values: readonly string[]): string {
    return this.#labels.map((label, at) => `${label}="${escapeLabel(values[at] ?? "")}"`).join(",");
  }
}

class BucketHistogram implements Histogram {
  readonly bounds: readonly number[];
  /** One more than bounds: the last holds what is above all of them. Not cumulative. */
  readonly buckets: Float64Array;
  count = 0;
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.buckets = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const bounds = this.bounds;
    let at = 0;
    while (at < bounds.length && !(value <= bounds[at]!)) at++;
    this.buckets[at]!++;
    this.count++;
    this.sum += value;
  }

  quantile(share: number): number {
    const rank = share * this.count;
    let below = 0;
    for (let at = 0; at < this.bounds.length; at++) {
      below += this.buckets[at]!;
      if (below >= rank) return this.bounds[at]!;
    }
    return Infinity;
  }
}

function renderValue(read?: () => number): SeriesKind<Counter>["render"] {
  return (name, labels, series, lines) => {
    const braced = labels === "" ? "" : `{${labels}}`;
    lines.push(`${name}${braced} ${textOf(read === undefined ? series.value : read())}`);
  };
}

function renderHistogram(
  name: string,
  labels: string,
  series: BucketHistogram,
  lines: string[],
): void {
  const before = labels === "" ? "" : `${labels},`;
  const braced = labels === "" ? "" : `{${labels}}`;
  let below = 0;
  series.bounds.forEach((bound, at) => {
    below += series.buckets[at]!;
    lines.push(`${name}_bucket{${before}le="${textOf(bound)}"} ${below}`);
  });
  lines.push(`${name}_bucket{${before}le="+Inf"} ${series.count}`);
  lines.push(
    `${name}_sum${braced} ${textOf(series.sum)}`,
    `${name}_count${braced} ${series.count}`,
  );
}

function textOf(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}
