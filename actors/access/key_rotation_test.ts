import assert from "node:assert/strict";
import { join } from "node:path";
import { HTTP_LIMITS } from "../../runtime/http_limits.ts";
import { createLogger } from "../../runtime/logger.ts";
import { seededRandom, systemRandom } from "../../runtime/random.ts";
import type { Keyring } from "../../runtime/secret/keyring.ts";
import { createMasterKey, readKeyFile, writeKeyFile } from "../../runtime/secret/master_key.ts";
import { openTestRegistry, type TestRegistry } from "../../test/support/test_registry.ts";
import { createAudit } from "../audit/audit.ts";
import { DeviceRegistry } from "../device/registry.ts";
import { type KeySource, openKeyring } from "../registry/master_keys.ts";
import { KeyRotation } from "./key_rotation.ts";
import { countSealed } from "./reseal.ts";

const HOUR_MS = HTTP_LIMITS.tokenMs;
const DEVICES = 450; // More than two slices.

interface Started extends AsyncDisposable {
  readonly keyring: Keyring;
  readonly rotation: KeyRotation;
  readonly devices: DeviceRegistry;
}

class Fixture implements AsyncDisposable {
  readonly registry: TestRegistry;
  readonly path: string;
  readonly lines: string[] = [];

  constructor(registry: TestRegistry) {
    this.registry = registry;
    this.path = join(registry.folder, "master.key");
  }

  static async open(): Promise<Fixture> {
    return new Fixture(await openTestRegistry());
  }

  get source(): KeySource {
    return { type: "file", path: this.path };
  }

  /** As the process starts: what the registry and the key file hold is all there is. */
  async start(source = this.source): Promise<Started> {
    const { store, clock, changes } = this.registry;
    const write = (line: string) => void this.lines.push(line);
    const logger = createLogger({ level: "info", write, nowMs: clock.nowMs, isText: true });
    const options = { store, source, random: systemRandom, logger };
    const keyring = await openKeyring({ ...options, nowMs: clock.nowMs() });
    const rotation = new KeyRotation({ ...options, keyring, clock });
    const devices = new DeviceRegistry({ store, clock, random: systemRandom, changes, keyring });
    const end = () => rotation[Symbol.asyncDispose]();
    return { keyring, rotation, devices, [Symbol.asyncDispose]: end };
  }

  /** Devices whose secrets are sealed, one of them with an old one beside it, and an audit. */
  async fill({ devices, keyring }: Started, count = DEVICES): Promise<void> {
    const { store, clock, products } = this.registry;
    await products.create({ key: "pump", credentials: ["secret", "signed"] });
    for (let i = 0; i < count; i++) {
      await devices.create({ product: "pump", device: `d-${i}`, secret: `secret-${i}` });
    }
    const secret = { secret: "fresh-secret", overlapMs: 10 * HOUR_MS };
    assert.ok((await devices.rotateSecret("pump", "d-0", secret)).ok);
    const audit = createAudit({ store, clock, keyring });
    const actor = { type: "user", id: "u", name: "ann" } as const;
    const entry = { project: "default", actor, action: "a", object: "o", detail: {}, remote: "" };
    const written = audit.log.append(entry, "ok");
    await clock.advance(10);
    await written;
  }

  async assertReadable({ devices, keyring }: Started, count = DEVICES): Promise<void> {
    const { store, clock } = this.registry;
    for (const i of [1, 199, 200, count - 1]) {
      assert.deepEqual(await devices.signingSecrets("pump", `d-${i}`), [`secret-${i}`]);
    }
    assert.deepEqual(await devices.signingSecrets("pump", "d-0"), ["fresh-secret", "secret-0"]);
    const checked = createAudit({ store, clock, keyring }).check();
    await clock.settle();
    assert.deepEqual((await checked).map(({ isIntact }) => isIntact), [true]);
  }

  /** Lets the background go on until it waits for time. */
  async settled({ rotation }: Started): Promise<void> {
    await rotation.idle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.registry[Symbol.asyncDispose]();
  }
}

