/**
 * Removes what is too old of single products. It is hidden at once; chunks and events go device by
 * device in slices, between which everybody else has a turn.
 *
 * A pass over a product is in memory only: after a restart, or a slice that failed, it begins again.
 * Nothing is added below a horizon, so that a finished pass never has to look at those days again.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { InvalidError } from "../../runtime/errors.ts";
import { AT_MS_MAX, dayOf, isTime } from "./bounds.ts";
import { arrays } from "./hot.ts";
import { PAGE_BYTES } from "./schema.ts";
import type { SeriesChunks } from "./series_chunks.ts";
import type { ProductHorizon } from "./store.ts";
import { type OnStep, transact } from "./transaction.ts";

interface Horizon {
  /** Older points and events are gone. Never falls. */
  readonly horizonMs: number;
  /** What is older is removed: `doneMs <= horizonMs`. */
  readonly doneMs: number;
}

interface Pass {
  readonly product: string;
  readonly horizonMs: number;
  readonly steps: Iterator<Removed>;
}

/** What one look has removed, which may be nothing. */
interface Removed {
  readonly rows: number;
  readonly chunks: number;
  readonly points: number;
  readonly bytes: number;
}

/** Series of a day, or devices, that one slice looks at: some milliseconds. */
const LOOKS_PER_SLICE = 2_000;
const NOTHING: Removed = { rows: 0, chunks: 0, points: 0, bytes: 0 };

export class ProductRetention {
  readonly #db: DatabaseSync;
  readonly #chunks: SeriesChunks;
  readonly #onStep: OnStep;
  readonly #horizons = new Map<string, Horizon>();
  readonly #save: StatementSync;
  readonly #device: StatementSync;
  readonly #series: StatementSync;
  readonly #sums: StatementSync;
  readonly #remove: StatementSync;
  readonly #removeEvents: StatementSync;
  readonly #saveTotals: StatementSync;
  #pass: Pass | undefined;

