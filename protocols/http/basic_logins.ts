/**
 * Logins of devices by their whole `Authorization: Basic` header, so that a device that posts often is
 * hashed once a minute. Bounded: the least recently used entry is forgotten first. A revoked device
 * leaves at once; the minute is for revocations that nobody could tell.
 */
import { type Address, type Partition, partitionOf } from "../../runtime/actor/address.ts";
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { IngressTarget } from "../../runtime/log/ingress.ts";
import { packHead } from "../../runtime/log/record.ts";
import type { DeviceDirectory, LoginResult } from "../../actors/device/directory.ts";
import { deviceAddress } from "../../actors/device/messages.ts";

/** A device that may post: where its records go. */
export interface DevicePoster {
  readonly product: string;
  readonly device: string;
  readonly target: IngressTarget;
}

export type PosterResult =
  | { readonly ok: true; readonly poster: DevicePoster }
  | { readonly ok: false; readonly code: "bad_credentials" | "disabled" };

interface Entry {
  readonly poster: DevicePoster;
  readonly untilMs: number;
}

const KEPT_MS = 60_000;
/** Longer headers are refused unread: names are bounded to 64 characters, secrets to 256. */
const HEADER_CHARACTERS_MAX = 1_024;
const DECODER = new TextDecoder("utf-8", { fatal: true });
const WRONG: PosterResult = { ok: false, code: "bad_credentials" };

export class BasicLogins implements Disposable {
  readonly #directory: DeviceDirectory;
  readonly #entriesMax: number;
  readonly #partitionOf: (address: Address) => Partition;
  readonly #clock: Clock;
  readonly #byHeader = new Map<string, Entry>();
  readonly #headerOf = new Map<string, string>();
  readonly #unlisten: () => void;

  constructor(
    directory: DeviceDirectory,
    clock: Clock,
    partitionOf: (address: Address) => Partition = partitionOfDevice,
    entriesMax: number = LIMITS.httpLoginsCachedMax,
  ) {
    this.#directory = directory;
    this.#clock = clock;
    this.#partitionOf = partitionOf;
    this.#entriesMax = entriesMax;
    this.#unlisten = directory.onRevoked((product, device) => this.#forget(`${product}/${device}`));
  }

  get size(): number {
    return this.#byHeader.size;
  }

  /** The device of a header that was accepted before; no hashing. */
  known(header: string): DevicePoster | undefined {
    const entry = this.#byHeader.get(header);
    if (entry === undefined || entry.untilMs <= this.#clock.monotonicMs()) return undefined;
    this.#byHeader.delete(header); // To the young end of the map.
    this.#byHeader.set(header, entry);
    return entry.poster;
  }

  /** Checks a header for the device of the path. Anything wrong is the one answer. */
  login(header: string, product: string, device: string): PosterResult {
    // A wrong or missing secret is looked up all the same, so that all refusals take one time.
    const secret = secretOf(header, `${product}/${device}:`) ?? "";
    const result: LoginResult = this.#directory.login(product, device, secret);
    if (!result.ok) return result;
    if (secret === "") return WRONG;
    const address = deviceAddress(product, device);
    const head = packHead({ to: address, budget: LIMITS.budgetPerRootRecord });
    const poster = { product, device, target: { partition: this.#partitionOf(address), head } };
    this.#remember(`${product}/${device}`, header, poster);
    return { ok: true, poster };
  }

  [Symbol.dispose](): void {
    this.#unlisten();
    this.#byHeader.clear();
    this.#headerOf.clear();
  }

  #remember(name: string, header: string, poster: DevicePoster): void {
    this.#forget(name); // One header a device: the last one that was right.
    if (this.#byHeader.size >= this.#entriesMax) {
      const oldest = this.#byHeader.values().next().value!.poster;
      this.#forget(`${oldest.product}/${oldest.device}`);
    }
    this.#byHeader.set(header, { poster, untilMs: this.#clock.monotonicMs() + KEPT_MS });
    this.#headerOf.set(name, header);
  }

  #forget(name: string): void {
    const header = this.#headerOf.get(name);
    if (header === undefined) return;
    this.#headerOf.delete(name);
    this.#byHeader.delete(header);
  }
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
