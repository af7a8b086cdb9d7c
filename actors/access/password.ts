/** Passwords of people, by scrypt: slow on purpose, and so bounded in number. */
import { Buffer } from "node:buffer";
import { scrypt, timingSafeEqual } from "node:crypto";
import { CodecError, OverloadedError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Random } from "../../runtime/random.ts";

/** 2^15 × 8 × 128 B = 32 MB for each hash. */
const COST = { N: 32_768, r: 8, p: 1 } as const;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
const MEMORY_BYTES_MAX = 64 * 1024 * 1024;

export const PASSWORD_CHARACTERS_MIN = 8;
export const PASSWORD_CHARACTERS_MAX = 256;

export class PasswordHasher {
  readonly #random: Random;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  /** `scrypt$N$r$p$salt$hash`, salt and hash base64url. */
  async hash(password: string): Promise<string> {
    const salt = this.#random.bytes(SALT_BYTES);
    const hashed = await this.#derive(password, salt, COST);
    return ["scrypt", COST.N, COST.r, COST.p, text(salt), text(hashed)].join("$");
  }

  /**
   * Compares in a time that does not depend on the password. `stored` undefined (no such user) takes
   * as long, and is false.
   * @throws {OverloadedError} Too many wait already.
   */
  async verify(password: string, stored: string | undefined): Promise<boolean> {
    if (stored === undefined) {
      await this.#derive(password, new Uint8Array(SALT_BYTES), COST);
      return false;
    }
    const [kind, N, r, p, salt, expected] = stored.split("$");
    if (kind !== "scrypt" || salt === undefined || expected === undefined) {
      throw new CodecError("Cannot read a stored password: its format is unknown");
    }
    const cost = { N: Number(N), r: Number(r), p: Number(p) };
    const hashed = await this.#derive(password, Buffer.from(salt, "base64url"), cost);
    const wanted = Buffer.from(expected, "base64url");
    return wanted.length === hashed.length && timingSafeEqual(wanted, hashed);
  }

  async #derive(
    password: string,
    salt: Uint8Array,
    cost: { readonly N: number; readonly r: number; readonly p: number },
  ): Promise<Uint8Array> {
    if (this.#running >= LIMITS.passwordHashesMax) {
      if (this.#waiting.length >= LIMITS.passwordHashesWaitingMax) {
        throw new OverloadedError("Cannot check a password now: too many are waiting", 1_000);
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running++;
    try {
      return await derive(password, salt, cost);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next(); // Takes over this one's place.
    }
  }
}

function derive(
  password: string,
  salt: Uint8Array,
  cost: { readonly N: number; readonly r: number; readonly p: number },
): Promise<Uint8Array> {
  const { N, r, p } = cost;
  return new Promise((resolve, reject) => {
    const options = { N, r, p, maxmem: MEMORY_BYTES_MAX };
    // Normal form: the same password typed on another keyboard may come composed in another way.
    scrypt(password.normalize("NFKC"), salt, HASH_BYTES, options, (fault, key) => {
      if (fault) reject(fault);
      else resolve(key);
    });
  });
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}
