/** What every telemetry store does. Each implementation runs all of it. */
import assert from "node:assert/strict";
import { InvalidError } from "../../runtime/errors.ts";
import type { Json } from "../../runtime/actor/behaviour.ts";
import { testTelemetryEvents } from "./telemetry_events_contract.ts";
import { testTelemetryImports } from "./telemetry_import_contract.ts";
import { testTelemetryRetention } from "./telemetry_retention_contract.ts";
import type { StoredSample, TelemetryStore } from "../../actors/telemetry/store.ts";

const TEXT_ENCODER = new TextEncoder();
const T0 = Date.UTC(2026, 0, 1);
const ALL = ["avg", "min", "max", "count", "first", "last"] as const;

export type OpenStore = () => TelemetryStore;

/** Samples of one partition with rising offsets, so that a test names only what it is about. */
export class SampleSource {
  #offset = 0;

  sample(device: string, atMs: number, values: Record<string, Json>): StoredSample {
    return {
      device,
      atMs,
      partition: 3,
      offset: this.#offset++,
      position: 0,
      values: TEXT_ENCODER.encode(JSON.stringify(values)),
    };
  }
}

/** Runs every step of compaction; a store without any does nothing. */
export async function compactAll(store: TelemetryStore): Promise<void> {
  while (await store.compact(true));
}

export function testTelemetryStore(name: string, open: OpenStore): void {
  const test = (title: string, run: (store: TelemetryStore) => Promise<void>) =>
    Deno.test(`${name}: ${title}`, async () => {
      await using store = open();
      await run(store);
    });
  testWrites(test);
  testRanges(test);
  testSummaries(test);
  testBounds(test);
  testTelemetryEvents(test);
  testTelemetryImports(test);
  testTelemetryRetention(test);
}

export type Test = (title: string, run: (store: TelemetryStore) => Promise<void>) => void;

function testWrites(test: Test): void {
  test("a batch is readable when its write resolves, and moves the cursor", async (store) => {
    const source = new SampleSource();
    assert.equal(store.cursor, 0);
    await store.write({
      samples: [source.sample("pump/p-1", T0, { t: 21.5, on: true })],
      cursor: 7,
    });
    assert.equal(store.cursor, 7);
    const day = { device: "pump/p-1", fromMs: T0, toMs: T0 + 1, limit: 10 };
    assert.deepEqual(await store.range({ ...day, metrics: ["t", "on", "absent"] }), {
      series: { t: [[T0, 21.5]], on: [[T0, true]], absent: [] },
      nextCursor: null,
    });
    assert.deepEqual(await store.latest("pump/p-1"), { t: [T0, 21.5], on: [T0, true] });
    assert.deepEqual(await store.latest("pump/unknown"), {});
  });

  test("a batch that is not above the cursor is skipped, and so is a repeated sample", async (store) => {
    const source = new SampleSource();
    const first = source.sample("pump/p-1", T0, { t: 1 });
    const second = source.sample("pump/p-1", T0, { t: 2 });
    await store.write({ samples: [first], cursor: 5 });
    await store.write({ samples: [second], cursor: 5 });
    await store.write({ samples: [second], cursor: 4 });
    assert.deepEqual((await rangeOf(store, "t")).series["t"], [[T0, 1]]);
    assert.equal(store.cursor, 5);
    await store.write({ samples: [first, second], cursor: 6 });
    await compactAll(store);
    await store.write({ samples: [first, second], cursor: 7 });
    assert.deepEqual((await rangeOf(store, "t")).series["t"], [[T0, 1], [T0, 2]]);
    assert.equal(store.cursor, 7);
  });

  test("samples of one message are told apart by position", async (store) => {
    const whole = new SampleSource().sample("pump/p-1", T0, { t: 1 });
    await store.write({ samples: [whole, { ...whole, position: 1 }], cursor: 1 });
    await store.write({
      samples: [{ ...whole, position: 1 }, { ...whole, position: 2 }],
      cursor: 2,
    });
    assert.equal((await rangeOf(store, "t")).series["t"]!.length, 3);
  });

  test("every JSON value comes back as it was, before and after compaction", async (store) => {
    const source = new SampleSource();
    const values: Json[] = [
      ...[0, 1, -1, 0.1, -273.15, 1e21, 5e-324, 2 ** 53, 1.7976931348623157e308, 12.345],
      ...[true, false, null, "", "text", "\u0000 \ud83d\ude00 \ud800", [], [1, [2]], {
        a: { b: null },
      }],
    ];
    const samples = values.map((value, i) => source.sample("pump/p-1", T0 + i, { any: value }));
    const odd = {
      ...source.sample("pump/p-1", T0 + 100, {}),
      values: TEXT_ENCODER.encode(`{"any":-0}`),
    };
    await store.write({ samples: [...samples, odd], cursor: 1 });
    const expected = [...values, -0];
    for (const state of ["hot", "compacted"]) {
      const points = (await rangeOf(store, "any")).series["any"]!;
      assert.deepEqual(points.map(([, value]) => value), expected, state);
      await compactAll(store);
    }
  });

  test("metrics may be called like properties of objects", async (store) => {
    const values = TEXT_ENCODER.encode(`{"__proto__":1,"constructor":2,"1":3}`);
    const sample = { ...new SampleSource().sample("pump/p-1", T0, {}), values };
    await store.write({ samples: [sample], cursor: 1 });
    for (const state of ["hot", "compacted"]) {
      const latest = await store.latest("pump/p-1");
      assert.deepEqual(Object.keys(latest).sort(), ["1", "__proto__", "constructor"], state);
      const page = await rangeOf(store, "__proto__");
      assert.deepEqual(Object.entries(page.series), [["__proto__", [[T0, 1]]]], state);
      assert.deepEqual((await rangeOf(store, "toString")).series["toString"], [], state);
      await compactAll(store);
    }
  });
}

