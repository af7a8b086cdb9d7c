import assert from "node:assert/strict";
import { choicesOf, flatten, type Group, treeOf } from "./group_tree.ts";

function group(id: string, parent: string | null): Group {
  return { id, name: `Name ${id}`, parent };
}

const NODES = treeOf([group("c", "b"), group("b", "a"), group("z", "gone"), group("a", null)]);

Deno.test("groups stand below their parents, and at the top where those are gone", () => {
  assert.deepEqual(flatten(NODES).map(({ path, level }) => `${level} ${path}`), [
    "1 Name a",
    "2 Name a / Name b",
    "3 Name a / Name b / Name c",
    "1 Name z",
  ]);
  assert.deepEqual(flatten(NODES, (id) => id !== "a").map(({ group: { id } }) => id), ["a", "z"]);
});

Deno.test("a group is not offered itself and what is in it", () => {
  assert.deepEqual(choicesOf(NODES, "b").map(({ value }) => value), ["a", "z"]);
  assert.deepEqual(choicesOf(NODES).length, 4);
});
