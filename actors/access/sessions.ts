/** Sessions of people: a password once, then a random token that is stored as its SHA-256. */
import { Buffer } from "node:buffer";
import { hash } from "node:crypto";
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Random } from "../../runtime/random.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import { Lockout } from "./lockout.ts";
import { PASSWORD_CHARACTERS_MAX, type PasswordHasher } from "./password.ts";
import type { Principal, Role } from "./principal.ts";

export type SessionLogin =
  | {
    readonly ok: true;
    /** For the cookie; shown once. */
    readonly token: string;
    /** Epoch milliseconds. */
    readonly expiresAt: number;
    readonly principal: Principal & { readonly type: "user" };
  }
  /** Unknown name, wrong password and disabled user are one answer and take one time. */
  | { readonly ok: false; readonly code: "bad_credentials" }
  /** Too many failures from this address or for this name; nothing was checked. */
  | { readonly ok: false; readonly code: "locked_out"; readonly retryAfterMs: number };

export interface SessionsOptions {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly passwords: PasswordHasher;
}

const TOKEN_BYTES = 32;
const TOKEN = /^[A-Za-z0-9_-]{43}$/;

export class Sessions {
  readonly #options: SessionsOptions;
  readonly #byAddress: Lockout;
  readonly #byName: Lockout;

  constructor(options: SessionsOptions) {
    this.#options = options;
    const { clock } = options;
    this.#byAddress = new Lockout({
      clock,
      freeFailures: 5,
      firstWaitMs: 1_000,
      waitMsMax: 300_000,
      forgetMs: 900_000,
    });
    // Short: anybody can fail for a name, and its owner must not be kept out by that.
    this.#byName = new Lockout({
      clock,
      freeFailures: 10,
      firstWaitMs: 1_000,
      waitMsMax: 15_000,
      forgetMs: 900_000,
    });
  }

  /**
   * @param remote Network of the caller (`networkOf`), for its failures.
   * @throws {OverloadedError} Too many passwords are being checked.
   */
  async login(
    input: { readonly name: string; readonly password: string; readonly remote: string },
  ): Promise<SessionLogin> {
    const { name, password, remote } = input;
    const byName = name.slice(0, LIMITS.nameCharactersMax);
    const retryAfterMs = Math.max(this.#byAddress.waitMs(remote), this.#byName.waitMs(byName));
    if (retryAfterMs > 0) return { ok: false, code: "locked_out", retryAfterMs };
    // Counted before the slow check: many at once are as many failures until one succeeds.
    this.#byAddress.failed(remote);
    this.#byName.failed(byName);
    const { store, passwords } = this.#options;
    const user = await store.db.selectFrom("users").selectAll()
      .where("name", "=", name).executeTakeFirst();
    const isWithin = password.length <= PASSWORD_CHARACTERS_MAX && password.isWellFormed();
    const isRight = await passwords.verify(isWithin ? password : "", user?.password);
    if (user === undefined || !isRight || !isWithin || user.enabled !== 1) {
      return { ok: false, code: "bad_credentials" };
    }
    this.#byAddress.succeeded(remote);
    this.#byName.succeeded(byName);
    return await this.#open(user);
  }

  /** Undefined: unknown, expired, or its user is disabled. */
  async find(token: string): Promise<(Principal & { readonly type: "user" }) | undefined> {
    if (!TOKEN.test(token)) return undefined;
    const { store, clock } = this.#options;
    const row = await store.db.selectFrom("sessions")
      .innerJoin("users", "users.id", "sessions.user")
      .select(["users.id", "users.project", "users.name", "users.role", "sessions.csrf"])
      .where("sessions.token_hash", "=", hashToken(token))
      .where("sessions.expires_at", ">", clock.nowMs())
      .where("users.enabled", "=", 1).executeTakeFirst();
    return row === undefined ? undefined : { type: "user", ...row, role: row.role as Role };
  }

  /** Ends the session; nothing if there is none. */
  async logout(token: string): Promise<void> {
    await this.#options.store.db.deleteFrom("sessions")
      .where("token_hash", "=", hashToken(token)).execute();
  }

  async #open(
    user: { id: string; project: string; name: string; role: string },
  ): Promise<SessionLogin> {
    const { store, clock, random } = this.#options;
    const nowMs = clock.nowMs();
    const token = text(random.bytes(TOKEN_BYTES));
    const csrf = text(random.bytes(TOKEN_BYTES));
    const expiresAt = nowMs + LIMITS.sessionMs;
    await store.db.transaction().execute(async (transaction) => {
      await transaction.deleteFrom("sessions").where("expires_at", "<=", nowMs).execute();
      const open = await transaction.selectFrom("sessions").select("token_hash")
        .where("user", "=", user.id).orderBy("created_at", "desc")
        .offset(LIMITS.sessionsPerUserMax - 1).limit(LIMITS.sessionsPerUserMax).execute();
      for (const { token_hash } of open) {
        await transaction.deleteFrom("sessions").where("token_hash", "=", token_hash).execute();
      }
      await transaction.insertInto("sessions").values({
        token_hash: hashToken(token),
        user: user.id,
        csrf,
        created_at: nowMs,
        expires_at: expiresAt,
      }).execute();
    });
    const { id, project, name } = user;
    const principal = { type: "user", project, id, name, role: user.role as Role, csrf } as const;
    return { ok: true, token, expiresAt, principal };
  }
}

function hashToken(token: string): Uint8Array {
  return hash("sha256", token, "buffer");
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}
