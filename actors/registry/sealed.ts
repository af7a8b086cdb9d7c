/**
 * Texts that only who has a credential can read again: AES-256-GCM, with a key of its own each, made of
 * the credential by HKDF. Synchronous, unlike WebCrypto, for use inside a transaction.
 */
import { Buffer } from "node:buffer";
import { createCipheriv, createDecipheriv, hkdfSync } from "node:crypto";
import type { Random } from "../../runtime/random.ts";

const CIPHER = "aes-256-gcm";
const SALT_BYTES = 16;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const PURPOSE = "roost sealed text";

/**
 * @param credential 32 random bytes or more, as text: it is what keeps the text secret.
 * @param boundTo Must be the same when it is opened.
 */
export function seal(
  text: string,
  credential: string,
  boundTo: string,
  random: Random,
): Uint8Array {
  const salt = random.bytes(SALT_BYTES);
  const iv = random.bytes(IV_BYTES);
  const cipher = createCipheriv(CIPHER, keyOf(credential, salt), iv);
  cipher.setAAD(Buffer.from(boundTo, "utf8"));
  const sealed = [cipher.update(text, "utf8"), cipher.final()];
  return Buffer.concat([salt, iv, cipher.getAuthTag(), ...sealed]);
}

/** Undefined: another credential, bound to something else, or damaged. */
export function openSealed(
  sealed: Uint8Array,
  credential: string,
  boundTo: string,
): string | undefined {
  const ivAt = SALT_BYTES;
  const tagAt = ivAt + IV_BYTES;
  const textAt = tagAt + TAG_BYTES;
  if (sealed.length < textAt) return undefined;
  const key = keyOf(credential, sealed.subarray(0, ivAt));
  const decipher = createDecipheriv(CIPHER, key, sealed.subarray(ivAt, tagAt));
  decipher.setAAD(Buffer.from(boundTo, "utf8"));
  decipher.setAuthTag(sealed.subarray(tagAt, textAt));
  try {
    const text = [decipher.update(sealed.subarray(textAt)), decipher.final()];
    return Buffer.concat(text).toString("utf8");
  } catch {
    return undefined; // The tag does not fit: that is how a wrong key shows.
  }
}

function keyOf(credential: string, salt: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", credential, salt, PURPOSE, 32));
}
