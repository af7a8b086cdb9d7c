/** Outcomes of the registry in tests. */
import assert from "node:assert/strict";
import type { Outcome } from "../../actors/registry/outcome.ts";

export function valueOf<T>(outcome: Outcome<T>): T {
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

export function codeOf(outcome: Outcome<unknown>): string {
  assert.ok(!outcome.ok, "it was not refused");
  return outcome.code;
}
