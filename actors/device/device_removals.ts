/**
 * Removes each device that was deleted from the log: `removed` to its actor, and the rows that
 * gateways keep of it, also after a crash after the delete. Its position among the changes is
 * durable, and moves only after the removal is. A device of the same name is not made before
 * (`isRemovalPending`), so that nothing of the new one can be taken for the old one's.
 */
import { startBackgroundTask } from "../../runtime/background_task.ts";
import type { Clock } from "../../runtime/clock.ts";
import { messageOf } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Transaction } from "../../runtime/store/relational_store.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import type { RegistryTables } from "../registry/tables.ts";
import type { ChangesFollower } from "./changes.ts";
import type { DeviceMessage } from "./messages.ts";

export interface DeviceRemovalsOptions {
  readonly store: RegistryStore;
  readonly changes: ChangesFollower;
  readonly clock: Clock;
  readonly logger: Logger;
  /**
   * Sends `REMOVED` to `device/{product}/{device}` and deletes the rows of gateways in the same
   * append; resolves when it is durable.
   */
  readonly remove: (product: string, device: string) => Promise<void>;
}

export interface DeviceRemovals extends AsyncDisposable {
  /** Resolves when every device deleted up to now is removed, or the rest is tried again later. */
  idle(): Promise<void>;
}

export const REMOVED: Uint8Array = new TextEncoder().encode(
  JSON.stringify({ type: "removed" } satisfies DeviceMessage),
);
const FOLLOWER = "device_removals";
const PAGE_ROWS = 100;
const STRIDE = 1_000;
const RETRY_MS = 1_000;

export function startDeviceRemovals(options: DeviceRemovalsOptions): DeviceRemovals {
  const { clock, logger, changes } = options;
  const task = startBackgroundTask({
    clock,
    pass: (isStopping) => removeDeleted(options, isStopping).then(() => Infinity),
    onFault: (fault) =>
      logger.warn("deleted devices could not be removed", { fault: messageOf(fault) }),
    retryMs: RETRY_MS,
  });
  const unfollow = changes.onChange((change) => {
    if (change.kind === "device_deleted" || change.kind === "reset") task.wake();
  });
  return {
    idle: task.idle,
    async [Symbol.asyncDispose]() {
      unfollow();
      await task[Symbol.asyncDispose]();
    },
  };
}

async function removeDeleted(
  { store, remove, changes }: DeviceRemovalsOptions,
  isStopping: () => boolean,
): Promise<void> {
  const stored = await store.db.selectFrom("followers").select("position")
    .where("name", "=", FOLLOWER).executeTakeFirst();
  if (stored === undefined) {
    await store.db.insertInto("followers").values({ name: FOLLOWER, position: 0 }).execute();
  }
  let position = stored?.position ?? 0;
  while (!isStopping()) {
    const seen = changes.position;
    const rows = await store.db.selectFrom("changes").select(["id", "product", "device"])
      .where("id", ">", position).where("kind", "=", "device_deleted")
      .orderBy("id").limit(PAGE_ROWS).execute();
    // Other changes move the position in strides, since they can be trimmed only behind it.
    if (rows.length === 0 && seen < position + STRIDE) return;
    for (const { product, device } of rows) await remove(product, device);
    position = rows.at(-1)?.id ?? seen;
    await store.db.updateTable("followers").set({ position })
      .where("name", "=", FOLLOWER).execute();
  }
}

/** Those of the devices whose namesake was deleted and is not removed from the log yet. */
export async function pendingRemovals<Name extends { product: string; device: string }>(
  transaction: Transaction<RegistryTables>,
  names: readonly Name[],
): Promise<readonly Name[]> {
  const follower = await transaction.selectFrom("followers").select("position")
    .where("name", "=", FOLLOWER).executeTakeFirst();
  if (follower === undefined || names.length === 0) return [];
  const deleted = await transaction.selectFrom("changes").select(["product", "device"])
    .where("id", ">", follower.position).where("kind", "=", "device_deleted")
    .where("device", "in", names.map(({ device }) => device)).execute();
  const pending = new Set(deleted.map(({ product, device }) => `${product}/${device}`));
  return names.filter(({ product, device }) => pending.has(`${product}/${device}`));
}

/** Whether a device of this name was deleted and is not removed from the log yet. */
export async function isRemovalPending(
  transaction: Transaction<RegistryTables>,
  product: string,
  device: string,
): Promise<boolean> {
  const follower = await transaction.selectFrom("followers").select("position")
    .where("name", "=", FOLLOWER).executeTakeFirst();
  if (follower === undefined) return false; // Nobody removes: a registry without a log.
  const deleted = await transaction.selectFrom("changes").select("id")
    .where("id", ">", follower.position).where("kind", "=", "device_deleted")
    .where("product", "=", product).where("device", "=", device)
    .limit(1).executeTakeFirst();
  return deleted !== undefined;
}
