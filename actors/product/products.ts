/** Products: what devices of one kind have in common. Keys are unique in the installation. */
import type { Clock } from "../../runtime/clock.ts";
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Transaction } from "../../runtime/store/relational_store.ts";
import { type ChangesFollower, recordChange } from "../device/changes.ts";
import { noteAudit } from "../audit/audit_scope.ts";
import { BAD_CURSOR, contains, projectRefusal, versionRefusal } from "../registry/conditions.ts";
import {
  cutPage,
  isAfter,
  ordering,
  orderOf,
  positionIn,
  type Sort,
} from "../registry/list_order.ts";
import { nameIssues, titleIssues } from "../registry/names.ts";
import {
  accepted,
  invalid,
  type Outcome,
  type Page,
  type Refusal,
  refused,
} from "../registry/outcome.ts";
import { type Alongside, DEFAULT_PROJECT, type RegistryStore } from "../registry/registry_store.ts";
import type { ProductsTable, RegistryTables } from "../registry/tables.ts";
import type { ProductMode } from "./compiled_model.ts";
import {
  credentialIssues,
  type CredentialKind,
  DEFAULT_CREDENTIALS,
  parseCredentials,
} from "./credentials.ts";
import { compareModels, type ModelChange } from "./model_changes.ts";
import { forgetModels, keepModel, listModels, type ModelPage } from "./model_history.ts";
import { parseThingModel, type ThingModel } from "./thing_model.ts";

export interface Product {
  readonly key: string;
  readonly project: string;
  readonly name: string;
  readonly mode: ProductMode;
  readonly model: ThingModel | null;
  /** From 1, rises with each other model; 0: it never had one. */
  readonly modelVersion: number;
  /** Points older than this are refused, days. */
  readonly lateDaysMax: number;
  /** How long its devices' points and events are kept, days; null: as the node says. */
  readonly retentionDays: number | null;
  /** How its devices may prove who they are. */
  readonly credentials: readonly CredentialKind[];
  /** From 1; rises with every change: the ETag. */
  readonly version: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly updatedAt: number;
}

export interface NewProduct {
  readonly key: string;
  /** Id of the project, for good. Default: `default`. */
  readonly project?: string;
  /** Default: the key. */
  readonly name?: string;
  /** Default `open`. `strict` needs a model. */
  readonly mode?: ProductMode;
  /** Unchecked: parsed here. */
  readonly model?: unknown;
  /** 1 to 3,650 days. */
  readonly lateDaysMax?: number;
  /** 1 to 36,500 days. Default: null. */
  readonly retentionDays?: number | null;
  /** Default: `secret`. Counts for logins from now on. */
  readonly credentials?: readonly string[];
}

/** Absent fields stay; `model: null` removes it. */
export type ProductPatch = Partial<Omit<NewProduct, "key" | "project">>;

export interface UpdateOptions {
  readonly expectedVersion?: number | undefined;
  /** A model that breaks what works now is taken. */
  readonly acceptBreaking?: boolean | undefined;
}

export interface ProductFilter {
  /** Default: `default`. */
  readonly project?: string;
  /** Part of key or name; ASCII letters in either case. */
  readonly q?: string;
}

export interface ProductQuery extends ProductFilter {
  /** Default: by key. */
  readonly sort?: Sort<"key" | "name" | "createdAt">;
  /** 1 to 500. */
  readonly limit: number;
  readonly cursor?: string;
}

const LATE_DAYS_MAX = 3_650;
const RETENTION_DAYS_MAX = 36_500;
const KEY = { column: "key" };
const ORDERS = {
  "": [KEY],
  key: [KEY],
  name: [{ column: "name" }, KEY],
  createdAt: [{ column: "created_at", isNumber: true }, KEY],
} as const;

export class Products {
  readonly #store: RegistryStore;
  readonly #clock: Clock;
  readonly #changes: ChangesFollower;

