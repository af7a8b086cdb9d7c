/** Read models in `views.db`. Durable at each write, since the log is trimmed behind the cursor. */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { Json } from "../../runtime/actor/behaviour.ts";
import {
  type CallQuery,
  type CallRows,
  createSqliteCalls,
  isCallWrite,
} from "../command/call_rows.ts";
import type { CallRow } from "../command/messages.ts";
import type { PresenceRow } from "./messages.ts";
import {
  isRowRight,
  type NewerRow,
  type OnlineDevice,
  onlineSession,
  PRESENCE,
  type RowRepair,
  seenAtMs,
  type ViewBatch,
  type ViewsStore,
  type ViewWrite,
} from "./views.ts";

const SCHEMA = `
  pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 5000;
  create table if not exists cursor (id integer primary key check (id = 1), tick integer not null);
  create table if not exists rows (
    view text not null, key text not null, row text not null, version real not null,
    at integer not null, session text, seen integer, primary key (view, key)
  ) without rowid;
  create index if not exists rows_online on rows (session) where session is not null;
  -- A Worker that was ended in the middle of its last commit is waited for, before all is read.
  begin immediate; commit;
`;
/** For stores of before there was an order by last seen. */
const ADD_SEEN = `
  begin immediate; alter table rows add column seen integer;
  update rows set seen = json_extract(row, '$.atMs') where view = '${PRESENCE}'; commit;
`;
const SEEN_INDEX = `
  create index if not exists rows_seen on rows (seen, key) where seen is not null;
`;

/** Writes what is newer than the stored row. */
const UPSERT = `
  insert into rows (view, key, row, version, at, session, seen) values (?, ?, ?, ?, ?, ?, ?)
  on conflict (view, key) do update set row = excluded.row, version = excluded.version,
    at = excluded.at, session = excluded.session, seen = excluded.seen
  where excluded.version > rows.version`;

const REMOVE = "delete from rows where view = ? and key = ? and version < ?";
const MOVE = `insert into cursor (id, tick) values (1, ?)
  on conflict (id) do update set tick = excluded.tick`;

const SELECT = `
  select key, row from rows where view = ? and key in (select value from json_each(?))`;

/** `/` follows `.`: what is not between the two is of another incarnation. */
const ONLINE_ELSEWHERE = `
  select key, session from rows where session > ? and (session < ? or session >= ?)
  order by session limit ?`;

/** Opens or makes the store at `path`. */
export function openSqliteViews(path: string): ViewsStore {
  const database = new DatabaseSync(path);
  database.exec(SCHEMA);
  const columns = database.prepare("select name from pragma_table_info('rows')").all();
  if (!columns.some(({ name }) => name === "seen")) database.exec(ADD_SEEN);
  database.exec(SEEN_INDEX);
  return new SqliteViews(database);
}

