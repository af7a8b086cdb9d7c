/**
 * Tells the actor of each device that was deleted: `removed`, also after a crash between the delete
 * and the message. Its position among the changes is durable, and moves only after the message is.
 *
 * The caller's duty: start it before gateways accept connections, so that the `removed` of a device
 * that was deleted and made again comes before its next `connected`.
 */
import type { Clock } from "../../runtime/clock.ts";
import { messageOf } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import type { ChangesFollower } from "./changes.ts";

export interface DeviceRemovalsOptions {
  readonly store: RegistryStore;
  readonly changes: ChangesFollower;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Sends `{"type":"removed"}` to `device/{product}/{device}`; resolves when it is durable. */
  readonly send: (product: string, device: string) => Promise<void>;
}

export interface DeviceRemovals extends AsyncDisposable {
  /** Resolves when every deletion up to now was told, or the rest has to be tried again later. */
  idle(): Promise<void>;
}

const FOLLOWER = "device_removals";
const PAGE_ROWS = 100;
const STRIDE = 1_000;
const RETRY_MS = 1_000;

export function startDeviceRemovals(options: DeviceRemovalsOptions): DeviceRemovals {
  const { clock, logger, changes } = options;
  let running: Promise<void> | undefined;
  let isAgain = false;
  let isStopping = false;
  let cancelRetry = () => {};

  const run = async () => {
    do {
      isAgain = false;
      try {
        await tellRemoved(options, () => isStopping);
      } catch (fault) {
        logger.warn("deleted devices could not be told", { fault: messageOf(fault) });
        cancelRetry();
        cancelRetry = clock.after(RETRY_MS, wake);
      }
    } while (isAgain && !isStopping);
    running = undefined;
  };
  const wake = () => {
    if (isStopping) return;
    isAgain = true;
    running ??= run();
  };
  const unfollow = changes.onChange((change) => {
    if (change.kind === "device_deleted" || change.kind === "reset") wake();
  });
  wake();
  return {
    idle: async () => {
      while (running !== undefined) await running;
    },
    async [Symbol.asyncDispose]() {
      isStopping = true;
      unfollow();
      cancelRetry();
      await running;
    },
  };
}

async function tellRemoved(
  { store, send, changes }: DeviceRemovalsOptions,
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
    for (const { product, device } of rows) await send(product, device);
    position = rows.at(-1)?.id ?? seen;
    await store.db.updateTable("followers").set({ position })
      .where("name", "=", FOLLOWER).execute();
  }
}
