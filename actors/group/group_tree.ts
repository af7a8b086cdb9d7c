/** The tree of a project's groups as plain functions. It has no cycle: none is ever written. */

/** Id of a group → that of the one it is in; null: at the top. */
export type ParentOf = ReadonlyMap<string, string | null>;

/** The group and all below it. A group that is not there yet has none below. */
export function belowOf(parents: ParentOf, id: string): string[] {
  const children = Map.groupBy(parents.keys(), (child) => parents.get(child) ?? null);
  const found = [id];
  for (let at = 0; at < found.length; at++) found.push(...children.get(found[at]!) ?? []);
  return found;
}

/** Levels from the top down to the group, which is one itself. */
export function depthOf(parents: ParentOf, id: string): number {
  let depth = 0;
  for (let at: string | null = id; at !== null; at = parents.get(at) ?? null) depth++;
  return depth;
}

/** Levels from the group down to the deepest below it. */
export function heightOf(parents: ParentOf, id: string): number {
  const own = parents.has(id) ? depthOf(parents, id) : 0;
  const depths = belowOf(parents, id).filter((each) => each !== id)
    .map((each) => depthOf(parents, each) - own);
  return 1 + Math.max(0, ...depths);
}
