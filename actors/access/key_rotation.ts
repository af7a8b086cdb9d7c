/**
 * Changes the master key of a running node. A new key seals from the moment it is made; what older
 * ones sealed is sealed again in the background, in slices; a key that nothing needs is forgotten.
 *
 * Order of a change, so that a crash anywhere leaves a registry that opens with the keys at hand:
 * 1. the new key is in the key file, first;
 * 2. its row is in the registry, in one transaction with the audit's;
 * 3. the keyring seals with it.
 * Order of an end: the row says so (no `check_text`), the key leaves the file, the row goes.
 */
import { type BackgroundTask, startBackgroundTask } from "../../runtime/background_task.ts";
import type { Clock } from "../../runtime/clock.ts";
import { messageOf, UnavailableError } from "../../runtime/errors.ts";
import { HTTP_LIMITS } from "../../runtime/http_limits.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Random } from "../../runtime/random.ts";
import { Keyring } from "../../runtime/secret/keyring.ts";
import {
  createMasterKey,
  type MasterKeys,
  readKeyFile,
  writeKeyFile,
} from "../../runtime/secret/master_key.ts";
import { type KeySource, recordKey } from "../registry/master_keys.ts";
import { accepted, type Outcome, refused } from "../registry/outcome.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import { countSealed, resealHeads, resealTexts, SEALED_TEXTS } from "./reseal.ts";

export interface MasterKeyState {
  readonly id: string;
  /** When it was taken into use, epoch milliseconds. */
  readonly createdAt: number;
  readonly isCurrent: boolean;
  /** What is sealed with it, in rows. */
  readonly rows: number;
}

