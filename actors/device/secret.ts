/** Secrets of devices: random or brought along, kept and compared as SHA-256. */
import { Buffer } from "node:buffer";
import { hash, timingSafeEqual } from "node:crypto";
import type { Random } from "../../runtime/random.ts";

const SECRET_BYTES = 32;

/** 32 random bytes, base64url: 43 characters. */
export function createSecret(random: Random): string {
  return Buffer.from(random.bytes(SECRET_BYTES)).toString("base64url");
}

/** SHA-256 of the UTF-8 of a secret. */
export function hashSecret(secret: string): Uint8Array {
  return hash("sha256", secret, "buffer");
}

/** In a time that does not depend on where they differ. */
export function isSameHash(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}
