/**
 * View `calls`: what became of the calls of each device, the newest `callsKeptMax`, and those before
 * that are open still.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Json } from "../../runtime/actor/behaviour.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { ViewWrite } from "../device/views.ts";
import { type CallRow, CALLS, type CallStatus } from "./messages.ts";

export interface CallQuery {
  readonly product: string;
  readonly device: string;
  /** Only this one. */
  readonly callId?: string;
  readonly status?: CallStatus;
  /** Goes on after this one: newest first, calls of one moment by id. */
  readonly before?: { readonly createdAt: number; readonly callId: string };
  readonly limit: number;
}

/** A store of the view. Both keep of each key what has the highest version. */
export interface CallRows {
  write(write: ViewWrite): void;
  /** Of key `{product}/{device}/{callId}`. */
  stored(key: string): { readonly row: Json; readonly version: number } | undefined;
  /** Whatever version is stored. */
  put(write: ViewWrite): void;
  calls(query: CallQuery): CallRow[];
}

export function isCallWrite({ view }: ViewWrite): boolean {
  return view === CALLS;
}

const SCHEMA = `
  create table if not exists calls (
    device text not null, call text not null, created_at integer not null, status text not null,
    row text not null, version real not null, primary key (device, call)
  ) without rowid;
  create index if not exists calls_by_time on calls (device, created_at, call);
`;

const UPSERT = `
  insert into calls (device, call, created_at, status, row, version) values (?, ?, ?, ?, ?, ?)
  on conflict (device, call) do update set created_at = excluded.created_at,
    status = excluded.status, row = excluded.row, version = excluded.version
  where excluded.version > calls.version`;

const REMOVE_ALL = "delete from calls where device = ? and version < ?";

const TRIM = `
  delete from calls where device = ?1 and status not in ('queued', 'sent')
    and (created_at, call) <= (
      select created_at, call from calls where device = ?1
      order by created_at desc, call desc limit 1 offset ${LIMITS.callsKeptMax})`;

const SELECT = `
  select row from calls where device = ?1 and (created_at, call) < (?2, ?3)
    and (?4 is null or call = ?4) and (?5 is null or status = ?5)
  order by created_at desc, call desc limit ?6`;

/** In tables of `database`; writes belong to the caller's transaction. */
export function createSqliteCalls(database: DatabaseSync): CallRows {
  database.exec(SCHEMA);
  const upsert = database.prepare(UPSERT);
  const removeAll = database.prepare(REMOVE_ALL);
  const trim: StatementSync = database.prepare(TRIM);
  const select = database.prepare(SELECT);
  const selectOne = database.prepare(
    "select row, version from calls where device = ? and call = ?",
  );
  const removeOne = database.prepare("delete from calls where device = ? and call = ?");
  return {
    stored(key) {
      const found = selectOne.get(...placeOf(key));
      if (found === undefined) return undefined;
      return { row: parsedRow(String(found.row)), version: Number(found.version) };
    },
    put(write) {
      removeOne.run(...placeOf(write.key));
      if (write.row !== undefined) this.write(write);
    },
    write({ key, row, version }) {
      const call = row as unknown as CallRow | undefined;
      if (call === undefined) {
        removeAll.run(key, version);
        return;
      }
      const device = `${call.product}/${call.device}`;
      upsert.run(device, call.callId, call.createdAt, call.status, JSON.stringify(row), version);
      if (call.status === "queued") trim.run(device); // A new one.
    },
    calls({ product, device, callId, status, before, limit }) {
      const key = `${product}/${device}`;
      const { createdAt, callId: last } = before ??
        { createdAt: Number.MAX_SAFE_INTEGER, callId: "" };
      return select.all(key, createdAt, last, callId ?? null, status ?? null, limit)
        .map(({ row }) => JSON.parse(String(row)));
    },
  };
}

/** Device and call of a key. */
function placeOf(key: string): [string, string] {
  const at = key.lastIndexOf("/");
  return [key.slice(0, at), key.slice(at + 1)];
}

/** Null: it is damaged, and so another row than any. */
function parsedRow(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export function createMemoryCalls(): CallRows {
  const stored = new Map<string, { readonly row: CallRow; readonly version: number }>();
  const ofDevice = (key: string) =>
    [...stored].filter(([, { row }]) => `${row.product}/${row.device}` === key)
      .sort(([, { row: one }], [, { row: other }]) => isBefore(one, other) ? 1 : -1);
  return {
    stored: (key) => stored.get(key) as { row: Json; version: number } | undefined,
    put({ key, row, version }) {
      if (row === undefined) stored.delete(key);
      else stored.set(key, { row: row as unknown as CallRow, version });
    },
    write({ key, row, version }) {
      if (row === undefined) {
        for (const [id, call] of ofDevice(key)) if (call.version < version) stored.delete(id);
        return;
      }
      if ((stored.get(key)?.version ?? -Infinity) >= version) return;
      const call = row as unknown as CallRow;
      stored.set(key, { row: call, version });
      if (call.status !== "queued") return;
      const device = `${call.product}/${call.device}`;
      for (const [id, { row: { status } }] of ofDevice(device).slice(LIMITS.callsKeptMax)) {
        if (status !== "queued" && status !== "sent") stored.delete(id);
      }
    },
    calls: ({ product, device, callId, status, before, limit }) =>
      ofDevice(`${product}/${device}`).map(([, { row }]) => row)
        .filter((row) => before === undefined || isBefore(row, before))
        .filter((row) => callId === undefined || row.callId === callId)
        .filter((row) => status === undefined || row.status === status)
        .slice(0, limit),
  };
}

type Moment = Pick<CallRow, "createdAt" | "callId">;

function isBefore(one: Moment, other: Moment): boolean {
  if (one.createdAt !== other.createdAt) return one.createdAt < other.createdAt;
  return one.callId < other.callId;
}
