/** Which devices have last values that conditions ask for, in `search.db`. */
import type { Clause, Source } from "./finder_conditions.ts";
import type { Operator, PropertyCondition } from "./property_condition.ts";
import { indexedValue } from "./property_index.ts";
import type { StoreReader } from "./store_reader.ts";

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

  constructor(store: StoreReader) {
    this.#store = store;
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

function holds({ property, operator, value }: PropertyCondition): Clause {
  return {
    sql: `x.name = ? and ${OPERATORS[operator]}`,
    values: [property, indexedValue(value)!],
  };
}
