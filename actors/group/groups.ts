/**
 * Groups of devices, nested: a tree for each project. A device may be in several. Who asks for the
 * devices of a group gets those of the groups below it too.
 */
import { Buffer } from "node:buffer";
import type { Clock } from "../../runtime/clock.ts";
import type { Issue } from "../../runtime/errors.ts";
import { DEVICE_LIMITS } from "../../runtime/device_limits.ts";
import type { Random } from "../../runtime/random.ts";
import type { Transaction } from "../../runtime/store/relational_store.ts";
import { noteAudit } from "../audit/audit_scope.ts";
import { contains, projectRefusal, versionRefusal } from "../registry/conditions.ts";
import { pageOf, type Sort } from "../registry/list_order.ts";
import { titleIssues } from "../registry/names.ts";
import {
  accepted,
  invalid,
  type Outcome,
  type Page,
  type Refusal,
  refused,
} from "../registry/outcome.ts";
import type { Alongside, RegistryStore } from "../registry/registry_store.ts";
import type { DeviceGroupsTable, RegistryTables } from "../registry/tables.ts";
import { belowOf, depthOf, heightOf, type ParentOf } from "./group_tree.ts";

export interface Group {
  readonly id: string;
  /** Unique among those of the same parent. */
  readonly name: string;
  /** Id of the group that it is in; null: at the top. */
  readonly parent: string | null;
  /** From 1; rises with every change: the ETag. */
  readonly version: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly updatedAt: number;
}

export interface NewGroup {
  readonly name: string;
  readonly parent?: string | null;
}

/** Absent fields stay. */
export type GroupPatch = Partial<NewGroup>;

export interface GroupFilter {
  /** Part of the name; ASCII letters in either case. */
  readonly q?: string;
  /** Only those that this device is in itself. */
  readonly device?: { readonly product: string; readonly device: string };
}

export interface GroupQuery extends GroupFilter {
  /** Default: by id. */
  readonly sort?: Sort<"name" | "createdAt">;
  /** 1 to 500. */
  readonly limit: number;
  readonly cursor?: string;
}

export interface GroupsOptions {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly random: Random;
}

const ID_BYTES = 12;
/** Members that one transaction of a removal lets go: other work runs in between. */
const SLICE_ROWS = 1_000;
const ID = { column: "id" };
const ORDERS = {
  "": [ID],
  name: [{ column: "name" }, ID],
  createdAt: [{ column: "created_at", isNumber: true }, ID],
} as const;

export class Groups {
  readonly #options: GroupsOptions;

  constructor(options: GroupsOptions) {
    this.#options = options;
  }

  /** Refuses with `invalid`, `not_found` (project, parent), `exists`, or `in_use` at a bound. */
  async create(
    project: string,
    { name, parent = null }: NewGroup,
    alongside?: Alongside<Group>,
  ): Promise<Outcome<Group>> {
    const issues = nameOfIssues(name);
    if (issues.length > 0) return invalid(issues);
    const { store, clock, random } = this.#options;
    const nowMs = clock.nowMs();
    const id = Buffer.from(random.bytes(ID_BYTES)).toString("base64url");
    const row: DeviceGroupsTable = {
      id,
      project,
      name,
      parent,
      version: 1,
      created_at: nowMs,
      updated_at: nowMs,
    };
    noteAudit({ object: `groups/${id}` });
    return await store.db.transaction().execute(async (transaction) => {
      const gone = await projectRefusal(transaction, project);
      if (gone !== undefined) return gone;
      const parents = await parentsOf(transaction, project);
      if (parents.size >= DEVICE_LIMITS.groupsMax) {
        return refused("in_use", `Cannot create a group: groupsMax is ${DEVICE_LIMITS.groupsMax}`);
      }
      const refusal = placeRefusal(parents, id, parent) ?? await takenRefusal(transaction, row);
      if (refusal !== undefined) return refusal;
      await transaction.insertInto("device_groups").values(row).execute();
      await alongside?.(transaction, groupOf(row));
      return accepted(groupOf(row));
    });
  }

  async get(project: string, id: string): Promise<Group | undefined> {
    const row = await this.#options.store.db.selectFrom("device_groups").selectAll()
      .where("project", "=", project).where("id", "=", id).executeTakeFirst();
    return row === undefined ? undefined : groupOf(row);
  }

