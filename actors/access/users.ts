/** People: the owner of the first start, and who they let in. */
import { Buffer } from "node:buffer";
import type { Clock } from "../../runtime/clock.ts";
import type { Issue } from "../../runtime/errors.ts";
import type { Random } from "../../runtime/random.ts";
import { nameIssues } from "../registry/names.ts";
import { accepted, invalid, type Outcome, refused } from "../registry/outcome.ts";
import { DEFAULT_PROJECT, type RegistryStore } from "../registry/registry_store.ts";
import type { UsersTable } from "../registry/tables.ts";
import {
  PASSWORD_CHARACTERS_MAX,
  PASSWORD_CHARACTERS_MIN,
  type PasswordHasher,
} from "./password.ts";
import { type Role, ROLES } from "./principal.ts";

export interface User {
  readonly id: string;
  readonly project: string;
  /** What they log in with; unique in the installation. */
  readonly name: string;
  readonly role: Role;
  readonly enabled: boolean;
  readonly version: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly updatedAt: number;
}

export interface UsersOptions {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly passwords: PasswordHasher;
}

const OWNER = "owner";
const OWNER_PASSWORD_BYTES = 18;
const ID_BYTES = 12;

export class Users {
  readonly #options: UsersOptions;

  constructor(options: UsersOptions) {
    this.#options = options;
  }

  /**
   * Makes the user `owner` if there is no user at all.
   * @param password From the configuration; default: a random one.
   * @returns The random password, once, to be shown on the terminal; undefined otherwise.
   *   A configured password that breaks the rule is refused with `invalid`.
   */
  async ensureOwner(password?: string): Promise<Outcome<{ readonly password?: string }>> {
    const { store, random } = this.#options;
    const any = await store.db.selectFrom("users").select("id").limit(1).executeTakeFirst();
    if (any !== undefined) return accepted({});
    const chosen = password ??
      Buffer.from(random.bytes(OWNER_PASSWORD_BYTES)).toString("base64url");
    const created = await this.create({ name: OWNER, role: "owner", password: chosen });
    if (!created.ok) return created;
    return accepted(password === undefined ? { password: chosen } : {});
  }

  /** Refuses with `invalid` or `exists`. */
  async create(
    input: { readonly name: string; readonly role: Role; readonly password: string },
  ): Promise<Outcome<User>> {
    const issues = [...nameIssues("name", input.name), ...passwordIssues(input.password)];
    if (!ROLES.includes(input.role)) {
      issues.push({
        path: "role",
        rule: "enum",
        message: `Cannot accept role: ${ROLES.join(", ")}`,
      });
    }
    if (issues.length > 0) return invalid(issues);
    const { store, clock, random, passwords } = this.#options;
    const nowMs = clock.nowMs();
    const row: UsersTable = {
      id: Buffer.from(random.bytes(ID_BYTES)).toString("base64url"),
      project: DEFAULT_PROJECT,
      name: input.name,
      role: input.role,
      enabled: 1,
      password: await passwords.hash(input.password),
      version: 1,
      created_at: nowMs,
      updated_at: nowMs,
    };
    return await store.db.transaction().execute(async (transaction) => {
      const taken = await transaction.selectFrom("users").select("id")
        .where("name", "=", input.name).executeTakeFirst();
      if (taken !== undefined) {
        return refused("exists", `Cannot create user "${input.name}": the name is taken`);
      }
      await transaction.insertInto("users").values(row).execute();
      return accepted(userOf(row));
    });
  }

  async get(id: string): Promise<User | undefined> {
    const row = await this.#options.store.db.selectFrom("users").selectAll()
      .where("id", "=", id).executeTakeFirst();
    return row === undefined ? undefined : userOf(row);
  }

  /** A new password ends every session of the user. Refuses with `invalid` or `not_found`. */
  async setPassword(id: string, password: string): Promise<Outcome<User>> {
    const issues = passwordIssues(password);
    if (issues.length > 0) return invalid(issues);
    const hashed = await this.#options.passwords.hash(password);
    return await this.#change(id, (row) => ({ ...row, password: hashed }));
  }

  /** Disabling ends every session of the user. Refuses with `not_found`. */
  setEnabled(id: string, isEnabled: boolean): Promise<Outcome<User>> {
    return this.#change(id, (row) => ({ ...row, enabled: Number(isEnabled) }));
  }

  async #change(id: string, next: (row: UsersTable) => UsersTable): Promise<Outcome<User>> {
    const { store, clock } = this.#options;
    return await store.db.transaction().execute(async (transaction) => {
      const stored = await transaction.selectFrom("users").selectAll()
        .where("id", "=", id).executeTakeFirst();
      if (stored === undefined) return refused("not_found", `Cannot find user "${id}"`);
      const row = {
        ...next(stored),
        version: stored.version + 1,
        updated_at: clock.nowMs(),
      };
      await transaction.updateTable("users").set(row).where("id", "=", id).execute();
      await transaction.deleteFrom("sessions").where("user", "=", id).execute();
      return accepted(userOf(row));
    });
  }
}

/** Never tells the password itself. */
function passwordIssues(password: string): Issue[] {
  const { length } = password;
  if (length < PASSWORD_CHARACTERS_MIN || length > PASSWORD_CHARACTERS_MAX) {
    const message = `Cannot accept a password of ${length} characters: ` +
      `${PASSWORD_CHARACTERS_MIN} to ${PASSWORD_CHARACTERS_MAX}`;
    return [{ path: "password", rule: "length", message }];
  }
  if (password.isWellFormed()) return [];
  const message = "Cannot accept a password with lone surrogates";
  return [{ path: "password", rule: "text", message }];
}

function userOf(row: UsersTable): User {
  return {
    id: row.id,
    project: row.project,
    name: row.name,
    role: row.role as Role,
    enabled: row.enabled === 1,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
