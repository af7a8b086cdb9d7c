/** `docs/mqtt-conformance.md` cites tests by name: each is there, and each named by a clause is cited. */
import assert from "node:assert/strict";
import { walk } from "../support/walk.ts";

const ROOT = new URL("../../", import.meta.url);

async function namesOfTests(): Promise<Set<string>> {
  const names = new Set<string>();
  for (const folder of ["test/conformance", "protocols/mqtt"]) {
    const base = new URL(`${folder}/`, ROOT);
    for (const path of await walk(base, () => true)) {
      if (!path.endsWith("_test.ts")) continue;
      const source = await Deno.readTextFile(new URL(path, base));
      for (const [, name] of source.matchAll(/^(?:Deno\.test\(|\s{2}name: )"([^"]+)"/gm)) {
        names.add(name!);
      }
    }
  }
  return names;
}

Deno.test("the conformance page cites tests that exist, and all that are named by a clause", async () => {
  const names = await namesOfTests();
  const page = await Deno.readTextFile(new URL("docs/mqtt-conformance.md", ROOT));
  const cited = new Set(Array.from(page.matchAll(/"([^"\n]+)"/g), ([, name]) => name!));
  assert.ok(cited.size > 50, "the page cites tests");
  assert.deepEqual([...cited].filter((name) => !names.has(name)), [], "cited, but no test");
  const byClause = [...names].filter((name) => /^(3: )?\[MQTT-/.test(name));
  assert.deepEqual(byClause.filter((name) => !cited.has(name)), [], "tests that are not cited");
});
