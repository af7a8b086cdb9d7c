/** The node that runs on a data directory, and what Linux tells of it. */
import { readHolderOf } from "../../runtime/store/data_directory.ts";

export interface RunningHolder {
  /** Undefined: it has not written it yet. */
  readonly pid: number | undefined;
}

/** Undefined: nobody holds the lock. Holds it itself for a moment to find out. */
export function findHolder(dataDir: string): RunningHolder | undefined {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(`${dataDir}/lock`, { read: true });
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return undefined;
    throw cause;
  }
  try {
    // Shared, so that two doctors do not take each other for a node.
    if (file.tryLockSync(false)) {
      file.unlockSync();
      return undefined;
    }
    return { pid: readHolderOf(file)?.pid };
  } finally {
    file.close();
  }
}

/** Whether one of the process's sockets listens on the port; undefined: not to be found out. */
export function listensOn(pid: number, port: number): boolean | undefined {
  const inodes = listenersOf(port);
  try {
    for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
      const inode = socketOf(`/proc/${pid}/fd/${name}`);
      if (inode !== undefined && inodes.has(inode)) return true;
    }
    return false;
  } catch {
    return undefined; // Another user's process, or no Linux: it stays unknown.
  }
}

/** Inodes of the TCP sockets that listen on a port. Source: proc(5), `/proc/net/tcp`. */
function listenersOf(port: number): Set<string> {
  const found = new Set<string>();
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of readOrEmpty(table).split("\n").slice(1)) {
      const [, local = "", , state, , , , , , inode] = line.trim().split(/\s+/);
      const isListening = state === "0A";
      if (isListening && parseInt(local.split(":")[1] ?? "", 16) === port && inode) {
        found.add(inode);
      }
    }
  }
  return found;
}

function socketOf(path: string): string | undefined {
  try {
    return /^socket:\[(\d+)\]$/.exec(Deno.readLinkSync(path))?.[1];
  } catch {
    return undefined; // Closed since the folder was read.
  }
}

/** For files of /proc, which other systems have not. */
export function readOrEmpty(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}