export interface KeyRotationOptions {
  readonly store: RegistryStore;
  readonly keyring: Keyring;
  readonly source: KeySource;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Keys at a time, the current one included: each is looked for in each row. */
const KEYS_MAX = 8;
/** Pause after a fault. */
const RETRY_MS = 60_000;

export class KeyRotation implements AsyncDisposable {
  readonly #options: KeyRotationOptions;
  /** Changes of the key file, one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #task: BackgroundTask;
  #counting: Promise<ReadonlyMap<string, number>> | undefined;
  #isStopping = false;

  constructor(options: KeyRotationOptions) {
    this.#options = options;
    this.#task = startBackgroundTask({
      clock: options.clock,
      pass: (isStopping) => this.#pass(isStopping),
      onFault: (fault) =>
        options.logger.warn("the change of the master key waits", { fault: messageOf(fault) }),
      retryMs: RETRY_MS,
    });
  }

  /** Takes a new key into use. @throws {ConflictError} The key file cannot be used. */
  rotate(): Promise<Outcome<readonly MasterKeyState[]>> {
    return this.#alone(async () => {
      const { source, keyring, store, random, clock, logger } = this.#options;
      if (source.type !== "file") {
        const message = "Cannot make a master key: it comes by the configuration. Set " +
          "ROOST__SECRETS__MASTER_KEY to a new one and give the present one as " +
          "ROOST__SECRETS__PREVIOUS_MASTER_KEY at the next start";
        return refused("in_use", message);
      }
      const present = readKeyFile(source.path);
      if (present === undefined || !present.some(({ id }) => id === keyring.currentId)) {
        const message = `Cannot make a master key: ${source.path} is not what this node started ` +
          "with. Put it back from its copy";
        return refused("in_use", message);
      }
      // The new key of a change that got no further than the file is taken, not another one made.
      const isBegun = present[0].id !== keyring.currentId;
      if (!isBegun && present.length >= KEYS_MAX) {
        const message =
          `Cannot make another master key: ${present.length} are in use. The oldest ` +
          "goes once nothing is sealed with it, an hour after it was replaced at the earliest";
        return refused("in_use", message);
      }
      const keys: MasterKeys = isBegun ? present : [createMasterKey(random), ...present];
      if (!isBegun) writeKeyFile(source.path, keys);
      await recordKey(store, new Keyring(keys, random), clock.nowMs());
      keyring.replace(keys);
      logger.info("master key taken into use", { key: keyring.currentId });
      this.#task.wake();
      return accepted(await this.list());
    });
  }

  /** The current one first. Who asks while rows are counted gets that count. */
  async list(): Promise<readonly MasterKeyState[]> {
    const { store, keyring, clock } = this.#options;
    this.#counting ??= countSealed({ store, clock, isStopping: () => this.#isStopping })
      .finally(() => this.#counting = undefined);
    const counts = await this.#counting;
    if (this.#isStopping) throw new UnavailableError("registry", "This node is closing");
    const current = keyring.currentId;
    return storedKeys(store).filter(({ isEnding }) => !isEnding).map(({ id, createdAt }) => {
      return { id, createdAt, isCurrent: id === current, rows: counts.get(id) ?? 0 };
    }).sort((one, other) =>
      Number(other.isCurrent) - Number(one.isCurrent) || other.createdAt - one.createdAt
    );
  }

  /** Resolves when nothing is to be done at the moment. */
  idle(): Promise<void> {
    return this.#task.idle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    await this.#task[Symbol.asyncDispose]();
    await this.#counting?.catch(() => {}); // Told to who asked; the store that it reads closes next.
  }

  #alone<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {}); // Told to who asked.
    return turn;
  }

  /** Seals again what older keys sealed, and ends those. @returns When to look again. */
  async #pass(isStopping: () => boolean): Promise<number> {
    const { store, keyring, clock, logger } = this.#options;
    const stored = storedKeys(store);
    if (stored.length === 1) return Infinity;
    let broken = 0;
    for (const text of SEALED_TEXTS) {
      broken += await resealTexts({ store, keyring, clock, isStopping }, text);
    }
    await resealHeads({ store, keyring, clock, isStopping });
    if (broken > 0) logger.error("sealed texts cannot be opened by their key", { rows: broken });
    let againMs = Infinity;
    const due: string[] = [];
    for (const key of stored.filter(({ id }) => id !== keyring.currentId)) {
      const leftMs = key.isEnding ? 0 : endsAtMs(key, stored) - clock.nowMs();
      if (leftMs <= 0) due.push(key.id);
      else againMs = Math.min(againMs, leftMs);
    }
    if (due.length === 0) return againMs;
    // Nothing seals with them any more: what is found in slices holds.
    const counts = await countSealed({ store, clock, isStopping });
    for (const id of due) {
      if (!isStopping()) await this.#alone(() => this.#end(id, counts.get(id) ?? 0));
    }
    return againMs;
  }

  /** @param rows What is still sealed with it. */
  async #end(id: string, rows: number): Promise<void> {
    const { store, source, keyring, logger } = this.#options;
    if (rows > 0) {
      logger.warn("a master key stays: what it sealed cannot be sealed again", { key: id, rows });
      return;
    }
    await store.write((writer) =>
      writer.run("update master_keys set check_text = '' where id = ?", id)
    );
    if (source.type === "file") {
      const [current, ...others] = readKeyFile(source.path) ?? [];
      if (current === undefined || current.id !== keyring.currentId) {
        logger.warn("a master key stays in its file, which was changed", { key: id });
        return;
      }
      const keys: MasterKeys = [current, ...others.filter((key) => key.id !== id)];
      writeKeyFile(source.path, keys);
      keyring.replace(keys);
    }
    await store.write((writer) => writer.run("delete from master_keys where id = ?", id));
    const unset = source.type === "file" ? undefined : "ROOST__SECRETS__PREVIOUS_MASTER_KEY";
    logger.info("master key is needed no more", { key: id, unset });
  }
}

interface StoredKey {
  readonly id: string;
  readonly createdAt: number;
  readonly isEnding: boolean;
}

function storedKeys({ reader }: Pick<RegistryStore, "reader">): StoredKey[] {
  return reader.prepareAll(
    "select id, check_text, created_at from master_keys order by created_at",
  )()
    .map(({ id, check_text, created_at }) => ({
      id: String(id),
      createdAt: Number(created_at),
      isEnding: check_text === "",
    }));
}

/** Tokens of devices are sealed for so long, and what was being sealed when it was replaced is stored. */
function endsAtMs({ createdAt }: StoredKey, stored: readonly StoredKey[]): number {
  const next = stored.find((other) => other.createdAt > createdAt) ?? { createdAt };
  return next.createdAt + HTTP_LIMITS.tokenMs;
}
