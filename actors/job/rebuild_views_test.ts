import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import type { Json } from "../../runtime/actor/behaviour.ts";
import { encodeEnvelope, NO_TRAITS } from "../../runtime/actor/state_codec.ts";
import { silentLogger } from "../../runtime/logger.ts";
import type { StateQuery } from "../../runtime/log/partition_log.ts";
import { readSeed } from "../../test/support/seed.ts";
import type { CommandState } from "../command/messages.ts";
import type { DeviceState, PresenceRow } from "../device/messages.ts";
import { openSqliteViews } from "../device/sqlite_views.ts";
import { createMemoryViews, PRESENCE, type ViewsStore } from "../device/views.ts";
import { INITIAL_STATE } from "../device/device_state.ts";
import type { Job, StoredJob } from "./job.ts";
import { rebuildViews } from "./rebuild_views.ts";

const T0 = 1_700_000_000_000;
const PARTITIONS = 3;
const DEVICES = Array.from({ length: 300 }, (_, n) => `pump/p-${n}`);
const NO_FIELDS = {} as Job;

/** Committed states, as the log has them; whatever is committed is projected a little later. */
class States {
  readonly stored = new Map<string, Uint8Array>();
  /** Called when states were read, and are not handed out yet. */
  onRead = () => {};

  put(address: string, version: number, state: DeviceState | CommandState): void {
    const { bytes } = encodeEnvelope(1, version, NO_TRAITS, JSON.stringify(state));
    this.stored.set(address, bytes);
  }

  statesAfter({ partition, kind, after, limit }: StateQuery) {
    const page = [...this.stored].filter(([address]) => address.startsWith(`${kind}/`))
      .filter(([address]) => partitionOf(address) === partition && address > after)
      .sort(([one], [other]) => one < other ? -1 : 1).slice(0, limit);
    this.onRead();
    return Promise.resolve(page.map(([address, state]) => ({ address, state })));
  }

  peekAll(addresses: readonly string[]) {
    const states = addresses.map((address) => this.stored.get(address));
    this.onRead();
    return Promise.resolve(states);
  }
}

function partitionOf(address: string): number {
  return address.length % PARTITIONS;
}

function onlineState(n: number): DeviceState {
  const session = `7.${n}`;
  const link = { session, epoch: n, wire: "mqtt" as const, connectedAtMs: T0 + n };
  return { ...INITIAL_STATE, link, epoch: n, lastSeenAtMs: T0 + n };
}

function stateOf(n: number): DeviceState {
  if (n % 5 === 0) return INITIAL_STATE; // Never heard of.
  return n % 2 === 0 ? onlineState(n) : { ...INITIAL_STATE, lastSeenAtMs: T0 + n };
}

function rowOf({ link, lastSeenAtMs }: DeviceState): PresenceRow {
  return { online: link !== undefined, session: link?.session ?? null, atMs: lastSeenAtMs! };
}

async function run(states: States, views: ViewsStore) {
  let reindexed = 0;
  const reindex = () => Promise.resolve(void reindexed++);
  const indexed = Object.assign(views, { reindex });
  const options = {
    log: states,
    views: () => indexed,
    partitions: PARTITIONS,
    logger: silentLogger,
  };
  let checkpoint: Json = null;
  for (;;) {
    // Taken up anew each time, as after a restart.
    const job: StoredJob = { ...NO_FIELDS, project: "default", input: {}, checkpoint, starts: 1 };
    await using work = await rebuildViews(options).open(job);
    const done = await work.step();
    if (done.result !== undefined) {
      assert.equal(reindexed, 1);
      return done.result as Record<string, number>;
    }
    assert.ok(done.progress >= 0 && done.progress < 1);
    checkpoint = done.checkpoint;
  }
}

/** Rows of every device that should have one, and no other. */
async function assertRight(views: ViewsStore, expected: ReadonlyMap<string, PresenceRow>) {
  const keys = await views.keysAfter(PRESENCE, "", 10_000);
  assert.deepEqual(keys, [...expected.keys()].sort());
  const rows = await views.presence(keys);
  for (const [key, row] of expected) assert.deepEqual(rows.get(key), row, key);
  const latest = [...expected].sort(([, one], [, other]) => other.atMs - one.atMs);
  const online = await views.onlineWithOtherIncarnation("8", 1_000, "");
  const wanted = latest.filter(([, row]) => row.online).map(([key]) => key).sort();
  assert.deepEqual(online.map(({ key }) => key).sort(), wanted);
}

/** What comes next is taken: no row claims to be newer. */
async function assertTaken(views: ViewsStore, keys: readonly string[]) {
  const row = { online: false, session: null, atMs: T0 + 2e9 };
  const writes = keys.map((key) => {
    return { view: PRESENCE, key, row, version: T0 + 1e6, at: row.atMs };
  });
  await views.write({ writes, cursor: 1e6 });
  for (const [key, later] of await views.presence(keys)) assert.deepEqual(later, row, key);
}

function filled() {
  const states = new States();
  const expected = new Map<string, PresenceRow>();
  DEVICES.forEach((key, n) => {
    states.put(`device/${key}`, T0 + n, stateOf(n));
    if (stateOf(n).lastSeenAtMs !== undefined) expected.set(key, rowOf(stateOf(n)));
  });
  return { states, expected };
}

const openers = {
  memory: () => createMemoryViews(),
  sqlite: () => openSqliteViews(":memory:"),
};

