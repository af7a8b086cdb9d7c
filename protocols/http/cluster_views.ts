/** The supervision tree as the API and live feeds show it. */
import type { SupervisionTree } from "../../runtime/actor/supervision.ts";

export type TreeView = {
  readonly id: string;
  readonly status: string;
  readonly restarts: number;
  /** Epoch milliseconds; null: none yet. */
  readonly startedAt: number | null;
  readonly lastFault: string | null;
  readonly children: readonly TreeView[];
};

export function treeView(tree: SupervisionTree): TreeView {
  return {
    id: tree.id,
    status: tree.status,
    restarts: tree.restarts,
    startedAt: tree.startedAtMs ?? null,
    lastFault: tree.lastFault ?? null,
    children: tree.children.map(treeView),
  };
}
