/** Groups as a tree: who is below whom, and what each is called with those above it. */

export interface Group {
  readonly id: string;
  readonly name: string;
  /** Id of the group that it is in; null: at the top. */
  readonly parent: string | null;
}

export interface GroupNode {
  readonly group: Group;
  /** From 1. */
  readonly level: number;
  /** Names from the top: `Plant / Hall 1`. */
  readonly path: string;
  readonly children: readonly GroupNode[];
}

/** Those at the top, by name; one whose parent is not there stands at the top. */
export function treeOf(groups: readonly Group[]): readonly GroupNode[] {
  const known = new Set(groups.map(({ id }) => id));
  const byParent = new Map<string | null, Group[]>();
  for (const group of groups) {
    const parent = group.parent !== null && known.has(group.parent) ? group.parent : null;
    byParent.set(parent, [...byParent.get(parent) ?? [], group]);
  }
  const below = (parent: string | null, level: number, above: string): GroupNode[] =>
    (byParent.get(parent) ?? []).sort((a, b) => a.name.localeCompare(b.name)).map((group) => {
      const path = above + group.name;
      return { group, level, path, children: below(group.id, level + 1, `${path} / `) };
    });
  return below(null, 1, "");
}

/** Each node before those below it. */
export function flatten(
  nodes: readonly GroupNode[],
  isOpen: (id: string) => boolean = () => true,
): readonly GroupNode[] {
  return nodes.flatMap((node) => [
    node,
    ...(isOpen(node.group.id) ? flatten(node.children, isOpen) : []),
  ]);
}

/** For a choice among groups; those of one branch may be left out. */
export function choicesOf(
  nodes: readonly GroupNode[],
  without?: string,
): readonly { readonly value: string; readonly title: string }[] {
  const closed = (id: string) => id !== without;
  return flatten(nodes, closed).filter(({ group }) => group.id !== without)
    .map(({ group, path }) => ({ value: group.id, title: path }));
}
