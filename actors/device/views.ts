/**
 * Read models: rows that actors project, for lists and searches over many of them. Written by the
 * reader "views" only, from records of class `view`. SQLite and memory behind one interface.
 */
import type { Json } from "../../runtime/actor/behaviour.ts";
import {
  type CallQuery,
  type CallRows,
  createMemoryCalls,
  isCallWrite,
} from "../command/call_rows.ts";
import type { CallRow } from "../command/messages.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { PresenceRow } from "./messages.ts";

/** One projection, as it stands in the log: body `{"view","key","row"?,"version","at"}`. */
export interface ViewWrite {
  readonly view: string;
  readonly key: string;
  /** Absent: the row is deleted. */
  readonly row?: Json;
  /** Version of the actor, rising: a write that is not above the stored row's is a repeat. */
  readonly version: number;
  /** Epoch milliseconds. */
  readonly at: number;
}

export interface ViewBatch {
  readonly writes: readonly ViewWrite[];
  /** Cursor of the reader after these; stored in the same transaction. */
  readonly cursor: number;
}

/** An online device with its session, `{incarnation}.{n}`. */
export interface OnlineDevice {
  /** `{product}/{device}`. */
  readonly key: string;
  readonly session: string;
}

/** What the API and the sweep after a crash ask. At most `VIEW_KEYS_MAX` keys at once. */
export interface Views {
  /** Rows by key; keys without a row are absent. */
  rows(view: string, keys: readonly string[]): Promise<ReadonlyMap<string, Json>>;
  /** Presence of devices `{product}/{device}`; one that was never heard of is absent. */
  presence(keys: readonly string[]): Promise<ReadonlyMap<string, PresenceRow>>;
  /** Service calls of a device, newest first. */
  calls(query: CallQuery): Promise<readonly CallRow[]>;
  /**
   * Devices shown online by sessions of other starts than `incarnation`; those are gone.
   * @param after Only sessions above this one, in order; "" begins.
   */
  onlineWithOtherIncarnation(
    incarnation: string,
    limit: number,
    after: string,
  ): Promise<readonly OnlineDevice[]>;
}

/** A row as the state of its actor has it; absent `row`: there is none. */
export interface RowRepair extends ViewWrite {
  /** A stored row of exactly this version gives way, though it claims to be newer. */
  readonly seenVersion?: number;
}

/** A stored row that claims to be newer than the state it is of. */
export interface NewerRow {
  readonly view: string;
  readonly key: string;
  readonly version: number;
}

/** For rebuilding rows from states, beside the reader. */
export interface ViewRepairs {
  /** Rows that are no newer than their state are made what it says, in one step; the others are told. */
  repair(
    rows: readonly RowRepair[],
  ): Promise<{ readonly changed: number; readonly newer: readonly NewerRow[] }>;
  /** Keys of rows of a view, but `calls`, in order; "" begins. */
  keysAfter(view: string, after: string, limit: number): Promise<readonly string[]>;
}

export interface ViewsStore extends Views, ViewRepairs, AsyncDisposable {
  /** Cursor of the last batch that is durable. 0 in a new store. */
  readonly cursor: number;
  /** Stores a batch and its cursor in one durable step; one that is not above the cursor is skipped. */
  write(batch: ViewBatch): Promise<void>;
}

export const VIEW_KEYS_MAX = 1_000;
export const PRESENCE = "presence";

/** Session of a row that shows a device online; else undefined. */
export function onlineSession(write: ViewWrite): string | undefined {
  if (write.view !== PRESENCE) return undefined;
  const row = write.row as PresenceRow | undefined;
  return row?.online === true && row.session !== null ? row.session : undefined;
}

/** When the device of a presence row was last heard of; undefined for other rows. */
export function seenAtMs(write: ViewWrite): number | undefined {
  return write.view === PRESENCE ? (write.row as PresenceRow | undefined)?.atMs : undefined;
}

