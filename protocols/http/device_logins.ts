/**
 * Logins of devices by their whole `Authorization` header, Basic or Bearer, so that a device that
 * posts often is hashed once a minute. Bounded: the least recently used entry is forgotten first. A
 * revoked device leaves at once; the minute is for revocations that nobody could tell.
 */
import { type Address, type Partition, partitionOf } from "../../runtime/actor/address.ts";
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { IngressTarget } from "../../runtime/log/ingress.ts";
import { packHead } from "../../runtime/log/record.ts";
import type { DeviceDirectory } from "../../actors/device/directory.ts";
import type { DeviceTokens } from "../../actors/device/device_tokens.ts";
import { deviceAddress } from "../../actors/device/messages.ts";

/** A device that may post: where its records go. */
export interface DevicePoster {
  readonly product: string;
  readonly device: string;
  /** `{product}/{device}`. */
  readonly key: string;
  readonly target: IngressTarget;
}

export type PosterResult =
  | { readonly ok: true; readonly poster: DevicePoster }
  /** `expired`: a token that was right once, so that nobody is guessing. */
  | { readonly ok: false; readonly code: "bad_credentials" | "disabled" | "expired" };

export interface DeviceLoginsOptions {
  readonly directory: Pick<DeviceDirectory, "login" | "onRevoked">;
  readonly tokens: Pick<DeviceTokens, "check">;
  readonly clock: Clock;
  readonly partitionOf?: (address: Address) => Partition;
  readonly entriesMax?: number;
}

interface Entry {
  readonly poster: DevicePoster;
  readonly untilMs: number;
}

type Checked =
  /** How long it holds at most. */
  | { readonly ok: true; readonly leftMs: number }
  | (PosterResult & { readonly ok: false });

const KEPT_MS = 60_000;
/** Longer headers are refused unread: names are bounded to 64 characters, secrets to 256. */
const HEADER_CHARACTERS_MAX = 1_024;
const DECODER = new TextDecoder("utf-8", { fatal: true });
const WRONG = { ok: false, code: "bad_credentials" } as const;

export class DeviceLogins implements Disposable {
  readonly #options: DeviceLoginsOptions;
  readonly #entriesMax: number;
  readonly #partitionOf: (address: Address) => Partition;
  readonly #byHeader = new Map<string, Entry>();
  readonly #headerOf = new Map<string, string>();
  readonly #unlisten: () => void;

  constructor(options: DeviceLoginsOptions) {
    this.#options = options;
    this.#partitionOf = options.partitionOf ?? partitionOfDevice;
    this.#entriesMax = options.entriesMax ?? LIMITS.httpLoginsCachedMax;
    this.#unlisten = options.directory.onRevoked((product, device) =>
      this.#forget(`${product}/${device}`)
    );
  }

  get size(): number {
    return this.#byHeader.size;
  }

  /** The device of a header that was accepted before; no hashing. */
  known(header: string): DevicePoster | undefined {
    const entry = this.#byHeader.get(header);
    if (entry === undefined || entry.untilMs <= this.#options.clock.monotonicMs()) return undefined;
    this.#byHeader.delete(header); // To the young end of the map.
    this.#byHeader.set(header, entry);
    return entry.poster;
  }

  /** Checks a header for the device of the path. Anything wrong is the one answer. */
  login(header: string, product: string, device: string): PosterResult {
    const token = bearerOf(header);
    const checked = token === undefined
      ? this.#checkSecret(header, product, device)
      : this.#checkToken(token, product, device);
    if (!checked.ok) return checked;
    const key = `${product}/${device}`;
    const address = deviceAddress(product, device);
    const head = packHead({ to: address, budget: LIMITS.budgetPerRootRecord });
    const target = { partition: this.#partitionOf(address), head };
    const poster = { product, device, key, target };
    this.#remember(header, poster, Math.min(KEPT_MS, checked.leftMs));
    return { ok: true, poster };
  }

  [Symbol.dispose](): void {
    this.#unlisten();
    this.#byHeader.clear();
    this.#headerOf.clear();
  }

  #checkSecret(header: string, product: string, device: string): Checked {
    // A wrong or missing secret is looked up all the same, so that all refusals take one time.
    const secret = secretOf(header, `${product}/${device}:`) ?? "";
    const result = this.#options.directory.login(product, device, secret);
    if (!result.ok) return result;
    return secret === "" ? WRONG : { ok: true, leftMs: Infinity };
  }

  #checkToken(token: string, product: string, device: string): Checked {
    const result = this.#options.tokens.check(product, device, token);
    if (!result.ok) return { ok: false, code: result.code };
    return { ok: true, leftMs: result.expiresAtMs - this.#options.clock.nowMs() };
  }

  #remember(header: string, poster: DevicePoster, forMs: number): void {
    this.#forget(poster.key); // One header a device: the last one that was right.
    if (this.#byHeader.size >= this.#entriesMax) {
      this.#forget(this.#byHeader.values().next().value!.poster.key);
    }
    this.#byHeader.set(header, { poster, untilMs: this.#options.clock.monotonicMs() + forMs });
    this.#headerOf.set(poster.key, header);
  }

  #forget(name: string): void {
    const header = this.#headerOf.get(name);
    if (header === undefined) return;
    this.#headerOf.delete(name);
    this.#byHeader.delete(header);
  }
}

export function isBearer(header: string): boolean {
  return /^bearer /i.test(header);
}

function bearerOf(header: string): string | undefined {
  if (!isBearer(header)) return undefined;
  return header.length > HEADER_CHARACTERS_MAX ? "" : header.slice("bearer ".length).trim();
}

/** The secret of `Basic base64(user:secret)`; undefined if it is not for this user. */
function secretOf(header: string, userAndColon: string): string | undefined {
  if (header.length > HEADER_CHARACTERS_MAX || !/^basic /i.test(header)) return undefined;
  let text: string;
  try {
    const binary = atob(header.slice(6).trim());
    text = DECODER.decode(Uint8Array.from(binary, (character) => character.charCodeAt(0)));
  } catch {
    return undefined;
  }
  return text.startsWith(userAndColon) ? text.slice(userAndColon.length) : undefined;
}

function partitionOfDevice(address: Address): Partition {
  return partitionOf({ group: "things" }, address.slice("device/".length));
}
