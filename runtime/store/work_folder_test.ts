import assert from "node:assert/strict";
import {
  BACKUP_FOLDER,
  DOCTOR_PREFIX,
  leftWorkFolders,
  openWorkFolder,
  removeLeftWorkFolders,
} from "./work_folder.ts";

function tempFolder(): { readonly path: string } & Disposable {
  const path = Deno.makeTempDirSync({ prefix: "roost-work-" });
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

function namesIn(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name).sort();
}

Deno.test("what killed makers left is removed, what is in use or nobody's folder is not", () => {
  using data = tempFolder();
  const at = (name: string) => `${data.path}/${name}`;
  const left = `${DOCTOR_PREFIX}left`;
  const early = `${DOCTOR_PREFIX}early`;
  const elsewhere = `${DOCTOR_PREFIX}link`;
  for (const folder of [left, early, "jobs"]) Deno.mkdirSync(at(folder));
  Deno.writeTextFileSync(at(`${left}/lock`), "");
  Deno.writeTextFileSync(at(`${left}/log.db`), "a copy");
  Deno.writeTextFileSync(at(`${DOCTOR_PREFIX}file`), "");
  Deno.symlinkSync(at("jobs"), at(elsewhere));
  using work = openWorkFolder(at(BACKUP_FOLDER));
  assert.ok(work !== undefined);
  assert.equal(openWorkFolder(at(BACKUP_FOLDER)), undefined, "one at a time");
  assert.deepEqual(leftWorkFolders(data.path), [early, left]);
  assert.deepEqual(removeLeftWorkFolders(data.path), [early, left]);
  assert.deepEqual(namesIn(data.path), [
    BACKUP_FOLDER,
    `${DOCTOR_PREFIX}file`,
    elsewhere,
    "jobs",
  ]);
});

Deno.test("who opens a folder that was left finds it empty, and removes it at the end", () => {
  using data = tempFolder();
  const path = `${data.path}/${BACKUP_FOLDER}`;
  Deno.mkdirSync(`${path}/deep`, { recursive: true });
  Deno.writeTextFileSync(`${path}/deep/log.db`, "a copy");
  {
    using work = openWorkFolder(path);
    assert.equal(work?.path, path);
    assert.deepEqual(namesIn(path), ["lock"]);
    Deno.writeTextFileSync(`${path}/log.db`, "another");
  }
  assert.deepEqual(namesIn(data.path), []);
});
