import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Json } from "../../runtime/actor/behaviour.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { silentLogger } from "../../runtime/logger.ts";
import type { Segment, Tick } from "../../runtime/log/partition_log.ts";
import type { TickSource } from "../../runtime/log/reader_port.ts";
import { packRecord } from "../../runtime/log/record.ts";
import { createManualClock } from "../../test/support/manual_clock.ts";
import { beginSlowCommit } from "../../test/support/slow_commit.ts";
import type { CallRow } from "../command/messages.ts";
import { openSqliteViews } from "./sqlite_views.ts";
import { accepted } from "../registry/outcome.ts";
import { createMemoryViews, type ViewsStore, type ViewWrite } from "./views.ts";
import { startViewsReader } from "./views_reader.ts";
import { createViewsClient, startViewsWorker } from "./views_worker.ts";

function presence(key: string, version: number, session: string | null): ViewWrite {
  const row = { online: session !== null, session, atMs: version };
  return { view: "presence", key, row, version, at: version };
}

function callWrite(
  callId: string,
  createdAt: number,
  version: number,
  status: CallRow["status"] = "queued",
  device = "a",
): ViewWrite {
  const row: CallRow = {
    ...{ callId, product: "p", device, service: "s", status, mode: "queued", input: {} },
    ...{ createdAt, expiresAt: 9_000, createdBy: "ann" },
  };
  const key = `p/${device}/${callId}`;
  return { view: "calls", key, row: row as unknown as Json, version, at: createdAt };
}

