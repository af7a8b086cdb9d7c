/**
 * The master keys that a registry was sealed with: an id and a check value of each, so that a start
 * with another key says so at once, and not when a secret is needed.
 */
import { join } from "node:path";
import { ConflictError } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Random } from "../../runtime/random.ts";
import { Keyring, type SealedPlace } from "../../runtime/secret/keyring.ts";
import {
  createMasterKey,
  isExposed,
  type MasterKeys,
  parseMasterKey,
  readKeyFile,
  writeKeyFile,
} from "../../runtime/secret/master_key.ts";
import type { RegistryStore } from "./registry_store.ts";

export type KeySource =
  | { readonly type: "file"; readonly path: string }
  /** From the configuration; the second one only opens. */
  | { readonly type: "config"; readonly keys: MasterKeys };

export interface MasterKeysOptions {
  readonly store: RegistryStore;
  readonly source: KeySource;
  readonly random: Random;
  readonly nowMs: number;
  readonly logger: Logger;
}

const CHECK = "roost";

/** @param settings Slice `secrets` of the configuration: keys are 43 characters each. */
export function keySourceOf(
  settings: {
    readonly masterKey?: string | undefined;
    readonly previousMasterKey?: string | undefined;
    readonly keyFile?: string | undefined;
  },
  dataDir: string,
): KeySource {
  const { masterKey, previousMasterKey, keyFile } = settings;
  const current = masterKey === undefined ? undefined : parseMasterKey(masterKey);
  if (current === undefined) {
    return { type: "file", path: keyFile ?? join(dataDir, "master.key") };
  }
  const previous = previousMasterKey === undefined ? undefined : parseMasterKey(previousMasterKey);
  return { type: "config", keys: previous === undefined ? [current] : [current, previous] };
}

/**
 * Makes the key file at the first start.
 * @throws {ConflictError} The keys at hand are not those that the registry was sealed with.
 */
export async function openKeyring(options: MasterKeysOptions): Promise<Keyring> {
  const { store, source, random, nowMs, logger } = options;
  // One without a text is ending: nothing is sealed with it any more (`key_rotation.ts`).
  const stored = await store.db.selectFrom("master_keys").selectAll()
    .where("check_text", "!=", "").orderBy("created_at").execute();
  const keys = keysAtHand(source, stored.length > 0, random);
  if (source.type === "file" && isExposed(source.path)) {
    logger.warn("others may read the master key file", { path: source.path, fix: "chmod 600" });
  }
  const missing = stored.find(({ id }) => !keys.some((key) => key.id === id));
  if (missing !== undefined) throw wrongKey(source, keys[0].id, missing.id);
  const keyring = new Keyring(keys, random);
  for (const { id, check_text } of stored) {
    if (await keyring.open(check_text, placeOf(id)) !== CHECK) throw wrongKey(source, id, id);
  }
  if (!stored.some(({ id }) => id === keyring.currentId)) {
    await recordKey(store, keyring, nowMs);
    logger.info("master key taken into use", { key: keyring.currentId });
  }
  return keyring;
}

/** Says in the registry that the current key is in use. */
export async function recordKey(
  store: RegistryStore,
  keyring: Keyring,
  nowMs: number,
): Promise<void> {
  const id = keyring.currentId;
  const check_text = await keyring.seal(CHECK, placeOf(id));
  await store.db.insertInto("master_keys").values({ id, check_text, created_at: nowMs }).execute();
}

function keysAtHand(source: KeySource, isInUse: boolean, random: Random): MasterKeys {
  if (source.type === "config") return source.keys;
  const keys = readKeyFile(source.path);
  if (keys !== undefined) return keys;
  if (isInUse) {
    throw new ConflictError(`Cannot start: the master key file ${source.path} is missing`, {
      hint: "Put it back from its copy: secrets in registry.db were sealed with it.",
    });
  }
  const made: MasterKeys = [createMasterKey(random)];
  writeKeyFile(source.path, made);
  return made;
}

function wrongKey(source: KeySource, have: string, wanted: string): ConflictError {
  const where = source.type === "file" ? source.path : "the configuration";
  const previous = source.type === "file"
    ? "Put the key file back that belongs to this data."
    : "Set ROOST__SECRETS__MASTER_KEY to the key that belongs to this data; to change it, give " +
      "that one as ROOST__SECRETS__PREVIOUS_MASTER_KEY.";
  return new ConflictError(
    `Cannot start: the master key ${have} of ${where} is not ${wanted}, which registry.db was ` +
      "sealed with",
    { hint: previous },
  );
}

function placeOf(id: string): SealedPlace {
  return { table: "master_keys", row: [id], column: "check_text" };
}
