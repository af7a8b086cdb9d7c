/**
 * Takes away what is not to be kept any more: readable secrets of products that allow no signed logins
 * since they were changed, and old secrets whose overlap has ended. In small transactions; what a crash
 * leaves is found at the next start.
 */
import { startBackgroundTask } from "../../runtime/background_task.ts";
import type { Clock } from "../../runtime/clock.ts";
import { messageOf } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import { sql, type Transaction } from "../../runtime/store/relational_store.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import type { RegistryTables } from "../registry/tables.ts";
import type { ChangesFollower } from "./changes.ts";

export interface CredentialSweepOptions {
  readonly store: RegistryStore;
  readonly changes: ChangesFollower;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface CredentialSweep extends AsyncDisposable {
  /** Resolves when nothing is left to take away, or it is tried again later. */
  idle(): Promise<void>;
}

const SLICE_ROWS = 500;
const EVERY_MS = 600_000;

export function startCredentialSweep(options: CredentialSweepOptions): CredentialSweep {
  const { clock, logger, changes } = options;
  const task = startBackgroundTask({
    clock,
    pass: (isStopping) => sweep(options, isStopping).then(() => EVERY_MS),
    onFault: (fault) => logger.warn("credentials could not be swept", { fault: messageOf(fault) }),
    retryMs: EVERY_MS,
  });
  const unfollow = changes.onChange((change) => {
    if (change.kind === "product_changed" || change.kind === "reset") task.wake();
  });
  return {
    idle: task.idle,
    async [Symbol.asyncDispose]() {
      unfollow();
      await task[Symbol.asyncDispose]();
    },
  };
}

async function sweep(
  { store, clock }: CredentialSweepOptions,
  isStopping: () => boolean,
): Promise<void> {
  for (const step of [forgetReadable, forgetReadableOld, endOverlaps]) {
    let gone = 1;
    while (gone > 0 && !isStopping()) {
      const nowMs = clock.nowMs();
      gone = await store.db.transaction().execute((transaction) => step(transaction, nowMs));
      await new Promise<void>((resolve) => clock.soon(resolve));
    }
  }
}

/** Products whose devices' secrets stay readable. */
function signedProducts(transaction: Transaction<RegistryTables>) {
  return transaction.selectFrom("products").select("key")
    .where("credentials", "like", '%"signed"%');
}

async function forgetReadable(transaction: Transaction<RegistryTables>): Promise<number> {
  const rows = await transaction.selectFrom("devices").select(["product", "device"])
    .where("secret_sealed", "is not", null)
    .where("product", "not in", signedProducts(transaction)).limit(SLICE_ROWS).execute();
  for (const { product, device } of rows) {
    await transaction.updateTable("devices").set({ secret_sealed: null })
      .where("product", "=", product).where("device", "=", device).execute();
  }
  return rows.length;
}

async function forgetReadableOld(transaction: Transaction<RegistryTables>): Promise<number> {
  const { numUpdatedRows } = await transaction.updateTable("device_secrets").set({ sealed: null })
    .where(sql<boolean>`(product, device) in (select product, device from device_secrets
      where sealed is not null and product not in ${signedProducts(transaction)}
      limit ${SLICE_ROWS})`)
    .executeTakeFirstOrThrow();
  return Number(numUpdatedRows);
}

async function endOverlaps(
  transaction: Transaction<RegistryTables>,
  nowMs: number,
): Promise<number> {
  const { numDeletedRows } = await transaction.deleteFrom("device_secrets").where(
    sql<boolean>`(product, device) in (select product, device from device_secrets
      where ends_at <= ${nowMs} limit ${SLICE_ROWS})`,
  ).executeTakeFirstOrThrow();
  return Number(numDeletedRows);
}
