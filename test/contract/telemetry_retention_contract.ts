/** What every telemetry store does with products that keep less than the others. */
import assert from "node:assert/strict";
import type { StoredEvent, TelemetryStore } from "../../actors/telemetry/store.ts";
import { compactAll, SampleSource, type Test } from "./telemetry_contract.ts";

const DAY_MS = 86_400_000;
const T0 = Date.UTC(2026, 0, 1);
const DAYS = 6;
/** `pump` is a beginning of `pump-2`, `pump.` and `pump0` stand around `pump/`. */
const DEVICES = ["pump/a", "pump/b", "pump-2/a", "pump0/a", "pump./a"];

function event(device: string, atMs: number, offset: number): StoredEvent {
  const body = new TextEncoder().encode("{}");
  return { device, event: "hot", atMs, partition: 5, offset, body };
}

/** A point of each of two metrics, and an event, of each device and day. */
async function fill(store: TelemetryStore, source: SampleSource, cursor: number): Promise<void> {
  const days = Array.from({ length: DAYS }, (_, day) => T0 + day * DAY_MS);
  const samples = DEVICES.flatMap((device) =>
    days.map((atMs, t) => source.sample(device, atMs, { t, u: `u${t}` }))
  );
  const events = DEVICES.flatMap((device, i) =>
    days.map((atMs, day) => event(device, atMs, cursor * 1_000 + i * DAYS + day))
  );
  await store.write({ samples, events, cursor });
}

async function daysOf(store: TelemetryStore, device: string): Promise<number[]> {
  const span = { device, fromMs: 0, toMs: T0 + 100 * DAY_MS, limit: 500 };
  const { series } = await store.range({ ...span, metrics: ["t", "u"] });
  const { items } = await store.events(span);
  assert.deepEqual(series["u"]!.map(([at]) => at), series["t"]!.map(([at]) => at), device);
  assert.deepEqual(items.map(({ at }) => at).reverse(), series["t"]!.map(([at]) => at), device);
  return series["t"]!.map(([at]) => (at - T0) / DAY_MS);
}

const ALL = Array.from({ length: DAYS }, (_, day) => day);

export function testTelemetryRetention(test: Test): void {
  test("a product that keeps less loses what is older, at once and for good, alone", async (store) => {
    const source = new SampleSource();
    await fill(store, source, 1);
    const horizons = [{ product: "pump", beforeMs: T0 + 4 * DAY_MS }];
    await store.expireProducts(horizons, 1);
    for (const state of ["hot", "compacted", "removed"]) {
      for (const device of DEVICES) {
        const wanted = device.startsWith("pump/") ? [4, 5] : ALL;
        assert.deepEqual(await daysOf(store, device), wanted, `${device} ${state}`);
      }
      if (state === "hot") await compactAll(store);
      else while (await store.expireProducts(horizons, 1));
    }
    assert.deepEqual(await store.latest("pump/a"), {
      t: [T0 + 5 * DAY_MS, 5],
      u: [T0 + 5 * DAY_MS, "u5"],
    });
  });

  test("what is in chunks already goes too, and less of it is counted", async (store) => {
    await fill(store, new SampleSource(), 1);
    await compactAll(store);
    const { chunkPoints } = store.figures();
    const horizons = [
      { product: "pump", beforeMs: T0 + 2 * DAY_MS },
      { product: "pump-2", beforeMs: T0 + 100 * DAY_MS },
    ];
    while (await store.expireProducts(horizons, 3));
    assert.deepEqual(await daysOf(store, "pump/b"), [2, 3, 4, 5]);
    assert.deepEqual(await daysOf(store, "pump-2/a"), []);
    assert.deepEqual(await store.latest("pump-2/a"), {});
    assert.deepEqual(await daysOf(store, "pump0/a"), ALL);
    const left = store.figures().chunkPoints;
    assert.ok(chunkPoints === 0 || chunkPoints - left === 2 * (2 * 2 + DAYS), `${left}`);
  });

  test("late points and imports below the time are gone, and a time that falls is none", async (store) => {
    const source = new SampleSource();
    const horizons = [{ product: "pump", beforeMs: T0 + 3 * DAY_MS }];
    while (await store.expireProducts(horizons, 100));
    await fill(store, source, 1);
    const old = { device: "pump/a", atMs: T0, values: { t: 7 } };
    assert.deepEqual(await store.importSamples([old]), { stored: 0, repeats: 0, expired: 1 });
    for (const beforeMs of [T0, T0 + 3 * DAY_MS]) {
      while (await store.expireProducts([{ product: "pump", beforeMs }], 100));
      await compactAll(store);
      assert.deepEqual(await daysOf(store, "pump/a"), [3, 4, 5]);
    }
    while (await store.expire(T0 + 4 * DAY_MS, 100));
    assert.deepEqual(await daysOf(store, "pump/a"), [4, 5], "the time of all counts as well");
    assert.deepEqual(await daysOf(store, "pump0/a"), [4, 5]);
  });
}