function testRanges(test: Test): void {
  test("equal times keep the order of acceptance, also across compactions", async (store) => {
    const source = new SampleSource();
    for (let i = 0; i < 5; i++) {
      const samples = [
        source.sample("pump/p-1", T0 + 5, { t: i * 2 }),
        source.sample("pump/p-1", T0 + (i % 2) * 10, { t: 100 + i }),
        source.sample("pump/p-1", T0 + 5, { t: i * 2 + 1 }),
      ];
      await store.write({ samples, cursor: i + 1 });
      if (i % 2 === 0) await compactAll(store);
    }
    const points = (await rangeOf(store, "t")).series["t"]!;
    const at5 = points.filter(([at]) => at === T0 + 5).map(([, value]) => value);
    assert.deepEqual(at5, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert.deepEqual(points.map(([at]) => at), points.map(([at]) => at).sort((a, b) => a - b));
  });

  test("pages go on where they ended while points are added and compacted", async (store) => {
    const source = new SampleSource();
    const at = (i: number) => T0 + Math.floor(i / 4) * 1000; // Four points at each millisecond.
    const samples = Array.from(
      { length: 200 },
      (_, i) => source.sample("pump/p-1", at(i), i % 3 === 0 ? { a: i, b: 1000 - i } : { a: i }),
    );
    await store.write({ samples, cursor: 1 });
    const seen: Record<string, Json[]> = { a: [], b: [] };
    let cursor: string | undefined;
    for (let page = 0; cursor !== undefined || page === 0; page++) {
      const query = {
        device: "pump/p-1",
        metrics: ["a", "b"],
        fromMs: T0,
        toMs: T0 + 1e6,
        limit: 7,
      };
      const answer = await store.range(cursor === undefined ? query : { ...query, cursor });
      const count = answer.series["a"]!.length + answer.series["b"]!.length;
      assert.equal(count, answer.nextCursor === null ? count : 7);
      for (const metric of ["a", "b"]) {
        seen[metric]!.push(...answer.series[metric]!.map(([, value]) => value));
      }
      cursor = answer.nextCursor ?? undefined;
      await store.compact(true);
      const late = source.sample("pump/p-1", T0 - 1 - page, { a: "early" });
      await store.write({ samples: [late], cursor: page + 2 });
    }
    assert.deepEqual(seen["a"], samples.map((_, i) => i));
    assert.deepEqual(seen["b"], samples.map((_, i) => 1000 - i).filter((_, i) => i % 3 === 0));
  });

  test("a cursor that is forged, or of another query, is refused", async (store) => {
    const source = new SampleSource();
    const samples = [1, 2, 3].map((i) => source.sample("pump/p-1", T0 + i, { t: i }));
    await store.write({ samples, cursor: 1 });
    const query = { device: "pump/p-1", metrics: ["t"], fromMs: T0, toMs: T0 + 10, limit: 1 };
    const cursor = (await store.range(query)).nextCursor!;
    const page = await store.range({ ...query, cursor });
    assert.deepEqual(page.series["t"], [[T0 + 2, 2]]);
    for (
      const forged of ["", "x", "%%%", "A".repeat(5000), btoa("1.2.3"), btoa("a.b"), cursor + "A"]
    ) {
      await assert.rejects(store.range({ ...query, cursor: forged }), InvalidError, forged);
    }
    await assert.rejects(store.range({ ...query, device: "pump/p-2", cursor }), InvalidError);
    await assert.rejects(store.range({ ...query, fromMs: T0 + 5, cursor }), InvalidError);
  });
}

function testSummaries(test: Test): void {
  test("buckets start at multiples and look at numbers only for avg, min and max", async (store) => {
    const source = new SampleSource();
    const values: [number, Json][] = [[0, 4], [1, "x"], [9, 2], [10, "only text"], [35, 1]];
    const samples = values.map(([at, value]) => source.sample("pump/p-1", T0 + at, { t: value }));
    await store.write({ samples, cursor: 1 });
    const query = { device: "pump/p-1", metrics: ["t", "absent"], fromMs: T0, toMs: T0 + 100 };
    for (const state of ["hot", "compacted"]) {
      const buckets = await store.buckets({ ...query, bucketMs: 10, aggregates: ALL });
      assert.deepEqual(buckets, {
        t: [
          { at: T0, avg: 3, min: 2, max: 4, count: 3, first: 4, last: 2 },
          { at: T0 + 10, count: 1, first: "only text", last: "only text" },
          { at: T0 + 30, avg: 1, min: 1, max: 1, count: 1, first: 1, last: 1 },
        ],
        absent: [],
      }, state);
      await compactAll(store);
    }
    const two = await store.buckets({ ...query, bucketMs: 10, aggregates: ["count", "max"] });
    assert.deepEqual(two["t"]![0], { at: T0, count: 3, max: 4 });
  });

  test("a thinned range keeps first and last and passes over what is no number", async (store) => {
    const source = new SampleSource();
    const samples = Array.from(
      { length: 3000 },
      (_, i) =>
        source.sample("pump/p-1", T0 + i * 1000, { t: i % 7 === 0 ? "gap" : Math.sin(i / 50) }),
    );
    await store.write({ samples, cursor: 1 });
    const query = { device: "pump/p-1", metrics: ["t", "absent"], fromMs: T0, toMs: T0 + 3e6 };
    const hot = await store.thin({ ...query, points: 100 });
    await compactAll(store);
    const compacted = await store.thin({ ...query, points: 100 });
    assert.deepEqual(compacted, hot);
    assert.equal(hot["t"]!.length, 100);
    assert.deepEqual(hot["t"]![0], [T0 + 1000, Math.sin(1 / 50)]);
    assert.deepEqual(hot["t"]!.at(-1), [T0 + 2999 * 1000, Math.sin(2999 / 50)]);
    assert.deepEqual(hot["absent"], []);
  });

  test("latest is newest by time, not by arrival, and the last accepted of equal times", async (store) => {
    const source = new SampleSource();
    const write = (cursor: number, at: number, values: Record<string, Json>) =>
      store.write({ samples: [source.sample("pump/p-1", at, values)], cursor });
    await write(1, T0 + 10, { a: "newest", b: 1 });
    await compactAll(store);
    await write(2, T0 - 86_400_000, { a: "late", c: 1 });
    await write(3, T0 + 10, { b: 2 });
    const expected = { a: [T0 + 10, "newest"], b: [T0 + 10, 2], c: [T0 - 86_400_000, 1] };
    assert.deepEqual(await store.latest("pump/p-1"), expected);
    await compactAll(store);
    assert.deepEqual(await store.latest("pump/p-1"), expected);
  });
}

function testBounds(test: Test): void {
  test("expired points are gone at once, wherever they stand", async (store) => {
    const source = new SampleSource();
    const days = [0, 1, 2, 3].map((day) => T0 + day * 86_400_000);
    await store.write({
      samples: days.map((at) => source.sample("pump/p-1", at, { t: at })),
      cursor: 1,
    });
    await compactAll(store);
    const late = [days[0]! + 5, days[2]! + 5].map((at) => source.sample("pump/p-1", at, { t: at }));
    await store.write({ samples: late, cursor: 2 });
    let slices = 1;
    while (await store.expire(days[2]! + 1, 1)) slices++;
    assert.ok(slices <= 4, `${slices} slices`);
    const kept = [days[2]! + 5, days[3]!].map((at) => [at, at]);
    assert.deepEqual((await rangeOf(store, "t")).series["t"], kept);
    await compactAll(store);
    assert.deepEqual((await rangeOf(store, "t")).series["t"], kept);
    assert.deepEqual(await store.latest("pump/p-1"), { t: [days[3]!, days[3]!] });
  });

  test("times at the ends of what a date can hold are stored", async (store) => {
    const source = new SampleSource();
    const ends = [-8.64e15, -1, 8.64e15];
    await store.write({
      samples: ends.map((at) => source.sample("pump/p-1", at, { t: at })),
      cursor: 1,
    });
    for (const state of ["hot", "compacted"]) {
      const query = { device: "pump/p-1", metrics: ["t"], limit: 10 };
      const page = await store.range({ ...query, fromMs: -8.64e15, toMs: 8.64e15 + 1 });
      assert.deepEqual(page.series["t"], ends.map((at) => [at, at]), state);
      await compactAll(store);
    }
  });

  test("queries out of bounds are refused with the path", async (store) => {
    const span = { device: "pump/p-1", metrics: ["t"], fromMs: 0, toMs: 1000 };
    const refused: [string, () => Promise<unknown>][] = [
      ["metrics", () => store.range({ ...span, metrics: [], limit: 1 })],
      [
        "metrics",
        () =>
          store.range({
            ...span,
            metrics: Array.from({ length: 33 }, (_, i) => `m${i}`),
            limit: 1,
          }),
      ],
      ["limit", () => store.range({ ...span, limit: 0 })],
      ["limit", () => store.range({ ...span, limit: 100_001 })],
      ["fromMs", () => store.range({ ...span, fromMs: 0.5, limit: 1 })],
      ["fromMs", () => store.range({ ...span, fromMs: 2000, limit: 1 })],
      ["toMs", () => store.thin({ ...span, toMs: Infinity, points: 3 })],
      ["points", () => store.thin({ ...span, points: 2 })],
      ["bucketMs", () => store.buckets({ ...span, bucketMs: 0, aggregates: ALL })],
      ["bucketMs", () => store.buckets({ ...span, toMs: 10_001, bucketMs: 1, aggregates: ALL })],
    ];
    for (const [path, query] of refused) {
      await assert.rejects(
        query(),
        (fault) => fault instanceof InvalidError && fault.issues[0]?.path === path,
        path,
      );
    }
  });
}

function rangeOf(store: TelemetryStore, metric: string) {
  const span = { fromMs: T0 - 10 * 86_400_000, toMs: T0 + 10 * 86_400_000, limit: 100_000 };
  return store.range({ device: "pump/p-1", metrics: [metric], ...span });
}
