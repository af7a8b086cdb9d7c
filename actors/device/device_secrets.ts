/**
 * Secrets of devices as they are kept: SHA-256 always; readable, sealed under the master key, only
 * where the product allows signed logins. While a secret is changed with an overlap, the old one
 * stands in `device_secrets` until its end; a device has at most one old one.
 */
import { LIMITS } from "../../runtime/limits.ts";
import type { Keyring, SealedPlace } from "../../runtime/secret/keyring.ts";
import type { Transaction } from "../../runtime/store/relational_store.ts";
import { parseCredentials } from "../product/credentials.ts";
import { type Refusal, refused } from "../registry/outcome.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import type { DeviceSecretsTable, DevicesTable, RegistryTables } from "../registry/tables.ts";

/** One secret of a device, without itself. */
export interface DeviceCredential {
  readonly kind: "secret";
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** Null: it is the current one. */
  readonly endsAt: number | null;
  /** Kept sealed, for signed logins. */
  readonly isReadable: boolean;
}

export class DeviceSecrets {
  readonly #store: RegistryStore;
  readonly #keyring: Pick<Keyring, "seal" | "open">;

  constructor(store: RegistryStore, keyring: Pick<Keyring, "seal" | "open">) {
    this.#store = store;
    this.#keyring = keyring;
  }

  /** Null: the product allows no signed logins, or is not there. */
  async seal(product: string, device: string, secret: string): Promise<string | null> {
    const row = await this.#store.db.selectFrom("products").select("credentials")
      .where("key", "=", product).executeTakeFirst();
    if (row === undefined || !parseCredentials(row.credentials).includes("signed")) return null;
    return await this.#keyring.seal(secret, currentPlace(product, device));
  }

  /** The current secret as an old one, to be stored beside a new one. */
  async asOld(row: DevicesTable, nowMs: number, endsAtMs: number): Promise<DeviceSecretsTable> {
    const { product, device, secret_sealed } = row;
    const sealed = secret_sealed === null ? null : await this.#keyring.seal(
      await this.#keyring.open(secret_sealed, currentPlace(product, device)),
      oldPlace(product, device),
    );
    return {
      product,
      device,
      secret_hash: row.secret_hash,
      sealed,
      created_at: row.secret_at ?? row.created_at,
      rotated_at: nowMs,
      ends_at: endsAtMs,
    };
  }

  /** Readable secrets that are valid now, the current one first: for signed logins. */
  async readable(product: string, device: string, nowMs: number): Promise<readonly string[]> {
    const current = await this.#store.db.selectFrom("devices").select("secret_sealed")
      .where("product", "=", product).where("device", "=", device).executeTakeFirst();
    const old = await this.#oldRow(product, device, nowMs);
    const found: string[] = [];
    if (typeof current?.secret_sealed === "string") {
      const place = currentPlace(product, device);
      found.push(await this.#keyring.open(current.secret_sealed, place));
    }
    if (typeof old?.sealed === "string") {
      found.push(await this.#keyring.open(old.sealed, oldPlace(product, device)));
    }
    return found;
  }

  /** Undefined: there is no such device. */
  async list(
    product: string,
    device: string,
    nowMs: number,
  ): Promise<readonly DeviceCredential[] | undefined> {
    const row = await this.#store.db.selectFrom("devices").selectAll()
      .where("product", "=", product).where("device", "=", device).executeTakeFirst();
    if (row === undefined) return undefined;
    const old = await this.#oldRow(product, device, nowMs);
    const current: DeviceCredential = {
      kind: "secret",
      createdAt: row.secret_at ?? row.created_at,
      endsAt: null,
      isReadable: row.secret_sealed !== null,
    };
    if (old === undefined) return [current];
    const { created_at: createdAt, ends_at: endsAt, sealed } = old;
    return [current, { kind: "secret", createdAt, endsAt, isReadable: sealed !== null }];
  }

  async #oldRow(
    product: string,
    device: string,
    nowMs: number,
  ): Promise<DeviceSecretsTable | undefined> {
    return await this.#store.db.selectFrom("device_secrets").selectAll()
      .where("product", "=", product).where("device", "=", device)
      .where("ends_at", ">", nowMs).executeTakeFirst();
  }
}

/** Puts the old secret beside the new one, or takes away what was there. */
export async function replaceOld(
  transaction: Transaction<RegistryTables>,
  product: string,
  device: string,
  old: DeviceSecretsTable | undefined,
): Promise<void> {
  await transaction.deleteFrom("device_secrets")
    .where("product", "=", product).where("device", "=", device).execute();
  if (old !== undefined) await transaction.insertInto("device_secrets").values(old).execute();
}

/** Why another overlap is refused. */
export async function overlapRefusal(
  { db }: RegistryStore,
): Promise<Refusal | undefined> {
  const max = LIMITS.secretOverlapsMax;
  const counted = db.selectFrom("device_secrets").select("device").limit(max + 1);
  const { count } = await db.selectFrom(counted.as("counted"))
    .select((select) => select.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
  if (Number(count) < max) return undefined;
  return refused("in_use", `Cannot keep another old secret: secretOverlapsMax is ${max}`);
}

export function currentPlace(product: string, device: string): SealedPlace {
  return { table: "devices", row: [product, device], column: "secret_sealed" };
}

export function oldPlace(product: string, device: string): SealedPlace {
  return { table: "device_secrets", row: [product, device], column: "sealed" };
}
