import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { systemClock } from "../clock.ts";
import { ConflictError, UnavailableError } from "../errors.ts";
import { silentLogger } from "../logger.ts";
import type { Migration } from "./migrations.ts";
import {
  type CommitWriter,
  dryRunMigrations,
  openRelationalStore,
  sql,
} from "./relational_store.ts";
import { WalSync } from "./wal_sync.ts";

interface Tables {
  lamps: { id: number; name: string };
}

const FIRST: Migration = {
  id: 1,
  name: "create lamps",
  up: async (db) => {
    await db.schema.createTable("lamps").ifNotExists()
      .addColumn("id", "integer", (column) => column.primaryKey())
      .addColumn("name", "varchar(64)", (column) => column.notNull().unique()).execute();
  },
};
const SECOND: Migration = {
  id: 2,
  name: "add colour",
  up: async (db) => {
    await db.schema.alterTable("lamps").addColumn("colour", "varchar(64)").execute();
  },
};
const BROKEN: Migration = {
  id: 2,
  name: "add colour",
  up: async (db) => {
    await db.schema.alterTable("lamps").addColumn("colour", "varchar(64)").execute();
    await db.schema.alterTable("no_such_table").addColumn("x", "integer").execute();
  },
};

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "roost-store-"));
  try {
    await run(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function open(path: string, migrations: readonly Migration[]) {
  return openRelationalStore<Tables>({ path, migrations, nowMs: 1_000, logger: silentLogger });
}

Deno.test("a store keeps what was committed, and opens again without migrating", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "a.db");
    {
      await using store = await open(path, [FIRST]);
      await store.db.insertInto("lamps").values({ id: 1, name: "one" }).execute();
      const journal = new DatabaseSync(path, { readOnly: true });
      assert.equal(journal.prepare("pragma journal_mode").get()!.journal_mode, "wal");
      journal.close();
    }
    await using store = await open(path, [FIRST]);
    assert.deepEqual(
      (await store.db.selectFrom("lamps").selectAll().execute()).map((row) => ({ ...row })),
      [{ id: 1, name: "one" }],
    );
    assert.deepEqual((await readdir(folder)).filter((name) => name.includes("before")), []);
  });
});

Deno.test("two transactions at once never mix, and one that throws leaves nothing", async () => {
  await withFolder(async (folder) => {
    await using store = await open(join(folder, "a.db"), [FIRST]);
    const names = (ids: number[]) => ids.map((id) => ({ id, name: `lamp ${id}` }));
    const failing = store.db.transaction().execute(async (transaction) => {
      for (const row of names([1, 2, 3])) {
        await transaction.insertInto("lamps").values(row).execute();
      }
      throw new Error("changed my mind");
    });
    const succeeding = store.db.transaction().execute(async (transaction) => {
      for (const row of names([3, 4])) await transaction.insertInto("lamps").values(row).execute();
    });
    const alone = store.db.insertInto("lamps").values({ id: 9, name: "lamp 9" }).execute();
    await assert.rejects(failing, /changed my mind/);
    await Promise.all([succeeding, alone]);
    const rows = await store.db.selectFrom("lamps").select("id").orderBy("id").execute();
    assert.deepEqual(rows.map((row) => row.id), [3, 4, 9]);
  });
});

Deno.test("the point reader sees commits only, and cannot write", async () => {
  await withFolder(async (folder) => {
    await using store = await open(join(folder, "a.db"), [FIRST]);
    const count = store.reader.prepareOne("select count(*) n from lamps where name = ?");
    await store.db.transaction().execute(async (transaction) => {
      await transaction.insertInto("lamps").values({ id: 1, name: "'; drop table x; --" })
        .execute();
      assert.equal(count("'; drop table x; --")!.n, 0);
    });
    assert.equal(count("'; drop table x; --")!.n, 1);
    assert.throws(() => store.reader.prepareAll("delete from lamps")(), /readonly/);
  });
});

Deno.test("what is written aside is whole or not there, and writes after it are synced again", async () => {
  await withFolder(async (folder) => {
    await using store = await open(join(folder, "a.db"), [FIRST]);
    const add = (id: number) => (writer: CommitWriter) =>
      writer.run("insert into lamps (id, name) values (?, ?)", id, `lamp ${id}`);
    const syncsOf = async () => {
      const { rows } = await sql<{ synchronous: number }>`pragma synchronous`.execute(store.db);
      return rows[0]!.synchronous;
    };
    const undone = store.db.transaction().execute(async (transaction) => {
      await transaction.insertInto("lamps").values({ id: 1, name: "lamp 1" }).execute();
      await new Promise<void>((resolve) => systemClock.soon(resolve));
      throw new Error("changed my mind");
    });
    const aside = [2, 3, 4].map((id) => store.writeAside(add(id)));
    await assert.rejects(undone, /changed my mind/);
    await Promise.all(aside);
    const failing = store.writeAside((writer) => {
      add(5)(writer);
      throw new Error("nor this");
    });
    await assert.rejects(failing, /nor this/);
    const full = 2;
    assert.equal(await syncsOf(), full);
    const rows = store.reader.prepareAll("select id from lamps order by id")();
    assert.deepEqual(rows.map((row) => row.id), [2, 3, 4]);
  });
});

Deno.test("a WAL that cannot be synced fails who waits for it", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "a.db");
    const wal = new WalSync(path);
    await assert.rejects(wal.sync(), UnavailableError);
    await Deno.writeFile(`${path}-wal`, new Uint8Array(1));
    await wal.sync(); // The next call looks again.
    await wal.close();
  });
});

Deno.test("a migration of a store with content backs it up first", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "a.db");
    {
      await using store = await open(path, [FIRST]);
      await store.db.insertInto("lamps").values({ id: 1, name: "one" }).execute();
    }
    assert.deepEqual(await dryRunMigrations(path, [FIRST, SECOND], 1), ["add colour"]);
    assert.deepEqual((await readdir(folder)).filter((name) => name.includes("trial")), []);
    {
      await using store = await open(path, [FIRST, SECOND]);
      assert.equal(store.reader.prepareOne("select colour from lamps")()!.colour, null);
    }
    const backup = new DatabaseSync(`${path}.before-2`, { readOnly: true });
    assert.equal(backup.prepare("select name from lamps").get()!.name, "one");
    assert.throws(() => backup.prepare("select colour from lamps"));
    backup.close();
    assert.deepEqual((await readdir(folder)).filter((name) => name.includes("trial")), []);
  });
});

Deno.test("a migration that would fail leaves the store untouched", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "a.db");
    await (await open(path, [FIRST]))[Symbol.asyncDispose]();
    await assert.rejects(open(path, [FIRST, BROKEN]), ConflictError);
    await assert.rejects(dryRunMigrations(path, [FIRST, BROKEN], 1), ConflictError);
    await using store = await open(path, [FIRST, SECOND]);
    assert.equal(store.reader.prepareAll("select colour from lamps")().length, 0);
  });
});

Deno.test("a store of a newer version is refused", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "a.db");
    await (await open(path, [FIRST, SECOND]))[Symbol.asyncDispose]();
    await assert.rejects(open(path, [FIRST]), { code: "conflict", message: /migration 2/ });
  });
});
