import assert from "node:assert/strict";
import { join } from "node:path";
import { seededRandom, systemRandom } from "../random.ts";
import { Keyring, sealedKeyId } from "./keyring.ts";
import {
  createMasterKey,
  encodeMasterKey,
  isExposed,
  masterKeyOf,
  parseMasterKey,
  readKeyFile,
  writeKeyFile,
} from "./master_key.ts";

const PLACE = { table: "devices", row: ["pump", "p-1"], column: "secret" };
const ONE = createMasterKey(seededRandom(1));
const TWO = createMasterKey(seededRandom(2));

Deno.test("a sealed text opens where it was sealed for, and nowhere else", async () => {
  const keyring = new Keyring([ONE], systemRandom);
  for (const text of ["", "secret", "日本\u0000", "x".repeat(10_000)]) {
    const sealed = await keyring.seal(text, PLACE);
    assert.ok(text === "" || !sealed.includes(text));
    assert.equal(sealedKeyId(sealed), ONE.id);
    assert.equal(await keyring.open(sealed, PLACE), text);
    assert.notEqual(await keyring.seal(text, PLACE), sealed, "each has its own nonce");
    const elsewhere = [
      { ...PLACE, table: "other" },
      { ...PLACE, row: ["pump", "p-2"] },
      { ...PLACE, row: ["pump/p-1"] },
      { ...PLACE, column: "other" },
    ];
    for (const place of elsewhere) {
      await assert.rejects(keyring.open(sealed, place), { code: "codec" });
    }
  }
});

Deno.test("a sealed text that was changed anywhere does not open", async () => {
  const keyring = new Keyring([ONE], systemRandom);
  const sealed = await keyring.seal("secret", PLACE);
  for (let at = 0; at < sealed.length; at++) {
    const other = sealed[at] === "A" ? "B" : "A";
    const changed = sealed.slice(0, at) + other + sealed.slice(at + 1);
    // The last character of base64url may stand for bits that are not there.
    if (standForTheSame(changed, sealed)) continue;
    await assert.rejects(keyring.open(changed, PLACE), { code: "codec" }, changed);
  }
  for (const hostile of ["", "v1", "v2.a.b.c", "v1....", "\ud800", sealed + "=", `${sealed}.x`]) {
    await assert.rejects(keyring.open(hostile, PLACE), { code: "codec" });
    assert.equal(sealedKeyId(hostile), undefined);
  }
});

function standForTheSame(one: string, other: string): boolean {
  const bytes = (text: string) =>
    atob(text.split(".").at(-1)!.replace(/-/g, "+").replace(/_/g, "/"));
  const head = (text: string) => text.slice(0, text.lastIndexOf("."));
  return head(one) === head(other) && bytes(one) === bytes(other);
}

Deno.test("while the key is changed old texts open, and new ones have the new key", async () => {
  const keyring = new Keyring([ONE], systemRandom);
  const old = await keyring.seal("secret", PLACE);
  const mac = keyring.mac("use", new Uint8Array([1]));
  keyring.replace([TWO, ONE]);
  assert.equal(await keyring.open(old, PLACE), "secret");
  assert.ok(keyring.isMac(mac, "use", new Uint8Array([1])));
  assert.equal(sealedKeyId(await keyring.seal("secret", PLACE)), TWO.id);
  keyring.replace([TWO]);
  await assert.rejects(keyring.open(old, PLACE), new RegExp(`master key ${ONE.id} is not here`));
  assert.ok(!keyring.isMac(mac, "use", new Uint8Array([1])));
});

Deno.test("a seal holds for its use and its bytes only", () => {
  const keyring = new Keyring([ONE], systemRandom);
  const bytes = new Uint8Array([1, 2, 3]);
  const mac = keyring.mac("use", bytes);
  assert.ok(keyring.isMac(mac, "use", bytes));
  assert.ok(!keyring.isMac(mac, "other use", bytes));
  assert.ok(!keyring.isMac(mac, "use", new Uint8Array([1, 2, 4])));
  for (const forged of ["", ".", `${ONE.id}.`, mac.slice(1), `${TWO.id}.${mac.split(".")[1]}`]) {
    assert.ok(!keyring.isMac(forged, "use", bytes), forged);
  }
});

Deno.test("a key file is written whole for its owner alone, and read as it was written", async () => {
  const folder = await Deno.makeTempDir();
  const path = join(folder, "master.key");
  assert.equal(readKeyFile(path), undefined);
  writeKeyFile(path, [TWO, ONE]);
  assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
  assert.equal(isExposed(path), false);
  assert.deepEqual(readKeyFile(path)!.map(({ id }) => id), [TWO.id, ONE.id]);
  assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["master.key"]);
  await Deno.chmod(path, 0o640);
  assert.equal(isExposed(path), true);
  for (const text of ["", "# nothing\n", "short\n", `${encodeMasterKey(ONE)}\nshort\n`]) {
    await Deno.writeTextFile(path, text);
    assert.throws(() => readKeyFile(path), { code: "conflict" });
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a key's id is made of the key", () => {
  assert.match(ONE.id, /^[0-9a-f]{12}$/);
  assert.notEqual(ONE.id, TWO.id);
  assert.deepEqual(parseMasterKey(encodeMasterKey(ONE))?.id, ONE.id);
  assert.equal(masterKeyOf(ONE.bytes).id, ONE.id);
  for (const text of ["", "x".repeat(42), "x".repeat(44), "=".repeat(43)]) {
    assert.equal(parseMasterKey(text), undefined);
  }
});
