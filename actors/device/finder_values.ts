/** Which devices have last values that conditions ask for, in `search.db`. */
import { type Clause, ofProducts, type Source, whereOf } from "./finder_conditions.ts";
import type { FinderBounds } from "./finder_walk.ts";
import type { Operator, PropertyCondition } from "./property_condition.ts";
import { type IndexedValue, indexedValue } from "./property_index.ts";
import type { StoreReader } from "./store_reader.ts";

interface Entry {
  readonly value: IndexedValue;
  readonly key: string;
}

/** What is compared with is a number where the operator is not `=`. */
const OPERATORS: Readonly<Record<Operator, string>> = {
  "=": "x.value = ?",
  "<": "x.value < ?",
  "<=": "x.value <= ?",
  // Texts come after all numbers.
  ">": "x.value > ? and x.value < ''",
  ">=": "x.value >= ? and x.value < ''",
};

export class FinderValues {
  readonly #store: StoreReader;
  readonly #sliceRows: number;

  constructor(store: StoreReader, { sliceRows }: Pick<FinderBounds, "sliceRows">) {
    this.#store = store;
    this.#sliceRows = sliceRows;
  }

  /** Of the keys, those for which all conditions hold. */
  passing(keys: readonly string[], conditions: readonly PropertyCondition[]): readonly string[] {
    let passing = keys;
    for (const condition of conditions) {
      if (passing.length === 0) break;
      const { sql, values } = holds(condition);
      const rows = this.#store.all<{ readonly key: string }>(
        `select x.key from json_each(?) k cross join props x on x.key = k.value where ${sql}`,
        [JSON.stringify(passing), ...values],
      );
      passing = rows.map(({ key }) => key);
    }
    return passing;
  }

  /**
   * How many entries have one condition, in slices. A device that is gone is among them until its values
   * are. @param products Only of these; undefined: of all.
   */
  async count(
    condition: PropertyCondition,
    products: readonly string[] | undefined,
    letOthersRun: () => Promise<void>,
  ): Promise<number> {
    const { sql, values } = holds(condition);
    const own = products === undefined ? [] : [ofProducts("x.key", products)];
    let count = 0;
    let after: Clause[] = [];
    while (true) {
      const rest = whereOf([{ sql, values }, ...after]);
      const [end] = this.#store.all<Entry>(
        `select x.value, x.key from props x indexed by props_by_value ${rest.sql}
         order by x.value, x.key limit 1 offset ${this.#sliceRows - 1}`,
        rest.values,
      );
      const upTo = end === undefined ? [] : [compared("<=", end)];
      const slice = whereOf([{ sql, values }, ...after, ...upTo, ...own]);
      const entries = `select 1 from props x indexed by props_by_value ${slice.sql}`;
      count += this.#store.count({ ...slice, sql: entries }, this.#sliceRows);
      if (end === undefined) return count;
      after = [compared(">", end)];
      await letOthersRun();
    }
  }

  sources(conditions: readonly PropertyCondition[]): Source[] {
    return conditions.map((condition) => {
      const { sql, values } = holds(condition);
      const rows = {
        sql: `select x.key from props x indexed by props_by_value where ${sql}`,
        values,
      };
      return {
        passed: condition,
        count: (max) => this.#store.count(rows, max),
        keys: () =>
          this.#store.all<{ readonly key: string }>(rows.sql, rows.values).map(({ key }) => key),
      };
    });
  }
}

function compared(operator: "<=" | ">", { value, key }: Entry): Clause {
  return { sql: `(x.value, x.key) ${operator} (?, ?)`, values: [value, key] };
}

function holds({ property, operator, value }: PropertyCondition): Clause {
  return {
    sql: `x.name = ? and ${OPERATORS[operator]}`,
    values: [property, indexedValue(value)!],
  };
}