  /** Refuses a cursor that is none of this order. */
  async list(project: string, query: GroupQuery): Promise<Outcome<Page<Group>>> {
    return await pageOf(
      ORDERS,
      query,
      groupOf,
      ({ after, by, limit }) =>
        this.#filtered(project, query).selectAll().where(after).orderBy(by).limit(limit).execute(),
    );
  }

  /** How many pass; there are at most `groupsMax`. */
  async count(project: string, filter: GroupFilter): Promise<number> {
    const { count } = await this.#filtered(project, filter)
      .select((select) => select.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
    return Number(count);
  }

  /** The group and all below it; empty: there is no such group in the project. */
  async withNested(project: string, id: string): Promise<readonly string[]> {
    const parents = await parentsOf(this.#options.store.db, project);
    return parents.has(id) ? belowOf(parents, id) : [];
  }

  /** Whether no device is in the group itself. */
  async isEmpty(id: string): Promise<boolean> {
    const member = await this.#options.store.db.selectFrom("group_devices").select("device")
      .where("group_id", "=", id).limit(1).executeTakeFirst();
    return member === undefined;
  }

  /** Refuses as `create`, with `in_use` for a place below itself too, and with `stale`. */
  async update(
    project: string,
    id: string,
    patch: GroupPatch,
    expectedVersion?: number,
  ): Promise<Outcome<Group>> {
    const issues = patch.name === undefined ? [] : nameOfIssues(patch.name);
    if (issues.length > 0) return invalid(issues);
    const { store, clock } = this.#options;
    return await store.db.transaction().execute(async (transaction) => {
      const stored = await rowOf(transaction, project, id);
      const refusal = versionRefusal("group", id, stored, expectedVersion);
      if (stored === undefined || refusal !== undefined) return refusal!;
      const row = {
        ...stored,
        name: patch.name ?? stored.name,
        parent: patch.parent === undefined ? stored.parent : patch.parent,
        version: stored.version + 1,
        updated_at: clock.nowMs(),
      };
      const misplaced = row.parent === stored.parent
        ? undefined
        : placeRefusal(await parentsOf(transaction, project), id, row.parent);
      const refused = misplaced ?? await takenRefusal(transaction, row);
      if (refused !== undefined) return refused;
      await transaction.updateTable("device_groups").set(row).where("id", "=", id).execute();
      return accepted(groupOf(row));
    });
  }

  /**
   * True if it was there. Its devices stay, they are in it no more. Refuses with `in_use` while there
   * are groups in it, and with `stale`. Cut short, a removal is done again as a whole.
   */
  async delete(project: string, id: string, expectedVersion?: number): Promise<Outcome<boolean>> {
    const { store, clock } = this.#options;
    for (;;) {
      const outcome = await store.db.transaction().execute(async (transaction) => {
        const row = await rowOf(transaction, project, id);
        if (row === undefined) return accepted(false);
        const refusal = versionRefusal("group", id, row, expectedVersion) ??
          await parentRefusal(transaction, id);
        if (refusal !== undefined) return refusal;
        if (await removeMembers(transaction, id) === SLICE_ROWS) return undefined;
        await transaction.deleteFrom("device_groups").where("id", "=", id).execute();
        return accepted(true);
      });
      if (outcome !== undefined) return outcome;
      await new Promise<void>((resolve) => clock.soon(resolve));
    }
  }

  /** Twice is harmless. Refuses with `not_found`, or `in_use` at `groupsPerDeviceMax`. */
  async add(project: string, id: string, product: string, device: string): Promise<Outcome<true>> {
    return await this.#options.store.db.transaction().execute(async (transaction) => {
      if (await rowOf(transaction, project, id) === undefined) return missing(id);
      const known = await transaction.selectFrom("devices").select("device")
        .where("product", "=", product).where("device", "=", device)
        .where("project", "=", project).executeTakeFirst();
      if (known === undefined) {
        return refused("not_found", `Cannot find device "${product}/${device}"`);
      }
      const present = await transaction.selectFrom("group_devices").select("group_id")
        .where("product", "=", product).where("device", "=", device).execute();
      if (present.some(({ group_id }) => group_id === id)) return accepted(true);
      if (present.length >= DEVICE_LIMITS.groupsPerDeviceMax) {
        const most = `groupsPerDeviceMax is ${DEVICE_LIMITS.groupsPerDeviceMax}`;
        return refused("in_use", `Cannot add "${product}/${device}" to one more group: ${most}`);
      }
      await transaction.insertInto("group_devices").values({ group_id: id, product, device })
        .execute();
      return accepted(true);
    });
  }