  constructor(
    options: {
      readonly store: RegistryStore;
      readonly clock: Clock;
      readonly changes: ChangesFollower;
    },
  ) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#changes = options.changes;
  }

  /**
   * Refuses with `invalid`, `not_found` (the project) or `exists`. A key that another project had
   * once stays its own: what devices of that key left behind must not change hands.
   */
  async create(input: NewProduct, alongside?: Alongside<Product>): Promise<Outcome<Product>> {
    const { fields, issues } = checkFields(input);
    issues.unshift(...nameIssues("key", input.key));
    const mode = fields.mode ?? "open";
    const model = fields.model ?? null;
    issues.push(...modeIssues(mode, model));
    if (issues.length > 0) return invalid(issues);
    const nowMs = this.#clock.nowMs();
    const row: ProductsTable = {
      key: input.key,
      project: input.project ?? DEFAULT_PROJECT,
      name: fields.name ?? input.key,
      mode,
      model,
      model_version: model === null ? 0 : 1,
      late_days_max: fields.late_days_max ?? LIMITS.lateDaysDefault,
      retention_days: fields.retention_days ?? null,
      credentials: fields.credentials ?? JSON.stringify(DEFAULT_CREDENTIALS),
      version: 1,
      created_at: nowMs,
      updated_at: nowMs,
    };
    noteAudit({ object: `products/${input.key}` });
    const outcome = await this.#store.db.transaction().execute(async (transaction) => {
      const gone = await projectRefusal(transaction, row.project);
      if (gone !== undefined) return gone;
      const isTaken = await rowOf(transaction, input.key) !== undefined ||
        !await claimKey(transaction, input.key, row.project);
      if (isTaken) {
        return refused("exists", `Cannot create product "${input.key}": the key is taken`);
      }
      await transaction.insertInto("products").values(row).execute();
      if (model !== null) await keepModel(transaction, row.key, 1, model, [], nowMs);
      await recordChange(transaction, change("product_changed", input.key, nowMs));
      await alongside?.(transaction, productOf(row));
      return accepted(productOf(row));
    });
    this.#changes.catchUp();
    return outcome;
  }

  async get(key: string): Promise<Product | undefined> {
    const row = await this.#store.db.selectFrom("products").selectAll()
      .where("key", "=", key).executeTakeFirst();
    return row === undefined ? undefined : productOf(row);
  }

  /**
   * A page ends early rather than with more than `modelPageBytesMax` of models, but for its first.
   * Refuses a cursor that is none of this order.
   */
  async list(query: ProductQuery): Promise<Outcome<Page<Product>>> {
    const order = orderOf(query.sort, ORDERS);
    const after = query.cursor === undefined ? undefined : positionIn(order, query.cursor);
    if (after === undefined && query.cursor !== undefined) return invalid([BAD_CURSOR]);
    let page = this.#filtered(query).orderBy(ordering(order));
    if (after !== undefined) page = page.where(isAfter(order, after));
    const sizes = await page.select(({ fn }) => fn<number | null>("length", ["model"]).as("size"))
      .limit(query.limit).execute();
    const limit = withinBytes(sizes.map(({ size }) => Number(size ?? 0)));
    const found = await page.selectAll().limit(limit + 1).execute();
    const { rows, nextCursor } = cutPage(order, found, limit);
    return accepted({ items: rows.map(productOf), nextCursor });
  }

  /** How many pass; null: more than `countRowsMax`. */
  async count(filter: ProductFilter): Promise<number | null> {
    const counted = this.#filtered(filter).select("key").limit(LIMITS.countRowsMax + 1);
    const { count } = await this.#store.db.selectFrom(counted.as("counted"))
      .select((select) => select.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
    return Number(count) > LIMITS.countRowsMax ? null : Number(count);
  }

  /**
   * Changes what the patch names. Refuses with `invalid`, `not_found`, `stale` if `expectedVersion` is
   * not the stored one, or `breaking`, with the changes of the model as facts.
   */
  async update(
    key: string,
    patch: ProductPatch,
    options: UpdateOptions = {},
  ): Promise<Outcome<Product>> {
    const { fields, issues } = checkFields(patch);
    if (issues.length > 0) return invalid(issues);
    const nowMs = this.#clock.nowMs();
    const outcome = await this.#store.db.transaction().execute(async (transaction) => {
      const row = await rowOf(transaction, key);
      const refusal = versionRefusal("product", key, row, options.expectedVersion);
      if (row === undefined || refusal !== undefined) return refusal!;
      const next = { ...row, ...fields, version: row.version + 1, updated_at: nowMs };
      const modeProblems = modeIssues(next.mode, next.model);
      if (modeProblems.length > 0) return invalid(modeProblems);
      if (next.model !== row.model) {
        const changes = compareModels(modelOf(row), modelOf(next));
        const isBreaking = changes.some((change) => change.isBreaking);
        if (isBreaking && options.acceptBreaking !== true) return breakingRefusal(key, changes);
        next.model_version = row.model_version + 1;
        await keepModel(transaction, key, next.model_version, next.model, changes, nowMs);
      }
      await transaction.updateTable("products").set(next).where("key", "=", key).execute();
      await recordChange(transaction, change("product_changed", key, nowMs));
      return accepted(productOf(next));
    });
    this.#changes.catchUp();
    return outcome;
  }

  /** What `model` would change, without changing anything. Refuses with `invalid` or `not_found`. */
  async changesOf(key: string, model: unknown): Promise<Outcome<readonly ModelChange[]>> {
    const { fields, issues } = checkFields({ model });
    if (issues.length > 0) return invalid(issues);
    const product = await this.get(key);
    if (product === undefined) return refused("not_found", `Cannot find product "${key}"`);
    const next = fields.model === null ? null : JSON.parse(fields.model!) as ThingModel;
    return accepted(compareModels(product.model, next));
  }

  /** The versions that the product's model has had, newest first. */
  async models(
    key: string,
    query: { readonly limit: number; readonly before?: number },
  ): Promise<ModelPage> {
    return await listModels(this.#store, key, query);
  }

  /** True if it was there. Refuses with `in_use` while it has devices, and with `stale`. */
  async delete(key: string, expectedVersion?: number): Promise<Outcome<boolean>> {
    const nowMs = this.#clock.nowMs();
    const outcome = await this.#store.db.transaction().execute(async (transaction) => {
      const row = await rowOf(transaction, key);
      if (row === undefined) return accepted(false);
      const refusal = versionRefusal("product", key, row, expectedVersion);
      if (refusal !== undefined) return refusal;
      const device = await transaction.selectFrom("devices").select("device")
        .where("product", "=", key).limit(1).executeTakeFirst();
      if (device !== undefined) {
        return refused("in_use", `Cannot delete product "${key}": it still has devices`);
      }
      await transaction.deleteFrom("products").where("key", "=", key).execute();
      await forgetModels(transaction, key);
      await recordChange(transaction, change("product_deleted", key, nowMs));
      return accepted(true);
    });
    this.#changes.catchUp();
    return outcome;
  }

  #filtered({ project = DEFAULT_PROJECT, q = "" }: ProductFilter) {
    const select = this.#store.db.selectFrom("products").where("project", "=", project);
    if (q === "") return select;
    return select.where((where) => where.or([contains("key", q), contains("name", q)]));
  }
}

