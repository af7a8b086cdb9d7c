/** What a table shows of its rows, and how a person chose to see it. */
import { computed, type ComputedRef, ref } from "vue";

export interface Column<Row> {
  readonly key: string;
  readonly title: string;
  /** A track of a CSS grid: `minmax(160px, 2fr)`, `120px`. */
  readonly width: string;
  /** Text of the cell: what a slot does not replace, and what a CSV has. */
  readonly text: (row: Row) => string;
  readonly isNumber?: boolean;
  /** Name of the API's field to sort by. */
  readonly sort?: string;
  /** Hidden until a person chooses it. */
  readonly isExtra?: boolean;
  /** Hidden on narrow screens, unless chosen. */
  readonly isWideOnly?: boolean;
  /** Cannot be hidden. */
  readonly isFixed?: boolean;
}

export interface ColumnChoice<Row> {
  readonly shown: ComputedRef<readonly Column<Row>[]>;
  isShown(key: string): boolean;
  toggle(key: string): void;
}

const narrow = matchMedia("(max-width: 767px)");
const isNarrow = ref(narrow.matches);
narrow.addEventListener("change", (event) => isNarrow.value = event.matches);

/** @param id Under which the choice is kept. */
export function useColumnChoice<Row>(
  id: string,
  columns: () => readonly Column<Row>[],
): ColumnChoice<Row> {
  const stored = `roost.columns.${id}`;
  const chosen = ref<Record<string, boolean>>(readChoice(stored));
  const isShown = (column: Column<Row>) =>
    column.isFixed === true ||
    (chosen.value[column.key] ?? !(column.isExtra || (column.isWideOnly && isNarrow.value)));
  const find = (key: string) => columns().find((column) => column.key === key);
  return {
    shown: computed(() => columns().filter(isShown)),
    isShown: (key) => {
      const column = find(key);
      return column !== undefined && isShown(column);
    },
    toggle: (key) => {
      const column = find(key);
      if (column === undefined || column.isFixed) return;
      chosen.value = { ...chosen.value, [key]: !isShown(column) };
      localStorage.setItem(stored, JSON.stringify(chosen.value));
    },
  };
}

function readChoice(stored: string): Record<string, boolean> {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(stored) ?? "{}");
    return typeof value === "object" && value !== null ? value as Record<string, boolean> : {};
  } catch {
    return {}; // Not ours, or cut off: as if nothing was chosen.
  }
}
