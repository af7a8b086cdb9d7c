/**
 * Tokens by which devices log in over HTTP for an hour, in place of their secret. Nothing is stored: a
 * token is sealed with the master key over its device, its end, the hash of the device's secret and
 * the time of its creation. With another secret it is none any more, nor for a device that is made
 * again under the same name.
 */
import { Buffer } from "node:buffer";
import type { Clock } from "../../runtime/clock.ts";
import { HTTP_LIMITS } from "../../runtime/http_limits.ts";
import type { Keyring } from "../../runtime/secret/keyring.ts";
import type { PointReader, SqlRow } from "../../runtime/store/relational_store.ts";
import { parseCredentials } from "../product/credentials.ts";

export interface DeviceToken {
  readonly token: string;
  /** Epoch milliseconds. */
  readonly expiresAtMs: number;
}

export type TokenResult =
  | { readonly ok: true; readonly expiresAtMs: number }
  /** `expired`: it was one of this device. */
  | { readonly ok: false; readonly code: "bad_credentials" | "disabled" | "expired" };

/** Its end in base 36, and the seal with the id of its key. */
const TOKEN = /^dt\.([0-9a-z]{1,9})\.([0-9a-f]{12}\.[A-Za-z0-9_-]{43})$/;
const PURPOSE = "device token";
const WRONG: TokenResult = { ok: false, code: "bad_credentials" };
const ENCODER = new TextEncoder();

export class DeviceTokens {
  readonly #row: (product: string, device: string) => SqlRow | undefined;
  readonly #keyring: Pick<Keyring, "mac" | "isMac">;
  readonly #clock: Clock;

  constructor(options: {
    readonly reader: PointReader;
    readonly keyring: Pick<Keyring, "mac" | "isMac">;
    readonly clock: Clock;
  }) {
    this.#row = options.reader.prepareOne(
      `select d.secret_hash, d.enabled, d.created_at, p.credentials, old.ends_at
       from devices d join products p on p.key = d.product
       left join device_secrets old on old.product = d.product and old.device = d.device
       where d.product = ? and d.device = ?`,
    );
    this.#keyring = options.keyring;
    this.#clock = options.clock;
  }

  /** For a device that has just proved its secret; undefined: it is gone meanwhile. */
  issue(product: string, device: string): DeviceToken | undefined {
    const row = this.#row(product, device);
    if (row === undefined) return undefined;
    const nowMs = this.#clock.nowMs();
    const oldEndsAtMs = Number(row.ends_at ?? 0);
    // It may have come by the old secret: what that opened ends with it.
    const untilMs = oldEndsAtMs > nowMs ? oldEndsAtMs : Infinity;
    const expiresAtMs = Math.min(untilMs, nowMs + HTTP_LIMITS.tokenMs);
    const mac = this.#keyring.mac(PURPOSE, sealedOf(product, device, expiresAtMs, row));
    return { token: `dt.${expiresAtMs.toString(36)}.${mac}`, expiresAtMs };
  }

  /** The same look-up and the same hash whether the device is there or not. */
  check(product: string, device: string, token: string): TokenResult {
    const [, end = "", mac = ""] = TOKEN.exec(token) ?? [];
    if (mac === "") return WRONG;
    const expiresAtMs = parseInt(end, 36);
    const row = this.#row(product, device);
    const sealed = sealedOf(product, device, expiresAtMs, row);
    if (!this.#keyring.isMac(mac, PURPOSE, sealed) || row === undefined) return WRONG;
    if (!parseCredentials(String(row.credentials)).includes("secret")) return WRONG;
    if (expiresAtMs <= this.#clock.nowMs()) return { ok: false, code: "expired" };
    return row.enabled === 1 ? { ok: true, expiresAtMs } : { ok: false, code: "disabled" };
  }
}

function sealedOf(
  product: string,
  device: string,
  expiresAtMs: number,
  row: SqlRow | undefined,
): Uint8Array {
  const hash = row?.secret_hash as Uint8Array | undefined;
  const secret = hash === undefined ? "" : Buffer.from(hash).toString("hex");
  const createdAtMs = Number(row?.created_at ?? 0);
  return ENCODER.encode(JSON.stringify([product, device, expiresAtMs, createdAtMs, secret]));
}