/** How many from the first on are within `modelPageBytesMax`; at least one. */
function withinBytes(sizes: readonly number[]): number {
  let bytes = 0;
  const over = sizes.findIndex((size) => (bytes += size) > LIMITS.modelPageBytesMax);
  return Math.max(1, over < 0 ? sizes.length : over);
}

function change(kind: "product_changed" | "product_deleted", product: string, atMs: number) {
  return { kind, product, device: "", atMs } as const;
}

/** False: it is, or was, another project's. */
async function claimKey(
  transaction: Transaction<RegistryTables>,
  key: string,
  project: string,
): Promise<boolean> {
  const claimed = await transaction.selectFrom("product_keys").select("project")
    .where("key", "=", key).executeTakeFirst();
  if (claimed !== undefined) return claimed.project === project;
  await transaction.insertInto("product_keys").values({ key, project }).execute();
  return true;
}

function rowOf(
  transaction: Transaction<RegistryTables>,
  key: string,
): Promise<ProductsTable | undefined> {
  return transaction.selectFrom("products").selectAll().where("key", "=", key).executeTakeFirst();
}

function modelOf({ model }: Pick<ProductsTable, "model">): ThingModel | null {
  return model === null ? null : JSON.parse(model);
}

function breakingRefusal(key: string, changes: readonly ModelChange[]): Refusal {
  const breaking = changes.filter(({ isBreaking }) => isBreaking);
  const { path, message } = breaking[0]!;
  const more = breaking.length > 1 ? ` and ${breaking.length - 1} more` : "";
  const text = `Cannot change the model of "${key}": ${path}: ${message}${more}. ` +
    "Say acceptBreaking=true to change it all the same";
  return { ...refused("breaking", text), facts: { changes, isBreaking: true } };
}

