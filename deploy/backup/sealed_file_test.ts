import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { InvalidError, UnauthorizedError } from "../../runtime/errors.ts";
import { seededRandom, systemRandom } from "../../runtime/random.ts";
import { readSeed } from "../../test/support/seed.ts";
import { BACKUP_LIMITS } from "./backup_limits.ts";
import { endOfEntries, type EntryHead, entryOf, isBackupPath, readEntries } from "./entries.ts";
import { readSealed, SealedWriter } from "./sealed_file.ts";

const SECRET = Buffer.from("correct horse battery");
const HEAD_BYTES = 48;
const CHUNK_BYTES = 4 + BACKUP_LIMITS.chunkBytes + 16;

class SealedPlace implements Disposable {
  readonly path = Deno.makeTempFileSync({ prefix: "roost-sealed-" });

  seal(plain: Uint8Array, secret: Uint8Array = SECRET): Uint8Array {
    using file = Deno.openSync(this.path, { write: true, truncate: true });
    const writer = new SealedWriter(file, secret, systemRandom);
    writer.write(plain);
    const { bytes } = writer.end();
    const sealed = Deno.readFileSync(this.path);
    assert.equal(bytes, sealed.length);
    return sealed;
  }

  open(sealed: Uint8Array, secret: Uint8Array = SECRET): Uint8Array {
    Deno.writeFileSync(this.path, sealed);
    using file = Deno.openSync(this.path, { read: true });
    return Buffer.concat([...readSealed(file, secret)]);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path);
  }
}

Deno.test("a sealed file gives back what was written, at each length around a chunk", () => {
  using place = new SealedPlace();
  const { chunkBytes } = BACKUP_LIMITS;
  for (const length of [0, chunkBytes, 2 * chunkBytes + 1]) {
    const plain = seededRandom(length).bytes(length);
    const sealed = place.seal(plain);
    assert(length < 16 || !Buffer.from(sealed).includes(Buffer.from(plain.subarray(0, 16))));
    assert.deepEqual(Buffer.from(place.open(sealed)), Buffer.from(plain));
  }
});

Deno.test("a sealed file that was changed in any way is refused", () => {
  using place = new SealedPlace();
  const seed = readSeed();
  const random = seededRandom(seed);
  const sealed = place.seal(random.bytes(3 * BACKUP_LIMITS.chunkBytes + 999));
  const chunk = (at: number) => {
    const from = HEAD_BYTES + at * CHUNK_BYTES;
    return sealed.subarray(from, at === 3 ? sealed.length : from + CHUNK_BYTES);
  };
  const head = sealed.subarray(0, HEAD_BYTES);
  const [first, second, third, last] = [chunk(0), chunk(1), chunk(2), chunk(3)];
  const of = (...parts: Uint8Array[]) => Buffer.concat(parts);
  const early = Buffer.from(third);
  early[0]! |= 0x80; // Says that it is the last one.
  const variants: Record<string, Uint8Array> = {
    "two chunks in another order": of(head, second, first, third, last),
    "a chunk left out": of(head, first, third, last),
    "a chunk twice": of(head, first, first, second, third, last),
    "the end left out": of(head, first, second, third),
    "an end before the end": of(head, first, second, early),
    "more behind the end": of(sealed, Buffer.from([0])),
    "a chunk of another file": of(head, first, place.seal(new Uint8Array(9)).subarray(HEAD_BYTES)),
    "nothing": of(),
    "a head only": of(head),
    "a part of a head": of(head.subarray(0, 20)),
  };
  for (let cut = 0; cut < 4; cut++) {
    const length = HEAD_BYTES + Math.floor(random.fraction() * (sealed.length - HEAD_BYTES));
    variants[`cut to ${length} B`] = sealed.subarray(0, length);
  }
  for (let flip = 0; flip < 6; flip++) {
    const at = flip < 2 ? flip * 20 : Math.floor(random.fraction() * sealed.length);
    const copy = Buffer.from(sealed);
    copy[at]! ^= 1 << Math.floor(random.fraction() * 8);
    variants[`a bit of byte ${at} flipped`] = copy;
  }
  for (const [name, bytes] of Object.entries(variants)) {
    assert.throws(
      () => place.open(bytes),
      (fault) => fault instanceof InvalidError || fault instanceof UnauthorizedError,
      `${name} was taken (seed ${seed})`,
    );
  }
  assert.throws(() => place.open(sealed, Buffer.from("another passphrase")), UnauthorizedError);
});

Deno.test("entries are read as they were written, and only names of a backup are taken", () => {
  const parts = [Buffer.from("a"), Buffer.from("bc")];
  const manifest: EntryHead = { type: "roost", createdAt: 5, node: "n", tick: 1, epoch: 1 };
  const stream = function* (path: string) {
    const all = Buffer.concat([
      ...entryOf(manifest, []),
      ...entryOf({ type: "file", path }, parts),
      endOfEntries(),
    ]);
    for (const byte of all) yield Buffer.from([byte]);
    return 7;
  };
  const read: string[] = [];
  const sink = {
    begin: (head: EntryHead) => void read.push(head.type === "file" ? head.path : head.node),
    bytes: (part: Uint8Array) => void read.push(Buffer.from(part).toString()),
  };
  assert.equal(readEntries(stream("jobs/x-1.in"), sink), 7);
  assert.deepEqual(read, ["n", "jobs/x-1.in", "a", "b", "c"]);
  for (const path of ["../x.db", "/etc/passwd", "jobs/../log.db", "lock", "jobs/a/b.in", ""]) {
    assert.equal(isBackupPath(path), false);
    assert.throws(() => readEntries(stream(path), sink), InvalidError, path);
  }
});
