/**
 * The data directory belongs to one process at a time: two writers of one log would each believe to
 * be alone. The lock is the kernel's (flock), so that `kill -9` releases it; the file says who holds.
 */
import { ConflictError } from "../errors.ts";

export interface DirectoryLock extends Disposable {
  /** Absolute or as given: where everything durable of this process lives. */
  readonly path: string;
}

export const LOCK_FILE = "lock";
/** Stands in a directory while a backup is written into it. */
export const UNFINISHED_FILE = "restore.unfinished";

/**
 * Creates the directory if it is not there (mode 700: it holds secrets) and takes its lock.
 * @param startedAtMs Epoch milliseconds, for the message that a second start gets.
 * @throws {ConflictError} Another process holds it; names its pid and start time. Or a restore into
 *   it was cut off.
 */
export function lockDataDirectory(path: string, startedAtMs: number): DirectoryLock {
  Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
  const file = Deno.openSync(`${path}/${LOCK_FILE}`, { read: true, write: true, create: true });
  let isOpen = true;
  try {
    if (!file.tryLockSync(true)) throw refusalOf(path, readHolderOf(file));
    refuseUnfinished(path);
    writeHolder(file, { pid: Deno.pid, startedAt: new Date(startedAtMs).toISOString() });
  } catch (fault) {
    file.close();
    throw fault;
  }
  return {
    path,
    [Symbol.dispose]() {
      if (!isOpen) return;
      isOpen = false;
      file.unlockSync();
      file.close();
    },
  };
}

/** Half of the data would look like all of it, and what is missing would be made new. */
function refuseUnfinished(path: string): void {
  try {
    Deno.lstatSync(`${path}/${UNFINISHED_FILE}`);
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return;
    throw fault;
  }
  throw new ConflictError(`Cannot use ${path}: a restore into it was not finished`, {
    hint: "Remove all that is in it, and restore again.",
  });
}

export interface Holder {
  readonly pid: number;
  /** ISO 8601. */
  readonly startedAt: string;
}

function refusalOf(path: string, holder: Holder | undefined): ConflictError {
  const who = holder === undefined
    ? "another process"
    : `process ${holder.pid}, started at ${holder.startedAt}`;
  return new ConflictError(`Cannot use ${path}: it is locked by ${who}`, {
    hint: "Stop that process first, or start with another data directory.",
  });
}

function writeHolder(file: Deno.FsFile, holder: Holder): void {
  file.truncateSync(0);
  file.seekSync(0, Deno.SeekMode.Start);
  file.writeSync(new TextEncoder().encode(JSON.stringify(holder) + "\n"));
  file.syncSync();
}

/** Undefined if the holder is just writing it, or a foreign file is there. */
export function readHolderOf(file: Deno.FsFile): Holder | undefined {
  const bytes = new Uint8Array(1_024);
  const length = file.readSync(bytes) ?? 0;
  try {
    const { pid, startedAt } = JSON.parse(new TextDecoder().decode(bytes.subarray(0, length)));
    return Number.isInteger(pid) && typeof startedAt === "string" ? { pid, startedAt } : undefined;
  } catch {
    return undefined;
  }
}
