/** Projects: the unit of tenancy. Products, people and keys belong to one each, for good. */
import type { Clock } from "../../runtime/clock.ts";
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Transaction } from "../../runtime/store/relational_store.ts";
import { noteAudit } from "../audit/audit_scope.ts";
import { insertUser, type NewUser, type Users } from "../access/users.ts";
import { userIssues } from "../access/user_row.ts";
import { contains, versionRefusal } from "../registry/conditions.ts";
import { pageOf, type Sort } from "../registry/list_order.ts";
import { nameIssues, titleIssues } from "../registry/names.ts";
import { accepted, invalid, type Outcome, type Page, refused } from "../registry/outcome.ts";
import { type Alongside, DEFAULT_PROJECT, type RegistryStore } from "../registry/registry_store.ts";
import type { ProjectsTable, RegistryTables } from "../registry/tables.ts";

export interface Project {
  /** Unique in the installation. */
  readonly id: string;
  readonly name: string;
  /** From 1; rises with every change: the ETag. */
  readonly version: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly updatedAt: number;
}

export interface NewProject {
  readonly id: string;
  /** Default: the id. */
  readonly name?: string;
  /** Its first owner, made with it. */
  readonly owner?: { readonly name: string; readonly password: string };
}

export interface ProjectQuery {
  /** Part of id or name; ASCII letters in either case. */
  readonly q?: string;
  /** Only this one. */
  readonly id?: string;
  /** Default: by id. */
  readonly sort?: Sort<"id" | "name" | "createdAt">;
  /** 1 to 500. */
  readonly limit: number;
  readonly cursor?: string;
}

export interface ProjectsOptions {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly users: Pick<Users, "newRow">;
  /** Called after a project was marked as deleted: what belongs to it is to be removed. */
  readonly onDeleted: () => void;
}

const ID = { column: "id" };
const ORDERS = {
  "": [ID],
  id: [ID],
  name: [{ column: "name" }, ID],
  createdAt: [{ column: "created_at", isNumber: true }, ID],
} as const;

export class Projects {
  readonly #options: ProjectsOptions;

  constructor(options: ProjectsOptions) {
    this.#options = options;
  }