Deno.test("a new key seals at once, what the old one sealed follows, and then the old one goes", async () => {
  await using fixture = await Fixture.open();
  const { clock } = fixture.registry;
  await using node = await fixture.start();
  const { keyring, rotation } = node;
  const old = keyring.currentId;
  await fixture.fill(node);
  const rows = DEVICES + 2; // An old secret and the head of the audit.
  assert.deepEqual((await rotation.list()).map(({ id, rows }) => [id, rows]), [[old, rows]]);
  const rotated = await rotation.rotate();
  assert.ok(rotated.ok);
  const fresh = keyring.currentId;
  assert.notEqual(fresh, old);
  assert.deepEqual(rotated.value.map(({ id, isCurrent }) => [id, isCurrent]), [
    [fresh, true],
    [old, false],
  ]);
  assert.deepEqual(readKeyFile(fixture.path)!.map(({ id }) => id), [fresh, old]);
  await fixture.settled(node);
  assert.deepEqual((await rotation.list()).map(({ id, rows }) => [id, rows]), [[fresh, rows], [
    old,
    0,
  ]]);
  assert.deepEqual(keyring.ids, [fresh, old], "tokens of the last hour are sealed with it");
  await fixture.assertReadable(node);
  await clock.advance(HOUR_MS);
  await fixture.settled(node);
  assert.deepEqual(keyring.ids, [fresh]);
  assert.deepEqual(readKeyFile(fixture.path)!.map(({ id }) => id), [fresh]);
  assert.deepEqual((await rotation.list()).map(({ id }) => id), [fresh]);
  await fixture.assertReadable(node);
  assert.ok(fixture.lines.some((line) => line.includes("master key is needed no more")));
});

Deno.test("sealed rows are counted in slices, between which others have their turn", async () => {
  await using fixture = await Fixture.open();
  await using node = await fixture.start();
  const { clock, store } = fixture.registry;
  await fixture.fill(node, 200);
  const row = store.reader.prepareOne("select * from devices where device = 'd-1'")()!;
  const names = Object.keys(row);
  const insert = `insert into devices (${names}) values (${names.map(() => "?")})`;
  await store.write((writer) => {
    for (let i = 0; i < 2_300; i++) {
      const own: Record<string, string | null> = { device: `copy-${i}` };
      if (i < 300) own.secret_sealed = null;
      writer.run(insert, ...names.map((name) => name in own ? own[name]! : row[name]!));
    }
  });
  let turns = 0;
  const counted = {
    ...clock,
    soon: (callback: () => void) => {
      turns++;
      clock.soon(callback);
    },
  };
  const counts = await countSealed({ store, clock: counted, isStopping: () => false });
  assert.deepEqual([...counts], [[node.keyring.currentId, 2_200 + 2]]);
  assert.ok(turns > 8, `${turns} turns`);
  const cut = await countSealed({ store, clock, isStopping: () => true });
  assert.equal(cut.size, 0);
});

Deno.test("before a key ends, what it sealed is looked for in slices, not in a transaction", async () => {
  await using fixture = await Fixture.open();
  const { clock, store } = fixture.registry;
  const read: string[] = [];
  const write = store.write.bind(store);
  store.write = (work) =>
    write((writer) =>
      work({
        run: (sql, ...values) => writer.run(sql, ...values),
        get: (sql, ...values) => {
          read.push(sql);
          return writer.get(sql, ...values);
        },
      })
    );
  await using node = await fixture.start();
  await fixture.fill(node);
  await node.rotation.rotate();
  await fixture.settled(node);
  read.length = 0;
  await clock.advance(HOUR_MS);
  await fixture.settled(node);
  assert.equal(node.keyring.ids.length, 1, "it has ended");
  assert.deepEqual(read, []);
});

Deno.test("a crash anywhere in a change leaves a registry that opens, and the change goes on", async () => {
  await using fixture = await Fixture.open();
  const { clock, store } = fixture.registry;
  const ONE = createMasterKey(seededRandom(21));
  const TWO = createMasterKey(seededRandom(22));
  writeKeyFile(fixture.path, [ONE]);
  {
    await using node = await fixture.start();
    await fixture.fill(node);
  }
  writeKeyFile(fixture.path, [TWO, ONE]); // Died before its row was there.
  {
    await using node = await fixture.start();
    assert.equal(node.keyring.currentId, TWO.id);
    // Dies at once: some slices are sealed again, some are not.
  }
  await fixture.assertReadable(
    await fixture.start().then(async (node) => {
      await fixture.settled(node);
      assert.deepEqual((await node.rotation.list()).map(({ rows }) => rows), [DEVICES + 2, 0]);
      await node[Symbol.asyncDispose]();
      return node;
    }),
  );
  await clock.advance(HOUR_MS);
  // Died after the row said that the key ends, with the key in the file or not.
  for (const keys of [[TWO, ONE], [TWO]] as const) {
    await store.db.updateTable("master_keys").set({ check_text: "" }).where("id", "=", ONE.id)
      .execute();
    writeKeyFile(fixture.path, [...keys] as [typeof TWO, ...typeof TWO[]]);
    await using node = await fixture.start();
    await fixture.settled(node);
    assert.deepEqual(readKeyFile(fixture.path)!.map(({ id }) => id), [TWO.id]);
    assert.deepEqual((await node.rotation.list()).map(({ id }) => id), [TWO.id]);
    await fixture.assertReadable(node);
    const row = { id: ONE.id, check_text: "", created_at: 1 };
    await store.db.insertInto("master_keys").values(row).execute();
  }
});

