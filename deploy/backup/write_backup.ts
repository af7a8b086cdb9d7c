/**
 * Makes a backup file of a data directory. Order: the moment of all databases is taken · each is
 * copied beside the data, sealed into the file, and its copy removed · files of jobs · the file is
 * synced and gets its name. Nothing of that name stands there before it is whole.
 */
import { dirname, join } from "node:path";
import type { KeySource } from "../../actors/registry/master_keys.ts";
import type { Clock } from "../../runtime/clock.ts";
import { ConflictError, OverloadedError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { type HeadMark, openHeadFile } from "../../runtime/log/head_file.ts";
import type { Random } from "../../runtime/random.ts";
import { BACKUP_FOLDER, openWorkFolder, type WorkFolder } from "../../runtime/store/work_folder.ts";
import { undoneAtInterrupt } from "../interrupt.ts";
import { BACKUP_LIMITS } from "./backup_limits.ts";
import { endOfEntries, entryOf, isBackupPath, type Manifest } from "./entries.ts";
import { freeBytes, isMissing, removeIfThere, syncFolder } from "./files.ts";
import { type SealedSum, SealedWriter } from "./sealed_file.ts";
import { DATABASES, type Snapshot, takeSnapshot } from "./snapshot.ts";

export interface BackupOptions {
  readonly dataDir: string;
  readonly masterKeys: KeySource;
  readonly node: string;
  readonly secret: Uint8Array;
  readonly clock: Clock;
  readonly random: Random;
}

const ROOM_RETRY_MS = 60_000;

/**
 * @throws {ConflictError} `path` exists, or another backup of this directory runs.
 * @throws {OverloadedError} There is no room for the copies.
 */
export async function writeBackup(
  path: string,
  options: BackupOptions,
): Promise<SealedSum & Manifest> {
  if (!isMissing(path)) throw new ConflictError(`Cannot write ${path}: it exists`);
  const { dataDir, clock } = options;
  using snapshot = await takeSnapshot(dataDir, options.masterKeys, clock);
  using work = openCopies(dataDir);
  checkRoom(dataDir);
  const { tick, epoch } = snapshot.meta;
  const manifest: Manifest = {
    type: "roost",
    createdAt: clock.nowMs(),
    node: options.node,
    tick,
    epoch,
  };
  const partial = `${path}.partial`;
  removeIfThere(partial);
  using _ = undoneAtInterrupt(() => {
    removeIfThere(partial);
    work[Symbol.dispose]();
  });
  try {
    const sum = await writeFile(partial, work.path, snapshot, manifest, options);
    Deno.renameSync(partial, path);
    syncFolder(dirname(path));
    return { ...sum, ...manifest };
  } catch (fault) {
    removeIfThere(partial);
    throw fault;
  }
}

async function writeFile(
  path: string,
  work: string,
  snapshot: Snapshot,
  manifest: Manifest,
  { secret, random, clock, dataDir }: BackupOptions,
): Promise<SealedSum> {
  using file = Deno.openSync(path, { write: true, createNew: true, mode: 0o600 });
  const sealed = new SealedWriter(file, secret, random);
  const put = async (parts: Iterable<Uint8Array>) => {
    for (const part of parts) {
      sealed.write(part);
      await new Promise<void>((resolve) => clock.soon(resolve)); // Signals are heard in between.
    }
  };
  await put(entryOf(manifest, []));
  // The log first: while its moment is held, its WAL grows fastest.
  for (const name of [...DATABASES].reverse()) {
    const copy = join(work, name);
    await snapshot.copy(name, copy);
    await put(entryOf({ type: "file", path: name }, contentOf(copy)));
    Deno.removeSync(copy);
  }
  const head = headBytes(work, snapshot.head, clock);
  await put(entryOf({ type: "file", path: "log.head" }, [head]));
  if (snapshot.masterKey !== undefined) {
    await put(entryOf({ type: "file", path: "master.key" }, [snapshot.masterKey]));
  }
  for (const name of jobFiles(dataDir)) {
    const content = contentOf(join(dataDir, "jobs", name));
    await put(entryOf({ type: "file", path: `jobs/${name}` }, content));
  }
  await put([endOfEntries()]);
  const sum = sealed.end();
  file.syncSync();
  return sum;
}

/** A file of a job may be removed meanwhile: then it has no content, as the job has none. */
function* contentOf(path: string): Generator<Uint8Array> {
  using file = openIfThere(path);
  if (file === undefined) return;
  const buffer = new Uint8Array(BACKUP_LIMITS.chunkBytes);
  for (let read = file.readSync(buffer); read !== null; read = file.readSync(buffer)) {
    yield buffer.subarray(0, read);
  }
}

function openIfThere(path: string): Deno.FsFile | undefined {
  try {
    return Deno.openSync(path, { read: true });
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return undefined;
    throw fault;
  }
}

function headBytes(work: string, mark: HeadMark, clock: Clock): Uint8Array {
  const path = join(work, "log.head");
  const head = openHeadFile(path, clock);
  head.write(mark);
  head.close();
  return Deno.readFileSync(path);
}

function jobFiles(dataDir: string): string[] {
  const folder = join(dataDir, "jobs");
  if (isMissing(folder)) return [];
  return [...Deno.readDirSync(folder)]
    .filter(({ name, isFile }) => isFile && isBackupPath(`jobs/${name}`))
    .map(({ name }) => name).sort();
}

/** The largest copy, on top of what the node keeps free for itself. */
function checkRoom(dataDir: string): void {
  const largest = Math.max(...DATABASES.map((name) => {
    const wal = `${join(dataDir, name)}-wal`;
    return Deno.statSync(join(dataDir, name)).size + (isMissing(wal) ? 0 : Deno.statSync(wal).size);
  }));
  const needed = largest + LIMITS.diskReserveBytes;
  const free = freeBytes(dataDir);
  if (free >= needed) return;
  throw new OverloadedError(
    `Cannot back up ${dataDir}: ${free} B of disk are free where it is, ${needed} are needed for ` +
      "the copy of its largest database and the reserve",
    ROOM_RETRY_MS,
  );
}

/** One backup at a time; what a killed one left is removed. */
function openCopies(dataDir: string): WorkFolder {
  const folder = openWorkFolder(join(dataDir, BACKUP_FOLDER));
  if (folder !== undefined) return folder;
  throw new ConflictError(`Cannot back up ${dataDir}: another backup of it runs`);
}
