/** ECharts as the console uses it: what its charts need of it, and its one theme, from the tokens. */
import { LineChart } from "echarts/charts";
import {
  AriaComponent,
  AxisPointerComponent,
  DataZoomComponent,
  GridComponent,
  MarkAreaComponent,
  ToolboxComponent,
  TooltipComponent,
} from "echarts/components";
import { connect, type ECharts, init, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

use([
  AriaComponent,
  AxisPointerComponent,
  CanvasRenderer,
  DataZoomComponent,
  GridComponent,
  LineChart,
  MarkAreaComponent,
  ToolboxComponent,
  TooltipComponent,
]);

export type { ECharts } from "echarts/core";

/** Charts of a page, whose crosshairs move together. */
export const PAGE_GROUP = "page";

export function createChart(element: HTMLElement): ECharts {
  const chart = init(element, undefined, { renderer: "canvas" });
  chart.group = PAGE_GROUP;
  connect(PAGE_GROUP);
  return chart;
}

export interface ChartColours {
  readonly text: string;
  readonly soft: string;
  readonly line: string;
  readonly strong: string;
  readonly accent: string;
  readonly critical: string;
  readonly panel: string;
  /** A canvas inherits no font. */
  readonly font: string;
  /** Number of the series, from 1. */
  readonly series: (number: number) => string;
}

/** The tokens as they are now: a change of the theme takes them anew. */
export function readColours(): ChartColours {
  const style = getComputedStyle(document.documentElement);
  const token = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: token("text"),
    soft: token("text-soft"),
    line: token("line"),
    strong: token("line-strong"),
    accent: token("accent"),
    critical: token("critical"),
    panel: token("panel"),
    font: token("font"),
    series: (number) => token(`series-${(number - 1) % 8 + 1}`),
  };
}
