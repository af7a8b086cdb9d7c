import assert from "node:assert/strict";
import { runWithin, StuckError } from "./loop_guard.ts";

const LONG_MS = 60_000;
/** The test waits for it, so that it is short: what it ends would never end. */
const SHORT_MS = 100;

Deno.test("guarded work gives what it gives and throws what it throws", () => {
  assert.deepEqual(runWithin(LONG_MS, () => [1, 2]), [1, 2]);
  const fault = new TypeError("mine");
  assert.throws(() =>
    runWithin(LONG_MS, () => {
      throw fault;
    }), (thrown) => thrown === fault);
});

Deno.test("work that would never end is ended, whatever it catches", () => {
  const endless: Record<string, () => void> = {
    loop() {
      for (;;);
    },
    retry() {
      for (let faults = 0;;) {
        try {
          JSON.parse("{");
        } catch { // What a handler that swallows everything does.
          faults++;
        }
      }
    },
    pattern() {
      /^(a+)+$/.test("a".repeat(40) + "b");
    },
  };
  for (const [name, work] of Object.entries(endless)) {
    assert.throws(() => runWithin(SHORT_MS, work), StuckError, name);
    assert.equal(runWithin(LONG_MS, () => name), name, "the next work is watched anew");
  }
});

Deno.test("a generator that was ended within a step leaves the others whole", () => {
  function* steps() {
    yield 1;
    for (;;);
  }
  const stuck = steps();
  assert.equal(runWithin(LONG_MS, () => stuck.next().value), 1);
  assert.throws(() => runWithin(SHORT_MS, () => stuck.next()), StuckError);
  const other = steps();
  assert.equal(runWithin(LONG_MS, () => other.next().value), 1);
});

Deno.test("work that waited and did not compute is told apart", async () => {
  // In a process of its own: CPU time is that of the process, and other tests may run in this one.
  const script = `
    import { runWithin } from ${JSON.stringify(import.meta.resolve("./loop_guard.ts"))};
    const cell = new Int32Array(new SharedArrayBuffer(4));
    try {
      runWithin(${SHORT_MS}, () => Atomics.wait(cell, 0, 0));
    } catch (fault) {
      console.log(JSON.stringify({ name: fault.name, cpuMs: fault.cpuMs }));
    }`;
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["eval", script] }).output();
  const { name, cpuMs } = JSON.parse(new TextDecoder().decode(stdout));
  assert.equal(name, "StuckError");
  assert.ok(cpuMs < SHORT_MS / 2, `${cpuMs} ms on the CPU`);
});
