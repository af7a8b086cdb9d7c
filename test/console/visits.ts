/** Pages as tests and screenshots visit them. */

export interface Visit {
  /** For file names. */
  readonly name: string;
  readonly path: string;
  /** What is there when the page has its values. */
  readonly ready: string;
}

/** Every page, as a node with the plant of `test/support/plant.ts` shows it. */
export const PAGES: readonly Visit[] = [
  { name: "overview", path: "/", ready: ".ledger" },
  { name: "devices", path: "/devices", ready: ".table" },
  { name: "device", path: "/devices/pump/p-01", ready: ".canvas canvas" },
  { name: "device-shadow", path: "/devices/pump/p-01?tab=shadow", ready: "tbody tr" },
  { name: "device-calls", path: "/devices/pump/p-01?tab=calls", ready: ".rows .row" },
  { name: "device-events", path: "/devices/pump/p-01?tab=events", ready: ".rows .row" },
  { name: "device-messages", path: "/devices/pump/p-01?tab=messages", ready: ".rows .row" },
  { name: "device-credentials", path: "/devices/pump/p-01?tab=credentials", ready: ".credentials" },
  { name: "groups", path: "/groups", ready: ".group .rows .row" },
  { name: "products", path: "/products", ready: ".rows .row" },
  { name: "product", path: "/products/pump", ready: ".feature" },
  { name: "product-versions", path: "/products/pump?tab=versions", ready: ".versions li" },
  { name: "product-settings", path: "/products/pump?tab=settings", ready: ".settings form" },
  { name: "cluster", path: "/cluster", ready: ".partitions" },
  { name: "dead-letters", path: "/dead-letters", ready: ".table" },
  { name: "settings", path: "/settings", ready: ".account li" },
  { name: "settings-users", path: "/settings?tab=users", ready: ".rows .row" },
  { name: "settings-keys", path: "/settings?tab=keys", ready: ".table" },
  { name: "settings-audit", path: "/settings?tab=audit", ready: ".rows .row" },
  { name: "setup", path: "/setup", ready: ".steps form" },
  { name: "missing", path: "/no/such/page", ready: ".empty" },
];
