/**
 * One moment of all databases, while a node may be writing them. Each is a read transaction on
 * SQLite's WAL: it holds no writer up, only keeps the WAL from being emptied while it is open.
 *
 * Order: stores of readers · registry · log. The log trims what its readers say they have, so a moment
 * is taken again until the log does not know more of a reader than the reader's own store has: the
 * restored log still has every record that a restored store has not. A store that has more than the
 * log says is right, since stores recognise repeats.
 */
import { join } from "node:path";
import { backup, DatabaseSync } from "node:sqlite";
import type { KeySource } from "../../actors/registry/master_keys.ts";
import { type Clock, waitMs } from "../../runtime/clock.ts";
import { ConflictError, NotFoundError, UnavailableError } from "../../runtime/errors.ts";
import { type HeadMark, headOf } from "../../runtime/log/head_file.ts";
import { decodeMeta, type LogMeta } from "../../runtime/log/tick_meta.ts";
import { readKeyFile } from "../../runtime/secret/master_key.ts";
import { BACKUP_LIMITS } from "./backup_limits.ts";

/** In the order in which their moment is taken. */
export const DATABASES = ["telemetry.db", "views.db", "registry.db", "log.db"] as const;
export type DatabaseFile = typeof DATABASES[number];

const CURSORS: readonly (readonly [reader: string, file: DatabaseFile, sql: string])[] = [
  ["telemetry", "telemetry.db", "SELECT cursor FROM progress"],
  ["views", "views.db", "SELECT tick AS cursor FROM cursor"],
];

const PAGES_PER_STEP = 1_024;

export interface Snapshot extends Disposable {
  readonly meta: LogMeta;
  /** For `log.head` of the restored directory: above the log, so that its epoch rises. */
  readonly head: HeadMark;
  /** Text of the master key file; undefined: the key comes by configuration. */
  readonly masterKey: Uint8Array | undefined;
  /** Writes the database of that moment to a new file and checks it; lets its moment go. */
  copy(file: DatabaseFile, to: string): Promise<void>;
}

/**
 * @throws {NotFoundError} There is no data.
 * @throws {ConflictError} The master key at hand is not that of the data.
 * @throws {UnavailableError} No such moment was found, or a database is damaged.
 */
export async function takeSnapshot(
  dataDir: string,
  keys: KeySource,
  clock: Clock,
): Promise<Snapshot> {
  for (const file of DATABASES) {
    if (!exists(join(dataDir, file))) {
      throw new NotFoundError(`Cannot back up ${dataDir}: there is no ${file} in it`);
    }
  }
  using opened = new DisposableStack();
  const databases = new Map<DatabaseFile, DatabaseSync>();
  for (const file of DATABASES) {
    const db = opened.use(new DatabaseSync(join(dataDir, file), { readOnly: true }));
    db.exec(`PRAGMA busy_timeout = ${BACKUP_LIMITS.busyMs}`);
    databases.set(file, db);
  }
  for (let turn = 0; turn < BACKUP_LIMITS.snapshotsMax; turn++) {
    const meta = begin(databases);
    if (isBehindStores(meta, databases)) {
      const masterKey = masterKeyOf(databases.get("registry.db")!, keys);
      const resources = opened.move();
      return new TakenSnapshot(databases, meta, masterKey, resources);
    }
    for (const db of databases.values()) db.exec("ROLLBACK");
    await waitMs(clock, BACKUP_LIMITS.snapshotPauseMs);
  }
  throw new UnavailableError(
    "data",
    `Cannot back up ${dataDir}: its log is ahead of its stores at each of ` +
      `${BACKUP_LIMITS.snapshotsMax} looks`,
  );
}

class TakenSnapshot implements Snapshot {
  readonly head: HeadMark;

  constructor(
    readonly databases: ReadonlyMap<DatabaseFile, DatabaseSync>,
    readonly meta: LogMeta,
    readonly masterKey: Uint8Array | undefined,
    readonly resources: DisposableStack,
  ) {
    const head = headOf(meta);
    this.head = { ...head, tick: head.tick + 1 };
  }

  async copy(file: DatabaseFile, to: string): Promise<void> {
    const db = this.databases.get(file)!;
    // In an open read transaction it copies the pages of that transaction's moment.
    await backup(db, to, { rate: PAGES_PER_STEP });
    db.exec("ROLLBACK");
    using copy = new DatabaseSync(to);
    // One file and no WAL beside it; the first to open it for writing sets its own mode again.
    copy.exec("PRAGMA journal_mode = DELETE");
    const checked = copy.prepare("PRAGMA quick_check(1)").get()!["quick_check"];
    if (checked === "ok") return;
    throw new UnavailableError(
      file,
      `Cannot back up ${file}: it is damaged (${checked}); see deno task doctor`,
    );
  }

  [Symbol.dispose](): void {
    this.resources.dispose();
  }
}

function begin(databases: ReadonlyMap<DatabaseFile, DatabaseSync>): LogMeta {
  for (const db of databases.values()) {
    db.exec("BEGIN");
    db.prepare("SELECT count(*) FROM sqlite_schema").get(); // The moment is that of the first read.
  }
  const row = databases.get("log.db")!.prepare("SELECT value FROM meta WHERE id = 1").get();
  if (row === undefined) throw new NotFoundError("Cannot back up: the log was never started");
  return decodeMeta(row["value"] as Uint8Array);
}

function isBehindStores(
  meta: LogMeta,
  databases: ReadonlyMap<DatabaseFile, DatabaseSync>,
): boolean {
  return CURSORS.every(([reader, file, sql]) => {
    const stored = Number(databases.get(file)!.prepare(sql).get()?.["cursor"] ?? 0);
    return (meta.readers.get(reader) ?? 0) <= stored;
  });
}

/** All keys that the registry of this moment was sealed with must be in it. */
function masterKeyOf(registry: DatabaseSync, source: KeySource): Uint8Array | undefined {
  const needed = registry.prepare("SELECT id FROM master_keys").all().map(({ id }) => String(id));
  const bytes = source.type === "file" && exists(source.path)
    ? Deno.readFileSync(source.path)
    : undefined;
  const keys = source.type === "file" ? readKeyFile(source.path) ?? [] : source.keys;
  const missing = needed.find((id) => !keys.some((key) => key.id === id));
  if (missing === undefined) return bytes;
  throw new ConflictError(`Cannot back up: master key ${missing} of the data is not at hand`, {
    hint: "See deno task doctor. A key that is just being changed is found by another try.",
  });
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return false;
    throw fault;
  }
}
