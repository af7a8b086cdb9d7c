/** Read models in `views.db`. Durable at each write, since the log is trimmed behind the cursor. */
import { DatabaseSync } from "node:sqlite";
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { PresenceRow } from "./messages.ts";
import { onlineSession, PRESENCE, type ViewBatch, type ViewsStore } from "./views.ts";

const SCHEMA = `
  pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 5000;
  create table if not exists cursor (id integer primary key check (id = 1), tick integer not null);
  create table if not exists rows (
    view text not null, key text not null, row text not null, version real not null,
    at integer not null, session text, primary key (view, key)
  ) without rowid;
  create index if not exists rows_online on rows (session) where session is not null;
`;

/** Writes what is newer than the stored row. */
const UPSERT = `
  insert into rows (view, key, row, version, at, session) values (?, ?, ?, ?, ?, ?)
  on conflict (view, key) do update set row = excluded.row, version = excluded.version,
    at = excluded.at, session = excluded.session
  where excluded.version > rows.version`;

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
  const upsert = database.prepare(UPSERT);
  const remove = database.prepare("delete from rows where view = ? and key = ? and version < ?");
  const move = database.prepare(
    "insert into cursor (id, tick) values (1, ?) on conflict (id) do update set tick = excluded.tick",
  );
  const select = database.prepare(SELECT);
  const selectOnline = database.prepare(ONLINE_ELSEWHERE);
  let cursor = Number(database.prepare("select tick from cursor").get()?.tick ?? 0);
  let isOpen = true;

  const write = (batch: ViewBatch) => {
    if (batch.cursor <= cursor) return;
    database.exec("begin immediate");
    try {
      for (const one of batch.writes) {
        const { view, key, version, at } = one;
        if (one.row === undefined) remove.run(view, key, version);
        else {upsert.run(
            view,
            key,
            JSON.stringify(one.row),
            version,
            at,
            onlineSession(one) ?? null,
          );}
      }
      move.run(batch.cursor);
      database.exec("commit");
    } catch (fault) {
      if (database.isTransaction) database.exec("rollback");
      throw fault;
    }
    cursor = batch.cursor;
  };
  const rows = <Row>(view: string, keys: readonly string[]): ReadonlyMap<string, Row> => {
    const found = new Map<string, Row>();
    for (const { key, row } of select.all(view, JSON.stringify(keys))) {
      found.set(String(key), JSON.parse(String(row)));
    }
    return found;
  };
  return {
    get cursor() {
      return cursor;
    },
    write: (batch) => attempt(() => write(batch)),
    rows: (view, keys) => attempt(() => rows<Json>(view, keys)),
    presence: (keys) => attempt(() => rows<PresenceRow>(PRESENCE, keys)),
    onlineWithOtherIncarnation: (incarnation, limit, after) =>
      attempt(() =>
        selectOnline.all(after, `${incarnation}.`, `${incarnation}/`, limit)
          .map(({ key, session }) => ({ key: String(key), session: String(session) }))
      ),
    [Symbol.asyncDispose]() {
      if (isOpen) database.close();
      isOpen = false;
      return Promise.resolve();
    },
  };
}

function attempt<Value>(work: () => Value): Promise<Value> {
  return new Promise((resolve) => resolve(work()));
}