  /** True if it was in it. Refuses with `not_found`: the group. */
  async remove(
    project: string,
    id: string,
    product: string,
    device: string,
  ): Promise<Outcome<boolean>> {
    return await this.#options.store.db.transaction().execute(async (transaction) => {
      if (await rowOf(transaction, project, id) === undefined) return missing(id);
      const { numDeletedRows } = await transaction.deleteFrom("group_devices")
        .where("group_id", "=", id).where("product", "=", product).where("device", "=", device)
        .executeTakeFirstOrThrow();
      return accepted(numDeletedRows > 0n);
    });
  }

  #filtered(project: string, { q = "", device }: GroupFilter) {
    let select = this.#options.store.db.selectFrom("device_groups").where("project", "=", project);
    if (q !== "") select = select.where(contains("name", q));
    if (device === undefined) return select;
    return select.where("id", "in", (inner) =>
      inner.selectFrom("group_devices").select("group_id")
        .where("product", "=", device.product).where("device", "=", device.device));
  }
}

function nameOfIssues(name: string): Issue[] {
  if (name !== "") return titleIssues("name", name);
  return [{ path: "name", rule: "length", message: "Cannot accept an empty name" }];
}

function missing(id: string): Refusal {
  return refused("not_found", `Cannot find group "${id}"`);
}

async function parentsOf(
  db: Pick<Transaction<RegistryTables>, "selectFrom">,
  project: string,
): Promise<ParentOf> {
  const rows = await db.selectFrom("device_groups").select(["id", "parent"])
    .where("project", "=", project).execute();
  return new Map(rows.map(({ id, parent }) => [id, parent]));
}

/** Why a group, with those below it, cannot stand there. */
function placeRefusal(parents: ParentOf, id: string, parent: string | null): Refusal | undefined {
  if (parent === null) return undefined;
  if (!parents.has(parent)) return refused("not_found", `Cannot find group "${parent}"`);
  if (belowOf(parents, id).includes(parent)) {
    return refused("in_use", `Cannot put group "${id}" into "${parent}": that one is in it`);
  }
  const depth = depthOf(parents, parent) + heightOf(parents, id);
  if (depth <= DEVICE_LIMITS.groupDepthMax) return undefined;
  const bound = `groupDepthMax is ${DEVICE_LIMITS.groupDepthMax}`;
  return refused("in_use", `Cannot nest groups ${depth} levels deep: ${bound}`);
}

async function takenRefusal(
  transaction: Transaction<RegistryTables>,
  { id, project, name, parent }: DeviceGroupsTable,
): Promise<Refusal | undefined> {
  const taken = await transaction.selectFrom("device_groups").select("id")
    .where("project", "=", project).where("name", "=", name).where("id", "!=", id)
    .where("parent", parent === null ? "is" : "=", parent).limit(1).executeTakeFirst();
  return taken === undefined
    ? undefined
    : refused("exists", `Cannot name a group "${name}": one beside it has this name`);
}

async function parentRefusal(
  transaction: Transaction<RegistryTables>,
  id: string,
): Promise<Refusal | undefined> {
  const child = await transaction.selectFrom("device_groups").select("id")
    .where("parent", "=", id).limit(1).executeTakeFirst();
  return child === undefined
    ? undefined
    : refused("in_use", `Cannot delete group "${id}": move or delete the groups in it first`);
}

async function removeMembers(
  transaction: Transaction<RegistryTables>,
  id: string,
): Promise<number> {
  const members = await transaction.selectFrom("group_devices").select(["product", "device"])
    .where("group_id", "=", id).limit(SLICE_ROWS).execute();
  for (const { product, device } of members) {
    await transaction.deleteFrom("group_devices").where("group_id", "=", id)
      .where("product", "=", product).where("device", "=", device).execute();
  }
  return members.length;
}

function rowOf(
  transaction: Transaction<RegistryTables>,
  project: string,
  id: string,
): Promise<DeviceGroupsTable | undefined> {
  return transaction.selectFrom("device_groups").selectAll()
    .where("project", "=", project).where("id", "=", id).executeTakeFirst();
}

function groupOf(row: DeviceGroupsTable): Group {
  return {
    id: row.id,
    name: row.name,
    parent: row.parent,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
