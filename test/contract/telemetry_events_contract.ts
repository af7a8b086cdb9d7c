/** What every telemetry store does with events. */
import assert from "node:assert/strict";
import type { Json } from "../../runtime/actor/behaviour.ts";
import { InvalidError } from "../../runtime/errors.ts";
import type { EventQuery, StoredEvent, TelemetryStore } from "../../actors/telemetry/store.ts";
import type { Test } from "./telemetry_contract.ts";

const TEXT_ENCODER = new TextEncoder();
const T0 = Date.UTC(2026, 0, 1);
const DAY_MS = 86_400_000;

/** Events of one partition with rising offsets. */
class EventSource {
  #offset = 0;

  event(device: string, event: string, atMs: number, data: Json): StoredEvent {
    const body = TEXT_ENCODER.encode(JSON.stringify(data));
    return { device, event, atMs, partition: 3, offset: this.#offset++, body };
  }
}

function query(change: Partial<EventQuery> = {}): EventQuery {
  const span = { fromMs: T0 - 100 * DAY_MS, toMs: T0 + 100 * DAY_MS };
  return { device: "pump/p-1", ...span, limit: 100, ...change };
}

async function dataOf(store: TelemetryStore, change: Partial<EventQuery> = {}): Promise<Json[]> {
  return (await store.events(query(change))).items.map(({ data }) => data);
}

export function testTelemetryEvents(test: Test): void {
  testStored(test);
  testPages(test);
}

function testStored(test: Test): void {
  test("events come newest first, of equal times the last accepted first", async (store) => {
    const source = new EventSource();
    const events = [
      source.event("pump/p-1", "hot", T0, 1),
      source.event("pump/p-2", "hot", T0, "of another"),
      source.event("pump/p-1", "cold", T0 + 5, { c: [1, null] }),
      source.event("pump/p-1", "hot", T0, 2),
      source.event("pump/p-1", "hot", T0 - 5, "late"),
    ];
    await store.write({ samples: [], events, cursor: 4 });
    assert.equal(store.cursor, 4);
    assert.deepEqual(await store.events(query()), {
      items: [
        { event: "cold", at: T0 + 5, data: { c: [1, null] } },
        { event: "hot", at: T0, data: 2 },
        { event: "hot", at: T0, data: 1 },
        { event: "hot", at: T0 - 5, data: "late" },
      ],
      nextCursor: null,
    });
    assert.deepEqual(await dataOf(store, { event: "cold" }), [{ c: [1, null] }]);
    assert.deepEqual(await dataOf(store, { event: "never" }), []);
    assert.deepEqual(await dataOf(store, { device: "pump/none" }), []);
    assert.deepEqual(await dataOf(store, { fromMs: T0, toMs: T0 + 5 }), [2, 1]);
  });

  test("a batch of events that was stored is skipped, and so is a repeated event", async (store) => {
    const source = new EventSource();
    const first = source.event("pump/p-1", "hot", T0, 1);
    const second = source.event("pump/p-1", "hot", T0, 2);
    await store.write({ samples: [], events: [first], cursor: 5 });
    await store.write({ samples: [], events: [second], cursor: 5 });
    assert.deepEqual(await dataOf(store), [1]);
    await store.write({ samples: [], events: [first, second], cursor: 6 });
    await store.write({ samples: [], events: [first, second], cursor: 7 });
    assert.deepEqual(await dataOf(store), [2, 1]);
  });

  test("samples and events of one partition do not take each other for repeats", async (store) => {
    const values = TEXT_ENCODER.encode('{"t":1}');
    const common = { device: "pump/p-1", atMs: T0, partition: 3 };
    const body = TEXT_ENCODER.encode("1");
    await store.write({
      samples: [1, 4].map((offset) => ({ ...common, offset, position: 0, values })),
      events: [2, 3, 5].map((offset) => ({ ...common, event: "hot", offset, body })),
      cursor: 1,
    });
    assert.equal((await dataOf(store)).length, 3);
    const span = { device: "pump/p-1", metrics: ["t"], fromMs: T0, toMs: T0 + 1, limit: 10 };
    assert.equal((await store.range(span)).series["t"]!.length, 2);
  });

  test("events that are expired are gone at once and for good, late ones too", async (store) => {
    const source = new EventSource();
    const days = Array.from({ length: 40 }, (_, day) => T0 + day * DAY_MS);
    const events = days.flatMap((at, day) =>
      ["pump/p-1", "pump/p-2"].map((device) => source.event(device, "hot", at, day))
    );
    await store.write({ samples: [], events, cursor: 1 });
    let slices = 1;
    while (await store.expire(days[30]!, 4)) slices++;
    assert.ok(slices < 60, `${slices} slices`);
    const kept = [39, 38, 37, 36, 35, 34, 33, 32, 31, 30];
    assert.deepEqual(await dataOf(store), kept);
    assert.deepEqual(await dataOf(store, { device: "pump/p-2" }), kept);
    const late = source.event("pump/p-1", "hot", days[3]!, "late");
    await store.write({ samples: [], events: [late], cursor: 2 });
    assert.deepEqual(await dataOf(store), kept);
  });
}

function testPages(test: Test): void {
  test("pages of events go on where they ended while events are added", async (store) => {
    const source = new EventSource();
    const events = Array.from(
      { length: 50 },
      (_, i) => source.event("pump/p-1", i % 2 === 0 ? "a" : "b", T0 + Math.floor(i / 5), i),
    );
    await store.write({ samples: [], events, cursor: 1 });
    for (const event of [undefined, "a"]) {
      const asked = query({ limit: 7, ...(event === undefined ? undefined : { event }) });
      const seen: Json[] = [];
      let cursor: string | undefined;
      for (let page = 0; cursor !== undefined || page === 0; page++) {
        const answer = await store.events(cursor === undefined ? asked : { ...asked, cursor });
        seen.push(...answer.items.map(({ data }) => data));
        cursor = answer.nextCursor ?? undefined;
        const newer = source.event("pump/p-1", "a", T0 + 1_000 + page, "newer");
        await store.write({ samples: [], events: [newer], cursor: store.cursor + 1 });
      }
      const expected = events.map((_, i) => 49 - i).filter((i) =>
        event === undefined || i % 2 === 0
      );
      assert.deepEqual(seen.filter((data) => data !== "newer"), expected);
    }
  });

  test("a cursor of events that is forged, or of another query, is refused", async (store) => {
    const source = new EventSource();
    const events = [1, 2, 3].map((i) => source.event("pump/p-1", "hot", T0 + i, i));
    await store.write({ samples: [], events, cursor: 1 });
    const cursor = (await store.events(query({ limit: 1 }))).nextCursor!;
    assert.deepEqual(await dataOf(store, { limit: 1, cursor }), [2]);
    const forged = ["", "x", "%%%", "A".repeat(5000), btoa("1.2.3"), btoa("a.b"), cursor + "A"];
    for (const text of forged) {
      await assert.rejects(store.events(query({ cursor: text })), InvalidError, text);
    }
    await assert.rejects(store.events(query({ device: "pump/p-2", cursor })), InvalidError);
    await assert.rejects(store.events(query({ event: "hot", cursor })), InvalidError);
    await assert.rejects(store.events(query({ fromMs: T0 + 5, cursor })), InvalidError);
    for (const change of [{ limit: 0 }, { limit: 501 }, { fromMs: 0.5 }, { toMs: Infinity }]) {
      await assert.rejects(store.events(query(change)), InvalidError, JSON.stringify(change));
    }
  });
}
