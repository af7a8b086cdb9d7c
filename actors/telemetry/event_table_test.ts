import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { systemClock } from "../../runtime/clock.ts";
import { SqliteTelemetryStore } from "./sqlite_store.ts";
import type { StoredEvent } from "./store.ts";

const TEXT_ENCODER = new TextEncoder();
const T0 = Date.UTC(2026, 0, 1);
const DAY_MS = 86_400_000;
const SPAN = { fromMs: 0, toMs: T0 + 100 * DAY_MS, limit: 500 };

function eventAt(
  offset: number,
  device: string,
  atMs: number,
  data: unknown = offset,
): StoredEvent {
  const body = TEXT_ENCODER.encode(JSON.stringify(data));
  return { device, event: "hot", atMs, partition: 0, offset, body };
}

async function withFile(run: (path: string) => Promise<void>): Promise<void> {
  const directory = Deno.makeTempDirSync({ prefix: "roost-events-" });
  try {
    await run(`${directory}/telemetry.db`);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

Deno.test("events and their marks are there after a start, and a repeat is known again", () =>
  withFile(async (path) => {
    const events = [eventAt(0, "a/b", T0), eventAt(1, "a/b", T0 + 1)];
    {
      await using store = new SqliteTelemetryStore({ path, clock: systemClock });
      await store.write({ samples: [], events, cursor: 1 });
    }
    await using store = new SqliteTelemetryStore({ path, clock: systemClock });
    await store.write({ samples: [], events, cursor: 2 });
    assert.equal((await store.events({ device: "a/b", ...SPAN })).items.length, 2);
  }));

Deno.test("a file of the version before gets its tables for events and keeps its points", () =>
  withFile(async (path) => {
    const values = TEXT_ENCODER.encode('{"t":1}');
    const sample = { device: "a/b", atMs: T0, partition: 0, offset: 0, position: 0, values };
    {
      await using store = new SqliteTelemetryStore({ path, clock: systemClock });
      await store.write({ samples: [sample], cursor: 7 });
    }
    const db = new DatabaseSync(path);
    db.exec(`DROP TABLE event; DROP TABLE event_name; DROP TABLE product_horizon;
      ALTER TABLE progress DROP COLUMN event_marks; PRAGMA user_version = 1`);
    db.close();
    await using store = new SqliteTelemetryStore({ path, clock: systemClock });
    assert.equal(store.cursor, 7);
    await store.write({ samples: [], events: [eventAt(1, "a/b", T0)], cursor: 8 });
    assert.deepEqual(await store.latest("a/b"), { t: [T0, 1] });
    assert.equal((await store.events({ device: "a/b", ...SPAN })).items.length, 1);
  }));

Deno.test("expiry that is interrupted anywhere ends with nothing old on disk", () =>
  withFile(async (path) => {
    let isFailing = false;
    const onStep = (name: string) => {
      if (isFailing && name === "expire-events:before-commit") throw new Error("disk full");
    };
    {
      await using store = new SqliteTelemetryStore({ path, clock: systemClock, onStep });
      const events = Array.from(
        { length: 600 },
        (_, i) => eventAt(i, `a/d${i % 300}`, T0 + (i < 300 ? 0 : 10 * DAY_MS)),
      );
      await store.write({ samples: [], events, cursor: 1 });
      for (let slice = 0, isMore = true; isMore; slice++) {
        isFailing = slice % 2 === 1;
        isMore = await store.expire(T0 + DAY_MS, 20).catch(() => true);
        assert.ok(slice < 200, "it ends");
      }
    }
    const db = new DatabaseSync(path);
    const left = db.prepare("SELECT count(*) AS n, min(at) AS oldest FROM event").get()!;
    db.close();
    assert.deepEqual({ ...left }, { n: 300, oldest: T0 + 10 * DAY_MS });
  }));

Deno.test("a page of long events ends early, and the next one goes on", async () => {
  await using store = new SqliteTelemetryStore({ path: ":memory:", clock: systemClock });
  const text = "x".repeat(60_000);
  const events = Array.from({ length: 60 }, (_, i) => eventAt(i, "a/b", T0 + i, text));
  await store.write({ samples: [], events, cursor: 1 });
  let seen = 0;
  let pages = 0;
  let cursor: string | undefined;
  do {
    const asked = { device: "a/b", ...SPAN, ...(cursor === undefined ? undefined : { cursor }) };
    const page = await store.events(asked);
    seen += page.items.length;
    cursor = page.nextCursor ?? undefined;
    pages++;
  } while (cursor !== undefined);
  assert.equal(seen, 60);
  assert.ok(pages >= 3, `${pages} pages`);
});
