/** Devices of the registry: who may connect, and what people call it. Secrets are kept as SHA-256. */
import { type Clock, waitMs } from "../../runtime/clock.ts";
import { UnavailableError } from "../../runtime/errors.ts";
import type { Random } from "../../runtime/random.ts";
import type { Keyring } from "../../runtime/secret/keyring.ts";
import type { Transaction } from "../../runtime/store/relational_store.ts";
import { noteAudit } from "../audit/audit_scope.ts";
import { versionRefusal } from "../registry/conditions.ts";
import { accepted, invalid, type Outcome, refused } from "../registry/outcome.ts";
import type { Alongside, RegistryStore } from "../registry/registry_store.ts";
import type { DevicesTable, RegistryTables } from "../registry/tables.ts";
import { type ChangeKind, type ChangesFollower, recordChange } from "./changes.ts";
import { createMany, type ManyCreated } from "./device_import.ts";
import { isRemovalPending } from "./device_removals.ts";
import {
  type Device,
  deviceIssues,
  deviceOf,
  type DevicePatch,
  type DeviceWithSecret,
  distinct,
  fieldIssues,
  type NewDevice,
  newRow,
  overlapIssues,
  secretIssues,
} from "./device_row.ts";
import {
  type DeviceCredential,
  DeviceSecrets,
  overlapRefusal,
  replaceOld,
} from "./device_secrets.ts";
import { createSecret, hashSecret, isSameHash } from "./secret.ts";

export type { Device, DevicePatch, DeviceWithSecret, NewDevice };

export interface RotateOptions {
  /** How long the old secret goes on; default 0. */
  readonly overlapMs?: number;
  /** Brought along; default: a random one. */
  readonly secret?: string;
  readonly expectedVersion?: number;
  readonly alongside?: Alongside<DeviceWithSecret> | undefined;
}

export interface DeviceRegistryOptions {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly changes: ChangesFollower;
  readonly keyring: Pick<Keyring, "seal" | "open">;
}

/** Longest that a creation waits for the removal of its namesake, and how often it looks. */
const REMOVAL_MS_MAX = 2_000;
const REMOVAL_LOOK_MS = 20;

export class DeviceRegistry {
  readonly #store: RegistryStore;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #changes: ChangesFollower;
  readonly #secrets: DeviceSecrets;

