/** What devices are filtered by, as conditions of SQL over device `d`; and where to find few of them. */
import { DEFAULT_PROJECT } from "../registry/registry_store.ts";
import type { Sort } from "../registry/list_order.ts";
import { indexedValue } from "./property_index.ts";
import type { Operator, PropertyCondition } from "./property_condition.ts";

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

/** Rows of one condition: `count` selects them, `from` joins their devices as `d`. */
interface Source {
  readonly count: Clause;
  readonly from: Clause;
}

const KEY = "d.product || '/' || d.device";
/** Of the row of a device: a value of it, null without a row. As a join, SQLite may walk all others. */
const presence = (what: string) =>
  `(select ${what} from v.rows where view = 'presence' and key = ${KEY})`;
const OF_KEY = `d.product = substr(k.key, 1, instr(k.key, '/') - 1)
  and d.device = substr(k.key, instr(k.key, '/') + 1)`;
const OF_NAMES = "d.product = k.product and d.device = k.device";
const IN_GROUPS = "group_id in (select value from json_each(?))";
const ONLINE = "from v.rows where session is not null";
/** Of SQL, for each operator; what is compared with is a number where it is not `=`. */
const OPERATORS: Readonly<Record<Operator, string>> = {
  "=": "x.value = ?",
  "<": "x.value < ?",
  "<=": "x.value <= ?",
  // Texts come after all numbers.
  ">": "x.value > ? and x.value < ''",
  ">=": "x.value >= ? and x.value < ''",
};
const STATUSES: Readonly<Record<DeviceStatus, string>> = {
  disabled: "d.enabled = 0",
  online: `d.enabled = 1 and ${presence("session is not null")}`,
  offline: `d.enabled = 1 and ${presence("session is null")}`,
  never: `d.enabled = 1 and ${presence("1")} is null`,
};

/** Of a device that was never heard of. */
export const NEVER_SEEN: Clause = { sql: `${presence("1")} is null`, values: [] };

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
  for (const condition of filter.properties ?? []) found.push(holds(condition));
  if (status !== undefined) found.push({ sql: STATUSES[status], values: [] });
  if (groups !== undefined) {
    const sql = `exists (select 1 from group_devices g where g.product = d.product
      and g.device = d.device and g.${IN_GROUPS})`;
    found.push({ sql, values: [JSON.stringify(groups)] });
  }
  return found;
}

/** Of each condition whose matches stand together in an index. */
export function sourcesOf(filter: DeviceFilter): Source[] {
  const found: Source[] = [];
  const add = (what: string, columns: string, on: string, values: Clause["values"]) => {
    const rows = `(select distinct ${columns} ${what})`;
    found.push({
      count: { sql: `select 1 ${what}`, values },
      from: { sql: `${rows} k cross join devices d on ${on}`, values },
    });
  };
  const names = "product, device";
  if (filter.tag !== undefined) {
    add("from device_tags where tag = ?", names, OF_NAMES, [filter.tag]);
  }
  if (filter.groups !== undefined) {
    const groups = JSON.stringify(filter.groups);
    add(`from group_devices where ${IN_GROUPS}`, names, OF_NAMES, [groups]);
  }
  for (const condition of filter.properties ?? []) {
    const { sql, values } = valueClause(condition);
    add(`from s.props x where ${sql}`, "key", OF_KEY, values);
  }
  if (filter.status === "online") add(ONLINE, "key", OF_KEY, []);
  return found;
}

/** All of them; nothing for none. */
export function clauses(parts: readonly Clause[]): Clause {
  if (parts.length === 0) return { sql: "", values: [] };
  return {
    sql: `where ${parts.map(({ sql }) => sql).join(" and ")}`,
    values: parts.flatMap(({ values }) => values),
  };
}

function holds({ property, operator, value }: PropertyCondition): Clause {
  const row = `from s.props x where x.key = ${KEY} and x.name = ?`;
  const sql = `(select ${OPERATORS[operator]} ${row})`;
  return { sql, values: [indexedValue(value)!, property] };
}

function valueClause({ property, operator, value }: PropertyCondition): Clause {
  return {
    sql: `x.name = ? and ${OPERATORS[operator]}`,
    values: [property, indexedValue(value)!],
  };
}
