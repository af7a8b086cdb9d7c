/**
 * A row of a table, in plain elements: while one scrolls, only rows that change are drawn anew. What it
 * is given is compared by identity, so the acts are functions of the table and not of the row.
 */
import { defineComponent, h, type PropType, type VNode, type VNodeChild } from "vue";
import type { Column } from "./columns.ts";
import { t } from "./text.ts";

export type CellSlots = Readonly<
  Record<string, ((scope: { row: unknown }) => VNodeChild) | undefined>
>;

export interface RowActs {
  readonly click: (index: number) => void;
  readonly choose: (key: string) => void;
}

export const ROW_PX = 36;

export const TableRow = defineComponent({
  props: {
    table: { type: String, required: true },
    row: { type: Object as PropType<unknown>, required: true },
    rowKey: { type: String, required: true },
    index: { type: Number, required: true },
    columns: { type: Array as unknown as PropType<readonly Column<never>[]>, required: true },
    /** Of the table: they are run here, so that what they read draws this row only. */
    cells: { type: Object as PropType<CellSlots>, required: true },
    acts: { type: Object as PropType<RowActs>, required: true },
    isActive: { type: Boolean, required: true },
    isOpenable: { type: Boolean, required: true },
    /** Undefined: rows are not chosen. */
    isChosen: { type: Boolean as PropType<boolean | undefined>, default: undefined },
  },
  setup: (props) => {
    const onClick = () => props.acts.click(props.index);
    const onChoose = () => props.acts.choose(props.rowKey);
    const cellOf = (column: Column<never>) => {
      const own = props.cells[`cell-${column.key}`]?.({ row: props.row });
      const content = own ?? column.text(props.row as never);
      const name = column.isNumber ? "cell number" : "cell";
      return h("div", { key: column.key, role: "gridcell", class: name }, content as VNode[]);
    };
    const check = () =>
      h("span", { key: "", role: "gridcell", class: "check", onClick: stop }, [
        h("input", {
          type: "checkbox",
          tabindex: -1,
          checked: props.isChosen,
          "aria-label": t("select", { row: props.rowKey }),
          onChange: onChoose,
        }),
      ]);
    return () => {
      const { table, index, isActive, isChosen, isOpenable, columns } = props;
      const cells = columns.map(cellOf);
      return h("div", {
        id: `${table}-row-${index}`,
        role: "row",
        class: ["row", { active: isActive, chosen: isChosen, openable: isOpenable }],
        style: { transform: `translateY(${index * ROW_PX}px)` },
        "aria-rowindex": index + 2,
        "aria-selected": isChosen,
        onClick,
      }, isChosen === undefined ? cells : [check(), ...cells]);
    };
  },
});

function stop(event: Event): void {
  event.stopPropagation();
}