  constructor(options: DeviceRegistryOptions) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#changes = options.changes;
    this.#secrets = new DeviceSecrets(options.store, options.keyring);
  }

  /**
   * Refuses with `invalid`, `not_found` (the product) or `exists`.
   * @throws {UnavailableError} The device of this name that was deleted is still in the log.
   */
  async create(
    input: NewDevice,
    alongside?: Alongside<DeviceWithSecret>,
  ): Promise<Outcome<DeviceWithSecret>> {
    const issues = deviceIssues(input);
    if (issues.length > 0) return invalid(issues);
    noteAudit({ object: `devices/${input.product}/${input.device}` });
    const secret = input.secret ?? createSecret(this.#random);
    const sealed = await this.#secrets.seal(input.product, input.device, secret);
    const nowMs = this.#clock.nowMs();
    const untilMs = this.#clock.monotonicMs() + REMOVAL_MS_MAX;
    for (;;) {
      const outcome = await this.#store.db.transaction().execute((transaction) =>
        insertDevice(transaction, input, { secret, sealed }, nowMs, alongside)
      );
      if (outcome !== undefined) return outcome;
      if (this.#clock.monotonicMs() >= untilMs) {
        const address = `${input.product}/${input.device}`;
        throw new UnavailableError(
          "log",
          `Cannot create device "${address}": the one deleted before is still being removed`,
        );
      }
      await waitMs(this.#clock, REMOVAL_LOOK_MS);
    }
  }

  /**
   * Creates devices of a project: all of the inputs that are not there, in one transaction. Inputs are
   * valid and have names of their own.
   * @throws {UnavailableError} A device of such a name that was deleted is still in the log.
   */
  async createMany(
    project: string,
    inputs: readonly NewDevice[],
    alongside?: Alongside<ManyCreated>,
  ): Promise<ManyCreated> {
    const options = {
      store: this.#store,
      clock: this.#clock,
      random: this.#random,
      secrets: this.#secrets,
    };
    return await createMany(options, project, inputs, alongside);
  }

  async get(product: string, device: string): Promise<Device | undefined> {
    const row = await this.#row(product, device);
    return row === undefined ? undefined : deviceOf(row);
  }

  /** Those of the keys `{product}/{device}`, at most 500, that are there, in the project. */
  async find(
    keys: readonly string[],
    { project }: { readonly project: string },
  ): Promise<Device[]> {
    const found: Device[] = [];
    for (const [product, ofProduct] of Map.groupBy(keys, (key) => key.slice(0, key.indexOf("/")))) {
      const names = ofProduct.map((key) => key.slice(product.length + 1));
      const rows = await this.#store.db.selectFrom("devices").selectAll()
        .where("product", "=", product).where("device", "in", names)
        .where("project", "=", project).execute();
      found.push(...rows.map(deviceOf));
    }
    return found;
  }

  /** Refuses with `invalid`, `not_found` or `stale`. */
  async update(
    product: string,
    device: string,
    patch: DevicePatch,
    expectedVersion?: number,
  ): Promise<Outcome<Device>> {
    const issues = fieldIssues(patch);
    if (issues.length > 0) return invalid(issues);
    const changed = await this.#change(product, device, expectedVersion, (row) => {
      const enabled = patch.enabled === undefined ? row.enabled : Number(patch.enabled);
      const kind = enabled === 1 ? "device_enabled" : "device_disabled";
      return {
        row: {
          ...row,
          name: patch.name ?? row.name,
          tags: patch.tags === undefined ? row.tags : JSON.stringify(distinct(patch.tags)),
          enabled,
        },
        ...(enabled === row.enabled ? undefined : { kind }),
      };
    });
    return changed!;
  }

  /**
   * The old secret ends at once, and with it the session of the device, or goes on beside the new one
   * for `overlapMs`. Refuses as `update`, and with `in_use` at `secretOverlapsMax`.
   */
  async rotateSecret(
    product: string,
    device: string,
    options: RotateOptions = {},
  ): Promise<Outcome<DeviceWithSecret>> {
    const { overlapMs = 0, expectedVersion, alongside } = options;
    const issues = [...secretIssues(options.secret), ...overlapIssues(overlapMs)];
    if (issues.length > 0) return invalid(issues);
    const secret = options.secret ?? createSecret(this.#random);
    for (;;) { // Sealing takes its time: a row whose secret is another one meanwhile is read again.
      const stored = await this.#row(product, device);
      if (stored === undefined) return versionRefusal("device", `${product}/${device}`, stored, 0)!;
      const secret_sealed = await this.#secrets.seal(product, device, secret);
      const nowMs = this.#clock.nowMs();
      const endsAt = nowMs + overlapMs;
      const old = overlapMs === 0 ? undefined : await this.#secrets.asOld(stored, nowMs, endsAt);
      const previousEndsAt = old === undefined ? null : endsAt;
      const decide = (row: DevicesTable) => {
        if (!isSameHash(row.secret_hash, stored.secret_hash)) return undefined;
        const next = { ...row, secret_hash: hashSecret(secret), secret_sealed, secret_at: nowMs };
        const kind: ChangeKind = old === undefined ? "device_rotated" : "device_rotating";
        return { row: next, kind };
      };
      const beside: Alongside<Device> = async (transaction, device) => {
        await replaceOld(transaction, product, device.device, old);
        await alongside?.(transaction, { device, secret, previousEndsAt });
      };
      const refusal = old === undefined ? undefined : await overlapRefusal(this.#store);
      if (refusal !== undefined) return refusal;
      const changed = await this.#change(product, device, expectedVersion, decide, beside);
      if (changed === undefined) continue;
      return changed.ok ? accepted({ device: changed.value, secret, previousEndsAt }) : changed;
    }
  }

  /** Its secrets, without themselves. Undefined: there is no such device. */
  async credentials(
    product: string,
    device: string,
  ): Promise<readonly DeviceCredential[] | undefined> {
    return await this.#secrets.list(product, device, this.#clock.nowMs());
  }

  /** Secrets that a signature of the device may have been made with now, the current one first. */
  async signingSecrets(product: string, device: string): Promise<readonly string[]> {
    return await this.#secrets.readable(product, device, this.#clock.nowMs());
  }

  /**
   * True if it was there. Refuses with `stale`. The device's actor learns of it by a message
   * `removed`, sent by who follows the changes (`device_removals.ts`).
   */
  async delete(
    product: string,
    device: string,
    expectedVersion?: number,
  ): Promise<Outcome<boolean>> {
    const atMs = this.#clock.nowMs();
    const outcome = await this.#store.db.transaction().execute(async (transaction) => {
      const row = await storedRow(transaction, product, device);
      if (row === undefined) return accepted(false);
      const refusal = versionRefusal("device", `${product}/${device}`, row, expectedVersion);
      if (refusal !== undefined) return refusal;
      await transaction.deleteFrom("devices")
        .where("product", "=", product).where("device", "=", device).execute();
      await writeTags(transaction, product, device, []);
      await transaction.deleteFrom("group_devices")
        .where("product", "=", product).where("device", "=", device).execute();
      await replaceOld(transaction, product, device, undefined);
      await recordChange(transaction, { kind: "device_deleted", product, device, atMs });
      return accepted(true);
    });
    this.#changes.catchUp();
    return outcome;
  }

  async #row(product: string, device: string): Promise<DevicesTable | undefined> {
    return await this.#store.db.selectFrom("devices").selectAll()
      .where("product", "=", product).where("device", "=", device).executeTakeFirst();
  }

  /** Undefined: `decide` would not, and nothing is changed. */
  async #change(
    product: string,
    device: string,
    expectedVersion: number | undefined,
    decide: (
      row: DevicesTable,
    ) => { readonly row: DevicesTable; readonly kind?: ChangeKind } | undefined,
    alongside?: Alongside<Device>,
  ): Promise<Outcome<Device> | undefined> {
    const atMs = this.#clock.nowMs();
    const outcome = await this.#store.db.transaction().execute(async (transaction) => {
      const stored = await storedRow(transaction, product, device);
      const refusal = versionRefusal("device", `${product}/${device}`, stored, expectedVersion);
      if (stored === undefined || refusal !== undefined) return refusal!;
      const decided = decide(stored);
      if (decided === undefined) return undefined;
      const { row, kind } = decided;
      const next = { ...row, version: stored.version + 1, updated_at: atMs };
      await transaction.updateTable("devices").set(next)
        .where("product", "=", product).where("device", "=", device).execute();
      if (row.tags !== stored.tags) {
        await writeTags(transaction, product, device, JSON.parse(row.tags));
      }
      if (kind !== undefined) await recordChange(transaction, { kind, product, device, atMs });
      await alongside?.(transaction, deviceOf(next));
      return accepted(deviceOf(next));
    });
    this.#changes.catchUp();
    return outcome;
  }
}