function removal(key: string, version: number): ViewWrite {
  return { view: "presence", key, version, at: version };
}

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "roost-views-"));
  try {
    await run(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** One suite for each store: `open` opens the same content again. */
function contract(name: string, open: (folder: string) => ViewsStore): void {
  Deno.test(`${name} views keep the newest row of each key`, () =>
    withFolder(async (folder) => {
      await using store = open(folder);
      assert.equal(store.cursor, 0);
      await store.write({
        writes: [presence("p/a", 1, "x.1"), presence("p/a", 3, null), presence("p/a", 2, "x.2")],
        cursor: 5,
      });
      await store.write({ writes: [{ ...presence("p/a", 9, "y.1"), view: "other" }], cursor: 6 });
      assert.equal(store.cursor, 6);
      assert.deepEqual([...await store.presence(["p/a", "p/b", "p/a"])], [
        ["p/a", { online: false, session: null, atMs: 3 }],
      ]);
      assert.equal((await store.rows("other", ["p/a"])).size, 1);
      assert.equal((await store.rows("none", ["p/a"])).size, 0);
    }));

  Deno.test(`${name} views skip a batch that they had, and older rows of a later one`, () =>
    withFolder(async (folder) => {
      await using store = open(folder);
      await store.write({ writes: [presence("p/a", 5, "x.1")], cursor: 5 });
      await store.write({ writes: [presence("p/a", 9, null)], cursor: 5 });
      await store.write({ writes: [presence("p/a", 5, null), removal("p/a", 4)], cursor: 6 });
      assert.equal((await store.presence(["p/a"])).get("p/a")!.session, "x.1");
      await store.write({ writes: [removal("p/a", 6)], cursor: 7 });
      assert.equal((await store.presence(["p/a"])).size, 0);
    }));

  Deno.test(`${name} views find who is online by another incarnation`, () =>
    withFolder(async (folder) => {
      await using store = open(folder);
      const writes = [
        presence("p/a", 1, "b.1"),
        presence("p/b", 1, "b.2"),
        presence("p/c", 1, null),
        presence("p/d", 1, "a.1"),
        presence("p/e", 1, "bb.1"),
        { ...presence("p/f", 1, "z.1"), view: "other" },
      ];
      await store.write({ writes, cursor: 1 });
      const keys = async (limit: number, after = "") =>
        (await store.onlineWithOtherIncarnation("b", limit, after)).map(({ key }) => key);
      assert.deepEqual(await keys(10), ["p/d", "p/e"]);
      assert.deepEqual(await keys(1), ["p/d"]);
      assert.deepEqual(await keys(1, "a.1"), ["p/e"]);
      assert.deepEqual(await keys(1, "bb.1"), []);
      await store.write({ writes: [presence("p/d", 2, null)], cursor: 2 });
      assert.deepEqual(await store.onlineWithOtherIncarnation("b", 10, ""), [
        { key: "p/e", session: "bb.1" },
      ]);
    }));

  Deno.test(`${name} views list calls of a device, newest first, and forget the oldest`, () =>
    withFolder(async (folder) => {
      await using store = open(folder);
      const { callsKeptMax } = LIMITS;
      const made = Array.from({ length: callsKeptMax + 5 }, (_, i) => {
        return callWrite(`c${i}`, i >> 1, 3 * i + 1);
      });
      const writes = made.flatMap((queued, i) => [
        queued,
        callWrite(`c${i}`, i >> 1, 3 * i + 2, "expired"),
      ]);
      await store.write({ writes, cursor: 1 });
      const changes = [
        callWrite("c20", 10, 900, "answered"),
        callWrite("c20", 10, 800, "sent"),
        callWrite("other", 3, 1, "queued", "b"),
      ];
      await store.write({ writes: changes, cursor: 2 });
      const of = { product: "p", device: "a", limit: 1_000 };
      const newest = made.map(({ row }) => row as unknown as CallRow)
        .sort((one, other) =>
          other.createdAt - one.createdAt || (one.callId < other.callId ? 1 : -1)
        )
        .slice(0, callsKeptMax).map(({ callId }) => callId);
      const ids = (rows: readonly CallRow[]) => rows.map(({ callId }) => callId);
      assert.deepEqual(ids(await store.calls(of)), newest);
      const paged: string[] = [];
      let last: CallRow | undefined;
      do {
        const page = await store.calls({ ...of, limit: 7, ...(last && { before: last }) });
        paged.push(...ids(page));
        last = page.length < 7 ? undefined : page.at(-1);
      } while (last !== undefined);
      assert.deepEqual(paged, newest);
      assert.deepEqual(ids(await store.calls({ ...of, status: "answered" })), ["c20"]);
      assert.deepEqual(ids(await store.calls({ ...of, callId: "c0" })), [], "it gave way");
      assert.equal((await store.calls({ ...of, callId: "c20" }))[0]!.status, "answered");
      await store.write({
        writes: [{ view: "calls", key: "p/a", version: 901, at: 1 }],
        cursor: 3,
      });
      assert.deepEqual(await store.calls(of), []);
      assert.deepEqual(ids(await store.calls({ ...of, device: "b" })), ["other"]);
    }));

  Deno.test(`${name} views keep a call that is open, however many came and ended since`, () =>
    withFolder(async (folder) => {
      await using store = open(folder);
      const { callsKeptMax } = LIMITS;
      const since = Array.from({ length: callsKeptMax + 5 }, (_, i) => [
        callWrite(`c${i}`, 10 + i, 3 * i + 10),
        callWrite(`c${i}`, 10 + i, 3 * i + 11, "expired"),
      ]);
      const waits = [
        callWrite("waits", 1, 1),
        callWrite("out", 2, 2),
        callWrite("out", 2, 3, "sent"),
      ];
      await store.write({ writes: [...waits, ...since.flat()], cursor: 1 });
      const of = { product: "p", device: "a", limit: 1_000 };
      const rows = await store.calls(of);
      assert.equal(rows.length, callsKeptMax + 2);
      const left = rows.slice(-2).map(({ callId, status }) => [callId, status]);
      assert.deepEqual(left, [["out", "sent"], ["waits", "queued"]]);
      const ends = callWrite("waits", 1, 2_000, "answered");
      await store.write({ writes: [ends, callWrite("next", 900, 2_001)], cursor: 2 });
      assert.deepEqual(await store.calls({ ...of, callId: "waits" }), [], "it gives way now");
    }));

  Deno.test(`${name} views take hostile keys as keys`, () =>
    withFolder(async (folder) => {
      await using store = open(folder);
      const keys = ["'; drop table rows; --", "__proto__", "p/\u0001", "ключ", '["a"]', "%"];
      await store.write({ writes: keys.map((key) => presence(key, 1, "x.1")), cursor: 1 });
      assert.deepEqual([...(await store.presence(keys)).keys()].sort(), keys.sort());
    }));
}

contract("memory", () => createMemoryViews());
contract("SQLite", (folder) => openSqliteViews(join(folder, "views.db")));

Deno.test("SQLite views keep rows and cursor over a restart, in one step", () =>
  withFolder(async (folder) => {
    const path = join(folder, "views.db");
    {
      await using store = openSqliteViews(path);
      await store.write({ writes: [presence("p/a", 1, "x.1")], cursor: 3 });
      const bad = { ...presence("p/b", 1, null), version: undefined as unknown as number };
      await assert.rejects(store.write({ writes: [presence("p/c", 1, null), bad], cursor: 9 }));
      assert.equal(store.cursor, 3);
    }
    await using store = openSqliteViews(path);
    assert.equal(store.cursor, 3);
    assert.deepEqual([...(await store.presence(["p/a", "p/b", "p/c"])).keys()], ["p/a"]);
  }));

Deno.test("SQLite views of before there was an order by last seen get it", () =>
  withFolder(async (folder) => {
    const path = join(folder, "views.db");
    const old = new DatabaseSync(path);
    old.exec(`
      create table cursor (id integer primary key check (id = 1), tick integer not null);
      create table rows (
        view text not null, key text not null, row text not null, version real not null,
        at integer not null, session text, primary key (view, key)
      ) without rowid;
      insert into cursor (id, tick) values (1, 4);
      insert into rows values
        ('presence', 'p/a', '{"online":false,"session":null,"atMs":7}', 1, 7, null),
        ('presence', 'p/b', '{"online":true,"session":"x.1","atMs":5}', 1, 5, 'x.1'),
        ('other', 'p/c', '{"atMs":9}', 1, 5, null);
    `);
    old.close();
    for (let opened = 0; opened < 2; opened++) {
      await using store = openSqliteViews(path);
      assert.equal(store.cursor, 4);
      const database = new DatabaseSync(path, { readOnly: true });
      const seen = database.prepare(
        "select key, seen from rows where seen is not null order by key",
      )
        .all().map(({ key, seen }) => [key, seen]);
      database.close();
      assert.deepEqual(seen, [["p/a", 7], ["p/b", 5]]);
    }
  }));

/** A log in memory for one reader, with faults on demand. */
class TestSource implements TickSource {
  readonly ticks: Tick[] = [];
  saved = 0;
  reads = 0;
  fault: string | undefined;
  #wake = () => {};

  add(tick: number, bodies: readonly (Json | string)[]): void {
    const records = bodies.map((body) =>
      packRecord(
        { to: "device/p/a", budget: 1 },
        new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body)),
      )
    );
    const bytes = Uint8Array.from(records.flatMap((record) => [...record]));
    const segment: Segment = {
      partition: 0,
      class: "view",
      epoch: 1,
      firstOffset: 0,
      count: records.length,
      acceptedAtMs: 1,
      bytes,
    };
    this.ticks.push({ tick, segments: records.length === 0 ? [] : [segment] });
    this.#wake();
  }

  readTicks(after: number): Promise<{ ticks: readonly Tick[]; cursor: number }> {
    this.reads++;
    if (this.fault !== undefined) return Promise.reject(new Error(this.fault));
    const ticks = this.ticks.filter(({ tick }) => tick > after).slice(0, 2);
    return Promise.resolve({ ticks, cursor: ticks.at(-1)?.tick ?? after });
  }

  saveCursor(cursor: number): Promise<void> {
    this.saved = cursor;
    return Promise.resolve();
  }

  waitForMore(after: number): Promise<void> {
    if ((this.ticks.at(-1)?.tick ?? 0) > after) return Promise.resolve();
    return new Promise((resolve) => this.#wake = resolve);
  }
}

Deno.test("the reader stores projections, then saves its cursor, and survives faults", async () => {
  const source = new TestSource();
  const clock = createManualClock();
  const store = createMemoryViews();
  source.add(1, [{ ...presence("p/a", 1, "x.1") } as unknown as Json]);
  source.add(2, ["not json", "[]", "null", '{"view":"presence"}']);
  source.add(3, [{ ...presence("p/b", 1, "x.2") } as unknown as Json]);
  await using reader = startViewsReader({ source, store, clock, logger: silentLogger });
  await clock.advance(1_000);
  assert.deepEqual([...(await store.presence(["p/a", "p/b"])).keys()], ["p/a", "p/b"]);
  assert.deepEqual([store.cursor, source.saved, reader.cursor, reader.skipped], [3, 3, 3, 4]);

  source.fault = "the log is away";
  source.add(4, [{ ...presence("p/a", 2, null) } as unknown as Json]);
  await clock.advance(10_000);
  const before = source.reads;
  assert.ok(before < 20, "it does not hammer");
  assert.equal(store.cursor, 3);
  source.fault = undefined;
  await clock.advance(40_000);
  assert.equal((await store.presence(["p/a"])).get("p/a")!.online, false);
  assert.equal(source.saved, 4);
});

Deno.test("ticks without projections move the stored cursor once a second at most", async () => {
  const source = new TestSource();
  const clock = createManualClock();
  const store = createMemoryViews();
  const saves: number[] = [];
  const write = store.write.bind(store);
  store.write = (batch) => {
    saves.push(batch.cursor);
    return write(batch);
  };
  await using reader = startViewsReader({ source, store, clock, logger: silentLogger });
  for (let tick = 1; tick <= 30; tick++) {
    source.add(tick, []);
    await clock.advance(100);
  }
  assert.equal(reader.cursor, 30);
  assert.ok(saves.length >= 2 && saves.length <= 3, `${saves.length} saves`);
  source.add(31, [{ ...presence("p/a", 1, "x.1") } as unknown as Json]);
  await clock.advance(200);
  source.add(32, []);
  await clock.advance(200);
  assert.deepEqual([reader.cursor, store.cursor], [32, 31]);
  saves.length = 0;
  for (let idle = 0; idle < 50; idle++) await clock.advance(100);
  assert.deepEqual(saves, [32], "the last one too, though nothing comes behind it");
});

Deno.test("views are read after the last write of an ended Worker, not beside it", () =>
  withFolder(async (folder) => {
    const path = join(folder, "views.db");
    await openSqliteViews(path)[Symbol.asyncDispose]();
    using _held = await beginSlowCommit(path, "insert into cursor (id, tick) values (1, 7)");
    await using store = openSqliteViews(path);
    assert.equal(store.cursor, 7, "read before, a row that was deleted since could come back");
  }));

Deno.test("who asks for what was committed is answered when the reader is there, or late", async () => {
  const source = new TestSource();
  const clock = createManualClock();
  await using reader = startViewsReader({
    ...{ source, store: createMemoryViews(), clock, logger: silentLogger },
  });
  let reached = 0;
  const reach = (tick: number) => reader.reach(tick).then(() => reached = tick);
  const soon = reach(1);
  source.add(1, [{ ...presence("p/a", 1, "x.1") } as unknown as Json]);
  assert.equal(reached, 0);
  await clock.advance(20);
  await soon;
  await reader.reach(1);
  source.add(2, [{ ...presence("p/b", 1, "x.2") } as unknown as Json]);
  await reach(2); // Not after the pause between two writes: the clock stands.
  const late = reach(3);
  await clock.advance(999);
  assert.equal(reached, 2);
  await clock.advance(1);
  await late;
  assert.equal(reached, 3);
});

Deno.test("a client asks views of another thread, and is told their faults", async () => {
  const { port1, port2 } = new MessageChannel();
  const store = createMemoryViews();
  await store.write({ writes: [presence("p/a", 1, "x.1")], cursor: 1 });
  const failing = Object.assign(Object.create(store) as ViewsStore, {
    rows: () => Promise.reject(new Error("disk image is malformed")),
  });
  const served = startViewsWorker(port1, failing, { reach: () => Promise.resolve() }, {
    list: ({ limit }) => Promise.resolve(accepted({ items: [], nextCursor: `after ${limit}` })),
    count: () => Promise.resolve(7),
    reindex: () => Promise.reject(new Error("no index")),
  });
  const client = createViewsClient(port2);
  port1.start();
  port2.start();
  try {
    assert.deepEqual([...await client.presence(["p/a", "p/b"])], [
      ["p/a", { online: true, session: "x.1", atMs: 1 }],
    ]);
    assert.deepEqual(await client.list({ limit: 5 }), {
      ok: true,
      value: { items: [], nextCursor: "after 5" },
    });
    assert.equal(await client.count({}), 7);
    await assert.rejects(client.reindex(), { code: "unavailable" });
    assert.deepEqual(await client.onlineWithOtherIncarnation("y", 5, "a"), [
      { key: "p/a", session: "x.1" },
    ]);
    await assert.rejects(client.rows("presence", ["p/a"]), { code: "unavailable" });
    await assert.rejects(client.presence(Array(1_001).fill("p/a")), RangeError);
    served[Symbol.dispose]();
    const waiting = client.presence(["p/a"]);
    client[Symbol.dispose]();
    await assert.rejects(waiting, { code: "unavailable" });
    await assert.rejects(client.presence(["p/a"]), { code: "unavailable" });
  } finally {
    port1.close();
    port2.close();
  }
});
