/**
 * Every page of the console: its place in the navigation, its path and its code. A page that is not
 * there yet has no entry. Its words are `page.{id}` in `shell/text.ts`.
 */
import type { Component } from "vue";
import {
  Activity,
  Boxes,
  Cpu,
  FolderTree,
  type LucideIcon,
  MailX,
  Network,
  Settings,
} from "@lucide/vue";
import type { Role } from "../api/session.ts";
import type { ShellKey } from "../shell/text.ts";

export type Group = "operate" | "build" | "people" | "system";
export const GROUPS: readonly Group[] = [
  "operate",
  "build",
  "people",
  "system",
];

export interface Page {
  /** Name of its route. */
  readonly id: string;
  readonly path: string;
  readonly title: ShellKey;
  /** Absent: it is reached from another page only. */
  readonly nav?: { readonly group: Group; readonly icon: LucideIcon };
  /** The page of the navigation that it hangs below. */
  readonly parent?: string;
  /** Whom the API lets see it; default viewer. */
  readonly role?: Role;
  readonly load: () => Promise<{ default: Component }>;
}

export const PAGES: readonly Page[] = [
  {
    id: "overview",
    path: "/",
    title: "page_overview",
    nav: { group: "operate", icon: Activity },
    load: () => import("./overview/overview_page.vue"),
  },
  {
    id: "devices",
    path: "/devices",
    title: "page_devices",
    nav: { group: "operate", icon: Cpu },
    load: () => import("./devices/devices_page.vue"),
  },
  {
    id: "device",
    path: "/devices/:product/:device",
    title: "page_device",
    parent: "devices",
    load: () => import("./device/device_page.vue"),
  },
  {
    id: "groups",
    path: "/groups",
    title: "page_groups",
    nav: { group: "operate", icon: FolderTree },
    load: () => import("./groups/groups_page.vue"),
  },
  {
    id: "products",
    path: "/products",
    title: "page_products",
    nav: { group: "build", icon: Boxes },
    load: () => import("./products/products_page.vue"),
  },
  {
    id: "product",
    path: "/products/:product",
    title: "page_product",
    parent: "products",
    load: () => import("./product/product_page.vue"),
  },
  {
    id: "cluster",
    path: "/cluster",
    title: "page_cluster",
    nav: { group: "system", icon: Network },
    load: () => import("./cluster/cluster_page.vue"),
  },
  {
    id: "dead-letters",
    path: "/dead-letters",
    title: "page_dead_letters",
    nav: { group: "system", icon: MailX },
    role: "operator",
    load: () => import("./dead_letters/dead_letters_page.vue"),
  },
  {
    id: "setup",
    path: "/setup",
    title: "page_setup",
    parent: "overview",
    role: "owner",
    load: () => import("./setup/setup_page.vue"),
  },
  {
    id: "settings",
    path: "/settings",
    title: "page_settings",
    nav: { group: "system", icon: Settings },
    load: () => import("./settings/settings_page.vue"),
  },
];

/** Whether there is such a page in this version. */
export function hasPage(id: string): boolean {
  return PAGES.some((page) => page.id === id);
}
