/**
 * Removes what belonged to projects that were deleted, in small transactions, and goes on after a
 * crash: a project's row is the last to go. Devices go as if each had been deleted alone, so that
 * gateways, actors and the log follow.
 */
import { type BackgroundTask, startBackgroundTask } from "../../runtime/background_task.ts";
import type { Clock } from "../../runtime/clock.ts";
import { messageOf } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Transaction } from "../../runtime/store/relational_store.ts";
import { type ChangesFollower, recordChange } from "../device/changes.ts";
import { forgetModels } from "../product/model_history.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import type { RegistryTables } from "../registry/tables.ts";

export interface ProjectRemovalsOptions {
  readonly store: RegistryStore;
  readonly changes: ChangesFollower;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Woken when a project is deleted. */
export type ProjectRemovals = BackgroundTask;

const SLICE_ROWS = 200;
const AUDIT_ROWS = 2_000;
const RETRY_MS = 1_000;
/** Tables whose rows name their project and go with it, after its devices and products. */
export const PROJECT_TABLES = [
  "api_keys",
  "answer_totals",
  "audit_heads",
  "device_groups",
  "jobs",
  "users",
] as const;

export function startProjectRemovals(options: ProjectRemovalsOptions): ProjectRemovals {
  const { clock, logger } = options;
  return startBackgroundTask({
    clock,
    pass: (isStopping) => removeDeleted(options, isStopping).then(() => Infinity),
    onFault: (fault) =>
      logger.warn("deleted projects could not be removed", { fault: messageOf(fault) }),
    retryMs: RETRY_MS,
  });
}

async function removeDeleted(
  options: ProjectRemovalsOptions,
  isStopping: () => boolean,
): Promise<void> {
  const { store, clock, logger, changes } = options;
  const deleted = await store.db.selectFrom("projects").select("id")
    .where("deleted_at", "is not", null).orderBy("deleted_at").execute();
  for (const { id } of deleted) {
    let removed = 1;
    while (removed > 0) {
      if (isStopping()) return;
      const atMs = clock.nowMs();
      removed = await store.db.transaction().execute((trx) => removeSlice(trx, id, atMs));
      changes.catchUp();
      await new Promise<void>((resolve) => clock.soon(resolve));
    }
    logger.info("project removed", { project: id });
  }
}

/** @returns Rows that went; 0: there is nothing left, and the project itself has gone. */
async function removeSlice(
  transaction: Transaction<RegistryTables>,
  project: string,
  atMs: number,
): Promise<number> {
  const devices = await transaction.selectFrom("devices")
    .select(["product", "device"]).where("project", "=", project).limit(SLICE_ROWS).execute();
  for (const { product, device } of devices) {
    for (const table of ["devices", "device_tags", "device_secrets", "group_devices"] as const) {
      await transaction.deleteFrom(table)
        .where("product", "=", product).where("device", "=", device).execute();
    }
    await recordChange(transaction, { kind: "device_deleted", product, device, atMs });
  }
  if (devices.length > 0) return devices.length;
  const products = await transaction.selectFrom("products").select("key")
    .where("project", "=", project).limit(SLICE_ROWS).execute();
  for (const { key } of products) {
    await transaction.deleteFrom("products").where("key", "=", key).execute();
    await forgetModels(transaction, key);
    await recordChange(transaction, { kind: "product_deleted", product: key, device: "", atMs });
  }
  if (products.length > 0) return products.length;
  return await removeAnswers(transaction, project) || await removeAudit(transaction, project) ||
    await removeRest(transaction, project);
}

async function removeAnswers(
  transaction: Transaction<RegistryTables>,
  project: string,
): Promise<number> {
  const answers = await transaction.selectFrom("answers").select(["caller", "key"])
    .where("project", "=", project).limit(SLICE_ROWS).execute();
  for (const { caller, key } of answers) {
    await transaction.deleteFrom("answers").where("project", "=", project)
      .where("caller", "=", caller).where("key", "=", key).execute();
  }
  return answers.length;
}

async function removeAudit(
  transaction: Transaction<RegistryTables>,
  project: string,
): Promise<number> {
  const first = await transaction.selectFrom("audit").select("seq").where("project", "=", project)
    .orderBy("seq").limit(1).executeTakeFirst();
  if (first === undefined) return 0;
  const { numDeletedRows } = await transaction.deleteFrom("audit").where("project", "=", project)
    .where("seq", "<", first.seq + AUDIT_ROWS).executeTakeFirstOrThrow();
  return Number(numDeletedRows);
}

/** Bounded tables: at most `usersMax`, `keysMax` and the like. */
async function removeRest(
  transaction: Transaction<RegistryTables>,
  project: string,
): Promise<number> {
  for (const table of ["sessions", "browsers"] as const) {
    await transaction.deleteFrom(table)
      .where(
        "user",
        "in",
        (select) => select.selectFrom("users").select("id").where("project", "=", project),
      ).execute();
  }
  for (const table of PROJECT_TABLES) {
    await transaction.deleteFrom(table).where("project", "=", project).execute();
  }
  // To nobody, for good: a later project of this id is another one.
  await transaction.updateTable("product_keys").set({ project: "" })
    .where("project", "=", project).execute();
  await transaction.deleteFrom("projects").where("id", "=", project).execute();
  return 0;
}