function productOf(row: ProductsTable): Product {
  return {
    key: row.key,
    project: row.project,
    name: row.name,
    mode: row.mode as ProductMode,
    model: modelOf(row),
    modelVersion: row.model_version,
    lateDaysMax: row.late_days_max,
    retentionDays: row.retention_days,
    credentials: parseCredentials(row.credentials),
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

interface CheckedFields {
  readonly fields: Partial<
    Pick<
      ProductsTable,
      "name" | "mode" | "model" | "late_days_max" | "retention_days" | "credentials"
    >
  >;
  readonly issues: Issue[];
}

function checkFields(input: ProductPatch): CheckedFields {
  const fields: { -readonly [K in keyof CheckedFields["fields"]]: CheckedFields["fields"][K] } = {};
  const issues: Issue[] = [];
  if (input.name !== undefined) {
    issues.push(...titleIssues("name", input.name));
    fields.name = input.name;
  }
  if (input.mode !== undefined) {
    fields.mode = input.mode;
    if (input.mode !== "open" && input.mode !== "strict") {
      issues.push({ path: "mode", rule: "enum", message: "Cannot accept mode: open or strict" });
    }
  }
  if (input.lateDaysMax !== undefined) {
    fields.late_days_max = input.lateDaysMax;
    const days = input.lateDaysMax;
    if (!Number.isInteger(days) || days < 1 || days > LATE_DAYS_MAX) {
      const message = `Cannot accept ${days} as lateDaysMax: 1 to ${LATE_DAYS_MAX} whole days`;
      issues.push({ path: "lateDaysMax", rule: "range", message });
    }
  }
  if (input.retentionDays !== undefined) {
    issues.push(...retentionIssues(input.retentionDays));
    fields.retention_days = input.retentionDays;
  }
  if (input.credentials !== undefined) {
    issues.push(...credentialIssues(input.credentials));
    fields.credentials = JSON.stringify(input.credentials);
  }
  if (input.model === null) fields.model = null;
  else if (input.model !== undefined) {
    const parsed = parseThingModel(input.model);
    if (parsed.ok) fields.model = JSON.stringify(parsed.model);
    else {
      issues.push(...parsed.issues.map((issue) => {
        return { ...issue, path: issue.path === "" ? "model" : `model.${issue.path}` };
      }));
    }
  }
  return { fields, issues };
}

function modeIssues(mode: string, model: string | null): Issue[] {
  if (mode !== "strict" || model !== null) return [];
  const message = "Cannot accept mode strict without a model: it would refuse every value";
  return [{ path: "model", rule: "required", message }];
}

function retentionIssues(days: number | null): Issue[] {
  if (days === null) return [];
  if (Number.isInteger(days) && days >= 1 && days <= RETENTION_DAYS_MAX) return [];
  const message = `Cannot accept ${days} as retentionDays: 1 to ${RETENTION_DAYS_MAX} whole days`;
  return [{ path: "retentionDays", rule: "range", message }];
}