for (const [name, open] of Object.entries(openers)) {
  Deno.test(`${name}: rows come back of an empty view, and a second run changes none`, async () => {
    await using views = open();
    const { states, expected } = filled();
    const first = await run(states, views);
    assert.equal(first.states, DEVICES.length);
    assert.equal(first.changed, expected.size);
    await assertRight(views, expected);
    assert.equal((await run(states, views)).changed, 0);
    assert.equal(views.cursor, 0, "the reader goes on where it was");
  });

  Deno.test(`${name}: rows of all damages are put right, and those of no state go`, async () => {
    const seed = readSeed();
    const row = fc.record({
      online: fc.boolean(),
      session: fc.constantFrom(null, "7.1", "6.6"),
      atMs: fc.integer({ min: T0 - 1e9, max: T0 + 1e9 }),
    });
    const damage = fc.record({
      n: fc.nat(DEVICES.length + 20),
      version: fc.constantFrom(-1, T0, T0 * 2),
      row: fc.option(row, { nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(damage, { maxLength: 60, size: "max" }), async (damages) => {
        await using views = open();
        const { states, expected } = filled();
        await run(states, views);
        let cursor = 0;
        for (const { n, version, row } of damages) {
          const write = { view: PRESENCE, key: `pump/p-${n}`, version, at: T0 };
          const seenVersion = (await views.repair([{ ...write, version: -2 }])).newer[0]?.version;
          const forced = seenVersion === undefined ? write : { ...write, seenVersion };
          await views.repair([row === undefined ? forced : { ...forced, row: { ...row } }]);
          await views.write({ writes: [], cursor: ++cursor });
        }
        await run(states, views);
        await assertRight(views, expected);
        await assertTaken(views, [...expected.keys()]);
      }),
      { seed, numRuns: 15 },
    );
  });

  Deno.test(`${name}: what actors project meanwhile is not set back`, async () => {
    await using views = open();
    const { states, expected } = filled();
    let cursor = 0;
    states.onRead = () => {
      const step = ++cursor;
      if (step > 12) return;
      for (let n = step % 4; n < DEVICES.length; n += 3) { // Committed first, then written by the reader.
        const state = onlineState(1_000 + step * 1_000 + n);
        const version = T0 + 1e6 + step;
        states.put(`device/${DEVICES[n]!}`, version, state);
        const row = { ...rowOf(state) };
        void views.write({
          writes: [{ view: PRESENCE, key: DEVICES[n]!, row, version, at: T0 }],
          cursor: step * 1_000 + n,
        });
        expected.set(DEVICES[n]!, rowOf(state));
      }
    };
    await run(states, views);
    await assertRight(views, expected);
  });

  Deno.test(`${name}: open calls come back, those that have ended stay`, async () => {
    await using views = open();
    const states = new States();
    const call = (callId: string, sentAtMs?: number) => ({
      callId,
      service: "restart",
      input: { in: 5 },
      mode: "queued" as const,
      createdBy: "ann",
      createdAtMs: T0,
      expiresAtMs: T0 + 1_000,
      inputBytes: 8,
      sends: sentAtMs === undefined ? 0 : 1,
      ...(sentAtMs === undefined ? undefined : { sentAtMs }),
    });
    states.put("command/pump/p-1", 5, { calls: [call("c-1"), call("c-2", T0 + 1)] });
    await run(states, views);
    const query = { product: "pump", device: "p-1", limit: 10 };
    const right = await views.calls(query);
    assert.deepEqual(right.map(({ callId, status }) => [callId, status]), [
      ["c-2", "sent"],
      ["c-1", "queued"],
    ]);
    const ended = { ...right[0]!, callId: "c-0", status: "answered" as const };
    const wrong = { ...right[1]!, status: "expired" as const };
    const writes = [ended, wrong].map((row) => {
      const key = `pump/p-1/${row.callId}`;
      return { view: "calls", key, row: row as unknown as Json, version: 1e300, at: T0 };
    });
    await views.write({ writes, cursor: 1 });
    await run(states, views);
    assert.deepEqual(await views.calls(query), [...right, ended]);
  });
}

Deno.test("rows that are no JSON, or are found by something else, are put right", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "roost-views-" });
  const path = `${directory}/views.db`;
  const { states, expected } = filled();
  await using views = openSqliteViews(path);
  await run(states, views);
  const database = new DatabaseSync(path);
  database.exec(`
    update rows set row = '{' where key like 'pump/p-1%';
    update rows set row = 'null' where key like 'pump/p-3%';
    update rows set session = '9.9', seen = 5 where key like 'pump/p-2%';
    update rows set version = 1e300 where key like 'pump/p-%2';
    delete from rows where key like 'pump/p-%7';
    insert into rows (view, key, row, version, at, session, seen)
      values ('presence', 'ghost/x', '{}', 1e300, 0, '7.1', 1), ('presence', 'zz', 'x', 1, 0, null, 1);
  `);
  await run(states, views);
  await assertRight(views, expected);
  const seen = database.prepare("select key, seen from rows where seen is not null").all();
  database.close();
  const times = seen.map(({ key, seen }) => [String(key), Number(seen)] as const);
  const wanted = [...expected].map(([key, { atMs }]) => [key, atMs] as const);
  assert.deepEqual(new Map(times), new Map(wanted));
  await assertTaken(views, [...expected.keys()]);
  Deno.removeSync(directory, { recursive: true });
});
