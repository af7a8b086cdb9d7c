/** A time chart as ECharts takes it. */
import { clockTime, dayOf, measured, moment } from "../text/format.ts";
import type { ChartColours } from "./echarts.ts";
import type { ChartSeries } from "./series.ts";

export interface ChartView {
  readonly series: readonly ChartSeries[];
  readonly fromMs: number;
  readonly toMs: number;
  readonly unit: string;
  readonly limits: ChartLimits;
  readonly colours: ChartColours;
}

/** What values should stay within; beyond them the ground is marked. */
export interface ChartLimits {
  readonly min?: number | undefined;
  readonly max?: number | undefined;
}

const DAY_MS = 86_400_000;

export function chartOption(view: ChartView): Record<string, unknown> {
  const { colours, fromMs, toMs } = view;
  const isLong = toMs - fromMs > DAY_MS;
  const label = { color: colours.soft, fontSize: 11, hideOverlap: true };
  return {
    animation: false,
    textStyle: { fontFamily: colours.font },
    grid: { top: 14, right: 14, bottom: 26, left: 56 },
    xAxis: {
      type: "time",
      min: fromMs,
      max: toMs,
      axisLine: { lineStyle: { color: colours.line } },
      axisTick: { show: false },
      splitLine: { show: false },
      axisLabel: {
        ...label,
        formatter: (at: number) => isLong ? dayOf(at) : clockTime(at).replace(/:\d\d$/, ""),
      },
    },
    yAxis: {
      type: "value",
      ...scaleOf(view),
      axisLabel: { ...label, ...labelOf(view) },
      splitLine: { lineStyle: { color: colours.line } },
    },
    tooltip: {
      trigger: "axis",
      className: "chart-tip",
      renderMode: "html",
      transitionDuration: 0,
      axisPointer: { type: "cross", lineStyle: { color: colours.strong }, label: { show: false } },
      formatter: (found: unknown) => tipOf(found as readonly TipPoint[], view.unit),
    },
    // Wheel zooms, a drag selects a range.
    dataZoom: [{ type: "inside", zoomOnMouseWheel: true, moveOnMouseMove: false }],
    toolbox: { show: true, itemSize: 0, feature: { dataZoom: { yAxisIndex: "none" } } },
    series: [...limitsOf(view), ...view.series.flatMap((each) => seriesOf(each, colours))],
  };
}

/** Far beyond any axis, whose clip ends the area. */
const BEYOND = 1e6;

function limitsOf({ limits: { min, max }, colours }: ChartView): Record<string, unknown>[] {
  const far = (at: number, sign: number) => at + sign * (Math.abs(at) + 1) * BEYOND;
  const areas = [
    ...(max === undefined ? [] : [[{ yAxis: max }, { yAxis: far(max, 1) }]]),
    ...(min === undefined ? [] : [[{ yAxis: far(min, -1) }, { yAxis: min }]]),
  ];
  if (areas.length === 0) return [];
  const area = { silent: true, itemStyle: { color: colours.critical, opacity: 0.1 }, data: areas };
  return [{ id: "band-limits", type: "line", data: [], silent: true, markArea: area }];
}

function isState({ series }: ChartView): boolean {
  return series.length > 0 && series.every(({ isStep }) => isStep);
}

function scaleOf(view: ChartView): Record<string, unknown> {
  return isState(view) ? { min: 0, max: 1, interval: 1 } : { scale: true, splitNumber: 3 };
}

/** A state is one of JSON's words, not a number between. */
function labelOf(view: ChartView): Record<string, unknown> {
  const state = (value: number) => String(value === 1);
  return { formatter: isState(view) ? state : measured };
}

interface TipPoint {
  readonly seriesName: string;
  readonly seriesId: string;
  readonly color: string;
  readonly value: readonly [number, number | null];
}

/** An element, not markup: the policy of the page allows no inline style, and names are hostile. */
function tipOf(points: readonly TipPoint[], unit: string): HTMLElement {
  const box = document.createElement("div");
  const lines = points.filter(({ seriesId, value }) =>
    !seriesId.startsWith("band") && value[1] !== null
  );
  const head = document.createElement("p");
  head.textContent = lines[0] === undefined ? "" : moment(lines[0].value[0]);
  box.append(head);
  for (const { seriesName, color, value } of lines) {
    const line = document.createElement("p");
    const dot = document.createElement("i");
    dot.style.background = color;
    const text = document.createElement("b");
    text.textContent = `${measured(value[1]!)}${unit === "" ? "" : ` ${unit}`}`;
    line.append(dot, `${seriesName} `, text);
    box.append(line);
  }
  return box;
}

/** Up to so many points each has a dot: of some within a moment the line alone is too short to be seen. */
const DOTTED_MAX = 50;

function seriesOf(each: ChartSeries, colours: ChartColours): Record<string, unknown>[] {
  const colour = colours.series(each.colour);
  const line = {
    id: `line-${each.name}`,
    name: each.name,
    type: "line",
    data: each.points,
    step: each.isStep ? "end" : false,
    showSymbol: each.points.length <= DOTTED_MAX,
    symbolSize: 5,
    connectNulls: false,
    lineStyle: { width: 1.75, color: colour },
    itemStyle: { color: colour },
    z: 3,
  };
  return each.band === undefined ? [line] : [...bandOf(each, colour), line];
}

/** Two stacked areas: an unseen one up to the smallest value, and the band on top of it. */
function bandOf({ name, band = [] }: ChartSeries, colour: string): Record<string, unknown>[] {
  const base = {
    name,
    type: "line",
    stack: `band-${name}`,
    stackStrategy: "all",
    symbol: "none",
    silent: true,
    lineStyle: { width: 0 },
    z: 1,
  };
  return [
    { ...base, id: `band-low-${name}`, data: band.map(([at, min]) => [at, min]) },
    {
      ...base,
      id: `band-high-${name}`,
      data: band.map(([at, min, max]) => [at, max - min]),
      areaStyle: { color: colour, opacity: 0.16 },
    },
  ];
}
