import assert from "node:assert/strict";
import type { EngineEvent } from "./engine_events.ts";
import { SuspendedActors } from "./suspended_actors.ts";

function suspended(address: string, isFull: boolean): EngineEvent {
  return { type: "suspended", partition: 0, address, deadLetters: 7, isFull, isNew: false };
}

Deno.test("an actor is refused from full until resumed", () => {
  const actors = new SuspendedActors();
  assert.equal(actors.take(suspended("device/p/a", false)), false);
  assert.equal(actors.has("device/p/a"), false);
  assert.equal(actors.take(suspended("device/p/a", true)), true);
  assert.equal(actors.take(suspended("device/p/a", true)), false, "said again, nothing changes");
  assert.equal(actors.has("device/p/a"), true);
  assert.equal(actors.has("device/p/b"), false);
  assert.equal(actors.take({ type: "resumed", partition: 0, address: "device/p/a" }), true);
  assert.equal(actors.has("device/p/a"), false);
  assert.equal(actors.size, 0);
});

Deno.test("at the bound the oldest gives way, and comes back with its next letter", () => {
  const actors = new SuspendedActors(2);
  for (const name of ["a", "b", "c"]) actors.take(suspended(name, true));
  assert.deepEqual(["a", "b", "c"].map((name) => actors.has(name)), [false, true, true]);
  assert.equal(actors.take(suspended("a", true)), true);
  assert.deepEqual(["a", "b", "c"].map((name) => actors.has(name)), [true, false, true]);
});

Deno.test("a clear lets all in until they are told full again", () => {
  const actors = new SuspendedActors();
  actors.take(suspended("a", true));
  actors.clear();
  assert.equal(actors.has("a"), false);
  assert.equal(actors.take(suspended("a", true)), true);
});
