/**
 * Tabs of a device's page, in their order. Each gets the device, and is loaded when it is opened; its
 * title is `tab_{id}` in `text.ts`.
 */
import { type Component, defineAsyncComponent } from "vue";

export const TABS = [
  { id: "values", component: load(() => import("./values_tab.vue")) },
  { id: "shadow", component: load(() => import("./shadow_tab.vue")) },
  { id: "calls", component: load(() => import("./calls_tab.vue")) },
  { id: "events", component: load(() => import("./events_tab.vue")) },
  { id: "messages", component: load(() => import("./messages_tab.vue")) },
  { id: "credentials", component: load(() => import("./credentials_tab.vue")) },
] as const;

export type TabId = typeof TABS[number]["id"];

function load(loader: () => Promise<{ default: Component }>): Component {
  return defineAsyncComponent(loader);
}
