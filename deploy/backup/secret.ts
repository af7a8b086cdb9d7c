/** What a backup is sealed with: a passphrase or the bytes of a key file, never an argument. */
import { Buffer } from "node:buffer";
import { hash } from "node:crypto";
import type { Config } from "../../runtime/config.ts";
import { InvalidError, messageOf } from "../../runtime/errors.ts";
import { isExposed } from "../../runtime/secret/master_key.ts";
import { BACKUP_LIMITS } from "./backup_limits.ts";

const KEY_BYTES_MIN = 32;

/** @throws {InvalidError} Neither is set, or the file cannot be used. */
export function readSecret({ passphrase, keyFile }: Config["backup"]): Uint8Array {
  if (keyFile !== undefined) return readKey(keyFile);
  if (passphrase !== undefined) return Buffer.from(passphrase.normalize("NFC"));
  throw new InvalidError(
    "Cannot seal or open a backup: set ROOST__BACKUP__PASSPHRASE, or ROOST__BACKUP__KEY_FILE to a " +
      `file of ${KEY_BYTES_MIN} random bytes or more`,
  );
}

function readKey(path: string): Uint8Array {
  let bytes: Uint8Array;
  try {
    if (isExposed(path)) throw new InvalidError("others may read it: chmod 600");
    bytes = Deno.readFileSync(path);
  } catch (fault) {
    throw new InvalidError(`Cannot use the key file ${path}: ${messageOf(fault)}`);
  }
  if (bytes.length < KEY_BYTES_MIN || bytes.length > BACKUP_LIMITS.keyFileBytesMax) {
    throw new InvalidError(
      `Cannot use the key file ${path}: it has ${bytes.length} B, it must have ${KEY_BYTES_MIN} ` +
        `to ${BACKUP_LIMITS.keyFileBytesMax}`,
    );
  }
  return Buffer.from(hash("sha256", bytes), "hex");
}
