/** Devices as the registry has them: it decides which there are. Read beside its writer, `registry.db`. */
import type { DevicesTable } from "../registry/tables.ts";
import {
  type Clause,
  conditionsOf,
  type DeviceFilter,
  IN_GROUPS,
  type Source,
  whereOf,
} from "./finder_conditions.ts";
import type { FinderOrder, Position } from "./finder_order.ts";
import type { Candidate, FinderBounds, Walk } from "./finder_walk.ts";
import type { StoreReader } from "./store_reader.ts";

export interface RegistryWalk extends Walk {
  count(after: Position | undefined, end: Position | undefined): number;
}

type OwnFilter = DeviceFilter & { readonly project: string };

const COLUMNS = `d.product, d.device, d.name, d.tags, d.enabled, d.version, d.created_at,
  d.updated_at`;
const KEY = "product || '/' || device as key";
/** A cross join is one that SQLite does not turn round. */
const OF_KEYS = `json_each(?) k cross join devices d indexed by devices_of_project_by_key
  on d.product = substr(k.value, 1, instr(k.value, '/') - 1)
  and d.device = substr(k.value, instr(k.value, '/') + 1)`;

export class FinderRegistry {
  readonly #store: StoreReader;
  readonly #sliceRows: number;

  constructor(store: StoreReader, { sliceRows }: Pick<FinderBounds, "sliceRows">) {
    this.#store = store;
    this.#sliceRows = sliceRows;
  }

  /** False: there is nothing to find. */
  hasProduct({ project, product }: OwnFilter): boolean {
    if (product === undefined) return true;
    const sql = "select 1 from products where key = ? and project = ?";
    return this.#store.all(sql, [product, project]).length > 0;
  }

  /** Products of a project; undefined: there is no other project. */
  productsOf(project: string): readonly string[] | undefined {
    if (this.#isOnlyProject(project)) return undefined;
    const sql = "select key from products where project = ?";
    return this.#store.all<{ readonly key: string }>(sql, [project]).map(({ key }) => key);
  }

  /** All devices that pass, in an order. */
  walk(order: FinderOrder, filter: DeviceFilter): RegistryWalk {
    const conditions = conditionsOf(filter);
    const isFixed = ({ name }: Clause) =>
      name === "project" || name === "product" && order.isByDevice;
    const fixed = conditions.filter(isFixed);
    const rest = conditions.filter((clause) => !isFixed(clause));
    const from = `from devices d indexed by ${order.index}`;
    const whereIn = (after: Position | undefined, end: Position | undefined) =>
      whereOf([...fixed, ...order.isAfter(after), ...order.isUpTo(end), ...rest]);
    return {
      isFiltered: rest.length > 0,
      end: (after) => {
        const where = whereOf([...fixed, ...order.isAfter(after)]);
        const sql = `select ${order.selected} ${from} ${where.sql}
          order by ${order.ordering} limit 1 offset ${this.#sliceRows - 1}`;
        return this.#store.all<Position>(sql, where.values)[0];
      },
      read: (after, end, limit) => {
        const where = whereIn(after, end);
        const sql = `select ${order.selected} ${from} ${where.sql}
          order by ${order.ordering} limit ?`;
        return this.#store.all<Position>(sql, [...where.values, limit]).map(candidateOf);
      },
      toldEnd: (_after, end) => end,
      count: (after, end) => {
        const where = whereIn(after, end);
        const rows = { sql: `select 1 ${from} ${where.sql}`, values: where.values };
        return this.#store.count(rows, this.#sliceRows);
      },
    };
  }

  /** Of the keys, the devices that pass, in an order of the registry. */
  sorted(
    keys: readonly string[],
    filter: DeviceFilter,
    order: FinderOrder,
    after: Position | undefined,
    limit: number,
  ): Candidate[] {
    const where = whereOf([...conditionsOf(filter), ...order.isAfter(after)]);
    const sql = `select ${order.selected} from ${OF_KEYS} ${where.sql}
      order by ${order.ordering} limit ?`;
    return this.#store.all<Position>(sql, [JSON.stringify(keys), ...where.values, limit])
      .map(candidateOf);
  }

  /** Of the keys, those of devices that pass. */
  passing(keys: readonly string[], filter: DeviceFilter): string[] {
    const where = whereOf(conditionsOf(filter));
    const sql = `select k.value as key from ${OF_KEYS} ${where.sql}`;
    return this.#store.all<{ readonly key: string }>(sql, [JSON.stringify(keys), ...where.values])
      .map(({ key }) => key);
  }

  countPassing(keys: readonly string[], filter: DeviceFilter): number {
    const where = whereOf(conditionsOf(filter));
    const sql = `select count(*) as count from ${OF_KEYS} ${where.sql}`;
    const values = [JSON.stringify(keys), ...where.values];
    return this.#store.all<{ readonly count: number }>(sql, values)[0]!.count;
  }

  rows(keys: readonly string[], project: string): DevicesTable[] {
    const sql = `select ${COLUMNS} from ${OF_KEYS} where d.project = ?`;
    return this.#store.all<DevicesTable>(sql, [JSON.stringify(keys), project]);
  }

  /** @param order Its own index may have the devices of a product together. */
  sources({ project, product, tag, groups, status }: OwnFilter, order: FinderOrder): Source[] {
    const found: Source[] = [];
    // By last seen, the devices of all projects stand together.
    if (product === undefined && order.isBySeen && !this.#isOnlyProject(project)) {
      const sql = `select ${KEY} from devices indexed by devices_of_project_by_key
        where project = ?`;
      found.push(this.#source({ sql, values: [project] }));
    }
    if (product !== undefined && !order.isByDevice) {
      const sql = `select ${KEY} from devices indexed by devices_of_project_by_key
        where project = ? and product = ?`;
      found.push(this.#source({ sql, values: [project, product] }));
    }
    if (tag !== undefined) {
      found.push(
        this.#source({ sql: `select ${KEY} from device_tags where tag = ?`, values: [tag] }),
      );
    }
    if (groups !== undefined) {
      const sql = `select ${KEY} from group_devices where ${IN_GROUPS}`;
      found.push(this.#source({ sql, values: [JSON.stringify(groups)] }));
    }
    if (status === "disabled") {
      const sql = `select ${KEY} from devices indexed by devices_disabled
        where enabled = 0 and project = ?`;
      found.push(this.#source({ sql, values: [project] }));
    }
    return found;
  }

  #isOnlyProject(project: string): boolean {
    const ids = this.#store.all<{ readonly id: string }>("select id from projects limit 2", []);
    return ids.length === 1 && ids[0]!.id === project;
  }

  #source(rows: Clause): Source {
    return {
      count: (max) => this.#store.count(rows, max),
      keys: () => [
        ...new Set(
          this.#store.all<{ readonly key: string }>(rows.sql, rows.values).map(({ key }) => key),
        ),
      ],
    };
  }
}

function candidateOf(position: Position): Candidate {
  return { key: `${position.product}/${position.device}`, position };
}