  constructor(db: DatabaseSync, chunks: SeriesChunks, onStep: OnStep) {
    this.#db = db;
    this.#chunks = chunks;
    this.#onStep = onStep;
    this.#save = db.prepare("INSERT OR REPLACE INTO product_horizon VALUES (?, ?, ?)");
    this.#device = arrays(
      db,
      "SELECT id, name FROM device WHERE name > ? AND name < ? ORDER BY name LIMIT 1",
    );
    this.#series = arrays(db, "SELECT id FROM series WHERE device = ?");
    this.#sums = arrays(
      db,
      `SELECT count(*), coalesce(sum(n), 0), coalesce(sum(length(blob)), 0) FROM chunk
       WHERE day = ? AND series = ?`,
    );
    this.#remove = db.prepare("DELETE FROM chunk WHERE day = ? AND series = ?");
    this.#removeEvents = db.prepare(
      `DELETE FROM event WHERE seq IN
         (SELECT seq FROM event WHERE device = ? AND at < ? ORDER BY at LIMIT ?)`,
    );
    this.#saveTotals = db.prepare("UPDATE compaction SET chunks = ?, points = ?, bytes = ?");
    for (const row of db.prepare("SELECT product, horizon, done FROM product_horizon").all()) {
      const horizon = { horizonMs: Number(row["horizon"]), doneMs: Number(row["done"]) };
      this.#horizons.set(String(row["product"]), horizon);
    }
  }

  /** No product has one of its own. */
  get isEmpty(): boolean {
    return this.#horizons.size === 0;
  }

  /** @param device `{product}/{device}`. -Infinity: nothing of its product ever expired. */
  horizonOf(device: string): number {
    if (this.#horizons.size === 0) return -Infinity;
    const product = device.slice(0, device.indexOf("/"));
    return this.#horizons.get(product)?.horizonMs ?? -Infinity;
  }

  /** One slice, of at most about `sliceRows` chunks and events. */
  expire(
    wanted: readonly ProductHorizon[],
    sliceRows: number,
  ): { readonly isMore: boolean; readonly bytes: number } {
    if (this.#raise(wanted)) return { isMore: true, bytes: PAGE_BYTES };
    const pass = this.#pass ??= this.#nextPass(sliceRows);
    if (pass === undefined) return { isMore: false, bytes: 0 };
    try {
      const bytes = this.#slice(pass, sliceRows);
      return { isMore: true, bytes };
    } catch (fault) { // The pass is further than what is stored: it begins again.
      this.#pass = undefined;
      throw fault;
    }
  }

  /** True if any horizon is new. */
  #raise(wanted: readonly ProductHorizon[]): boolean {
    const raised = wanted.filter(({ product, beforeMs }) => {
      if (!isTime(beforeMs)) throw new InvalidError(`Cannot expire before ${beforeMs}: not a time`);
      return beforeMs > (this.#horizons.get(product)?.horizonMs ?? -Infinity);
    });
    if (raised.length === 0) return false;
    const doneOf = (product: string) => this.#horizons.get(product)?.doneMs ?? -AT_MS_MAX;
    transact(this.#db, "expire-products", this.#onStep, () => {
      for (const { product, beforeMs } of raised) {
        this.#save.run(product, beforeMs, doneOf(product));
      }
    });
    for (const { product, beforeMs } of raised) {
      this.#horizons.set(product, { horizonMs: beforeMs, doneMs: doneOf(product) });
    }
    return true;
  }

  #nextPass(sliceRows: number): Pass | undefined {
    for (const [product, { horizonMs, doneMs }] of this.#horizons) {
      if (doneMs >= horizonMs) continue;
      const steps = this.#stepsOf(product, doneMs, horizonMs, sliceRows);
      return { product, horizonMs, steps };
    }
    return undefined;
  }

  /** Returns about how many bytes stand in the WAL for it. */
  #slice({ product, horizonMs, steps }: Pass, sliceRows: number): number {
    const before = this.#chunks.totals;
    let totals = before;
    let rows = 0;
    let isDone = false;
    transact(this.#db, "expire-product", this.#onStep, () => {
      for (let looks = 0; looks < LOOKS_PER_SLICE && rows < sliceRows; looks++) {
        const { value, done } = steps.next();
        if (done === true) {
          isDone = true;
          this.#save.run(product, this.#horizons.get(product)!.horizonMs, horizonMs);
          break;
        }
        rows += value.rows;
        totals = {
          ...totals,
          chunks: totals.chunks - value.chunks,
          points: totals.points - value.points,
          bytes: totals.bytes - value.bytes,
        };
      }
      if (totals !== before) this.#saveTotals.run(totals.chunks, totals.points, totals.bytes);
    });
    if (totals.chunks < before.chunks) this.#chunks.forget(totals);
    if (isDone) {
      this.#pass = undefined;
      const { horizonMs: wanted } = this.#horizons.get(product)!;
      this.#horizons.set(product, { horizonMs: wanted, doneMs: horizonMs });
    }
    return PAGE_BYTES * (1 + rows / 8) + before.bytes - totals.bytes;
  }

  *#stepsOf(
    product: string,
    doneMs: number,
    horizonMs: number,
    sliceRows: number,
  ): Generator<Removed, void> {
    const days = this.#daysOf(doneMs, horizonMs);
    let last = `${product}/`;
    const end = `${product}0`; // "0" follows "/".
    for (;;) {
      const found = this.#device.get(last, end) as unknown as [number, string] | undefined;
      if (found === undefined) return;
      const [device, name] = found;
      last = name;
      yield NOTHING;
      for (const [series] of this.#series.all(device) as unknown as [number][]) {
        for (const day of days) yield this.#removeDay(day, series);
      }
      for (let rows = sliceRows; rows === sliceRows;) {
        rows = Number(this.#removeEvents.run(device, horizonMs, sliceRows).changes);
        yield { ...NOTHING, rows };
      }
    }
  }

  /** Days before the horizon that have chunks and were not looked at by a pass before. */
  #daysOf(doneMs: number, horizonMs: number): number[] {
    const days: number[] = [];
    for (let day = this.#chunks.nextDay(dayOf(doneMs)); day !== undefined;) {
      if (day >= dayOf(horizonMs)) break;
      days.push(day);
      day = this.#chunks.nextDay(day + 1);
    }
    return days;
  }

  #removeDay(day: number, series: number): Removed {
    const [chunks, points, bytes] = this.#sums.get(day, series) as unknown as [
      number,
      number,
      number,
    ];
    if (chunks === 0) return NOTHING;
    this.#remove.run(day, series);
    return { rows: chunks, chunks, points, bytes };
  }
}