class SqliteViews implements ViewsStore {
  readonly #database: DatabaseSync;
  readonly #upsert: StatementSync;
  readonly #remove: StatementSync;
  readonly #move: StatementSync;
  readonly #select: StatementSync;
  readonly #selectOnline: StatementSync;
  readonly #stored: StatementSync;
  readonly #drop: StatementSync;
  readonly #keys: StatementSync;
  readonly #calls: CallRows;
  #cursor: number;
  #isOpen = true;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#upsert = database.prepare(UPSERT);
    this.#remove = database.prepare(REMOVE);
    this.#move = database.prepare(MOVE);
    this.#select = database.prepare(SELECT);
    this.#selectOnline = database.prepare(ONLINE_ELSEWHERE);
    this.#stored = database.prepare(
      "select row, version, at, session, seen from rows where view = ? and key = ?",
    );
    this.#drop = database.prepare("delete from rows where view = ? and key = ?");
    this.#keys = database.prepare(
      "select key from rows where view = ? and key > ? order by key limit ?",
    );
    this.#calls = createSqliteCalls(database);
    this.#cursor = Number(database.prepare("select tick from cursor").get()?.tick ?? 0);
  }

  get cursor(): number {
    return this.#cursor;
  }

  write(batch: ViewBatch): Promise<void> {
    return attempt(() => this.#write(batch));
  }

  rows(view: string, keys: readonly string[]): Promise<ReadonlyMap<string, Json>> {
    return attempt(() => this.#rows<Json>(view, keys));
  }

  repair(
    rows: readonly RowRepair[],
  ): Promise<{ readonly changed: number; readonly newer: readonly NewerRow[] }> {
    return attempt(() => this.#inTransaction(() => this.#repair(rows)));
  }

  keysAfter(view: string, after: string, limit: number): Promise<readonly string[]> {
    return attempt(() => this.#keys.all(view, after, limit).map(({ key }) => String(key)));
  }

  presence(keys: readonly string[]): Promise<ReadonlyMap<string, PresenceRow>> {
    return attempt(() => this.#rows<PresenceRow>(PRESENCE, keys));
  }

  calls(query: CallQuery): Promise<readonly CallRow[]> {
    return attempt(() => this.#calls.calls(query));
  }

  onlineWithOtherIncarnation(
    incarnation: string,
    limit: number,
    after: string,
  ): Promise<OnlineDevice[]> {
    return attempt(() =>
      this.#selectOnline.all(after, `${incarnation}.`, `${incarnation}/`, limit)
        .map(({ key, session }) => ({ key: String(key), session: String(session) }))
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOpen) this.#database.close();
    this.#isOpen = false;
    return Promise.resolve();
  }

  #write(batch: ViewBatch): void {
    if (batch.cursor <= this.#cursor) return;
    this.#inTransaction(() => {
      for (const write of batch.writes) this.#writeRow(write);
      this.#move.run(batch.cursor);
    });
    this.#cursor = batch.cursor;
  }

  #inTransaction<Value>(work: () => Value): Value {
    this.#database.exec("begin immediate");
    try {
      const value = work();
      this.#database.exec("commit");
      return value;
    } catch (fault) {
      if (this.#database.isTransaction) this.#database.exec("rollback");
      throw fault;
    }
  }

  #repair(repairs: readonly RowRepair[]): { changed: number; newer: NewerRow[] } {
    let changed = 0;
    const newer: NewerRow[] = [];
    for (const write of repairs) {
      const { view, key, version, seenVersion } = write;
      const isCall = isCallWrite(write);
      const before = isCall ? this.#calls.stored(key) : this.#stored.get(view, key);
      const claimed = before === undefined ? -Infinity : Number(before.version);
      const row = isCall ? before?.row as Json | undefined : storedRow(before);
      if (claimed > version && claimed !== seenVersion) {
        newer.push({ view, key, version: claimed });
        continue;
      }
      if (claimed <= version && isRowRight(row, write)) continue;
      changed++;
      if (isCall) this.#calls.put(write);
      else {
        this.#drop.run(view, key);
        if (write.row !== undefined) this.#writeRow(write);
      }
    }
    return { changed, newer };
  }

  #writeRow(write: ViewWrite): void {
    if (isCallWrite(write)) return this.#calls.write(write);
    const { view, key, row, version, at } = write;
    if (row === undefined) {
      this.#remove.run(view, key, version);
      return;
    }
    const session = onlineSession(write) ?? null;
    const seen = seenAtMs(write) ?? null;
    this.#upsert.run(view, key, JSON.stringify(row), version, at, session, seen);
  }

  #rows<Row>(view: string, keys: readonly string[]): ReadonlyMap<string, Row> {
    const found = new Map<string, Row>();
    for (const { key, row } of this.#select.all(view, JSON.stringify(keys))) {
      found.set(String(key), JSON.parse(String(row)));
    }
    return found;
  }
}

function attempt<Value>(work: () => Value): Promise<Value> {
  return new Promise((resolve) => resolve(work()));
}

/** A row as it is stored; undefined: there is none. Null: it is damaged, and so another than any. */
function storedRow(stored: Readonly<Record<string, unknown>> | undefined): Json | undefined {
  if (stored === undefined) return undefined;
  try {
    const row = JSON.parse(String(stored.row)) as Json;
    const write = { view: PRESENCE, key: "", row, version: 0, at: 0 };
    const isFound = stored.session === (onlineSession(write) ?? null) &&
      stored.seen === (seenAtMs(write) ?? null);
    return isFound ? row : null;
  } catch {
    return null;
  }
}
