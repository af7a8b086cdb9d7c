/**
 * Folders inside a data directory in which programs beside the node make copies and trials. Each is
 * locked while its maker lives, so that what a killed one left is told from what is in use.
 */
import { join } from "node:path";

/** Of the one backup that may run. */
export const BACKUP_FOLDER = "backup.tmp";
/** Of a doctor that measures; what follows is its own. */
export const DOCTOR_PREFIX = "doctor-measure-";

const LOCK_FILE = "lock";

/** Gone, with all that is in it, when it is disposed. */
export interface WorkFolder extends Disposable {
  readonly path: string;
}

/** Makes it, or takes over what a killed maker left of it. Undefined: another process works in it. */
export function openWorkFolder(path: string): WorkFolder | undefined {
  for (;;) {
    Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
    const lock = openLock(path, { write: true, create: true });
    if (lock === undefined) continue; // Somebody removed it just now.
    if (!lock.tryLockSync(true)) {
      lock.close();
      return undefined;
    }
    if (!isStillOf(path, lock)) { // Its holder removed it, and the lock with it.
      lock.close();
      continue;
    }
    for (const { name } of Deno.readDirSync(path)) {
      if (name !== LOCK_FILE) Deno.removeSync(join(path, name), { recursive: true });
    }
    return {
      path,
      [Symbol.dispose]() {
        Deno.removeSync(path, { recursive: true });
        lock.close();
      },
    };
  }
}

/** Names of those whose makers are gone. */
export function leftWorkFolders(dataDir: string): string[] {
  return [...Deno.readDirSync(dataDir)]
    .filter(({ name, isDirectory }) => isDirectory && isWorkName(name))
    .map(({ name }) => name)
    .filter((name) => !isHeld(join(dataDir, name))).sort();
}

/** @returns Names of what it removed. */
export function removeLeftWorkFolders(dataDir: string): string[] {
  return leftWorkFolders(dataDir).filter((name) => {
    const taken = openWorkFolder(join(dataDir, name));
    taken?.[Symbol.dispose]();
    return taken !== undefined;
  });
}

function isWorkName(name: string): boolean {
  return name === BACKUP_FOLDER || name.startsWith(DOCTOR_PREFIX);
}

function isHeld(path: string): boolean {
  const lock = openLock(path, { read: true });
  if (lock === undefined) return false;
  try {
    return !lock.tryLockSync(false);
  } finally {
    lock.close();
  }
}

/** Undefined: there is none. */
function openLock(path: string, options: Deno.OpenOptions): Deno.FsFile | undefined {
  try {
    return Deno.openSync(join(path, LOCK_FILE), options);
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return undefined;
    throw fault;
  }
}

function isStillOf(path: string, lock: Deno.FsFile): boolean {
  try {
    return Deno.statSync(join(path, LOCK_FILE)).ino === lock.statSync().ino;
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return false;
    throw fault;
  }
}
