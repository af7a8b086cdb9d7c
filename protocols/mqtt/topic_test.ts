import assert from "node:assert/strict";
import fc from "fast-check";
import { isFilter, isMatch } from "./topic.ts";

Deno.test("filters match topics as the standard's examples say", () => {
  const cases: [string, string, boolean][] = [
    ["sport/tennis/player1/#", "sport/tennis/player1", true],
    ["sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true],
    ["sport/#", "sport", true],
    ["#", "any/thing", true],
    ["sport/tennis/+", "sport/tennis/player1", true],
    ["sport/tennis/+", "sport/tennis/player1/ranking", false],
    ["sport/+", "sport", false],
    ["sport/+", "sport/", true],
    ["+/+", "/finance", true],
    ["/+", "/finance", true],
    ["+", "/finance", false],
    ["a/b", "a/b", true],
    ["a/b", "a/b/c", false],
    ["a/b/c", "a/b", false],
    ["A/b", "a/b", false],
  ];
  for (const [filter, topic, expected] of cases) {
    assert.equal(isMatch(filter, topic), expected, `${filter} ${topic}`);
  }
});

/** As the standard says it, level by level. */
function isPlainMatch(filter: string, topic: string): boolean {
  const [wanted, levels] = [filter.split("/"), topic.split("/")];
  const isSame = (level: string, i: number) => level === "+" || level === levels[i];
  if (wanted.at(-1) !== "#") return wanted.length === levels.length && wanted.every(isSame);
  const above = wanted.slice(0, -1);
  return above.length <= levels.length && above.every(isSame);
}

Deno.test("any filter matches what it matches level by level", () => {
  const level = fc.constantFrom("", "a", "b", "ab", "é");
  const topics = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join("/"));
  const wanted = fc.array(fc.oneof(level, fc.constant("+")), { maxLength: 4 });
  const filters = fc.tuple(wanted, fc.constantFrom([], ["#"])).map(([levels, last]) =>
    [...levels, ...last].join("/") || "+"
  );
  fc.assert(
    fc.property(filters, topics, (filter, topic) => {
      assert.equal(isMatch(filter, topic), isPlainMatch(filter, topic));
    }),
    { numRuns: 5_000 },
  );
});

Deno.test("wildcards stand alone in their level, and # last", () => {
  for (const filter of ["a", "/", "a/+/b", "+", "#", "a/#", "a//b"]) assert.ok(isFilter(filter));
  for (const filter of ["", "a#", "a/#/b", "a+", "+a/b", "a\0", "\ud800", "x".repeat(513)]) {
    assert.equal(isFilter(filter), false, filter);
  }
});
