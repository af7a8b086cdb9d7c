/** API keys of programs: `roost_` and 32 random bytes, stored as SHA-256, with scopes and an expiry. */
import { Buffer } from "node:buffer";
import { hash } from "node:crypto";
import type { Clock } from "../../runtime/clock.ts";
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Random } from "../../runtime/random.ts";
import { noteAudit } from "../audit/audit_scope.ts";
import { contains, projectRefusal } from "../registry/conditions.ts";
import { pageOf, type Sort } from "../registry/list_order.ts";
import { titleIssues } from "../registry/names.ts";
import { accepted, invalid, type Outcome, type Page, refused } from "../registry/outcome.ts";
import type { SqlRow } from "../../runtime/store/relational_store.ts";
import type { Alongside, RegistryStore } from "../registry/registry_store.ts";
import type { KeysTable } from "../registry/tables.ts";
import { type Principal, type Scope, SCOPES } from "./principal.ts";

export interface ApiKey {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Id of the user. */
  readonly createdBy: string;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly expiresAt: number | null;
  /** To the minute. */
  readonly lastUsedAt: number | null;
}

export interface NewApiKey {
  readonly name: string;
  /** At least one of `SCOPES`. */
  readonly scopes: readonly string[];
  /** Epoch milliseconds, in the future. Default: never. */
  readonly expiresAt?: number;
}

/** The key itself is not stored and cannot be read again. */
export interface ShownApiKey {
  readonly apiKey: ApiKey;
  readonly key: string;
}

export interface ApiKeyQuery {
  /** Part of the name; ASCII letters in either case. */
  readonly q?: string;
  /** Default: by id. */
  readonly sort?: Sort<"name" | "createdAt">;
  /** 1 to 500. */
  readonly limit: number;
  readonly cursor?: string;
}

export interface ApiKeysOptions {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly random: Random;
}

const PREFIX = "roost_";
const KEY = /^roost_[A-Za-z0-9_-]{43}$/;
const KEY_BYTES = 32;
const ID_BYTES = 12;
const ID = { column: "id" };
const ORDERS = {
  "": [ID],
  name: [{ column: "name" }, ID],
  createdAt: [{ column: "created_at", isNumber: true }, ID],
} as const;
/** `lastUsedAt` is written at most this often for one key. */
const USED_EVERY_MS = 60_000;

/** By a prepared look-up: each request of a program begins with it. */
const FIND = `
  select api_keys.id, project, api_keys.name, scopes, expires_at, last_used_at from api_keys
  join projects on projects.id = project where key_hash = ? and projects.deleted_at is null`;

export class ApiKeys {
  readonly #options: ApiKeysOptions;
  readonly #find: (hash: Uint8Array) => SqlRow | undefined;

  constructor(options: ApiKeysOptions) {
    this.#options = options;
    this.#find = options.store.reader.prepareOne(FIND);
  }

  /** The key itself is shown here only. Refuses with `invalid`, or `in_use` at `keysMax`. */
  async create(
    input: NewApiKey,
    creator: { readonly project: string; readonly id: string },
    alongside?: Alongside<ShownApiKey>,
  ): Promise<Outcome<ShownApiKey>> {
    const { store, clock, random } = this.#options;
    const nowMs = clock.nowMs();
    const issues = keyIssues(input, nowMs);
    if (issues.length > 0) return invalid(issues);
    const key = PREFIX + text(random.bytes(KEY_BYTES));
    const row: KeysTable = {
      id: text(random.bytes(ID_BYTES)),
      project: creator.project,
      name: input.name,
      key_hash: hashKey(key),
      scopes: JSON.stringify([...new Set(input.scopes)]),
      created_by: creator.id,
      created_at: nowMs,
      expires_at: input.expiresAt ?? null,
      last_used_at: null,
    };
    noteAudit({ object: `keys/${row.id}` });
    return await store.db.transaction().execute(async (transaction) => {
      const gone = await projectRefusal(transaction, row.project);
      if (gone !== undefined) return gone;
      const { count } = await transaction.selectFrom("api_keys")
        .select((select) => select.fn.countAll<number>().as("count"))
        .where("project", "=", creator.project).executeTakeFirstOrThrow();
      if (Number(count) >= LIMITS.keysMax) {
        return refused("in_use", `Cannot create an API key: at most ${LIMITS.keysMax}`);
      }
      await transaction.insertInto("api_keys").values(row).execute();
      const shown = { apiKey: apiKeyOf(row), key };
      await alongside?.(transaction, shown);
      return accepted(shown);
    });
  }

