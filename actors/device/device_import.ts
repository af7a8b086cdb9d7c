/** Many devices at once: imports, and the benches' million. */
import type { Clock } from "../../runtime/clock.ts";
import { InvalidError } from "../../runtime/errors.ts";
import type { Random } from "../../runtime/random.ts";
import type { Transaction } from "../../runtime/store/relational_store.ts";
import { DEFAULT_PROJECT, type RegistryStore } from "../registry/registry_store.ts";
import type { DevicesTable, DeviceTagsTable, RegistryTables } from "../registry/tables.ts";
import { deviceIssues, type NewDevice, newRow } from "./device_row.ts";
import { createSecret } from "./secret.ts";

/** Devices of one transaction, and of one statement in it. */
const TRANSACTION_ROWS = 5_000;
const STATEMENT_ROWS = 250;

export interface ImportOptions {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * Creates devices of products that exist, with names that were not deleted just now (neither is
 * checked), in transactions of 5,000, and lets other work run between them. Devices that exist already are left as they are.
 * @returns How many are new.
 * @throws {InvalidError} A device is not valid; the transactions before it are kept.
 */
export async function importDevices(
  options: ImportOptions,
  devices: Iterable<NewDevice>,
): Promise<number> {
  const { store, clock, random } = options;
  let created = 0;
  let rows = new Map<string, DevicesTable>();
  const flush = async () => {
    if (rows.size === 0) return;
    created += await store.db.transaction().execute((trx) => insertRows(trx, [...rows.values()]));
    rows = new Map();
    await new Promise<void>((resolve) => clock.soon(resolve));
  };
  for (const input of devices) {
    const issues = deviceIssues(input);
    if (issues.length > 0) throw new InvalidError(issues[0]!.message, issues);
    const secret = input.secret ?? createSecret(random);
    rows.set(`${input.product}/${input.device}`, newRow(input, "", secret, clock.nowMs()));
    if (rows.size >= TRANSACTION_ROWS) await flush();
  }
  await flush();
  return created;
}

async function insertRows(
  transaction: Transaction<RegistryTables>,
  rows: readonly DevicesTable[],
): Promise<number> {
  let created = 0;
  for (let at = 0; at < rows.length; at += STATEMENT_ROWS) {
    const fresh = await unknownRows(transaction, rows.slice(at, at + STATEMENT_ROWS));
    if (fresh.length === 0) continue;
    await setProjects(transaction, fresh);
    await transaction.insertInto("devices").values(fresh).execute();
    created += fresh.length;
    const tags = fresh.flatMap(tagRows);
    for (let tag = 0; tag < tags.length; tag += STATEMENT_ROWS) {
      await transaction.insertInto("device_tags").values(tags.slice(tag, tag + STATEMENT_ROWS))
        .execute();
    }
  }
  return created;
}

async function setProjects(
  transaction: Transaction<RegistryTables>,
  rows: readonly DevicesTable[],
): Promise<void> {
  const keys = [...new Set(rows.map(({ product }) => product))];
  const products = await transaction.selectFrom("products").select(["key", "project"])
    .where("key", "in", keys).execute();
  const projectOf = new Map(products.map(({ key, project }) => [key, project]));
  for (const row of rows) row.project = projectOf.get(row.product) ?? DEFAULT_PROJECT;
}

async function unknownRows(
  transaction: Transaction<RegistryTables>,
  rows: readonly DevicesTable[],
): Promise<DevicesTable[]> {
  const known = new Set<string>();
  for (const product of new Set(rows.map((row) => row.product))) {
    const names = rows.filter((row) => row.product === product).map((row) => row.device);
    const stored = await transaction.selectFrom("devices").select("device")
      .where("product", "=", product).where("device", "in", names).execute();
    for (const { device } of stored) known.add(`${product}/${device}`);
  }
  return rows.filter((row) => !known.has(`${row.product}/${row.device}`));
}

function tagRows({ product, device, tags }: DevicesTable): DeviceTagsTable[] {
  return (JSON.parse(tags) as string[]).map((tag) => ({ tag, product, device }));
}
