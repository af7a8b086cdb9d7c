/**
 * A file of bytes, sealed: AES-256-GCM in chunks under a key that scrypt makes of a passphrase and of
 * the file's own salt. A chunk's nonce is its number, and what it is (the last one, or not) is
 * authenticated with it: chunks that are changed, left out, repeated, moved or cut off are found.
 *
 * Layout: magic (16) · salt (16) · check of the key (16), then chunks: u32 length, its top bit set on
 * the last one · ciphertext · tag (16). Source of the construction: STREAM (Hoang et al., 2015).
 */
import { Buffer } from "node:buffer";
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  scryptSync,
  timingSafeEqual,
} from "node:crypto";
import { InvalidError, messageOf, UnauthorizedError } from "../../runtime/errors.ts";
import type { Random } from "../../runtime/random.ts";
import { BACKUP_LIMITS } from "./backup_limits.ts";

const MAGIC = Buffer.from("roost backup 1\r\n");
const SALT_BYTES = 16;
const CHECK_BYTES = 16;
const HEAD_BYTES = MAGIC.length + SALT_BYTES + CHECK_BYTES;
const KEY_BYTES = 32;
const TAG_BYTES = 16;
const LAST = 0x8000_0000;

/** SHA-256 of all bytes of the file, hexadecimal, and how many. */
export interface SealedSum {
  readonly sha256: string;
  readonly bytes: number;
}

export class SealedWriter {
  readonly #file: Deno.FsFile;
  readonly #key: Uint8Array;
  readonly #head: Uint8Array;
  readonly #sum = createHash("sha256");
  readonly #chunk = new Uint8Array(BACKUP_LIMITS.chunkBytes);
  #filled = 0;
  #number = 0;
  #bytes = 0;

  /** @param file Empty; its owner syncs and closes it. */
  constructor(file: Deno.FsFile, secret: Uint8Array, random: Random) {
    const salt = random.bytes(SALT_BYTES);
    const { key, check } = deriveKey(secret, salt);
    this.#file = file;
    this.#key = key;
    this.#head = Buffer.concat([MAGIC, salt, check]);
    this.#put(this.#head);
  }

  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#filled === this.#chunk.length) this.#seal(false);
      const part = bytes.subarray(at, at + this.#chunk.length - this.#filled);
      this.#chunk.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
    }
  }

  /** Nothing may be written after it. */
  end(): SealedSum {
    this.#seal(true);
    return { sha256: this.#sum.digest("hex"), bytes: this.#bytes };
  }

  #seal(isLast: boolean): void {
    const length = lengthField(this.#filled, isLast);
    const cipher = createCipheriv("aes-256-gcm", this.#key, nonceOf(this.#number++));
    cipher.setAAD(Buffer.concat([this.#head, length]));
    this.#put(length);
    this.#put(cipher.update(this.#chunk.subarray(0, this.#filled)));
    this.#put(cipher.final());
    this.#put(cipher.getAuthTag());
    this.#filled = 0;
  }

  #put(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
    this.#sum.update(bytes);
    this.#bytes += bytes.length;
  }
}

/**
 * The plain bytes in order. What it yields is authentic; that it was all is known only at the end.
 * @param secret Returns the passphrase for which the key is made once the file is known to be one.
 * @throws {UnauthorizedError} Another passphrase.
 * @throws {InvalidError} It is no backup, or was changed, or cut off.
 */
export function* readSealed(
  file: Deno.FsFile,
  secret: Uint8Array,
): Generator<Uint8Array, SealedSum> {
  const sum = createHash("sha256");
  let bytes = 0;
  const take = (length: number): Uint8Array | undefined => {
    const read = readFully(file, length);
    if (read.length < length) return undefined;
    sum.update(read);
    bytes += length;
    return read;
  };
  const head = take(HEAD_BYTES);
  if (head === undefined || !MAGIC.equals(head.subarray(0, MAGIC.length))) {
    throw new InvalidError("Cannot read the backup: it does not begin as one of this version");
  }
  const salt = head.subarray(MAGIC.length, MAGIC.length + SALT_BYTES);
  const { key, check } = deriveKey(secret, salt);
  if (!timingSafeEqual(check, head.subarray(MAGIC.length + SALT_BYTES))) {
    throw new UnauthorizedError(
      "Cannot read the backup: it was made with another passphrase or key file, or its head is " +
        "damaged",
    );
  }
  for (let number = 0;; number++) {
    const field = take(4);
    const length = field === undefined ? 0 : Buffer.from(field).readUInt32BE() & ~LAST;
    const sealed = field === undefined || length > BACKUP_LIMITS.chunkBytes
      ? undefined
      : take(length + TAG_BYTES);
    if (field === undefined || sealed === undefined) throw damaged(number, "it ends too early");
    yield openChunk(key, head, number, field, sealed);
    if ((field[0]! & 0x80) !== 0) break;
  }
  if (readFully(file, 1).length > 0) {
    throw new InvalidError("Cannot read the backup: something stands behind its end");
  }
  return { sha256: sum.digest("hex"), bytes };
}

function openChunk(
  key: Uint8Array,
  head: Uint8Array,
  number: number,
  field: Uint8Array,
  sealed: Uint8Array,
): Uint8Array {
  const decipher = createDecipheriv("aes-256-gcm", key, nonceOf(number));
  decipher.setAAD(Buffer.concat([head, field]));
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  try {
    const plain = decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES));
    decipher.final();
    return plain;
  } catch (fault) {
    throw damaged(number, `it was changed or moved (${messageOf(fault)})`);
  }
}

function damaged(number: number, why: string): InvalidError {
  return new InvalidError(`Cannot read the backup: its chunk ${number} is damaged: ${why}`);
}

function deriveKey(secret: Uint8Array, salt: Uint8Array): { key: Uint8Array; check: Uint8Array } {
  const derived = scryptSync(secret, salt, KEY_BYTES + CHECK_BYTES, {
    N: BACKUP_LIMITS.scryptCost,
    r: BACKUP_LIMITS.scryptBlock,
    p: 1,
    maxmem: BACKUP_LIMITS.scryptMemoryBytes,
  });
  return { key: derived.subarray(0, KEY_BYTES), check: derived.subarray(KEY_BYTES) };
}

/** Unique, since each file has a key of its own. */
function nonceOf(number: number): Uint8Array {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64BE(BigInt(number), 4);
  return nonce;
}

function lengthField(length: number, isLast: boolean): Uint8Array {
  const field = Buffer.alloc(4);
  field.writeUInt32BE(length + (isLast ? LAST : 0));
  return field;
}

function readFully(file: Deno.FsFile, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const read = file.readSync(bytes.subarray(at));
    if (read === null) break;
    at += read;
  }
  return bytes.subarray(0, at);
}
