/**
 * `docs/mqtt-conformance.md` cites tests by name: each is there, and each named by a clause is cited. It
 * has every numbered statement of both standards, of chapters 1 to 6.
 */
import assert from "node:assert/strict";
import { walk } from "../support/walk.ts";

const ROOT = new URL("../../", import.meta.url);

/** Number of the last statement of each section; MQTT 5 has no 2.2.1-1. */
const LAST_OF_5 = `1.5.4-3 1.5.5-1 1.5.7-1 2.1.3-1 2.2.1-6 2.2.2-1 3.1.0-2 3.1.2-30 3.1.3-12 3.1.4-6
3.2.0-2 3.2.2-22 3.3.1-13 3.3.2-20 3.3.4-10 3.4.2-3 3.5.2-3 3.6.1-1 3.6.2-3 3.7.2-3 3.8.1-1 3.8.3-5
3.8.4-8 3.9.2-2 3.9.3-2 3.10.1-1 3.10.3-2 3.10.4-6 3.11.2-2 3.11.3-2 3.12.4-1 3.14.0-1 3.14.1-1
3.14.2-4 3.14.4-3 3.15.1-1 3.15.2-3 4.1.0-2 4.2.0-1 4.3.1-1 4.3.2-5 4.3.3-13 4.4.0-2 4.5.0-2 4.6.0-6
4.7.0-1 4.7.1-2 4.7.2-1 4.7.3-4 4.8.2-6 4.9.0-3 4.12.0-7 4.12.1-2 4.13.1-1 4.13.2-1 6.0.0-4`;
const LAST_OF_3 =
  `1.5.3-3 2.2.2-2 2.3.1-7 3.1.0-2 3.1.2-24 3.1.3-11 3.1.4-5 3.2.0-1 3.2.2-6 3.3.1-12
3.3.2-3 3.3.4-1 3.3.5-2 3.6.1-1 3.8.1-1 3.8.3-4 3.8.4-6 3.9.3-2 3.10.1-1 3.10.3-2 3.10.4-6 3.12.4-1
3.14.1-1 3.14.4-3 4.1.0-2 4.2.0-1 4.3.1-1 4.3.2-2 4.3.3-2 4.4.0-1 4.5.0-2 4.6.0-6 4.7.1-3 4.7.2-1
4.7.3-4 4.8.0-2 6.0.0-4`;

function statementsOf(lasts: string): Set<string> {
  const all = lasts.split(/\s+/).flatMap((last) => numbered(last.replace(/-\d+$/, "-1"), last));
  return new Set(all.filter((one) => lasts !== LAST_OF_5 || one !== "2.2.1-1"));
}

/** From the first to the last of one section. */
function numbered(first: string, last: string): string[] {
  const [section, from] = first.split("-") as [string, string];
  const [other, to] = last.split("-") as [string, string];
  assert.equal(section, other, `${first} to ${last} is of one section`);
  const length = Number(to) - Number(from) + 1;
  return Array.from({ length }, (_, i) => `${section}-${Number(from) + i}`);
}

/** Statements in a column of all tables of the page. */
function listed(page: string, column: number): Set<string> {
  const cells = page.split("\n").filter((line) => line.startsWith("| "))
    .map((line) => line.split("|")[column] ?? "");
  const found = new Set<string>();
  for (const cell of cells) {
    for (
      const [, first, last] of cell.matchAll(/(\d+\.\d+\.\d+-\d+)(?: to (\d+\.\d+\.\d+-\d+))?/g)
    ) {
      for (const one of numbered(first!, last ?? first!)) found.add(one);
    }
  }
  return found;
}

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

Deno.test("the conformance page has each numbered statement of both standards, and no other", async () => {
  const page = await Deno.readTextFile(new URL("docs/mqtt-conformance.md", ROOT));
  for (const [column, lasts, count] of [[2, LAST_OF_5, 251], [3, LAST_OF_3, 138]] as const) {
    const all = statementsOf(lasts);
    assert.equal(all.size, count);
    const found = listed(page, column);
    assert.deepEqual([...all].filter((one) => !found.has(one)), [], "not on the page");
    assert.deepEqual([...found].filter((one) => !all.has(one)), [], "of no standard");
  }
});