/** Sessions of an incarnation start with it and a dot. */
export function isOfIncarnation(session: string, incarnation: string): boolean {
  return session.startsWith(`${incarnation}.`);
}

export function createMemoryViews(): ViewsStore {
  const stored = new Map<string, ViewWrite>();
  const calls = createMemoryCalls();
  let cursor = 0;
  const rowOf = (view: string, key: string) => stored.get(`${view}\n${key}`)?.row;
  const rows = <Row>(view: string, keys: readonly string[]): Promise<ReadonlyMap<string, Row>> => {
    const found = new Map<string, Row>();
    for (const key of keys) {
      const row = rowOf(view, key);
      if (row !== undefined) found.set(key, row as Row);
    }
    return Promise.resolve(found);
  };
  return {
    get cursor() {
      return cursor;
    },
    write(batch) {
      if (batch.cursor <= cursor) return Promise.resolve();
      for (const write of batch.writes) {
        if (isCallWrite(write)) {
          calls.write(write);
          continue;
        }
        const id = `${write.view}\n${write.key}`;
        if ((stored.get(id)?.version ?? -Infinity) >= write.version) continue;
        if (write.row === undefined) stored.delete(id);
        else stored.set(id, write);
      }
      cursor = batch.cursor;
      return Promise.resolve();
    },
    repair: (repairs) => Promise.resolve(repairRows(stored, calls, repairs)),
    keysAfter: (view, after, limit) =>
      Promise.resolve(
        [...stored.values()].filter((write) => write.view === view && write.key > after)
          .map(({ key }) => key).sort().slice(0, limit),
      ),
    rows: (view, keys) => rows<Json>(view, keys),
    presence: (keys) => rows<PresenceRow>(PRESENCE, keys),
    calls: (query) => Promise.resolve(calls.calls(query)),
    onlineWithOtherIncarnation(incarnation, limit, after) {
      const found: OnlineDevice[] = [];
      for (const write of stored.values()) {
        const session = onlineSession(write);
        if (session === undefined || isOfIncarnation(session, incarnation)) continue;
        if (session <= after) continue;
        found.push({ key: write.key, session });
      }
      found.sort((one, other) => one.session < other.session ? -1 : 1);
      return Promise.resolve(found.slice(0, limit));
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function repairRows(
  stored: Map<string, ViewWrite>,
  calls: CallRows,
  repairs: readonly RowRepair[],
): { readonly changed: number; readonly newer: readonly NewerRow[] } {
  let changed = 0;
  const newer: NewerRow[] = [];
  for (const write of repairs) {
    const { view, key, row, version, seenVersion } = write;
    const id = `${view}\n${key}`;
    const before = isCallWrite(write) ? calls.stored(key) : stored.get(id);
    const isOlder = before === undefined || before.version <= version;
    if (!isOlder && before.version !== seenVersion) {
      newer.push({ view, key, version: before.version });
      continue;
    }
    if (isOlder && isRowRight(before?.row, write)) continue;
    changed++;
    if (isCallWrite(write)) calls.put(write);
    else if (row === undefined) stored.delete(id);
    else stored.set(id, write);
  }
  return { changed, newer };
}

/**
 * Whether a stored row, no newer than its state, is what the state says. Presence may be as far behind
 * as `presenceEveryMs`.
 */
export function isRowRight(stored: Json | undefined, { view, row }: ViewWrite): boolean {
  if (stored === undefined || row === undefined) return stored === row;
  if (view !== PRESENCE) return JSON.stringify(stored) === JSON.stringify(row);
  const { online, session, atMs } = (stored ?? {}) as Partial<PresenceRow>;
  const wanted = row as unknown as PresenceRow;
  if (online !== wanted.online || session !== wanted.session || atMs === undefined) return false;
  return atMs <= wanted.atMs && atMs >= wanted.atMs - LIMITS.presenceEveryMs;
}
