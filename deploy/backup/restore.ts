/**
 * Writes a backup into an empty data directory. Order: the whole file is read and verified · the
 * directory is locked and must be empty · a mark says that it is unfinished · all files are written
 * and synced · the mark goes. A start refuses a directory with the mark.
 */
import { dirname, join } from "node:path";
import type { KeySource } from "../../actors/registry/master_keys.ts";
import type { Clock } from "../../runtime/clock.ts";
import { ConflictError, InvalidError, OverloadedError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import {
  LOCK_FILE,
  lockDataDirectory,
  UNFINISHED_FILE,
} from "../../runtime/store/data_directory.ts";
import { type EntryHead, type EntrySink, type Manifest, readEntries } from "./entries.ts";
import { freeBytes, isMissing, removeIfThere, syncFolder } from "./files.ts";
import { readSealed, type SealedSum } from "./sealed_file.ts";
import { DATABASES } from "./snapshot.ts";

export interface VerifiedBackup extends SealedSum {
  readonly manifest: Manifest;
  /** Bytes by path. */
  readonly files: ReadonlyMap<string, number>;
}

export interface RestoreOptions {
  readonly dataDir: string;
  readonly masterKeys: KeySource;
  readonly secret: Uint8Array;
  readonly clock: Clock;
}

const NEEDED = [...DATABASES, "log.head"];
/** What an empty directory may have. */
const IGNORED: ReadonlySet<string> = new Set([LOCK_FILE, "lost+found"]);
const ROOM_RETRY_MS = 60_000;

/**
 * Reads all of it and writes nothing.
 * @throws {UnauthorizedError} Another passphrase or key file.
 * @throws {InvalidError} It is not whole.
 */
export function verifyBackup(path: string, secret: Uint8Array): VerifiedBackup {
  using file = Deno.openSync(path, { read: true });
  let manifest: Manifest | undefined;
  const files = new Map<string, number>();
  let current = "";
  const sum = readEntries(readSealed(file, secret), {
    begin: (head) => {
      if (head.type === "roost") manifest = head;
      else if (files.has(head.path)) throw new InvalidError(`The backup has ${head.path} twice`);
      else files.set(current = head.path, 0);
    },
    bytes: (part) => void files.set(current, files.get(current)! + part.length),
  });
  const missing = NEEDED.filter((name) => !files.has(name));
  if (manifest === undefined || missing.length > 0) {
    throw new InvalidError(`Cannot read the backup: ${missing.join(", ")} is not in it`);
  }
  return { ...sum, manifest, files };
}

/**
 * @throws As `verifyBackup`, before anything is written.
 * @throws {ConflictError} The directory is in use, or not empty; another master key is there.
 */
export function restoreBackup(path: string, options: RestoreOptions): VerifiedBackup {
  const { dataDir, secret, masterKeys, clock } = options;
  const backup = verifyBackup(path, secret);
  const wasMissing = isMissing(dataDir);
  using _ = lockDataDirectory(dataDir, clock.nowMs());
  refuseUsed(dataDir);
  const keyPath = masterKeys.type === "file" ? masterKeys.path : join(dataDir, "master.key");
  if (backup.files.has("master.key") && !isMissing(keyPath)) {
    throw new ConflictError(`Cannot restore: there is a master key at ${keyPath} already`, {
      hint: "Move it away: the backup brings the key that belongs to its data.",
    });
  }
  checkRoom(dataDir, backup);
  const mark = join(dataDir, UNFINISHED_FILE);
  Deno.writeTextFileSync(mark, `${path}\n`);
  syncFolder(dataDir);
  const target = new RestoreTarget((name) => name === "master.key" ? keyPath : join(dataDir, name));
  try {
    using file = Deno.openSync(path, { read: true });
    const again = readEntries(readSealed(file, secret), target);
    target.close();
    if (again.sha256 !== backup.sha256) {
      throw new InvalidError("The backup changed while it was read");
    }
    target.syncFolders();
    Deno.removeSync(mark);
    syncFolder(dataDir);
    if (wasMissing) syncFolder(dirname(dataDir));
  } catch (fault) {
    target.removeAll();
    removeIfThere(mark);
    throw fault;
  }
  return backup;
}

class RestoreTarget implements EntrySink {
  readonly #written: string[] = [];
  readonly #folders: string[] = [];
  #file: Deno.FsFile | undefined;

  constructor(readonly pathOf: (name: string) => string) {}

  begin(head: EntryHead): void {
    this.close();
    if (head.type !== "file") return;
    const path = this.pathOf(head.path);
    const folder = dirname(path);
    if (isMissing(folder)) {
      Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
      this.#folders.push(folder);
    }
    this.#file = Deno.openSync(path, { write: true, createNew: true, mode: 0o600 });
    this.#written.push(path);
  }

  bytes(part: Uint8Array): void {
    for (let at = 0; at < part.length;) at += this.#file!.writeSync(part.subarray(at));
  }

  /** Syncs what is open. */
  close(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    try {
      file.syncSync();
    } finally {
      file.close();
    }
  }

  syncFolders(): void {
    for (const folder of new Set(this.#written.map((path) => dirname(path)))) syncFolder(folder);
  }

  /** After a fault: the directory is as it was. */
  removeAll(): void {
    this.#file?.close();
    this.#file = undefined;
    for (const path of [...this.#written, ...this.#folders]) removeIfThere(path);
  }
}

function refuseUsed(dataDir: string): void {
  const found = [...Deno.readDirSync(dataDir)].map(({ name }) => name)
    .filter((name) => !IGNORED.has(name));
  if (found.length === 0) return;
  throw new ConflictError(
    `Cannot restore into ${dataDir}: it is not empty, it has ${found.slice(0, 5).join(", ")}`,
    { hint: "Set ROOST__DATA__DIR to an empty or a new directory; nothing is overwritten." },
  );
}

function checkRoom(dataDir: string, { files }: VerifiedBackup): void {
  const bytes = [...files.values()].reduce((sum, size) => sum + size, 0);
  const needed = bytes + LIMITS.diskReserveBytes;
  const free = freeBytes(dataDir);
  if (free >= needed) return;
  throw new OverloadedError(
    `Cannot restore into ${dataDir}: ${free} B of disk are free, ${needed} are needed with the ` +
      "reserve",
    ROOM_RETRY_MS,
  );
}