/** Undefined: a device of this name is still being removed. */
async function insertDevice(
  transaction: Transaction<RegistryTables>,
  input: NewDevice,
  { secret, sealed }: { readonly secret: string; readonly sealed: string | null },
  nowMs: number,
  alongside: Alongside<DeviceWithSecret> | undefined,
): Promise<Outcome<DeviceWithSecret> | undefined> {
  const product = await transaction.selectFrom("products").select("project")
    .where("key", "=", input.product).executeTakeFirst();
  if (product === undefined) {
    return refused("not_found", `Cannot find product "${input.product}"`);
  }
  const row = newRow(input, product.project, secret, nowMs, sealed);
  if (await storedRow(transaction, row.product, row.device) !== undefined) {
    const address = `${row.product}/${row.device}`;
    return refused("exists", `Cannot create device "${address}": it exists`);
  }
  if (await isRemovalPending(transaction, row.product, row.device)) return undefined;
  await transaction.insertInto("devices").values(row).execute();
  await writeTags(transaction, row.product, row.device, JSON.parse(row.tags));
  const made = { device: deviceOf(row), secret, previousEndsAt: null };
  await alongside?.(transaction, made);
  return accepted(made);
}

function storedRow(
  transaction: Transaction<RegistryTables>,
  product: string,
  device: string,
): Promise<DevicesTable | undefined> {
  return transaction.selectFrom("devices").selectAll()
    .where("product", "=", product).where("device", "=", device).executeTakeFirst();
}

async function writeTags(
  transaction: Transaction<RegistryTables>,
  product: string,
  device: string,
  tags: readonly string[],
): Promise<void> {
  await transaction.deleteFrom("device_tags")
    .where("product", "=", product).where("device", "=", device).execute();
  if (tags.length === 0) return;
  const rows = tags.map((tag) => ({ tag, product, device }));
  await transaction.insertInto("device_tags").values(rows).execute();
}
