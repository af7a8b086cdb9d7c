import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { systemClock } from "../../runtime/clock.ts";
import { systemRandom } from "../../runtime/random.ts";
import { endOfEntries, type EntryHead, entryOf } from "./entries.ts";
import { restoreBackup } from "./restore.ts";
import { SealedWriter } from "./sealed_file.ts";

const SECRET = Buffer.from("a secret of this test");
const NEEDED = ["telemetry.db", "views.db", "registry.db", "log.db", "log.head"];

/** A backup whose files have some bytes; nothing looks into them. */
function writeBackup(path: string, files: readonly string[]): void {
  using file = Deno.openSync(path, { write: true, create: true, truncate: true });
  const writer = new SealedWriter(file, SECRET, systemRandom);
  const put = (head: EntryHead, bytes: Uint8Array[]) => {
    for (const part of entryOf(head, bytes)) writer.write(part);
  };
  put({ type: "roost", createdAt: 0, node: "n", tick: 1, epoch: 1 }, []);
  for (const name of files) put({ type: "file", path: name }, [Buffer.from(name)]);
  writer.write(endOfEntries());
  writer.end();
}

Deno.test("a restore that fails half way leaves the directory as it was, to be tried again", () => {
  const folder = Deno.makeTempDirSync({ prefix: "roost-restore-" });
  try {
    const dataDir = `${folder}/restored`;
    const file = `${folder}/roost.backup`;
    const keyPath = `${folder}/keys/master.key`;
    const options = {
      dataDir,
      masterKeys: { type: "file", path: keyPath },
      secret: SECRET,
      clock: systemClock,
    } as const;
    // No file system takes such a name.
    const files = [...NEEDED, "master.key", "jobs/a-1.in", `jobs/${"x".repeat(300)}.in`];
    writeBackup(file, files);
    const names = () => [...Deno.readDirSync(dataDir)].map(({ name }) => name).sort();
    assert.throws(() => restoreBackup(file, options), /name too long/i);
    assert.deepEqual(names(), ["lock"]);
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), [
      "restored",
      "roost.backup",
    ]);
    writeBackup(file, files.slice(0, -1));
    restoreBackup(file, options);
    assert.deepEqual(names(), ["jobs", "lock", ...NEEDED].sort());
    assert.equal(Deno.readTextFileSync(`${dataDir}/jobs/a-1.in`), "jobs/a-1.in");
    assert.equal(Deno.readTextFileSync(keyPath), "master.key");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
