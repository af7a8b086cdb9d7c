/** `registry.db`: projects, products, devices, changes, users, sessions and keys. */
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import {
  type BeforeCommit,
  openRelationalStore,
  type RelationalStore,
  type Transaction,
} from "../../runtime/store/relational_store.ts";
import { REGISTRY_MIGRATIONS } from "./migrations.ts";
import type { RegistryTables } from "./tables.ts";

export type RegistryStore = RelationalStore<RegistryTables>;

/**
 * Writes something more in the transaction of a change that is accepted, given what it comes to: both
 * are durable, or neither. What it throws undoes the change.
 */
export type Alongside<Value> = (
  transaction: Transaction<RegistryTables>,
  value: Value,
) => Promise<void>;

/**
 * The project of the first start. Its people run the installation: they make projects, and see what
 * is of no single one.
 */
export const DEFAULT_PROJECT = "default";

/** Opens or makes the registry at `path`, with project `default`. */
export async function openRegistryStore(
  options: {
    readonly path: string;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly beforeCommit?: BeforeCommit;
  },
): Promise<RegistryStore> {
  const nowMs = options.clock.nowMs();
  const store = await openRelationalStore<RegistryTables>({
    ...options,
    migrations: REGISTRY_MIGRATIONS,
    nowMs,
  });
  const project = await store.db.selectFrom("projects").select("id")
    .where("id", "=", DEFAULT_PROJECT).executeTakeFirst();
  if (project === undefined) {
    await store.db.insertInto("projects")
      .values({
        id: DEFAULT_PROJECT,
        name: "Default",
        version: 1,
        created_at: nowMs,
        updated_at: nowMs,
        deleted_at: null,
      }).execute();
  }
  return store;
}
