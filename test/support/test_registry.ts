/** A registry in a folder of its own, which is gone with it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ChangesFollower, startChangesFollower } from "../../actors/device/changes.ts";
import { DeviceRegistry } from "../../actors/device/registry.ts";
import { Groups } from "../../actors/group/groups.ts";
import { Products } from "../../actors/product/products.ts";
import { openRegistryStore, type RegistryStore } from "../../actors/registry/registry_store.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { seededRandom } from "../../runtime/random.ts";
import { Keyring } from "../../runtime/secret/keyring.ts";
import { createMasterKey } from "../../runtime/secret/master_key.ts";
import { createManualClock, type ManualClock } from "./manual_clock.ts";

export interface TestRegistry extends AsyncDisposable {
  readonly folder: string;
  readonly path: string;
  readonly clock: ManualClock;
  readonly store: RegistryStore;
  readonly changes: ChangesFollower;
  readonly keyring: Keyring;
  readonly products: Products;
  readonly devices: DeviceRegistry;
  readonly groups: Groups;
}

export const TEST_NOW_MS = 1_700_000_000_000;

export async function openTestRegistry(): Promise<TestRegistry> {
  const folder = await mkdtemp(join(tmpdir(), "roost-registry-"));
  const path = join(folder, "registry.db");
  const clock = createManualClock(TEST_NOW_MS);
  const store = await openRegistryStore({ path, clock, logger: silentLogger });
  const changes = startChangesFollower({ store, clock, logger: silentLogger, pollMs: 1_000 });
  const random = seededRandom(1);
  const keyring = new Keyring([createMasterKey(seededRandom(2))], random);
  return {
    folder,
    path,
    clock,
    store,
    changes,
    keyring,
    products: new Products({ store, clock, changes }),
    groups: new Groups({ store, clock, random: seededRandom(3) }),
    devices: new DeviceRegistry({ store, clock, random, changes, keyring }),
    async [Symbol.asyncDispose]() {
      await changes[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
