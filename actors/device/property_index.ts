/**
 * Last values of devices by property, in `search.db`, for searches. Made of committed states and made
 * again of them at any time: nothing here is the only copy, so that a write costs no fsync of its own.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { rmSync } from "node:fs";
import { messageOf } from "../../runtime/errors.ts";
import { DEVICE_LIMITS } from "../../runtime/device_limits.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { TimedValue } from "./messages.ts";

/** Numbers as they are, texts, and truth as one byte: SQLite orders them apart, in this order. */
export type IndexedValue = number | string | Uint8Array;

export interface DeviceValues {
  /** `{product}/{device}`. */
  readonly key: string;
  /** Undefined: the device has no state. */
  readonly values: Readonly<Record<string, TimedValue>> | undefined;
}

const VERSION = 1;
const SCHEMA = `
  pragma journal_mode = wal; pragma synchronous = normal; pragma busy_timeout = 5000;
  create table if not exists props (
    key text not null, name text not null, value not null, primary key (key, name)
  ) without rowid;
  create index if not exists props_by_value on props (name, value, key);
  pragma user_version = ${VERSION};
`;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;
const [TRUE, FALSE] = [new Uint8Array([1]), new Uint8Array([0])];

/** How a value is stored and asked for; undefined: it is not indexed. */
export function indexedValue(value: unknown): IndexedValue | undefined {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return value ? TRUE : FALSE;
  if (typeof value !== "string") return undefined;
  return value.length <= DEVICE_LIMITS.indexedTextCharactersMax ? value : undefined;
}

/** Opens or makes the index at `path`; one that cannot be read is made anew. */
export function openPropertyIndex(path: string, logger: Logger): PropertyIndex {
  try {
    return new PropertyIndex(open(path));
  } catch (fault) {
    logger.warn("index of values is made anew", { fault: messageOf(fault) });
    removePropertyIndex(path);
    return new PropertyIndex(open(path));
  }
}

export function removePropertyIndex(path: string): void {
  for (const suffix of ["", "-wal", "-shm"]) rmSync(path + suffix, { force: true });
}

/** A page of the store is damaged: it opens, and neither writes nor searches that need it get through. */
export function isDamage(fault: unknown): boolean {
  const { errcode } = fault as { readonly errcode?: unknown };
  // Extended codes have the kind of fault in their last byte.
  return typeof errcode === "number" && [SQLITE_CORRUPT, SQLITE_NOTADB].includes(errcode & 0xff);
}

function open(path: string): DatabaseSync {
  const database = new DatabaseSync(path);
  try {
    const { user_version: version } = database.prepare("pragma user_version").get()!;
    if (version !== 0 && version !== VERSION) throw new Error(`its version is ${version}`);
    database.exec(SCHEMA);
    return database;
  } catch (fault) {
    database.close();
    throw fault;
  }
}

export class PropertyIndex implements Disposable {
  readonly #database: DatabaseSync;
  readonly #read: StatementSync;
  readonly #put: StatementSync;
  readonly #remove: StatementSync;
  readonly #nextKey: StatementSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#read = database.prepare("select name, value from props where key = ?");
    this.#put = database.prepare(`insert into props (key, name, value) values (?, ?, ?)
      on conflict (key, name) do update set value = excluded.value`);
    this.#remove = database.prepare("delete from props where key = ? and name = ?");
    this.#nextKey = database.prepare("select key from props where key > ? order by key limit 1");
  }

  /** Writes what differs, in one transaction. */
  write(devices: readonly DeviceValues[]): void {
    this.#database.exec("begin immediate");
    try {
      for (const device of devices) this.#writeDevice(device);
      this.#database.exec("commit");
    } catch (fault) {
      if (this.#database.isTransaction) this.#database.exec("rollback");
      throw fault;
    }
  }

  /** Devices that have values here, in order of key. */
  keysAfter(key: string, limit: number): string[] {
    const keys: string[] = [];
    for (let last = key; keys.length < limit;) {
      const row = this.#nextKey.get(last);
      if (row === undefined) break;
      last = String(row.key);
      keys.push(last);
    }
    return keys;
  }

  [Symbol.dispose](): void {
    if (this.#database.isOpen) this.#database.close();
  }

  #writeDevice({ key, values = {} }: DeviceValues): void {
    const next = new Map<string, IndexedValue>();
    for (const name in values) {
      if (next.size === DEVICE_LIMITS.indexedPropertiesMax) break;
      const value = indexedValue(values[name]!.value);
      if (value !== undefined) next.set(name, value);
    }
    for (const row of this.#read.all(key)) {
      const name = String(row.name);
      const value = next.get(name);
      if (value === undefined) this.#remove.run(key, name);
      else if (isSame(value, row.value)) next.delete(name);
    }
    for (const [name, value] of next) this.#put.run(key, name, value);
  }
}

function isSame(value: IndexedValue, stored: unknown): boolean {
  if (value === stored) return true;
  return value instanceof Uint8Array && stored instanceof Uint8Array && value[0] === stored[0];
}
