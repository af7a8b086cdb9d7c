/**
 * What gateways ask of devices and products, answered synchronously: from memory, else by one point
 * lookup in the registry. Changes of the registry drop what is kept.
 */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { PointReader } from "../../runtime/store/relational_store.ts";
import { type CompiledModel, compileModel, type ProductMode } from "../product/compiled_model.ts";
import { quote } from "../registry/names.ts";
import { type CredentialKind, parseCredentials } from "../product/credentials.ts";
import type { ChangesFollower, FollowedChange } from "./changes.ts";
import type { DeviceDirectory, DeviceLogin, LoginResult, ValidatedValues } from "./directory.ts";
import type { Values } from "./messages.ts";
import { hashSecret, isSameHash } from "./secret.ts";
import { SecretOverlaps } from "./secret_overlaps.ts";

interface KnownDevice {
  readonly secretHash: Uint8Array;
  readonly login: DeviceLogin;
}

interface KnownProduct {
  readonly project: string;
  readonly credentials: readonly CredentialKind[];
  readonly model: CompiledModel;
  readonly lateDaysMax: number;
}

type RevokedListener = (product: string, device: string, reason: string) => void;

/** Compared with where there is no device, so that its time is the same. Nothing hashes to it. */
const NO_HASH = new Uint8Array(32);
const BAD_CREDENTIALS: LoginResult = { ok: false, code: "bad_credentials" };
const DISABLED: LoginResult = { ok: false, code: "disabled" };

export interface RegistryDirectory extends DeviceDirectory, Disposable {
  /** How devices of a product may prove who they are; empty: there is no such product. */
  credentialsOf(product: string): readonly CredentialKind[];
  /** Checks desired values: as `validate`, `null` removes, and the model must let it be written. */
  validateDesired(product: string, values: Values): ValidatedValues;
  /** Whether a service may be called: the product's model has it, or the product is open. */
  hasService(product: string, service: string): boolean;
}

export function createDeviceDirectory(
  options: {
    readonly reader: PointReader;
    readonly changes: ChangesFollower;
    readonly clock: Clock;
    readonly logger: Logger;
  },
): RegistryDirectory {
  return new SqlDirectory(options.reader, options.changes, options.clock, options.logger);
}

class SqlDirectory implements RegistryDirectory {
  readonly #deviceRow: ReturnType<PointReader["prepareOne"]>;
  readonly #overlapRow: ReturnType<PointReader["prepareOne"]>;
  readonly #productRow: ReturnType<PointReader["prepareOne"]>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #unfollow: () => void;
  readonly #devices = new Map<string, KnownDevice>();
  readonly #products = new Map<string, KnownProduct>();
  readonly #revoked = new Set<RevokedListener>();
  /** Devices that may be connected by an old secret, which ends. */
  readonly #overlaps: SecretOverlaps;

