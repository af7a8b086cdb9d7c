/**
 * Texts that must be readable again, sealed with AES-256-GCM (WebCrypto) under the current master
 * key, each bound to where it stands: moved to another row or column it does not open. And seals
 * (HMAC-SHA-256) of what nobody without the key may change.
 *
 * A sealed text is `v1.{key id}.{nonce}.{ciphertext and tag}`, the last two base64url.
 */
import { Buffer } from "node:buffer";
import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { CodecError } from "../errors.ts";
import type { Random } from "../random.ts";
import type { MasterKey, MasterKeys } from "./master_key.ts";

/** Where a sealed text stands. */
export interface SealedPlace {
  readonly table: string;
  /** Of its row: the parts of the primary key. */
  readonly row: readonly string[];
  readonly column: string;
}

interface LoadedKey {
  readonly id: string;
  readonly cipher: Promise<CryptoKey>;
  readonly macKey: Uint8Array;
}

const NONCE_BYTES = 12;
const SEALED = /^v1\.([0-9a-f]{12})\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{22,})$/;
const DECODER = new TextDecoder("utf-8", { fatal: true });

export class Keyring {
  readonly #random: Random;
  #keys: readonly LoadedKey[] = [];

  constructor(keys: MasterKeys, random: Random) {
    this.#random = random;
    this.replace(keys);
  }

  /** Id of the key that seals. */
  get currentId(): string {
    return this.#keys[0]!.id;
  }

  /** Ids of the keys that open. */
  get ids(): readonly string[] {
    return this.#keys.map(({ id }) => id);
  }

  /** Takes other keys from now on; those that stay are not loaded again. */
  replace(keys: MasterKeys): void {
    const known = this.#keys;
    this.#keys = keys.map((key) => known.find(({ id }) => id === key.id) ?? load(key));
  }

  async seal(text: string, place: SealedPlace): Promise<string> {
    const key = this.#keys[0]!;
    const nonce = this.#random.bytes(NONCE_BYTES);
    const bytes = await crypto.subtle.encrypt(
      { name: "AES-GCM", iv: nonce as BufferSource, additionalData: bytesOf(place) },
      await key.cipher,
      new TextEncoder().encode(text),
    );
    return `v1.${key.id}.${base64(nonce)}.${base64(new Uint8Array(bytes))}`;
  }

  /** @throws {CodecError} It is none, another place's, of a key that is not here, or was changed. */
  async open(sealed: string, place: SealedPlace): Promise<string> {
    const where = `${place.table}.${place.column} of ${place.row.join("/")}`;
    const [, id, nonce, bytes] = SEALED.exec(sealed) ?? [];
    if (id === undefined) throw new CodecError(`Cannot open ${where}: it is no sealed text`);
    const key = this.#keys.find((each) => each.id === id);
    if (key === undefined) {
      throw new CodecError(`Cannot open ${where}: its master key ${id} is not here`, {
        hint: "Put the key back that the data was written with",
      });
    }
    try {
      const text = await crypto.subtle.decrypt(
        {
          name: "AES-GCM",
          iv: Buffer.from(nonce!, "base64url"),
          additionalData: bytesOf(place),
        },
        await key.cipher,
        Buffer.from(bytes!, "base64url"),
      );
      return DECODER.decode(text);
    } catch {
      throw new CodecError(`Cannot open ${where}: it was changed, or belongs somewhere else`);
    }
  }

  /** `{key id}.{HMAC, base64url}`. Synchronous, for use inside a transaction. */
  mac(purpose: string, bytes: Uint8Array): string {
    const key = this.#keys[0]!;
    return `${key.id}.${macOf(key, purpose, bytes)}`;
  }

  /** Whether `mac` made it, with any key that is here. */
  isMac(mac: string, purpose: string, bytes: Uint8Array): boolean {
    const [id, given = ""] = mac.split(".", 2);
    const key = this.#keys.find((each) => each.id === id);
    if (key === undefined) return false;
    const wanted = Buffer.from(macOf(key, purpose, bytes));
    const sent = Buffer.from(given);
    return sent.length === wanted.length && timingSafeEqual(sent, wanted);
  }
}

/** Id of the key that a text was sealed with; undefined: it is no sealed text. */
export function sealedKeyId(sealed: string): string | undefined {
  return SEALED.exec(sealed)?.[1];
}

function load({ id, bytes }: MasterKey): LoadedKey {
  // One key for each use: what is known of one says nothing of the other.
  const derive = (use: string) => new Uint8Array(hkdfSync("sha256", bytes, "", `roost ${use}`, 32));
  const cipher = crypto.subtle.importKey("raw", derive("seal"), "AES-GCM", false, [
    "encrypt",
    "decrypt",
  ]);
  return { id, cipher, macKey: derive("mac") };
}

function macOf({ macKey }: LoadedKey, purpose: string, bytes: Uint8Array): string {
  return createHmac("sha256", macKey).update(`${purpose}\n`).update(bytes).digest("base64url");
}

function bytesOf({ table, row, column }: SealedPlace): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify([table, row, column]));
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}