  /** Refuses with `invalid`, `exists` (the id, the owner's name), or `in_use` at `projectsMax`. */
  async create(input: NewProject, alongside?: Alongside<Project>): Promise<Outcome<Project>> {
    const { store, clock, users } = this.#options;
    const owner: NewUser | undefined = input.owner &&
      { ...input.owner, project: input.id, role: "owner" };
    const issues: Issue[] = [
      ...nameIssues("id", input.id),
      ...nameOfIssues(input.name),
      ...(owner === undefined ? [] : userIssues(owner)).map((issue) => {
        return { ...issue, path: `owner.${issue.path}` };
      }),
    ];
    if (issues.length > 0) return invalid(issues);
    const ownerRow = owner && await users.newRow(owner);
    const nowMs = clock.nowMs();
    const row: ProjectsTable = {
      id: input.id,
      name: input.name ?? input.id,
      version: 1,
      created_at: nowMs,
      updated_at: nowMs,
      deleted_at: null,
    };
    noteAudit({ object: `projects/${input.id}` });
    return await store.db.transaction().execute(async (transaction) => {
      const taken = await anyRow(transaction, input.id);
      if (taken !== undefined) {
        const why = taken.deleted_at === null ? "it exists" : "one of this id is being removed";
        return refused("exists", `Cannot create project "${input.id}": ${why}`);
      }
      const { count } = await transaction.selectFrom("projects")
        .select((select) => select.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
      if (Number(count) >= LIMITS.projectsMax) {
        return refused("in_use", `Cannot create a project: projectsMax is ${LIMITS.projectsMax}`);
      }
      if (ownerRow !== undefined && await isTaken(transaction, ownerRow.name)) {
        return refused("exists", `Cannot create owner "${ownerRow.name}": the name is taken`);
      }
      await transaction.insertInto("projects").values(row).execute();
      if (ownerRow !== undefined) await insertUser(transaction, ownerRow);
      await alongside?.(transaction, projectOf(row));
      return accepted(projectOf(row));
    });
  }

  async get(id: string): Promise<Project | undefined> {
    const row = await this.#options.store.db.selectFrom("projects").selectAll()
      .where("id", "=", id).where("deleted_at", "is", null).executeTakeFirst();
    return row === undefined ? undefined : projectOf(row);
  }

  /** Refuses a cursor that is none of this order. */
  async list(query: ProjectQuery): Promise<Outcome<Page<Project>>> {
    return await pageOf(
      ORDERS,
      query,
      projectOf,
      ({ after, by, limit }) =>
        this.#filtered(query).selectAll().where(after).orderBy(by).limit(limit).execute(),
    );
  }

  /** How many pass; there are at most `projectsMax`. */
  async count(filter: Pick<ProjectQuery, "q" | "id">): Promise<number> {
    const { count } = await this.#filtered(filter)
      .select((select) => select.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
    return Number(count);
  }

  /** Refuses with `invalid`, `not_found` or `stale`. */
  async rename(id: string, name: string, expectedVersion?: number): Promise<Outcome<Project>> {
    const issues = nameOfIssues(name);
    if (issues.length > 0) return invalid(issues);
    const { store, clock } = this.#options;
    return await store.db.transaction().execute(async (transaction) => {
      const stored = await presentRow(transaction, id);
      const refusal = versionRefusal("project", id, stored, expectedVersion);
      if (stored === undefined || refusal !== undefined) return refusal!;
      const row = { ...stored, name, version: stored.version + 1, updated_at: clock.nowMs() };
      await transaction.updateTable("projects").set(row).where("id", "=", id).execute();
      return accepted(projectOf(row));
    });
  }

  /**
   * True if it was there. From then on it is gone for everybody; what belonged to it is removed in
   * the background (`project_removals.ts`). Refuses with `stale`, and with `in_use` for project
   * `default`, and for one with products, people or keys unless that is `isConfirmed`.
   */
  async delete(
    id: string,
    options: { readonly isConfirmed?: boolean; readonly expectedVersion?: number } = {},
  ): Promise<Outcome<boolean>> {
    const { store, clock, onDeleted } = this.#options;
    const outcome = await store.db.transaction().execute(async (transaction) => {
      const stored = await presentRow(transaction, id);
      if (stored === undefined) return accepted(false);
      const refusal = versionRefusal("project", id, stored, options.expectedVersion);
      if (refusal !== undefined) return refusal;
      if (id === DEFAULT_PROJECT) {
        return refused("in_use", `Cannot delete project "${id}": its people run the installation`);
      }
      const content = options.isConfirmed ? undefined : await contentOf(transaction, id);
      if (content !== undefined) {
        const how = `delete them first, or send ?confirm=${id}`;
        return refused("in_use", `Cannot delete project "${id}": it still has ${content}; ${how}`);
      }
      await transaction.updateTable("projects").set({ deleted_at: clock.nowMs() })
        .where("id", "=", id).execute();
      return accepted(true);
    });
    if (outcome.ok && outcome.value) onDeleted();
    return outcome;
  }

  #filtered({ q = "", id }: Pick<ProjectQuery, "q" | "id">) {
    let select = this.#options.store.db.selectFrom("projects").where("deleted_at", "is", null);
    if (id !== undefined) select = select.where("id", "=", id);
    if (q === "") return select;
    return select.where((where) => where.or([contains("id", q), contains("name", q)]));
  }
}

function nameOfIssues(name: string | undefined): Issue[] {
  if (name === undefined) return [];
  const issues = titleIssues("name", name);
  if (name !== "") return issues;
  return [...issues, { path: "name", rule: "length", message: "Cannot accept an empty name" }];
}

function anyRow(
  transaction: Transaction<RegistryTables>,
  id: string,
): Promise<ProjectsTable | undefined> {
  return transaction.selectFrom("projects").selectAll().where("id", "=", id).executeTakeFirst();
}

async function presentRow(
  transaction: Transaction<RegistryTables>,
  id: string,
): Promise<ProjectsTable | undefined> {
  const row = await anyRow(transaction, id);
  return row?.deleted_at === null ? row : undefined;
}

async function isTaken(transaction: Transaction<RegistryTables>, name: string): Promise<boolean> {
  const row = await transaction.selectFrom("users").select("id")
    .where("name", "=", name).executeTakeFirst();
  return row !== undefined;
}

/** A word for what it still has; undefined: it is empty. */
async function contentOf(
  transaction: Transaction<RegistryTables>,
  project: string,
): Promise<string | undefined> {
  const kinds = { products: "products", users: "users", api_keys: "API keys" } as const;
  for (const [table, words] of Object.entries(kinds)) {
    const row = await transaction.selectFrom(table as keyof typeof kinds).select("project")
      .where("project", "=", project).limit(1).executeTakeFirst();
    if (row !== undefined) return words;
  }
  return undefined;
}

function projectOf(row: ProjectsTable): Project {
  return {
    id: row.id,
    name: row.name,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
