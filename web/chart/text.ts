import { defineText } from "../text/i18n.ts";

const zh = {
  label: "{name}：{n} 个点，从 {from} 到 {to}",
  zoom_out: "还原缩放",
  save_png: "保存为图片（PNG）",
  as_table: "显示为表格",
  as_chart: "显示为图表",
  time: "时间",
  value: "数值",
  min: "最小",
  max: "最大",
  empty: "此时间段内没有数据。",
};

const en: Record<keyof typeof zh, string> = {
  label: "{name}: {n} point from {from} to {to} | {name}: {n} points from {from} to {to}",
  zoom_out: "Zoom out",
  save_png: "Save as a picture (PNG)",
  as_table: "Show as a table",
  as_chart: "Show as a chart",
  time: "Time",
  value: "Value",
  min: "Smallest",
  max: "Largest",
  empty: "There are no values in this range.",
};

export const t = defineText("chart", { zh, en });
