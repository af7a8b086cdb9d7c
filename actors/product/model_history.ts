/** The versions that a product's model has had: numbered from 1, the newest `modelVersionsMax` kept. */
import { LIMITS } from "../../runtime/limits.ts";
import type { Transaction } from "../../runtime/store/relational_store.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import type { ProductModelsTable, RegistryTables } from "../registry/tables.ts";
import type { ModelChange } from "./model_changes.ts";
import type { ThingModel } from "./thing_model.ts";

export interface ModelVersion {
  readonly version: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** Null: the model was removed. */
  readonly model: ThingModel | null;
  /** Against the version before. */
  readonly isBreaking: boolean;
  readonly changes: readonly ModelChange[];
}

export interface ModelPage {
  readonly items: readonly ModelVersion[];
  /** Version that the next page begins below; undefined: there is no more. */
  readonly before: number | undefined;
}

/** Writes a version, and lets the oldest beyond the bound go. */
export async function keepModel(
  transaction: Transaction<RegistryTables>,
  product: string,
  version: number,
  model: string | null,
  changes: readonly ModelChange[],
  nowMs: number,
): Promise<void> {
  await transaction.insertInto("product_models").values({
    product,
    version,
    model,
    is_breaking: Number(changes.some(({ isBreaking }) => isBreaking)),
    changes: JSON.stringify(changes),
    created_at: nowMs,
  }).execute();
  await transaction.deleteFrom("product_models").where("product", "=", product)
    .where("version", "<=", version - LIMITS.modelVersionsMax).execute();
}

export async function forgetModels(
  transaction: Transaction<RegistryTables>,
  product: string,
): Promise<void> {
  await transaction.deleteFrom("product_models").where("product", "=", product).execute();
}

/** Newest first. A page ends early rather than with more than `modelPageBytesMax`. */
export async function listModels(
  { db }: RegistryStore,
  product: string,
  { limit, before = Number.MAX_SAFE_INTEGER }: {
    readonly limit: number;
    readonly before?: number;
  },
): Promise<ModelPage> {
  const items: ModelVersion[] = [];
  let last = before;
  let bytes = 0;
  for (;;) {
    const row = await db.selectFrom("product_models").selectAll().where("product", "=", product)
      .where("version", "<", last).orderBy("version", "desc").limit(1).executeTakeFirst();
    if (row === undefined) return { items, before: undefined };
    bytes += (row.model?.length ?? 0) + row.changes.length;
    const isFull = items.length === limit || bytes > LIMITS.modelPageBytesMax;
    if (isFull && items.length > 0) return { items, before: last };
    items.push(versionOf(row));
    last = row.version;
  }
}

function versionOf(row: ProductModelsTable): ModelVersion {
  return {
    version: row.version,
    createdAt: row.created_at,
    model: row.model === null ? null : JSON.parse(row.model),
    isBreaking: row.is_breaking === 1,
    changes: JSON.parse(row.changes),
  };
}
