/** Generated histories: the SQLite store, crashing and compacting anywhere, against the memory store. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { systemClock } from "../../runtime/clock.ts";
import { MemoryTelemetryStore } from "./memory_store.ts";
import { SqliteTelemetryStore } from "./sqlite_store.ts";
import type { Point, SampleBatch, StoredSample, TelemetryStore } from "./store.ts";

const T0 = Date.UTC(2026, 0, 1);
const DAY_MS = 86_400_000;
const METRICS = ["a", "b", "c"];
const DEVICES = ["pump/p-1", "pump-2/p-2"];
const ALL = ["avg", "min", "max", "count", "first", "last"] as const;

type Step =
  | { readonly type: "write"; readonly samples: readonly DrawnSample[] }
  /** The last batch again, under a new cursor: what a reader does after a crash. */
  | { readonly type: "rewrite" }
  | { readonly type: "compact"; readonly steps: number }
  | { readonly type: "reopen" }
  /** The n-th moment that the store reaches from here on throws, and the file is opened again. */
  | { readonly type: "crashAt"; readonly moment: number }
  | { readonly type: "import"; readonly samples: readonly DrawnSample[] }
  | { readonly type: "expire"; readonly day: number }
  | { readonly type: "expireProduct"; readonly product: string; readonly day: number }
  | { readonly type: "check"; readonly limit: number; readonly device: number };

interface DrawnSample {
  readonly device: number;
  readonly at: number;
  readonly text: string;
}

class Crash extends Error {}

const value = fc.oneof(
  fc.integer({ min: -500, max: 500 }).map((i) => String(i / 10)),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.constantFrom("true", "false", "null", '"x"', '{"k":[1]}', "-0", "1e999"),
);
const body = fc.array(fc.tuple(fc.constantFrom(...METRICS), value), { maxLength: 3 })
  .map((pairs) => `{${pairs.map(([metric, text]) => `"${metric}":${text}`).join(",")}}`);
/** Few different times, so that many are equal; two days, so that days are crossed. */
const at = fc.tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: -4, max: 4 }))
  .map(([day, ms]) => T0 + day * DAY_MS + ms);
const sample = fc.record({ device: fc.integer({ min: 0, max: 1 }), at, text: body });

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.array(sample, { maxLength: 60, size: "max" })
      .map((samples): Step => ({ type: "write", samples })),
  },
  { weight: 1, arbitrary: fc.constant<Step>({ type: "rewrite" }) },
  {
    weight: 5,
    arbitrary: fc.integer({ min: 1, max: 8 }).map((steps): Step => ({ type: "compact", steps })),
  },
  { weight: 1, arbitrary: fc.constant<Step>({ type: "reopen" }) },
  {
    weight: 3,
    arbitrary: fc.integer({ min: 1, max: 6 }).map((moment): Step => ({ type: "crashAt", moment })),
  },
  {
    weight: 1,
    arbitrary: fc.integer({ min: -1, max: 2 }).map((day): Step => ({ type: "expire", day })),
  },
  {
    weight: 2,
    arbitrary: fc.array(sample, { maxLength: 20, size: "max" })
      .map((samples): Step => ({ type: "import", samples })),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("expireProduct" as const),
      product: fc.constantFrom("pump", "pump-2"),
      day: fc.integer({ min: -1, max: 2 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant("check" as const),
      limit: fc.integer({ min: 1, max: 30 }),
      device: fc.integer({ min: 0, max: 1 }),
    }),
  },
);

Deno.test("any history of writes, compactions and crashes reads as the plain one", async () => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30, size: "max" }), async (steps) => {
      const path = `${directory}/${runs++}.db`;
      const run = new HistoryRun(path);
      try {
        for (const each of steps) await run.apply(each);
        await run.check(30, 0);
        await run.check(7, 1);
      } finally {
        await run.close();
      }
    }),
    // A failure prints its seed and the shortest history found in that time.
    { numRuns: 60, interruptAfterTimeLimit: 60_000, markInterruptAsFailure: true },
  ).finally(() => Deno.removeSync(directory, { recursive: true }));
});

const directory = Deno.makeTempDirSync({ prefix: "roost-telemetry-" });

class HistoryRun {
  readonly #path: string;
  readonly #plain = new MemoryTelemetryStore();
  #store: SqliteTelemetryStore;
  #taken = 0;
  #batch: SampleBatch = { samples: [], cursor: 0 };
  #momentsToCrash = Infinity;

