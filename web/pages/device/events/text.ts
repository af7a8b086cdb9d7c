import { defineText } from "../../../text/i18n.ts";

const zh = {
  title: "事件",
  event: "事件",
  type: "级别",
  at: "发生时间",
  data: "内容",
  any_event: "全部事件",
  empty: "设备还没有上报事件。用下面的命令发送一个。",
  empty_filtered: "没有此名称的事件。",
  type_info: "信息",
  type_alert: "告警",
  type_error: "故障",
  no_type: "物模型中没有",
};

const en: Record<keyof typeof zh, string> = {
  title: "Events",
  event: "Event",
  type: "Level",
  at: "Happened",
  data: "Content",
  any_event: "Any event",
  empty: "The device has raised no event yet. Send one with this command.",
  empty_filtered: "There is no event of this name.",
  type_info: "Info",
  type_alert: "Alert",
  type_error: "Error",
  no_type: "not in the thing model",
};

export const t = defineText("events", { zh, en });