Deno.test("changes one after the other end with one key, and their number is bounded", async () => {
  await using fixture = await Fixture.open();
  const { clock } = fixture.registry;
  await using node = await fixture.start();
  await fixture.fill(node, 201);
  const outcomes = [];
  for (let i = 0; i < 8; i++) {
    outcomes.push(await node.rotation.rotate());
    await clock.advance(1);
  }
  assert.deepEqual(outcomes.map(({ ok }) => ok), [...Array(7).fill(true), false]);
  const last = outcomes.at(-1)!;
  assert.ok(!last.ok && last.code === "in_use");
  assert.match(last.message, /8 are in use/);
  await fixture.settled(node);
  await clock.advance(2 * HOUR_MS);
  await fixture.settled(node);
  assert.deepEqual(node.keyring.ids, [node.keyring.currentId]);
  await fixture.assertReadable(node, 201);
});

Deno.test("a key that something was sealed with that nobody can open stays, and is told of", async () => {
  await using fixture = await Fixture.open();
  const { clock, store } = fixture.registry;
  await using node = await fixture.start();
  await fixture.fill(node);
  const old = node.keyring.currentId;
  const sealed = await node.keyring.seal("secret", { table: "x", row: ["y"], column: "z" });
  await store.db.updateTable("devices").set({ secret_sealed: sealed }).where("device", "=", "d-7")
    .execute();
  await store.db.updateTable("audit_heads").set({ mac: `${old}.forged` }).execute();
  await node.rotation.rotate();
  await fixture.settled(node);
  await clock.advance(HOUR_MS);
  await fixture.settled(node);
  assert.deepEqual(node.keyring.ids.length, 2);
  assert.deepEqual((await node.rotation.list()).at(-1)!.rows, 2);
  const head = await store.db.selectFrom("audit_heads").select("mac").executeTakeFirstOrThrow();
  assert.equal(head.mac, `${old}.forged`, "what was forged is not sealed again as ours");
  assert.ok(fixture.lines.some((line) => line.includes("cannot be opened by their key")));
  assert.ok(fixture.lines.some((line) => line.includes("a master key stays")));
});

Deno.test("by configuration the old key is let go of, and the operator is told", async () => {
  await using fixture = await Fixture.open();
  const { clock } = fixture.registry;
  const ONE = createMasterKey(seededRandom(21));
  const TWO = createMasterKey(seededRandom(22));
  {
    await using node = await fixture.start({ type: "config", keys: [ONE] });
    await fixture.fill(node);
    const refused = await node.rotation.rotate();
    assert.ok(!refused.ok && /ROOST__SECRETS__PREVIOUS_MASTER_KEY/.test(refused.message));
  }
  {
    await using node = await fixture.start({ type: "config", keys: [TWO, ONE] });
    await fixture.settled(node);
    await clock.advance(HOUR_MS);
    await fixture.settled(node);
    assert.deepEqual((await node.rotation.list()).map(({ id }) => id), [TWO.id]);
    assert.ok(fixture.lines.some((line) => line.includes("ROOST__SECRETS__PREVIOUS_MASTER_KEY")));
  }
  await using node = await fixture.start({ type: "config", keys: [TWO] });
  await fixture.assertReadable(node);
});

Deno.test("a key file that is another one meanwhile is not touched", async () => {
  await using fixture = await Fixture.open();
  await using node = await fixture.start();
  const other = createMasterKey(seededRandom(23));
  writeKeyFile(fixture.path, [other]);
  const outcome = await node.rotation.rotate();
  assert.ok(!outcome.ok && /not what this node started with/.test(outcome.message));
  await Deno.remove(fixture.path);
  assert.equal((await node.rotation.rotate()).ok, false);
  assert.equal(readKeyFile(fixture.path), undefined);
});

Deno.test("a change that the registry refused after its first step is taken up by the next one", async () => {
  await using fixture = await Fixture.open();
  await using node = await fixture.start();
  const { keyring, rotation } = node;
  const old = keyring.currentId;
  const { store } = fixture.registry;
  await store.write((writer) =>
    writer.run(
      "create trigger full before insert on master_keys begin select raise(abort, 'full'); end",
    )
  );
  await assert.rejects(rotation.rotate(), /full/);
  assert.equal(keyring.currentId, old);
  const [begun] = readKeyFile(fixture.path)!;
  assert.notEqual(begun.id, old);
  await store.write((writer) => writer.run("drop trigger full"));
  assert.ok((await rotation.rotate()).ok);
  assert.equal(keyring.currentId, begun.id);
  assert.deepEqual(readKeyFile(fixture.path)!.map(({ id }) => id), [begun.id, old]);
  assert.deepEqual((await rotation.list()).map(({ id }) => id), [begun.id, old]);
});
