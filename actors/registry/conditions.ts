/** Conditions that the lists and writes of the registry share. */
import type { Issue } from "../../runtime/errors.ts";
import { type RawBuilder, sql, type Transaction } from "../../runtime/store/relational_store.ts";
import { type Refusal, refused } from "./outcome.ts";
import type { RegistryTables } from "./tables.ts";

export const BAD_CURSOR: Issue = {
  path: "cursor",
  rule: "cursor",
  message: "Cannot accept the cursor: it is none of this list",
};

/** `column` has `text` as a part; ASCII letters in either case, `%` and `_` are letters. */
export function contains(column: string, text: string): RawBuilder<boolean> {
  const pattern = `%${text.replace(/[!%_]/g, "!$&")}%`;
  return sql<boolean>`${sql.ref(column)} like ${pattern} escape '!'`;
}

/** Why nothing can be added to a project: it is not there, or being removed. */
export async function projectRefusal(
  transaction: Transaction<RegistryTables>,
  id: string,
): Promise<Refusal | undefined> {
  const row = await transaction.selectFrom("projects").select("id")
    .where("id", "=", id).where("deleted_at", "is", null).executeTakeFirst();
  return row === undefined ? refused("not_found", `Cannot find project "${id}"`) : undefined;
}

/** Why a write to `row` is refused: it is not there, or another version is stored. */
export function versionRefusal(
  noun: string,
  key: string,
  row: { readonly version: number } | undefined,
  expectedVersion: number | undefined,
): Refusal | undefined {
  if (row === undefined) return refused("not_found", `Cannot find ${noun} "${key}"`);
  if (expectedVersion === undefined || expectedVersion === row.version) return undefined;
  return refused(
    "stale",
    `Cannot change ${noun} "${key}": its version is ${row.version}, not ${expectedVersion}`,
  );
}