  constructor(path: string) {
    this.#path = path;
    this.#store = this.#open();
  }

  async apply(step: Step): Promise<void> {
    switch (step.type) {
      case "write":
        this.#batch = { samples: this.#number(step.samples), cursor: this.#batch.cursor + 1 };
        return await this.#write();
      case "rewrite":
        this.#batch = { samples: this.#batch.samples, cursor: this.#batch.cursor + 1 };
        return await this.#write();
      case "compact":
        for (let i = 0; i < step.steps; i++) {
          await this.#surviving((store) => store.compact(true));
        }
        return;
      case "reopen":
        return await this.#reopen();
      case "crashAt":
        this.#momentsToCrash = step.moment;
        return;
      case "expire": {
        const beforeMs = T0 + step.day * DAY_MS + 1;
        await this.#plain.expire(beforeMs);
        while (await this.#surviving((store) => store.expire(beforeMs, 3)));
        return;
      }
      case "expireProduct": {
        const horizons = [{ product: step.product, beforeMs: T0 + step.day * DAY_MS }];
        await this.#plain.expireProducts(horizons);
        while (await this.#surviving((store) => store.expireProducts(horizons, 2)));
        return;
      }
      case "import": {
        const samples = step.samples.map(({ device, at, text }) => {
          return { device: DEVICES[device]!, atMs: at, values: JSON.parse(text) };
        });
        await this.#plain.importSamples(samples);
        await this.#surviving((store) => store.importSamples(samples));
        return;
      }
      case "check":
        return await this.check(step.limit, step.device);
    }
  }

  async check(limit: number, device: number): Promise<void> {
    const name = DEVICES[device]!;
    const span = { device: name, metrics: METRICS, fromMs: T0 - 5, toMs: T0 + 2 * DAY_MS + 3 };
    const buckets = { ...span, bucketMs: DAY_MS / 2, aggregates: ALL };
    const store = this.#store;
    assert.deepEqual(await pagesOf(store, span, limit), await pagesOf(this.#plain, span, 100_000));
    assert.deepEqual(await store.buckets(buckets), await this.#plain.buckets(buckets));
    const thin = { ...span, points: 5 };
    assert.deepEqual(await store.thin(thin), await this.#plain.thin(thin));
    assert.deepEqual(
      sortedByKey(await store.latest(name)),
      sortedByKey(await this.#plain.latest(name)),
    );
    assert.equal(store.cursor, this.#plain.cursor);
  }

  close(): Promise<void> {
    return this.#store[Symbol.asyncDispose]();
  }

  /** Tried again after a crash, as the reader does: exactly one of the two stands. */
  async #write(): Promise<void> {
    await this.#plain.write(this.#batch);
    await this.#surviving((store) => store.write(this.#batch));
  }

  #number(samples: readonly DrawnSample[]): StoredSample[] {
    return samples.map(({ device, at, text }) => ({
      device: DEVICES[device]!,
      atMs: at,
      partition: device,
      offset: this.#taken >> 1, // Two samples of a message now and then.
      position: this.#taken++ & 1,
      values: new TextEncoder().encode(text),
    }));
  }

  async #surviving<T>(work: (store: TelemetryStore) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work(this.#store);
      } catch (fault) {
        if (!(fault instanceof Crash)) throw fault;
        await this.#reopen();
      }
    }
  }

  async #reopen(): Promise<void> {
    await this.close();
    this.#store = this.#open();
  }

  #open(): SqliteTelemetryStore {
    return new SqliteTelemetryStore({
      path: this.#path,
      clock: systemClock,
      chunkPointsMax: 4, // Many chunks that overlap, out of few points.
      onStep: (name) => {
        if (--this.#momentsToCrash > 0) return;
        this.#momentsToCrash = Infinity;
        throw new Crash(name);
      },
    });
  }
}

async function pagesOf(
  store: TelemetryStore,
  span: { device: string; metrics: readonly string[]; fromMs: number; toMs: number },
  limit: number,
): Promise<Record<string, Point[]>> {
  const all: Record<string, Point[]> = Object.fromEntries(METRICS.map((metric) => [metric, []]));
  let cursor: string | undefined;
  do {
    const page = await store.range({ ...span, limit, ...(cursor === undefined ? {} : { cursor }) });
    for (const metric of METRICS) all[metric]!.push(...page.series[metric]!);
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  return all;
}

function sortedByKey<T>(record: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(record).sort(([a], [b]) => a < b ? -1 : 1);
}
