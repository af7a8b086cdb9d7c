import assert from "node:assert/strict";
import { join } from "node:path";
import { createLogger } from "../../runtime/logger.ts";
import { seededRandom, systemRandom } from "../../runtime/random.ts";
import {
  createMasterKey,
  encodeMasterKey,
  readKeyFile,
  writeKeyFile,
} from "../../runtime/secret/master_key.ts";
import { openTestRegistry } from "../../test/support/test_registry.ts";
import { type KeySource, keySourceOf, openKeyring } from "./master_keys.ts";

const ONE = createMasterKey(seededRandom(1));
const TWO = createMasterKey(seededRandom(2));

async function fixture() {
  const registry = await openTestRegistry();
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const logger = createLogger({ level: "warn", write, nowMs: () => 0, isText: true });
  const open = (source: KeySource) =>
    openKeyring({ store: registry.store, source, random: systemRandom, nowMs: 1, logger });
  return { registry, open, lines, path: join(registry.folder, "master.key") };
}

Deno.test("the first start makes the key file, the next ones take it", async () => {
  const { registry, open, path } = await fixture();
  await using _ = registry;
  const source: KeySource = { type: "file", path };
  const made = await open(source);
  assert.equal(readKeyFile(path)![0].id, made.currentId);
  assert.equal((await open(source)).currentId, made.currentId);
});

Deno.test("a start without the key, or with another one, is refused and says what to do", async () => {
  const { registry, open, path } = await fixture();
  await using _ = registry;
  const file: KeySource = { type: "file", path };
  writeKeyFile(path, [ONE]);
  await open(file);
  await Deno.remove(path);
  await assert.rejects(open(file), { code: "conflict", message: /master\.key is missing/ });
  assert.equal(readKeyFile(path), undefined, "no new one is made in its place");
  writeKeyFile(path, [TWO]);
  await assert.rejects(open(file), {
    code: "conflict",
    message: new RegExp(`master key ${TWO.id} .* is not ${ONE.id}`),
  });
  await assert.rejects(
    open({ type: "config", keys: [TWO] }),
    (fault: Error & { hint: string }) => fault.hint.includes("ROOST__SECRETS__PREVIOUS_MASTER_KEY"),
  );
  writeKeyFile(path, [ONE]);
  assert.equal((await open(file)).currentId, ONE.id);
});

Deno.test("a new key by configuration is taken with the old one beside it", async () => {
  const { registry, open } = await fixture();
  await using _ = registry;
  await open({ type: "config", keys: [ONE] });
  const keyring = await open({ type: "config", keys: [TWO, ONE] });
  assert.deepEqual(keyring.ids, [TWO.id, ONE.id]);
  const rows = await registry.store.db.selectFrom("master_keys").select("id").execute();
  assert.deepEqual(rows.map(({ id }) => id).sort(), [ONE.id, TWO.id].sort());
});

Deno.test("a key file that others may read is told of", async () => {
  const { registry, open, lines, path } = await fixture();
  await using _ = registry;
  writeKeyFile(path, [ONE]);
  await open({ type: "file", path });
  assert.deepEqual(lines, []);
  await Deno.chmod(path, 0o644);
  await open({ type: "file", path });
  assert.match(lines[0]!, /others may read the master key file.*chmod 600/);
});

Deno.test("keys come from the configuration if it has one, else from a file", () => {
  const masterKey = encodeMasterKey(ONE);
  const previousMasterKey = encodeMasterKey(TWO);
  assert.deepEqual(keySourceOf({}, "/d"), { type: "file", path: "/d/master.key" });
  assert.deepEqual(keySourceOf({ keyFile: "/k" }, "/d"), { type: "file", path: "/k" });
  const source = keySourceOf({ masterKey, previousMasterKey }, "/d");
  assert.ok(source.type === "config");
  assert.deepEqual(source.keys.map(({ id }) => id), [ONE.id, TWO.id]);
});
