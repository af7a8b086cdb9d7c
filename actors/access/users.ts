/** People: the owner of the first start, and who they let into their project. */
import { Buffer } from "node:buffer";
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Random } from "../../runtime/random.ts";
import type { Transaction } from "../../runtime/store/relational_store.ts";
import { noteAudit } from "../audit/audit_scope.ts";
import { contains, projectRefusal, versionRefusal } from "../registry/conditions.ts";
import { pageOf, type Sort } from "../registry/list_order.ts";
import {
  accepted,
  invalid,
  type Outcome,
  type Page,
  type Refusal,
  refused,
} from "../registry/outcome.ts";
import { type Alongside, DEFAULT_PROJECT, type RegistryStore } from "../registry/registry_store.ts";
import type { RegistryTables, UsersTable } from "../registry/tables.ts";
import type { PasswordHasher } from "./password.ts";
import { sessionIdOf } from "./sessions.ts";
import { type NewUser, type User, userIssues, userOf, type UserPatch } from "./user_row.ts";

export type { NewUser, User, UserPatch };

export interface UserQuery {
  /** Part of the name; ASCII letters in either case. */
  readonly q?: string;
  /** Default: by name. */
  readonly sort?: Sort<"name" | "createdAt">;
  /** 1 to 500. */
  readonly limit: number;
  readonly cursor?: string;
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
const NAME = { column: "name" };
const ORDERS = {
  "": [NAME],
  name: [NAME],
  createdAt: [{ column: "created_at", isNumber: true }, NAME],
} as const;

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

  /** Refuses with `invalid`, `not_found` (the project), `exists`, or `in_use` at `usersMax`. */
  async create(input: NewUser, alongside?: Alongside<User>): Promise<Outcome<User>> {
    const issues = userIssues(input);
    if (issues.length > 0) return invalid(issues);
    const row = await this.newRow(input);
    noteAudit({ object: `users/${row.id}` });
    return await this.#options.store.db.transaction().execute(async (transaction) => {
      const refusal = await insertUser(transaction, row);
      if (refusal !== undefined) return refusal;
      await alongside?.(transaction, userOf(row));
      return accepted(userOf(row));
    });
  }

  /** Slow: hashes the password. For `insertUser` in another transaction. */
  async newRow(input: NewUser): Promise<UsersTable> {
    const { clock, random, passwords } = this.#options;
    const nowMs = clock.nowMs();
    return {
      id: Buffer.from(random.bytes(ID_BYTES)).toString("base64url"),
      project: input.project ?? DEFAULT_PROJECT,
      name: input.name,
      role: input.role,
      enabled: 1,
      password: await passwords.hash(input.password),
      version: 1,
      created_at: nowMs,
      updated_at: nowMs,
      last_login_at: null,
    };
  }

  async get(project: string, id: string): Promise<User | undefined> {
    const row = await this.#options.store.db.selectFrom("users").selectAll()
      .where("project", "=", project).where("id", "=", id).executeTakeFirst();
    return row === undefined ? undefined : userOf(row);
  }

  /** Refuses a cursor that is none of this order. */
  async list(project: string, query: UserQuery): Promise<Outcome<Page<User>>> {
    return await pageOf(
      ORDERS,
      query,
      userOf,
      ({ after, by, limit }) =>
        this.#filtered(project, query.q).selectAll().where(after).orderBy(by).limit(limit)
          .execute(),
    );
  }

  /** How many pass; there are at most `usersMax`. */
  async count(project: string, q?: string): Promise<number> {
    const { count } = await this.#filtered(project, q)
      .select((select) => select.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
    return Number(count);
  }

  /**
   * A new password and disabling end every session of the user at once. Refuses with `invalid`,
   * `not_found`, `stale`, `exists` (the name), and `in_use` if the project would be left without an
   * owner who can log in.
   * @param options.keptSession Id of the session that goes on although the password is new.
   */
  async update(
    project: string,
    id: string,
    patch: UserPatch,
    options: { readonly expectedVersion?: number; readonly keptSession?: string } = {},
  ): Promise<Outcome<User>> {
    const issues = userIssues(patch);
    if (issues.length > 0) return invalid(issues);
    const { store, clock, passwords } = this.#options;
    const { name, role, enabled } = patch;
    const password = patch.password === undefined
      ? undefined
      : await passwords.hash(patch.password);
    return await store.db.transaction().execute(async (transaction) => {
      const stored = await storedUser(transaction, project, id);
      const refusal = versionRefusal("user", id, stored, options.expectedVersion);
      if (stored === undefined || refusal !== undefined) return refusal!;
      if (name !== undefined && name !== stored.name && await isTaken(transaction, name)) {
        return refused("exists", `Cannot call user "${stored.name}" "${name}": the name is taken`);
      }
      const row: UsersTable = {
        ...stored,
        name: name ?? stored.name,
        role: role ?? stored.role,
        enabled: enabled === undefined ? stored.enabled : Number(enabled),
        password: password ?? stored.password,
        version: stored.version + 1,
        updated_at: clock.nowMs(),
      };
      if (!isOwner(row)) {
        const last = await lastOwnerRefusal(transaction, stored);
        if (last !== undefined) return last;
      }
      await transaction.updateTable("users").set(row).where("id", "=", id).execute();
      if (row.enabled !== 1 || password !== undefined) {
        await endSessions(transaction, id, options.keptSession);
      }
      return accepted(userOf(row));
    });
  }

  /** True if it was there. Ends its sessions. Refuses with `stale`, and `in_use` as `update`. */
  async delete(project: string, id: string, expectedVersion?: number): Promise<Outcome<boolean>> {
    return await this.#options.store.db.transaction().execute(async (transaction) => {
      const stored = await storedUser(transaction, project, id);
      if (stored === undefined) return accepted(false);
      const refusal = versionRefusal("user", id, stored, expectedVersion) ??
        await lastOwnerRefusal(transaction, stored);
      if (refusal !== undefined) return refusal;
      await endSessions(transaction, id, undefined);
      await transaction.deleteFrom("users").where("id", "=", id).execute();
      return accepted(true);
    });
  }

  #filtered(project: string, q = "") {
    const select = this.#options.store.db.selectFrom("users").where("project", "=", project);
    return q === "" ? select : select.where(contains("name", q));
  }
}

