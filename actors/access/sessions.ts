/** Sessions of people: a password once, then a random token that is stored as its SHA-256. */
import { Buffer } from "node:buffer";
import { hash } from "node:crypto";
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Random } from "../../runtime/random.ts";
import { noteAudit } from "../audit/audit_scope.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import type { SessionsTable, UsersTable } from "../registry/tables.ts";
import { LoginGate } from "./login_gate.ts";
import { PASSWORD_CHARACTERS_MAX, type PasswordHasher } from "./password.ts";
import type { Principal, Role } from "./principal.ts";

export type Person = Principal & { readonly type: "user" };

export type SessionLogin =
  | {
    readonly ok: true;
    /** For the cookie; shown once. */
    readonly token: string;
    /** For the browser to keep, so that it is known at the next login. */
    readonly browser: string;
    /** Epoch milliseconds. */
    readonly expiresAt: number;
    readonly principal: Person;
  }
  /** Unknown name, wrong password and disabled user are one answer and take one time. */
  | { readonly ok: false; readonly code: "bad_credentials" }
  /** Too many failures from this address or for this name; nothing was checked. */
  | { readonly ok: false; readonly code: "locked_out"; readonly retryAfterMs: number };

export interface LoginInput {
  readonly name: string;
  readonly password: string;
  /** Network of the caller (`networkOf`), for its failures. */
  readonly remote: string;
  /** Token that an earlier login gave this browser. */
  readonly browser?: string;
  /** What the client calls itself. */
  readonly agent?: string;
}

export interface Session {
  readonly id: string;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly expiresAt: number;
  /** Network of the login. */
  readonly remote: string;
  /** What the client called itself. */
  readonly agent: string;
}

export interface SessionsOptions {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly passwords: PasswordHasher;
}

const TOKEN_BYTES = 32;
const TOKEN = /^[A-Za-z0-9_-]{43}$/;
const ID_BYTES = 12;
const AGENT_CHARACTERS_MAX = 120;

