/**
 * The demo plant: its products and devices in the registry, and the devices themselves, which connect
 * to this node's MQTT port as any other would. Their secrets are made anew at each start and are in
 * memory only. What is not tagged `demo` is never touched, whatever its name.
 */
import type { Outcome } from "../../../actors/registry/outcome.ts";
import type { Clock } from "../../../runtime/clock.ts";
import { NotRetryableError } from "../../../runtime/errors.ts";
import type { Logger } from "../../../runtime/logger.ts";
import type { Random } from "../../../runtime/random.ts";
import type { DeviceLogin, LinkTarget } from "../link.ts";
import { DOORS } from "./door.ts";
import { METERS } from "./meter.ts";
import { PlantDevice } from "./plant_device.ts";
import type { PlantRegistry } from "./plant_registry.ts";
import { PUMPS } from "./pump.ts";
import type { Thing, ThingProduct } from "./thing.ts";

export interface PlantOptions extends PlantRegistry {
  readonly target: () => LinkTarget | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export const PLANT: readonly ThingProduct[] = [PUMPS, METERS, DOORS];
/** Name of the group at the top of the project that its devices are in. */
export const PLANT_GROUP = "Demo plant";
const TAG = "demo";
const RETENTION_DAYS = 7;

/** @throws {NotRetryableError} A product of such a key is there and is not the plant's. */
export async function startPlant(options: PlantOptions): Promise<AsyncDisposable> {
  const things: { readonly login: DeviceLogin; readonly thing: Thing }[] = [];
  for (const product of PLANT) {
    await ensureProduct(options, product);
    for (const each of product.devices) {
      const login = await ensureDevice(options, product, each);
      if (login !== undefined) things.push({ login, thing: product.create(options.random) });
    }
  }
  await ensureGroup(options, things.map(({ login }) => login));
  const running = things.map(({ login, thing }) =>
    new PlantDevice({
      ...options,
      login,
      thing,
      standing: async () => {
        const found = await options.devices.get(login.product, login.device);
        return found === undefined ? "gone" : found.enabled ? "enabled" : "disabled";
      },
      onGone: ({ product, device }) =>
        options.logger.info("demo device ended", { product, device }),
    })
  );
  options.logger.info("demo plant runs", { devices: running.length });
  return {
    [Symbol.asyncDispose]: () => {
      for (const device of running) device.stop();
      return Promise.resolve();
    },
  };
}

/** Twice is harmless. A product or group that has other devices stays. */
export async function removePlant(options: Omit<PlantOptions, "target">): Promise<void> {
  const { products, devices, logger } = options;
  for (const { key, name, devices: own } of PLANT) {
    const product = await products.get(key);
    if (product === undefined || product.name !== name) continue;
    for (const { device } of own) {
      const found = await devices.get(key, device);
      if (found?.tags.includes(TAG)) taken(await devices.delete(key, device));
    }
    const outcome = await products.delete(key);
    if (!outcome.ok) logger.warn("demo product stays", { product: key, why: outcome.message });
  }
  const group = await options.groups.find(PLANT_GROUP);
  if (group !== undefined && await options.groups.isEmpty(group)) {
    const outcome = await options.groups.delete(group);
    if (!outcome.ok) logger.warn("demo group stays", { why: outcome.message });
  }
  logger.info("demo plant removed");
}

/** The plant runs without its group, too: there may be as many as there can be. */
async function ensureGroup(
  { groups, logger }: PlantOptions,
  logins: readonly DeviceLogin[],
): Promise<void> {
  let id = await groups.find(PLANT_GROUP);
  if (id === undefined) {
    const made = await groups.create(PLANT_GROUP);
    if (!made.ok) return logger.warn("demo plant has no group", { why: made.message });
    id = made.value.id;
  }
  for (const { product, device } of logins) {
    const outcome = await groups.add(id, product, device);
    if (!outcome.ok) logger.warn("demo device is in no group", { device, why: outcome.message });
  }
}

async function ensureProduct(
  { products }: PlantOptions,
  { key, name, model }: ThingProduct,
): Promise<void> {
  const found = await products.get(key);
  if (found === undefined) {
    const fields = { key, name, model, mode: "strict" as const, retentionDays: RETENTION_DAYS };
    taken(await products.create(fields));
  } else if (found.name !== name) {
    throw new NotRetryableError(
      `Cannot run the demo plant: product "${key}" is there and is named "${found.name}"`,
    );
  }
}

/** Undefined: there is one of that name which is not the plant's. */
async function ensureDevice(
  { devices, logger }: PlantOptions,
  { key }: ThingProduct,
  each: ThingProduct["devices"][number],
): Promise<DeviceLogin | undefined> {
  const { device } = each;
  const found = await devices.get(key, device);
  if (found !== undefined && !found.tags.includes(TAG)) {
    logger.warn("demo device is left alone: it has no tag demo", { product: key, device });
    return undefined;
  }
  const { secret } = found === undefined
    ? taken(await devices.create({ ...each, product: key, tags: [...each.tags] }))
    : taken(await devices.rotateSecret(key, device));
  return { product: key, device, secret };
}

function taken<Value>(outcome: Outcome<Value>): Value {
  if (outcome.ok) return outcome.value;
  throw new NotRetryableError(`Cannot make the demo plant: ${outcome.message}`);
}
