/**
 * Which logins are checked at all. Failures of an address and failures for a name make both wait
 * longer and longer. So that nobody can keep a person out by failing in that person's name, or from
 * behind the same address, a browser that the person has logged in with before counts on its own: it
 * holds a token, which opens no session and only tells it from strangers.
 */
import { Buffer } from "node:buffer";
import { hash } from "node:crypto";
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Random } from "../../runtime/random.ts";
import type { Transaction } from "../../runtime/store/relational_store.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import type { RegistryTables } from "../registry/tables.ts";
import { Lockout } from "./lockout.ts";

export interface LoginGateOptions {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly random: Random;
}

export interface LoginAttempt {
  readonly name: string;
  /** Network of the caller. */
  readonly remote: string;
  /** Token of the browser, if it sent one. */
  readonly browser?: string;
}

/** One attempt that may be checked; it counts as a failure until `succeeded`. */
export interface OpenGate {
  readonly isOpen: true;
  readonly isKnownBrowser: boolean;
  succeeded(): void;
}

export interface ClosedGate {
  readonly isOpen: false;
  readonly retryAfterMs: number;
}

const TOKEN_BYTES = 32;
const TOKEN = /^[A-Za-z0-9_-]{43}$/;
const FORGET_MS = 900_000;
const SLOW = { freeFailures: 5, firstWaitMs: 1_000, waitMsMax: 300_000, forgetMs: FORGET_MS };
/** Short: anybody can fail for a name. */
const SHORT = { freeFailures: 10, firstWaitMs: 1_000, waitMsMax: 15_000, forgetMs: FORGET_MS };

export class LoginGate {
  readonly #options: LoginGateOptions;
  readonly #byAddress: Lockout;
  readonly #byName: Lockout;
  readonly #byBrowser: Lockout;

  constructor(options: LoginGateOptions) {
    this.#options = options;
    const { clock } = options;
    this.#byAddress = new Lockout({ clock, ...SLOW });
    this.#byName = new Lockout({ clock, ...SHORT });
    this.#byBrowser = new Lockout({ clock, ...SLOW });
  }

  /** Counts the attempt, unless it has to wait: many at once are as many failures. */
  async enter(attempt: LoginAttempt): Promise<OpenGate | ClosedGate> {
    const { remote, browser } = attempt;
    const name = attempt.name.slice(0, LIMITS.nameCharactersMax);
    const isKnownBrowser = browser !== undefined && await this.#isKnown(browser, name);
    const counts: readonly (readonly [Lockout, string])[] = isKnownBrowser
      ? [[this.#byBrowser, browser]]
      : [[this.#byAddress, remote], [this.#byName, name]];
    const retryAfterMs = Math.max(...counts.map(([lockout, key]) => lockout.waitMs(key)));
    if (retryAfterMs > 0) return { isOpen: false, retryAfterMs };
    for (const [lockout, key] of counts) lockout.failed(key);
    const succeeded = () => {
      for (const [lockout, key] of counts) lockout.succeeded(key);
    };
    return { isOpen: true, isKnownBrowser, succeeded };
  }

  /**
   * Remembers the browser of a login that was right.
   * @param browser Its token, if it is known; else it gets a new one.
   * @returns The token to keep.
   */
  async remember(
    transaction: Transaction<RegistryTables>,
    user: string,
    browser: string | undefined,
  ): Promise<string> {
    const { clock, random } = this.#options;
    const used_at = clock.nowMs();
    if (browser !== undefined) {
      await transaction.updateTable("browsers").set({ used_at })
        .where("token_hash", "=", hashToken(browser)).execute();
      return browser;
    }
    const token = Buffer.from(random.bytes(TOKEN_BYTES)).toString("base64url");
    const old = await transaction.selectFrom("browsers").select("token_hash")
      .where("user", "=", user).orderBy("used_at", "desc")
      .offset(LIMITS.browsersPerUserMax - 1).limit(LIMITS.browsersPerUserMax).execute();
    for (const { token_hash } of old) {
      await transaction.deleteFrom("browsers").where("token_hash", "=", token_hash).execute();
    }
    await transaction.insertInto("browsers")
      .values({ token_hash: hashToken(token), user, used_at }).execute();
    return token;
  }

  async #isKnown(browser: string, name: string): Promise<boolean> {
    if (!TOKEN.test(browser)) return false;
    const row = await this.#options.store.db.selectFrom("browsers")
      .innerJoin("users", "users.id", "browsers.user").select("users.id")
      .where("browsers.token_hash", "=", hashToken(browser))
      .where("users.name", "=", name).executeTakeFirst();
    return row !== undefined;
  }
}

function hashToken(token: string): Uint8Array {
  return hash("sha256", token, "buffer");
}
