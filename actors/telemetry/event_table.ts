/**
 * Events of devices: rows in order of acceptance, found by device and time, and by device, name and
 * time. Unlike points they are few and read whole: they are not compacted.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { LIMITS } from "../../runtime/limits.ts";
import { checkEvents } from "./bounds.ts";
import { encodeEventCursor, eventPlaceOf } from "./event_cursor.ts";
import { arrays } from "./hot.ts";
import type { NameTable } from "./name_table.ts";
import type { DeviceEvent, EventPage, EventQuery, StoredEvent } from "./store.ts";

export const EVENT_TABLES = `
  CREATE TABLE event_name (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
  CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    name INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body BLOB NOT NULL
  );
  CREATE INDEX event_by_device ON event (device, at, seq);
  CREATE INDEX event_by_name ON event (device, name, at, seq);
  ALTER TABLE progress ADD COLUMN event_marks BLOB NOT NULL DEFAULT x'';
`;

/** Devices looked at in one slice of expiry. */
const DEVICES_PER_SLICE = 256;

export interface ExpiredEvents {
  readonly removed: number;
  readonly isMore: boolean;
  readonly accept: () => void;
}

type EventRow = readonly [seq: number, name: number, at: number, text: string];

export class EventTable {
  readonly #devices: NameTable;
  readonly #names: NameTable;
  readonly #insert: StatementSync;
  readonly #page: StatementSync;
  readonly #pageOfName: StatementSync;
  readonly #expire: StatementSync;
  readonly #nextDevice: StatementSync;
  /** Events before this time are removed already; the pass under way has come to `#expiring`. */
  #expiredMs = -Infinity;
  #expiring = -1;

  constructor(db: DatabaseSync, devices: NameTable, names: NameTable) {
    this.#devices = devices;
    this.#names = names;
    this.#insert = db.prepare("INSERT INTO event (device, name, at, body) VALUES (?, ?, ?, ?)");
    const page = (where: string) =>
      arrays(
        db,
        `SELECT seq, name, at, CAST(body AS TEXT) FROM event
         WHERE ${where} AND at >= ? AND at < ? AND (at, seq) < (?, ?)
         ORDER BY at DESC, seq DESC LIMIT ?`,
      );
    this.#page = page("device = ?");
    this.#pageOfName = page("device = ? AND name = ?");
    this.#expire = db.prepare(
      `DELETE FROM event WHERE seq IN
         (SELECT seq FROM event WHERE device = ? AND at < ? ORDER BY at LIMIT ?)`,
    );
    this.#nextDevice = arrays(db, "SELECT min(device) FROM event WHERE device > ?");
  }

  /** Inside a transaction; names are forgotten by the caller if it is rolled back. */
  insert({ device, event, atMs, body }: StoredEvent): void {
    this.#insert.run(this.#devices.intern(device), this.#names.intern(event), atMs, body);
  }

  /** @param horizonMs Older events are gone. */
  page(query: EventQuery, horizonMs: number): EventPage {
    checkEvents(query);
    const place = eventPlaceOf(query);
    const device = this.#devices.find(query.device);
    const name = query.event === undefined ? undefined : this.#names.find(query.event);
    const isUnknown = device === undefined || (query.event !== undefined && name === undefined);
    if (isUnknown) return { items: [], nextCursor: null };
    const span = [
      Math.max(query.fromMs, horizonMs),
      query.toMs,
      Math.min(place.atMs, Number.MAX_SAFE_INTEGER),
      Math.min(place.seq, Number.MAX_SAFE_INTEGER),
    ];
    const rows = name === undefined
      ? this.#page.iterate(device, ...span, query.limit + 1)
      : this.#pageOfName.iterate(device, name, ...span, query.limit + 1);
    const items: DeviceEvent[] = [];
    let bytes = 0;
    let last = place;
    for (const row of rows as Iterable<unknown>) {
      if (items.length === query.limit || bytes >= LIMITS.eventsPageBytesMax) {
        return { items, nextCursor: encodeEventCursor(query, last) };
      }
      const [seq, event, at, text] = row as EventRow;
      items.push({ event: this.#names.nameOf(event), at, data: JSON.parse(text) });
      bytes += text.length;
      last = { atMs: at, seq };
    }
    return { items, nextCursor: null };
  }

  /**
   * Inside a transaction: removes events of some devices, at most `limit` and a few devices' worth of
   * looking, oldest first. `accept` after the commit; without it the next call does the same again.
   */
  expire(horizonMs: number, limit: number): ExpiredEvents {
    if (horizonMs <= this.#expiredMs) return { removed: 0, isMore: false, accept: () => {} };
    let device = this.#expiring;
    let removed = 0;
    for (let looked = 0; looked < DEVICES_PER_SLICE && removed < limit; looked++) {
      const [next] = this.#nextDevice.get(device) as unknown as [number | null];
      if (next === null) {
        const accept = () => {
          this.#expiring = -1;
          this.#expiredMs = horizonMs;
        };
        return { removed, isMore: false, accept };
      }
      const left = limit - removed;
      const { changes } = this.#expire.run(next, horizonMs, left);
      removed += Number(changes);
      if (Number(changes) < left) device = next;
    }
    return { removed, isMore: true, accept: () => void (this.#expiring = device) };
  }
}
