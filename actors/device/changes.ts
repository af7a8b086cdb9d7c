/**
 * Changes of the registry that gateways and actors have to follow: a row of `changes`, written in the
 * transaction of the change itself.
 *
 * The writer's duties, in order:
 * 1. `recordChange` in the same transaction.
 * 2. `follower.catchUp()` after it committed, before the caller is answered: so that a device that
 *    was disabled is out when its operator reads "disabled".
 */
import type { Clock } from "../../runtime/clock.ts";
import { messageOf } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { PointReader, SqlRow, Transaction } from "../../runtime/store/relational_store.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import type { RegistryTables } from "../registry/tables.ts";

export type ChangeKind =
  | "device_enabled"
  | "device_disabled"
  | "device_rotated"
  /** It has a new secret, and the old one beside it. */
  | "device_rotating"
  | "device_deleted"
  | "product_changed"
  | "product_deleted";

export interface Change {
  /** Rising. */
  readonly id: number;
  readonly kind: ChangeKind;
  readonly product: string;
  /** Empty for a change of the product itself. */
  readonly device: string;
  readonly atMs: number;
}

/** `reset`: changes were missed (trimmed before they were read); drop every cache. */
export type FollowedChange = Change | { readonly kind: "reset" };

export async function recordChange(
  transaction: Transaction<RegistryTables>,
  change: Omit<Change, "id">,
): Promise<void> {
  const { kind, product, device, atMs } = change;
  const { insertId } = await transaction.insertInto("changes")
    .values({ kind, product, device, at: atMs }).executeTakeFirstOrThrow();
  const oldest = Number(insertId) - LIMITS.changesKeptMax;
  if (oldest > 0) await trimChanges(transaction, oldest);
}

/** Removes changes up to `oldest`, but none that a durable follower has not read. */
async function trimChanges(
  transaction: Transaction<RegistryTables>,
  oldest: number,
): Promise<void> {
  const { position } = await transaction.selectFrom("followers")
    .select((select) => select.fn.min("position").as("position")).executeTakeFirstOrThrow();
  await transaction.deleteFrom("changes")
    .where("id", "<=", Math.min(oldest, position ?? oldest)).execute();
}

export interface ChangesFollower extends AsyncDisposable {
  /** Id of the last change that was told to the listeners. */
  readonly position: number;
  /** Tells what is committed by now, synchronously. A listener that throws is logged. */
  catchUp(): void;
  onChange(listener: (change: FollowedChange) => void): () => void;
}

export interface ChangesFollowerOptions {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How soon changes of other processes are seen. */
  readonly pollMs: number;
  /** Follow from after this change; default: from now. */
  readonly after?: number;
}

/** Rows read in one go. */
const PAGE_ROWS = 500;

export function startChangesFollower(options: ChangesFollowerOptions): ChangesFollower {
  return new SqlFollower(options);
}

class SqlFollower implements ChangesFollower {
  readonly #options: ChangesFollowerOptions;
  readonly #page: ReturnType<PointReader["prepareAll"]>;
  readonly #bounds: ReturnType<PointReader["prepareOne"]>;
  readonly #listeners = new Set<(change: FollowedChange) => void>();
  #position: number;
  #isTelling = false;
  #cancelPoll: () => void;

  constructor(options: ChangesFollowerOptions) {
    this.#options = options;
    const { reader } = options.store;
    this.#page = reader.prepareAll(
      `select id, kind, product, device, at from changes where id > ? order by id
       limit ${PAGE_ROWS}`,
    );
    this.#bounds = reader.prepareOne(
      "select coalesce(min(id), 0) first, coalesce(max(id), 0) last from changes",
    );
    this.#position = options.after ?? Number(this.#bounds()!.last);
    this.#cancelPoll = options.clock.after(options.pollMs, () => this.#poll());
  }

  get position(): number {
    return this.#position;
  }

  catchUp(): void {
    if (this.#isTelling) return; // A listener wrote: the loop below reads its change as well.
    this.#isTelling = true;
    try {
      const first = Number(this.#bounds()!.first);
      if (first > this.#position + 1) {
        this.#position = first - 1;
        this.#tell({ kind: "reset" });
      }
      let rows = this.#page(this.#position);
      for (; rows.length > 0; rows = this.#page(this.#position)) {
        for (const row of rows) this.#tellRow(row);
      }
    } finally {
      this.#isTelling = false;
    }
  }

  onChange(listener: (change: FollowedChange) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#cancelPoll();
    this.#listeners.clear();
    return Promise.resolve();
  }

  #tellRow(row: SqlRow): void {
    this.#position = Number(row.id);
    this.#tell({
      id: this.#position,
      kind: row.kind as ChangeKind,
      product: String(row.product),
      device: String(row.device),
      atMs: Number(row.at),
    });
  }

  #tell(change: FollowedChange): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (fault) {
        this.#options.logger.error("listener of changes threw", { kind: change.kind, fault });
      }
    }
  }

  #poll(): void {
    const { clock, logger, pollMs } = this.#options;
    try {
      this.catchUp();
    } catch (fault) {
      logger.warn("changes could not be read", { fault: messageOf(fault) });
    }
    this.#cancelPoll = clock.after(pollMs, () => this.#poll());
  }
}