  constructor(reader: PointReader, changes: ChangesFollower, clock: Clock, logger: Logger) {
    this.#deviceRow = reader.prepareOne(
      `select d.secret_hash, d.enabled, p.credentials, old.secret_hash as old_hash, old.ends_at
       from devices d join products p on p.key = d.product
       left join device_secrets old on old.product = d.product and old.device = d.device
       where d.product = ? and d.device = ?`,
    );
    this.#overlapRow = reader.prepareOne(
      "select ends_at from device_secrets where product = ? and device = ?",
    );
    this.#productRow = reader.prepareOne(
      "select project, mode, model, late_days_max, credentials from products where key = ?",
    );
    this.#clock = clock;
    this.#logger = logger;
    this.#overlaps = new SecretOverlaps(clock, (product, device) => {
      this.#revoke(product, device, "device_rotated");
    });
    this.#unfollow = changes.onChange((change) => this.#apply(change));
  }

  login(product: string, device: string, secret: string): LoginResult {
    const key = `${product}/${device}`;
    const given = hashSecret(secret.slice(0, LIMITS.secretCharactersMax + 1));
    const known = this.#devices.get(key);
    const isKnown = isSameHash(known?.secretHash ?? NO_HASH, given);
    if (known !== undefined && isKnown) {
      this.#overlaps.forget(product, device);
      return { ok: true, login: known.login };
    }
    // Every failure makes the same lookup and the same three compares, known or not.
    const row = this.#deviceRow(product.slice(0, 65), device.slice(0, 65));
    const stored = (row?.secret_hash ?? NO_HASH) as Uint8Array;
    const isRight = isSameHash(stored, given);
    const endsAtMs = Number(row?.ends_at ?? 0);
    const isOld = isSameHash((row?.old_hash ?? NO_HASH) as Uint8Array, given) &&
      endsAtMs > this.#clock.nowMs();
    if (row === undefined || !(isRight || isOld)) return BAD_CREDENTIALS;
    if (!parseCredentials(String(row.credentials)).includes("secret")) return BAD_CREDENTIALS;
    if (row.enabled !== 1) return DISABLED;
    const login = { product, device };
    if (isRight) {
      this.#overlaps.forget(product, device);
      keep(this.#devices, key, { secretHash: stored, login }, LIMITS.loginCacheMax);
    } else this.#overlaps.remember(product, device, endsAtMs);
    return { ok: true, login };
  }

  loginByCertificate(product: string, device: string): LoginResult {
    const row = this.#deviceRow(product, device);
    const isAllowed = row !== undefined &&
      parseCredentials(String(row.credentials)).includes("x509");
    if (!isAllowed) return BAD_CREDENTIALS;
    return row.enabled === 1 ? { ok: true, login: { product, device } } : DISABLED;
  }

  credentialsOf(product: string): readonly CredentialKind[] {
    return this.#product(product)?.credentials ?? [];
  }

  projectOf(product: string): string | undefined {
    return this.#product(product)?.project;
  }

  validate(product: string, values: Values): ValidatedValues {
    const known = this.#product(product);
    return known === undefined ? unknownProduct(product) : known.model.validate(values);
  }

  validateDesired(product: string, values: Values): ValidatedValues {
    const known = this.#product(product);
    return known === undefined ? unknownProduct(product) : known.model.validateDesired(values);
  }

  accepts(product: string, values: Values): boolean {
    return this.#product(product)?.model.accepts(values) ?? false;
  }

  eventIssues(product: string, event: string, data: Json, path: string): readonly Issue[] {
    const known = this.#product(product);
    if (known === undefined) return unknownProduct(product).refused;
    return known.model.eventIssues(event, data, path);
  }

  callIssues(
    product: string,
    service: string,
    part: "input" | "output",
    value: Json,
  ): readonly Issue[] {
    const known = this.#product(product);
    if (known === undefined) return unknownProduct(product).refused;
    return known.model.callIssues(service, part, value);
  }

  hasService(product: string, service: string): boolean {
    return this.#product(product)?.model.hasService(service) ?? false;
  }

  lateDaysMax(product: string): number {
    return this.#product(product)?.lateDaysMax ?? LIMITS.lateDaysDefault;
  }

  onRevoked(listener: RevokedListener): () => void {
    this.#revoked.add(listener);
    return () => void this.#revoked.delete(listener);
  }

  [Symbol.dispose](): void {
    this.#unfollow();
    this.#overlaps[Symbol.dispose]();
    this.#revoked.clear();
  }

  #product(key: string): KnownProduct | undefined {
    const known = this.#products.get(key);
    if (known !== undefined) return known;
    const row = this.#productRow(key);
    if (row === undefined) return undefined; // Not kept: anybody can ask for any number of names.
    const model = row.model === null ? null : JSON.parse(String(row.model));
    const loaded = {
      project: String(row.project),
      credentials: parseCredentials(String(row.credentials)),
      model: compileModel(model, row.mode as ProductMode),
      lateDaysMax: Number(row.late_days_max),
    };
    keep(this.#products, key, loaded, LIMITS.modelCacheMax);
    return loaded;
  }

  #apply(change: FollowedChange): void {
    switch (change.kind) {
      case "reset":
        return this.#checkAll();
      case "product_changed":
      case "product_deleted":
        return this.#forgetProduct(change.product);
      case "device_rotating":
        this.#devices.delete(`${change.product}/${change.device}`);
        this.#overlap(change.product, change.device);
        return;
      case "device_enabled":
        this.#devices.delete(`${change.product}/${change.device}`);
        return;
      case "device_disabled":
      case "device_rotated":
      case "device_deleted":
        this.#devices.delete(`${change.product}/${change.device}`);
        this.#overlaps.forget(change.product, change.device);
        return this.#revoke(change.product, change.device, change.kind);
    }
  }

  /** With the devices that were let in: it may allow no secrets any more. */
  #forgetProduct(product: string): void {
    this.#products.delete(product);
    for (const [key, { login }] of this.#devices) {
      if (login.product === product) this.#devices.delete(key);
    }
  }

  /** Whoever is connected may have come by the secret that is an old one now. False: it has ended. */
  #overlap(product: string, device: string): boolean {
    const endsAtMs = Number(this.#overlapRow(product, device)?.ends_at ?? 0);
    if (endsAtMs <= this.#clock.nowMs()) return false;
    this.#overlaps.remember(product, device, endsAtMs);
    return true;
  }

  /** Changes were missed: everything that is kept is compared with the registry. */
  #checkAll(): void {
    this.#products.clear();
    const kept = [...this.#devices.values()];
    this.#devices.clear();
    for (const { login: { product, device }, secretHash } of kept) {
      const row = this.#deviceRow(product, device);
      const stored = row?.secret_hash as Uint8Array | undefined;
      if (stored === undefined) this.#revoke(product, device, "device_deleted");
      else if (row!.enabled !== 1) this.#revoke(product, device, "device_disabled");
      else if (!isSameHash(stored, secretHash) && !this.#overlap(product, device)) {
        this.#revoke(product, device, "device_rotated");
      }
    }
  }

  #revoke(product: string, device: string, reason: string): void {
    for (const listener of this.#revoked) {
      try {
        listener(product, device, reason);
      } catch (fault) {
        this.#logger.error("listener of revocations threw", { product, device, fault });
      }
    }
  }
}

/** Adds to a bounded cache; the oldest gives way. */
function keep<Value>(cache: Map<string, Value>, key: string, value: Value, max: number): void {
  if (cache.size >= max) cache.delete(cache.keys().next().value!);
  cache.set(key, value);
}

function unknownProduct(product: string): ValidatedValues {
  const message = `Cannot accept values: there is no product ${quote(product)}`;
  const refused: Issue[] = [{ path: "", rule: "product", message }];
  return { values: {}, refused };
}
