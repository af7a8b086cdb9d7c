/** What devices are filtered by, and what of it the registry knows, as conditions of SQL over device `d`. */
import type { Sort } from "../registry/list_order.ts";
import { DEFAULT_PROJECT } from "../registry/registry_store.ts";
import type { PropertyCondition } from "./property_condition.ts";

export const DEVICE_STATUSES = ["online", "offline", "never", "disabled"] as const;

export type DeviceStatus = typeof DEVICE_STATUSES[number];

export type DeviceSort = Sort<"device" | "name" | "createdAt" | "lastSeenAt">;

export interface DeviceFilter {
  /** Default: `default`. */
  readonly project?: string;
  readonly product?: string;
  /** Part of device or name; ASCII letters in either case. */
  readonly q?: string;
  readonly tag?: string;
  /** In one of these groups; none: no device passes. */
  readonly groups?: readonly string[];
  readonly status?: DeviceStatus;
  /** All of them hold for its last values. */
  readonly properties?: readonly PropertyCondition[];
}

export interface Clause {
  readonly sql: string;
  readonly values: readonly (string | number | Uint8Array)[];
  /** Of those that an index can be walked by. */
  readonly name?: "project" | "product";
}

/** Keys of devices, `{product}/{device}`, that stand together in an index: all with one condition. */
export interface Source {
  /** What all of them pass, if it is one that the registry does not know. */
  readonly passed?: PropertyCondition | DeviceStatus;
  /** How many there are, up to `max`. A device may be counted twice. */
  count(max: number): number;
  keys(): string[];
}

export const IN_GROUPS = "group_id in (select value from json_each(?))";

/** The cheaper ones first; that of the project is always there. */
export function conditionsOf(filter: DeviceFilter): Clause[] {
  const { project = DEFAULT_PROJECT, product, q = "", tag, groups, status } = filter;
  const found: Clause[] = [{ name: "project", sql: "d.project = ?", values: [project] }];
  if (product !== undefined) {
    found.push({ name: "product", sql: "d.product = ?", values: [product] });
  }
  if (q !== "") {
    const pattern = `%${q.replace(/[!%_]/g, "!$&")}%`;
    const sql = "(d.device like ? escape '!' or d.name like ? escape '!')";
    found.push({ sql, values: [pattern, pattern] });
  }
  if (tag !== undefined) {
    const sql = `exists (select 1 from device_tags t where t.tag = ? and t.product = d.product
      and t.device = d.device)`;
    found.push({ sql, values: [tag] });
  }
  if (groups !== undefined) {
    const sql = `exists (select 1 from group_devices g where g.product = d.product
      and g.device = d.device and g.${IN_GROUPS})`;
    found.push({ sql, values: [JSON.stringify(groups)] });
  }
  if (status !== undefined) {
    found.push({ sql: `d.enabled = ${status === "disabled" ? 0 : 1}`, values: [] });
  }
  return found;
}

/** All of them; nothing for none. */
export function whereOf(parts: readonly Clause[]): Clause {
  if (parts.length === 0) return { sql: "", values: [] };
  return {
    sql: `where ${parts.map(({ sql }) => sql).join(" and ")}`,
    values: parts.flatMap(({ values }) => values),
  };
}

/** Keys of a product stand between `/` and `0`, which follows it. */
export function ofProducts(key: string, products: readonly string[]): Clause {
  if (products.length === 1) {
    return {
      sql: `${key} >= ? and ${key} < ?`,
      values: [`${products[0]}/`, `${products[0]}0`],
    };
  }
  const product = `substr(${key}, 1, instr(${key}, '/') - 1)`;
  return {
    sql: `${product} in (select value from json_each(?))`,
    values: [JSON.stringify(products)],
  };
}