/** Why the row is refused; undefined: it is stored. */
export async function insertUser(
  transaction: Transaction<RegistryTables>,
  row: UsersTable,
): Promise<Refusal | undefined> {
  const gone = await projectRefusal(transaction, row.project);
  if (gone !== undefined) return gone;
  if (await isTaken(transaction, row.name)) {
    return refused("exists", `Cannot create user "${row.name}": the name is taken`);
  }
  const { count } = await transaction.selectFrom("users")
    .select((select) => select.fn.countAll<number>().as("count"))
    .where("project", "=", row.project).executeTakeFirstOrThrow();
  if (Number(count) >= LIMITS.usersMax) {
    return refused("in_use", `Cannot create a user: usersMax is ${LIMITS.usersMax}`);
  }
  await transaction.insertInto("users").values(row).execute();
  return undefined;
}

async function isTaken(transaction: Transaction<RegistryTables>, name: string): Promise<boolean> {
  const taken = await transaction.selectFrom("users").select("id")
    .where("name", "=", name).executeTakeFirst();
  return taken !== undefined;
}

function storedUser(
  transaction: Transaction<RegistryTables>,
  project: string,
  id: string,
): Promise<UsersTable | undefined> {
  return transaction.selectFrom("users").selectAll()
    .where("project", "=", project).where("id", "=", id).executeTakeFirst();
}

function isOwner(row: UsersTable): boolean {
  return row.role === "owner" && row.enabled === 1;
}

/** Nobody could let anybody in any more. */
async function lastOwnerRefusal(
  transaction: Transaction<RegistryTables>,
  stored: UsersTable,
): Promise<Refusal | undefined> {
  if (!isOwner(stored)) return undefined;
  const other = await transaction.selectFrom("users").select("id")
    .where("project", "=", stored.project).where("role", "=", "owner").where("enabled", "=", 1)
    .where("id", "!=", stored.id).limit(1).executeTakeFirst();
  if (other !== undefined) return undefined;
  return refused(
    "in_use",
    `Cannot take owner "${stored.name}" away: it is the last one of its project`,
  );
}

/** And forgets the browsers: who knew the old password may be the reason for the new one. */
async function endSessions(
  transaction: Transaction<RegistryTables>,
  user: string,
  kept: string | undefined,
): Promise<void> {
  const rows = await transaction.selectFrom("sessions").select("token_hash")
    .where("user", "=", user).execute();
  for (const { token_hash } of rows) {
    if (sessionIdOf(token_hash) === kept) continue;
    await transaction.deleteFrom("sessions").where("token_hash", "=", token_hash).execute();
  }
  await transaction.deleteFrom("browsers").where("user", "=", user).execute();
}
