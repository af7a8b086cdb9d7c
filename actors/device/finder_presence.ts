/** Who is online, and who was heard of when: rows of view `presence`, in `views.db`. */
import {
  type Clause,
  type DeviceStatus,
  ofProducts,
  type Source,
  whereOf,
} from "./finder_conditions.ts";
import type { FinderOrder, Position } from "./finder_order.ts";
import type { FinderBounds, Walk } from "./finder_walk.ts";
import type { StoreReader } from "./store_reader.ts";
import { PRESENCE } from "./views.ts";

interface SeenRow {
  readonly key: string;
  readonly seen: number;
}

const ROW = `r.view = '${PRESENCE}' and r.key = k.value`;
/** A cross join is one that SQLite does not turn round. */
const ROWS = `from json_each(?) k cross join rows r on ${ROW}`;
const OF_STATUS = {
  online: `select r.key ${ROWS} where r.session is not null`,
  offline: `select r.key ${ROWS} where r.session is null`,
  never: `select k.value as key from json_each(?) k
    where not exists (select 1 from rows r where ${ROW})`,
} as const;
const ONLINE: Clause = {
  sql: "select key from rows indexed by rows_online where session is not null",
  values: [],
};

export class FinderPresence {
  readonly #store: StoreReader;
  readonly #sliceRows: number;

  constructor(store: StoreReader, { sliceRows }: Pick<FinderBounds, "sliceRows">) {
    this.#store = store;
    this.#sliceRows = sliceRows;
  }

  /** Of the keys, those that are of a status if they are enabled. */
  passing(keys: readonly string[], status: DeviceStatus): readonly string[] {
    if (status === "disabled" || keys.length === 0) return keys;
    return this.#store.all<{ readonly key: string }>(OF_STATUS[status], [JSON.stringify(keys)])
      .map(({ key }) => key);
  }

  /** When each was heard of; those that never were are absent. */
  times(keys: readonly string[]): ReadonlyMap<string, number> {
    const rows = this.#store.all<SeenRow>(`select r.key, r.seen ${ROWS}`, [JSON.stringify(keys)]);
    return new Map(rows.map(({ key, seen }) => [key, seen]));
  }

  onlineSource(): Source {
    return {
      passed: "online",
      count: (max) => this.#store.count(ONLINE, max),
      keys: () => this.#store.all<{ readonly key: string }>(ONLINE.sql, []).map(({ key }) => key),
    };
  }

  /**
   * Those that were heard of, in the order of that.
   * @param products Only of these: a position must not name another project's device.
   */
  walk(order: FinderOrder, products: readonly string[] | undefined): Walk {
    const own = products === undefined ? [] : [ofProducts("p.key", products)];
    const seen: Clause = { sql: "p.seen is not null", values: [] };
    const select = (after: Position | undefined, end: Position | undefined, direction: string) => {
      const range = [...order.isAfter(after), ...order.isUpTo(end)];
      const where = whereOf([seen, ...own, ...range]);
      return {
        sql: `select ${order.selected} from rows p indexed by rows_seen ${where.sql}
          order by ${direction} limit ?`,
        values: where.values,
      };
    };
    return {
      isFiltered: own.length > 0,
      end: (after) => {
        const where = whereOf([seen, ...order.isAfter(after)]);
        const sql = `select ${order.selected} from rows p indexed by rows_seen ${where.sql}
          order by ${order.ordering} limit 1 offset ${this.#sliceRows - 1}`;
        return this.#store.all<Position>(sql, where.values)[0];
      },
      read: (after, end, limit) => {
        const { sql, values } = select(after, end, order.ordering);
        return this.#store.all<Position>(sql, [...values, limit])
          .map((position) => ({ key: String(position.key), position }));
      },
      toldEnd: (after, end) => {
        const { sql, values } = select(after, end, order.reversed);
        return this.#store.all<Position>(sql, [...values, 1])[0];
      },
    };
  }
}
