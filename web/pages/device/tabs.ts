/**
 * Tabs of a device's page, in their order. Each gets the device, and is loaded when it is opened; its
 * title is `tab_{id}` in `text.ts`.
 */
import { loadedView } from "../../parts/loaded_view.ts";

export const TABS = [
  { id: "values", component: loadedView(() => import("./values_tab.vue")) },
  { id: "shadow", component: loadedView(() => import("./shadow_tab.vue")) },
  { id: "calls", component: loadedView(() => import("./calls_tab.vue")) },
  { id: "events", component: loadedView(() => import("./events_tab.vue")) },
  { id: "messages", component: loadedView(() => import("./messages_tab.vue")) },
  { id: "credentials", component: loadedView(() => import("./credentials_tab.vue")) },
] as const;

export type TabId = typeof TABS[number]["id"];