export class Sessions {
  readonly #options: SessionsOptions;
  readonly #gate: LoginGate;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#gate = new LoginGate(options);
  }

  /** @throws {OverloadedError} Too many passwords are being checked. */
  async login(input: LoginInput): Promise<SessionLogin> {
    const { name, password } = input;
    const gate = await this.#gate.enter(input);
    if (!gate.isOpen) return { ok: false, code: "locked_out", retryAfterMs: gate.retryAfterMs };
    const user = await this.#checked(name, password);
    if (user === undefined) return { ok: false, code: "bad_credentials" };
    gate.succeeded();
    return await this.#open(user, input, gate.isKnownBrowser ? input.browser : undefined);
  }

  /**
   * Whether this is the password of the session's user; failures count as those of logins.
   * @returns Milliseconds to wait if nothing was checked.
   */
  async confirm(
    person: Person,
    input: { readonly password: string; readonly remote: string },
  ): Promise<{ readonly isRight: boolean; readonly retryAfterMs: number }> {
    // Apart from strangers' failures for the name: who has a session is no stranger.
    const gate = await this.#gate.enter({
      name: `session:${person.session}`,
      remote: input.remote,
    });
    if (!gate.isOpen) return { isRight: false, retryAfterMs: gate.retryAfterMs };
    const isRight = await this.#checked(person.name, input.password) !== undefined;
    if (isRight) gate.succeeded();
    return { isRight, retryAfterMs: 0 };
  }

  /** Undefined: unknown, expired, or its user is disabled. */
  async find(token: string): Promise<Person | undefined> {
    if (!TOKEN.test(token)) return undefined;
    const { store, clock } = this.#options;
    const hashed = hashToken(token);
    const row = await store.db.selectFrom("sessions")
      .innerJoin("users", "users.id", "sessions.user")
      .innerJoin("projects", "projects.id", "users.project")
      .select(["users.id", "users.project", "users.name", "users.role", "sessions.csrf"])
      .where("sessions.token_hash", "=", hashed)
      .where("sessions.expires_at", ">", clock.nowMs())
      .where("users.enabled", "=", 1)
      .where("projects.deleted_at", "is", null).executeTakeFirst();
    if (row === undefined) return undefined;
    return { type: "user", ...row, role: row.role as Role, session: sessionIdOf(hashed) };
  }

  /** Ends the session; nothing if there is none. */
  async logout(token: string): Promise<void> {
    await this.#remove(hashToken(token));
  }

  /** Open ones of a user, newest first. At most `sessionsPerUserMax`. */
  async list(user: string): Promise<readonly Session[]> {
    return (await this.#rows(user)).map(sessionOf);
  }

  /** True if it was there. */
  async end(user: string, id: string): Promise<boolean> {
    const row = (await this.#rows(user)).find(({ token_hash }) => sessionIdOf(token_hash) === id);
    if (row === undefined) return false;
    await this.#remove(row.token_hash);
    return true;
  }

  /** In a transaction, which its row of the audit belongs to. */
  async #remove(tokenHash: Uint8Array): Promise<void> {
    await this.#options.store.db.transaction().execute((transaction) =>
      transaction.deleteFrom("sessions").where("token_hash", "=", tokenHash).execute()
    );
  }

  async #rows(user: string): Promise<SessionsTable[]> {
    const { store, clock } = this.#options;
    return await store.db.selectFrom("sessions").selectAll().where("user", "=", user)
      .where("expires_at", ">", clock.nowMs()).orderBy("created_at", "desc").execute();
  }

  /** The user, if it is this one's password and the user may log in. Takes one time. */
  async #checked(name: string, password: string): Promise<UsersTable | undefined> {
    const { store, passwords } = this.#options;
    const user = await store.db.selectFrom("users")
      .innerJoin("projects", "projects.id", "users.project").selectAll("users")
      .where("users.name", "=", name).where("projects.deleted_at", "is", null).executeTakeFirst();
    if (user !== undefined) noteAudit({ project: user.project });
    const isWithin = password.length <= PASSWORD_CHARACTERS_MAX && password.isWellFormed();
    const isRight = await passwords.verify(isWithin ? password : "", user?.password);
    return isRight && isWithin && user?.enabled === 1 ? user : undefined;
  }

  async #open(
    user: UsersTable,
    input: LoginInput,
    known: string | undefined,
  ): Promise<SessionLogin> {
    const { store, clock, random } = this.#options;
    const nowMs = clock.nowMs();
    const token = text(random.bytes(TOKEN_BYTES));
    const csrf = text(random.bytes(TOKEN_BYTES));
    const expiresAt = nowMs + LIMITS.sessionMs;
    const hashed = hashToken(token);
    noteAudit({ actor: { type: "user", id: user.id, name: user.name } });
    const browser = await store.db.transaction().execute(async (transaction) => {
      await transaction.deleteFrom("sessions").where("expires_at", "<=", nowMs).execute();
      const open = await transaction.selectFrom("sessions").select("token_hash")
        .where("user", "=", user.id).orderBy("created_at", "desc")
        .offset(LIMITS.sessionsPerUserMax - 1).limit(LIMITS.sessionsPerUserMax).execute();
      for (const { token_hash } of open) {
        await transaction.deleteFrom("sessions").where("token_hash", "=", token_hash).execute();
      }
      await transaction.insertInto("sessions").values({
        token_hash: hashed,
        user: user.id,
        csrf,
        created_at: nowMs,
        expires_at: expiresAt,
        remote: input.remote,
        agent: agentOf(input.agent),
      }).execute();
      await transaction.updateTable("users").set({ last_login_at: nowMs })
        .where("id", "=", user.id).execute();
      return await this.#gate.remember(transaction, user.id, known);
    });
    const { id, project, name } = user;
    const role = user.role as Role;
    const principal = {
      type: "user",
      project,
      id,
      name,
      role,
      csrf,
      session: sessionIdOf(hashed),
    } as const;
    return { ok: true, token, browser, expiresAt, principal };
  }
}

function sessionOf(row: SessionsTable): Session {
  return {
    id: sessionIdOf(row.token_hash),
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    remote: row.remote,
    agent: row.agent,
  };
}

/** Of a session in lists: says nothing that its token could be found by. */
export function sessionIdOf(tokenHash: Uint8Array): string {
  return text(tokenHash.subarray(0, ID_BYTES));
}

function agentOf(agent = ""): string {
  // deno-lint-ignore no-control-regex -- they are what is taken out
  const clean = agent.replace(/[\u0000-\u001f\u007f-\u009f]/g, " ").toWellFormed();
  return clean.slice(0, AGENT_CHARACTERS_MAX).toWellFormed();
}

function hashToken(token: string): Uint8Array {
  return hash("sha256", token, "buffer");
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}
