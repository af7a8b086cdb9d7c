import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { seededRandom } from "../../runtime/random.ts";
import { Keyring } from "../../runtime/secret/keyring.ts";
import { createMasterKey } from "../../runtime/secret/master_key.ts";
import { openRegistryStore } from "../registry/registry_store.ts";
import { AuditHook, createAudit } from "./audit.ts";
import { checkAudits } from "./audit_check.ts";
import { AuditLog } from "./audit_log.ts";
import type { AuditEntry } from "./audit_row.ts";
import { AuditScope, noteAudit, withinScope } from "./audit_scope.ts";

const ENTRY: AuditEntry = {
  project: "default",
  actor: { type: "user", id: "u1", name: "ann" },
  action: "products.create",
  object: "products/pump",
  detail: { key: "pump" },
  remote: "192.0.2.1",
};

async function open(rowsMax?: number) {
  const folder = await Deno.makeTempDir({ prefix: "roost-audit-" });
  const path = join(folder, "registry.db");
  const clock = { ...systemClock, nowMs: () => now.ms };
  const now = { ms: 1_000 };
  const hook = new AuditHook();
  const store = await openRegistryStore({
    path,
    clock,
    logger: silentLogger,
    beforeCommit: hook.beforeCommit,
  });
  const keyring = new Keyring([createMasterKey(seededRandom(5))], seededRandom(6));
  const audit = createAudit({ store, clock, keyring });
  const log = rowsMax === undefined ? audit.log : new AuditLog({ store, clock, keyring, rowsMax });
  hook.log = log;
  const append = (more: Partial<AuditEntry> = {}, outcome = "ok") =>
    log.append({ ...ENTRY, ...more }, outcome);
  const rename = (name: string) =>
    store.db.updateTable("projects").set({ name }).where("id", "=", "default");
  return {
    store,
    clock,
    keyring,
    audit,
    append,
    rename,
    now,
    /** As somebody who has the file would. */
    tamper(sql: string) {
      const database = new DatabaseSync(path);
      database.exec(sql);
      database.close();
    },
    /** @param meanwhile What happens behind the first page. */
    checkWith(meanwhile: () => Promise<void>) {
      let isDone = false;
      const soon = (callback: () => void) => {
        const before = isDone ? Promise.resolve() : meanwhile();
        isDone = true;
        void before.then(callback);
      };
      return checkAudits({ store, keyring, clock: { ...clock, soon } });
    },
    async list(filter: object = {}) {
      const page = await audit.reader.list("default", { limit: 50, ...filter });
      assert.ok(page.ok, JSON.stringify(page));
      return page.value;
    },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

Deno.test("a change and its row are one transaction: both are there, or neither", async () => {
  await using fixture = await open();
  const { store, rename, list } = fixture;
  const scope = new AuditScope(ENTRY);
  await withinScope(scope, async () => {
    await store.db.transaction().execute(async (transaction) => {
      await transaction.selectFrom("projects").selectAll().execute();
    });
    assert.equal(scope.isWritten, false, "nothing was changed");
    noteAudit({ object: "products/7" });
    await assert.rejects(
      store.db.transaction().execute(async (transaction) => {
        await transaction.updateTable("projects").set({ name: "lost" }).execute();
        throw new Error("changed my mind");
      }),
    );
    assert.equal(scope.isWritten, false, "it was rolled back");
    await store.db.transaction().execute(async (transaction) => {
      await transaction.updateTable("projects").set({ name: "kept" }).execute();
    });
    assert.equal(scope.isWritten, true);
    await rename("again").execute();
    await store.db.transaction().execute((transaction) =>
      transaction.updateTable("projects").set({ name: "more of the same" }).execute()
    );
  });
  const { items } = await list();
  assert.equal(items.length, 1, "one request has one row");
  const { hash: _, ...row } = items[0]!;
  assert.deepEqual(row, { ...ENTRY, object: "products/7", seq: 1, at: 1_000, outcome: "ok" });
});

Deno.test("a row that cannot be written undoes the change", async () => {
  await using fixture = await open();
  const { store, tamper } = fixture;
  tamper("drop table audit");
  const change = withinScope(new AuditScope(ENTRY), async () => {
    await store.db.transaction().execute((transaction) =>
      transaction.updateTable("projects").set({ name: "unseen" }).execute()
    );
  });
  await assert.rejects(change, /audit/);
  const row = store.reader.prepareOne("select name from projects")()!;
  assert.equal(row.name, "Default");
});

Deno.test("what a request left running is not its doing any more", async () => {
  await using fixture = await open();
  const { store, list } = fixture;
  const gate = Promise.withResolvers<void>();
  let background = Promise.resolve();
  await withinScope(new AuditScope(ENTRY), () => {
    background = gate.promise.then(() =>
      store.db.transaction().execute(async (transaction) => {
        await transaction.updateTable("projects").set({ name: "later" }).execute();
      })
    );
    return Promise.resolve();
  });
  gate.resolve();
  await background;
  assert.deepEqual((await list()).items, []);
});

Deno.test("two requests at once have a row each, with what each did", async () => {
  await using fixture = await open();
  const { store, list } = fixture;
  await Promise.all(
    Array.from(
      { length: 20 },
      (_none, i) =>
        withinScope(new AuditScope({ ...ENTRY, object: `products/${i}` }), async () => {
          await store.db.transaction().execute(async (transaction) => {
            await transaction.selectFrom("projects").selectAll().execute();
            await new Promise<void>((resolve) => systemClock.soon(resolve));
            await transaction.updateTable("projects").set({ name: `by ${i}` }).execute();
          });
        }),
    ),
  );
  const objects = (await list()).items.map(({ object }) => object);
  assert.deepEqual(
    objects.sort(),
    Array.from({ length: 20 }, (_none, i) => `products/${i}`).sort(),
  );
});

Deno.test("a chain can be checked with SHA-256 alone, from what the API shows", async () => {
  await using fixture = await open();
  const { append, list, now } = fixture;
  await append({ detail: { naïve: "日本\u0000" } });
  now.ms = 500; // The clock was set back.
  await append({ object: "products/lamp" }, "conflict");
  let hash: Uint8Array = new Uint8Array(32);
  const rows = (await list()).items.toReversed();
  assert.deepEqual(rows.map(({ at }) => at), [1_000, 1_000], "time never falls");
  for (const row of rows) {
    const { actor } = row;
    const fields = [row.project, row.seq, row.at, actor.type, actor.id, actor.name, row.action];
    const rest = [row.object, JSON.stringify(row.detail), row.remote, row.outcome];
    hash = createHash("sha256").update(hash).update(JSON.stringify([...fields, ...rest])).digest();
    assert.deepEqual([...hash], [...row.hash]);
  }
});

Deno.test("a changed, removed, moved, added or cut row is found, and where", async () => {
  const faults: Record<string, [sql: string, seq: number, reason: string]> = {
    "changed": ["update audit set outcome = 'forbidden' where seq = 3", 3, "changed"],
    "changed time": ["update audit set at = at + 1 where seq = 5", 5, "changed"],
    "other project": ["update audit set project = 'x' where seq = 4", 4, "missing"],
    "removed": ["delete from audit where seq = 2", 2, "missing"],
    "removed and closed up": [
      "delete from audit where seq = 2; update audit set seq = seq - 1 where seq > 2",
      2,
      "changed",
    ],
    "moved": [
      "update audit set seq = 99 where seq = 2; update audit set seq = 2 where seq = 3; " +
      "update audit set seq = 3 where seq = 99",
      2,
      "changed",
    ],
    "cut": ["delete from audit where seq > 4", 5, "cut"],
    "cut with its head": [
      "delete from audit where seq > 4; update audit_heads set seq = 4, " +
      "hash = (select hash from audit where seq = 4)",
      4,
      "forged",
    ],
    "first ones removed": [
      "delete from audit where seq < 3; update audit_heads set kept_after = 2, kept_hash = x'00'",
      2,
      "forged",
    ],
    "head removed": ["delete from audit_heads", 1, "forged"],
    "added": [
      "insert into audit select project, 7, at, actor_type, actor_id, actor_name, action, object, " +
      "detail, remote, outcome, hash from audit where seq = 6; update audit_heads set seq = 7",
      7,
      "forged",
    ],
  };
  for (const [what, [sql, seq, reason]] of Object.entries(faults)) {
    await using fixture = await open();
    for (let i = 0; i < 6; i++) await fixture.append({ object: `products/${i}` });
    assert.deepEqual(await fixture.audit.check(), [
      { project: "default", isIntact: true, rows: 6, firstSeq: 1 },
    ]);
    fixture.tamper(sql);
    const check = (await fixture.audit.check()).find(({ project }) => project === "default")!;
    assert.equal(check.isIntact, false, what);
    assert.deepEqual(check.fault, { seq, reason }, what);
  }
});

Deno.test("rows that come while others are written go together, each in its project's chain", async () => {
  await using fixture = await open();
  const { store, audit } = fixture;
  let transactions = 0;
  const counting = {
    writeAside: (work: Parameters<typeof store.writeAside>[0]) => {
      transactions++;
      return store.writeAside(work);
    },
  };
  const log = new AuditLog({ ...fixture, store: counting });
  const append = (i: number) =>
    log.append({ ...ENTRY, project: `p${i % 3}`, object: `products/${i}` }, "ok");
  const first = append(0);
  await new Promise<void>((resolve) => systemClock.soon(resolve));
  await Promise.all([first, ...Array.from({ length: 299 }, (_, i) => append(i + 1))]);
  assert.equal(transactions, 2);
  assert.deepEqual(
    (await audit.check()).map(({ project, isIntact, rows }) => [project, isIntact, rows]),
    [["p0", true, 100], ["p1", true, 100], ["p2", true, 100]],
  );
});

Deno.test("at the bound the oldest rows give way, and the rest is still a chain", async () => {
  await using fixture = await open(10);
  const { append, audit, list, tamper } = fixture;
  for (let i = 1; i <= 25; i++) await append({ object: `products/${i}` });
  assert.deepEqual(await audit.check(), [
    { project: "default", isIntact: true, rows: 10, firstSeq: 16 },
  ]);
  assert.deepEqual((await list()).items.map(({ seq }) => seq).slice(-1), [16]);
  tamper("delete from audit where seq = 16");
  const [check] = await audit.check();
  assert.deepEqual(check!.fault, { seq: 16, reason: "missing" });
});

Deno.test("rows that give way while the chain is checked are not missing from it", async () => {
  await using fixture = await open(1_001);
  const { audit, append, tamper } = fixture;
  const appended = (count: number) => Promise.all(Array.from({ length: count }, () => append()));
  await appended(1_500);
  const check = fixture.checkWith(async () => void await appended(1_600));
  const [found] = await check;
  assert.deepEqual([found!.isIntact, found!.firstSeq > 1_001], [true, true], JSON.stringify(found));
  tamper(`delete from audit where seq = ${found!.firstSeq + 5}`);
  const [missing] = await audit.check();
  assert.equal(missing!.fault?.reason, "missing");
});

Deno.test("the audit is listed by page and filter, each project's alone", async () => {
  await using fixture = await open();
  const { append, audit, list, now } = fixture;
  await append({ object: "devices/pump/p-1", action: "devices.create" });
  now.ms = 2_000;
  await append({ object: "devices/pump/p-10", action: "devices.update" }, "conflict");
  await append({ object: "devices/pump2/p-1", actor: { type: "key", id: "k1", name: "exporter" } });
  await append({ project: "other", object: "devices/x/y" });
  const found = async (filter: object) => (await list(filter)).items.map(({ seq }) => seq).join();
  assert.equal(await found({}), "3,2,1");
  assert.equal(await found({ actor: "exporter" }), "3");
  assert.equal(await found({ actor: "k1" }), "3");
  assert.equal(await found({ action: "devices.create" }), "1");
  assert.equal(await found({ object: "devices/pump" }), "2,1");
  assert.equal(await found({ object: "devices/pump/p-1" }), "1");
  assert.equal(await found({ outcome: "conflict" }), "2");
  assert.equal(await found({ fromMs: 1_000, toMs: 2_000 }), "1");
  assert.equal(await found({ actor: "' or 1=1 --" }), "");
  const first = await list({ limit: 2 });
  assert.deepEqual(first.items.map(({ seq }) => seq), [3, 2]);
  await append();
  assert.equal(await found({ limit: 2, cursor: first.nextCursor }), "1");
  for (const cursor of ["x", first.nextCursor!.slice(1), "WyJhIl0"]) {
    const refused = await audit.reader.list("default", { limit: 2, cursor });
    assert.ok(!refused.ok && refused.code === "invalid", cursor);
  }
  assert.deepEqual(
    [await audit.reader.count("default", {}), await audit.reader.count("other", {})],
    [4, 1],
  );
});
