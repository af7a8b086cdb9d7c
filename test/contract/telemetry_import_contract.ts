/** What every telemetry store does with history that came by no message. */
import assert from "node:assert/strict";
import { InvalidError } from "../../runtime/errors.ts";
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { ImportedSample, Point, TelemetryStore } from "../../actors/telemetry/store.ts";
import { compactAll, SampleSource, type Test } from "./telemetry_contract.ts";

const DAY_MS = 86_400_000;
const T0 = Date.UTC(2026, 0, 1);
const DEVICE = "pump/p-1";

function sample(atMs: number, values: Record<string, Json>, device = DEVICE): ImportedSample {
  return { device, atMs, values };
}

async function pointsOf(store: TelemetryStore, metric: string, device = DEVICE): Promise<Point[]> {
  const query = { device, metrics: [metric], fromMs: 0, toMs: T0 + 100 * DAY_MS, limit: 10_000 };
  return [...(await store.range(query)).series[metric]!];
}

export function testTelemetryImports(test: Test): void {
  test("an import is read in order of time, and twice it changes nothing", async (store) => {
    const samples = Array.from(
      { length: 300 },
      (_, i) => sample(T0 - i * DAY_MS / 8, { t: -i, text: `n ${i}`, on: i % 2 === 0 }),
    );
    const first = await store.importSamples(samples);
    assert.deepEqual(first, { stored: 900, repeats: 0, expired: 0 });
    const before = await pointsOf(store, "t");
    assert.equal(before.length, 300);
    assert.deepEqual(before, before.toSorted((one, other) => one[0] - other[0]));
    for (const state of ["hot", "compacted"]) {
      const again = await store.importSamples(samples);
      assert.deepEqual(again, { stored: 0, repeats: 900, expired: 0 }, state);
      assert.deepEqual(await pointsOf(store, "t"), before, state);
      await compactAll(store);
    }
    assert.equal(store.cursor, 0, "the reader goes on where it was");
  });

  test("two imports of the same at once store it once", async (store) => {
    const samples = Array.from({ length: 50 }, (_, i) => sample(T0 + i * DAY_MS, { t: i }));
    const outcomes = await Promise.all([1, 2, 3].map(() => store.importSamples(samples)));
    assert.equal(outcomes.reduce((sum, { stored }) => sum + stored, 0), 50);
    assert.equal((await pointsOf(store, "t")).length, 50);
  });

  test("what a device sent is a repeat, another value of the moment is none", async (store) => {
    const source = new SampleSource();
    const sent = [source.sample(DEVICE, T0, { t: 1, u: "x" }), source.sample(DEVICE, T0, { t: 2 })];
    await store.write({ samples: sent, cursor: 1 });
    const outcome = await store.importSamples([
      sample(T0, { t: 1, u: "y" }),
      sample(T0, { t: 3 }),
      sample(T0, { t: "1" }),
      sample(T0, { t: 2 }, "pump/p-2"),
      sample(T0, { t: 3 }),
    ]);
    assert.deepEqual(outcome, { stored: 4, repeats: 2, expired: 0 });
    assert.deepEqual(await pointsOf(store, "t"), [[T0, 1], [T0, 2], [T0, 3], [T0, "1"]]);
    assert.deepEqual(await pointsOf(store, "t", "pump/p-2"), [[T0, 2]]);
    await store.write({ samples: [source.sample(DEVICE, T0, { t: 3 })], cursor: 2 });
    assert.equal((await pointsOf(store, "t")).length, 5, "a message is no repeat of an import");
  });

  test("older imports are not the latest value, and what is too old is not taken", async (store) => {
    const source = new SampleSource();
    await store.write({ samples: [source.sample(DEVICE, T0, { t: 1 })], cursor: 1 });
    while (await store.expire(T0 - DAY_MS, 100));
    const outcome = await store.importSamples([
      sample(T0 - 1, { t: 2 }),
      sample(T0 - DAY_MS - 1, { t: 3, u: 4 }),
    ]);
    assert.deepEqual(outcome, { stored: 1, repeats: 0, expired: 2 });
    assert.deepEqual(await store.latest(DEVICE), { t: [T0, 1] });
    assert.deepEqual(await pointsOf(store, "t"), [[T0 - 1, 2], [T0, 1]]);
    assert.deepEqual(await store.importSamples([]), { stored: 0, repeats: 0, expired: 0 });
    await assert.rejects(store.importSamples([sample(0.5, { t: 1 })]), InvalidError);
  });
}
