import { defineText } from "../text/i18n.ts";

const zh = {
  columns: "列",
  choose_columns: "选择列",
  csv: "导出当前显示的行（CSV）",
  loading_more: "正在加载更多",
  all: "共 {n} 行",
  some: "已加载 {n} 行，继续滚动以加载更多",
  of: "已加载 {loaded} 行，共 {total} 行",
  select: "选择行 {row}",
  selected: "已选择 {n} 行",
  clear_selection: "清除选择",
  sort_by: "按{column}排序",
  fresh: "有 {n} 条新内容，点击显示",
  outdated: "列表已有变化，点击刷新",
};

const en: Record<keyof typeof zh, string> = {
  columns: "Columns",
  choose_columns: "Choose columns",
  csv: "Save the shown rows as CSV",
  loading_more: "Loading more",
  all: "{n} row | {n} rows",
  some: "{n} row loaded, scroll for more | {n} rows loaded, scroll for more",
  of: "{loaded} of {total} rows loaded",
  select: "Select row {row}",
  selected: "{n} row selected | {n} rows selected",
  clear_selection: "Clear selection",
  sort_by: "Sort by {column}",
  fresh: "{n} new, show | {n} new, show",
  outdated: "The list has changed, show",
};

export const t = defineText("table", { zh, en });
