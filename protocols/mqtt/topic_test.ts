import assert from "node:assert/strict";
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

Deno.test("wildcards stand alone in their level, and # last", () => {
  for (const filter of ["a", "/", "a/+/b", "+", "#", "a/#", "a//b"]) assert.ok(isFilter(filter));
  for (const filter of ["", "a#", "a/#/b", "a+", "+a/b", "a\0", "\ud800", "x".repeat(513)]) {
    assert.equal(isFilter(filter), false, filter);
  }
});
