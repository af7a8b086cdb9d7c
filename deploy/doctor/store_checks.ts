/**
 * Checks of what is stored, read-only, and beside a running node: SQLite's WAL lets readers see a
 * snapshot without holding the writer up.
 */
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { keySourceOf } from "../../actors/registry/master_keys.ts";
import type { Config } from "../../runtime/config.ts";
import { messageOf } from "../../runtime/errors.ts";
import { decodeMeta } from "../../runtime/log/tick_meta.ts";
import { leftWorkFolders } from "../../runtime/store/work_folder.ts";
import { isExposed, type MasterKeys, readKeyFile } from "../../runtime/secret/master_key.ts";
import { DOCTOR_LIMITS } from "./doctor_limits.ts";
import { fault, type Finding, ok, warning } from "./finding.ts";

export const DATABASES = ["log.db", "registry.db", "telemetry.db", "views.db"] as const;
type DatabaseFile = typeof DATABASES[number];

const BUSY_MS = 10_000;

const FIXES: Readonly<Record<DatabaseFile, string>> = {
  "log.db": "Stop Roost, keep a copy of the directory, and restore a backup into an empty one.",
  "registry.db":
    "Stop Roost, keep a copy of the directory, and restore a backup into an empty one.",
  "telemetry.db": "Stop Roost, keep a copy of the directory, and restore a backup; or move " +
    "telemetry.db away: history that the log has no more is lost with it.",
  "views.db": "Stop Roost and restore a backup into an empty directory.",
};

/** Reading makes files beside a database (`-shm`): they must not belong to somebody else. */
export function checkOwner(dataDir: string): Finding {
  const check = "owner of the data";
  const found = statOf(dataDir);
  if (found === undefined) return ok(check, "not made yet");
  const { uid, mode, isDirectory } = found;
  if (!isDirectory) return fault(check, `${dataDir} is no directory`, "Set data.dir to another.");
  if (uid !== null && uid !== Deno.uid()) {
    const fix = `Run the doctor as that user: sudo -u '#${uid}' deno task doctor.`;
    return fault(check, `${dataDir} belongs to user ${uid}, this is ${Deno.uid()}`, fix);
  }
  if (mode !== null && (mode & 0o077) !== 0) {
    const fix = `chmod 700 ${dataDir}`;
    return warning(check, "others may look into the data directory", fix);
  }
  return ok(check, "this user's, and nobody else may look into it");
}

export function checkDatabases(dataDir: string, isQuick: boolean): Finding[] {
  return DATABASES.map((file) => checkDatabase(dataDir, file, isQuick));
}

function checkDatabase(dataDir: string, file: DatabaseFile, isQuick: boolean): Finding {
  const check = `database ${file}`;
  const path = join(dataDir, file);
  const bytes = sizeOf(path);
  if (bytes === undefined) return ok(check, "not made yet");
  const mib = `${Math.ceil(bytes / 1024 / 1024)} MiB`;
  try {
    using db = openReadOnly(path);
    if (isQuick && bytes > DOCTOR_LIMITS.quickDatabaseBytes) {
      db.prepare("SELECT count(*) FROM sqlite_schema").get();
      return ok(check, `${mib}, opened; without --quick it is read whole`);
    }
    const rows = db.prepare("PRAGMA quick_check(5)").all();
    const findings = rows.map((row) => String(row["quick_check"]));
    if (findings.length === 1 && findings[0] === "ok") return ok(check, `${mib}, whole`);
    return fault(check, `damaged: ${findings.join("; ").slice(0, 500)}`, FIXES[file]);
  } catch (cause) {
    return fault(check, `cannot be read: ${messageOf(cause)}`, FIXES[file]);
  }
}

export function openReadOnly(path: string): DatabaseSync {
  const db = new DatabaseSync(path, { readOnly: true });
  db.exec(`PRAGMA busy_timeout = ${BUSY_MS}`);
  return db;
}

/** What a backup or a doctor left that was killed takes room beside the data. */
export function checkLeftovers(dataDir: string): Finding {
  const check = "left over";
  const names = leftWorkFolders(dataDir);
  if (names.length === 0) return ok(check, "nothing of a backup or a doctor that was killed");
  const paths = names.map((name) => join(dataDir, name)).join(" ");
  const found = `${names.join(", ")}, of a backup or a doctor that was killed`;
  return warning(check, found, `The next start removes it, or: rm -r ${paths}`);
}

/** The latest time that the log has given, or a database was written; undefined: there is no data. */
export function lastTimeMs(dataDir: string): number | undefined {
  const times = DATABASES.flatMap((file) => mtimeOf(join(dataDir, file)) ?? []);
  try {
    using db = openReadOnly(join(dataDir, "log.db"));
    const row = db.prepare("SELECT value FROM meta WHERE id = 1").get();
    const meta = row === undefined ? undefined : decodeMeta(row["value"] as Uint8Array);
    times.push(...meta?.partitions.map((own) => own.lastAcceptedAtMs) ?? []);
  } catch {
    // Not made yet, or damaged, which is the finding of `checkDatabase`.
  }
  return times.length === 0 ? undefined : Math.max(...times);
}

export function checkMasterKey(config: Config): Finding {
  const check = "master key";
  const source = keySourceOf(config.secrets, config.data.dir);
  const where = source.type === "file" ? source.path : "the configuration";
  let keys: MasterKeys | undefined;
  try {
    keys = source.type === "file" ? readKeyFile(source.path) : source.keys;
  } catch (cause) {
    return fault(check, messageOf(cause), "Put the file back from its copy.");
  }
  const needed = neededKeys(config.data.dir);
  if (keys === undefined && needed.length === 0) return ok(check, "made at the first start");
  const missing = needed.filter((id) => !keys?.some((key) => key.id === id));
  if (missing.length > 0) {
    const fix = source.type === "file"
      ? "Put back the key file that belongs to this data, from its copy or a backup."
      : "Set ROOST__SECRETS__MASTER_KEY to the key that belongs to this data.";
    return fault(check, `the data needs key ${missing.join(", ")}, which ${where} has not`, fix);
  }
  if (source.type === "file" && isExposed(source.path)) {
    return warning(check, `others may read ${where}`, `chmod 600 ${where}`);
  }
  return ok(check, `read from ${where}`);
}

/** Ids of the keys that the registry was sealed with. */
function neededKeys(dataDir: string): string[] {
  try {
    using db = openReadOnly(join(dataDir, "registry.db"));
    return db.prepare("SELECT id FROM master_keys").all().map((row) => String(row["id"]));
  } catch {
    return []; // Not made yet, or damaged, which is the finding of `checkDatabase`.
  }
}

function sizeOf(path: string): number | undefined {
  return statOf(path)?.size;
}

function mtimeOf(path: string): number | undefined {
  return statOf(path)?.mtime?.getTime();
}

function statOf(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return undefined;
    throw cause;
  }
}