  /** An expired one too, as in the list. */
  async get(project: string, id: string): Promise<ApiKey | undefined> {
    const row = await this.#options.store.db.selectFrom("api_keys").selectAll()
      .where("project", "=", project).where("id", "=", id).executeTakeFirst();
    return row === undefined ? undefined : apiKeyOf(row);
  }

  /** Refuses a cursor that is none of this order. */
  async list(project: string, query: ApiKeyQuery): Promise<Outcome<Page<ApiKey>>> {
    return await pageOf(
      ORDERS,
      query,
      apiKeyOf,
      ({ after, by, limit }) =>
        this.#filtered(project, query.q).selectAll().where(after).orderBy(by).limit(limit)
          .execute(),
    );
  }

  /** How many pass; there are at most `keysMax`. */
  async count(project: string, q?: string): Promise<number> {
    const { count } = await this.#filtered(project, q)
      .select((select) => select.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
    return Number(count);
  }

  /** True if it was there. */
  async delete(project: string, id: string): Promise<boolean> {
    const { numDeletedRows } = await this.#options.store.db.transaction().execute((transaction) =>
      transaction.deleteFrom("api_keys")
        .where("project", "=", project).where("id", "=", id).executeTakeFirstOrThrow()
    );
    return numDeletedRows > 0n;
  }

  /** Who a bearer token is. Undefined: unknown or expired. */
  async find(key: string): Promise<(Principal & { readonly type: "key" }) | undefined> {
    if (!KEY.test(key)) return undefined;
    const { store, clock } = this.#options;
    const nowMs = clock.nowMs();
    const row = this.#find(hashKey(key)) as unknown as KeysTable | undefined;
    if (row === undefined || (row.expires_at !== null && row.expires_at <= nowMs)) return undefined;
    if (row.last_used_at === null || nowMs - row.last_used_at >= USED_EVERY_MS) {
      await store.db.updateTable("api_keys").set({ last_used_at: nowMs })
        .where("id", "=", row.id).execute();
    }
    const { id, project, name } = row;
    return { type: "key", id, project, name, scopes: JSON.parse(row.scopes) };
  }

  #filtered(project: string, q = "") {
    const select = this.#options.store.db.selectFrom("api_keys").where("project", "=", project);
    return q === "" ? select : select.where(contains("name", q));
  }
}

function keyIssues(input: NewApiKey, nowMs: number): Issue[] {
  const issues = titleIssues("name", input.name);
  if (input.name === "") {
    issues.push({ path: "name", rule: "length", message: "Cannot accept an empty name" });
  }
  const list = SCOPES.join(", ");
  if (input.scopes.length === 0 || input.scopes.length > SCOPES.length) {
    const message = `Cannot accept ${input.scopes.length} scopes: 1 to ${SCOPES.length} of ${list}`;
    issues.push({ path: "scopes", rule: "size", message });
  } else {
    const index = input.scopes.findIndex((scope) => !SCOPES.includes(scope as Scope));
    const message = `Cannot accept this scope: one of ${list}`;
    if (index >= 0) issues.push({ path: `scopes.${index}`, rule: "enum", message });
  }
  const { expiresAt } = input;
  if (expiresAt !== undefined && (!Number.isSafeInteger(expiresAt) || expiresAt <= nowMs)) {
    const message = `Cannot accept ${expiresAt} as expiresAt: epoch milliseconds in the future`;
    issues.push({ path: "expiresAt", rule: "range", message });
  }
  return issues;
}

function apiKeyOf(row: KeysTable): ApiKey {
  return {
    id: row.id,
    name: row.name,
    scopes: JSON.parse(row.scopes),
    createdBy: row.created_by,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    lastUsedAt: row.last_used_at,
  };
}

function hashKey(key: string): Uint8Array {
  return hash("sha256", key, "buffer");
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}
