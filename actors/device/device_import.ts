/** Many devices at once: imports, and the benches' million. */
import { type Clock, waitMs } from "../../runtime/clock.ts";
import { InvalidError, UnavailableError } from "../../runtime/errors.ts";
import type { Random } from "../../runtime/random.ts";
import type { Transaction } from "../../runtime/store/relational_store.ts";
import type { Alongside, RegistryStore } from "../registry/registry_store.ts";
import type { DevicesTable, DeviceTagsTable, RegistryTables } from "../registry/tables.ts";
import { pendingRemovals } from "./device_removals.ts";
import { deviceIssues, type NewDevice, newRow } from "./device_row.ts";
import type { DeviceSecrets } from "./device_secrets.ts";
import { createSecret } from "./secret.ts";

/** Devices of one transaction, and of one statement in it. */
const TRANSACTION_ROWS = 5_000;
const STATEMENT_ROWS = 250;
/** Longest that an import waits for the removal of namesakes, and how often it looks. */
const REMOVAL_MS_MAX = 10_000;
const REMOVAL_LOOK_MS = 20;

export interface ImportOptions {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly random: Random;
}

/** What becomes of devices that are to be made. */
export interface ManyCreated {
  /** With their secrets. */
  readonly created: readonly { readonly device: NewDevice; readonly secret: string }[];
  /** They were there, and stay as they are. */
  readonly existing: readonly NewDevice[];
  /** Their product is not there, or of another project. */
  readonly unknown: readonly NewDevice[];
}

/**
 * Creates devices of one project in one transaction: `inputs` are valid and have names of their own.
 * @param alongside Written in the same transaction.
 * @throws {UnavailableError} A deleted namesake is still in the log: nothing is made.
 */
export async function createMany(
  { store, clock, random, secrets }: ImportOptions & { readonly secrets: DeviceSecrets },
  project: string,
  inputs: readonly NewDevice[],
  alongside?: Alongside<ManyCreated>,
): Promise<ManyCreated> {
  const nowMs = clock.nowMs();
  const prepared = new Map<string, { input: NewDevice; row: DevicesTable; secret: string }>();
  for (const input of inputs) {
    const secret = input.secret ?? createSecret(random);
    const sealed = await secrets.seal(input.product, input.device, secret);
    const row = newRow(input, project, secret, nowMs, sealed);
    prepared.set(nameOf(row), { input, row, secret });
  }
  return await store.db.transaction().execute(async (transaction) => {
    const products = await transaction.selectFrom("products").select("key")
      .where("project", "=", project)
      .where("key", "in", [...new Set(inputs.map(({ product }) => product))]).execute();
    const own = new Set(products.map(({ key }) => key));
    const rows = [...prepared.values()].map(({ row }) => row)
      .filter(({ product }) => own.has(product));
    const { created, pending } = await insertRows(transaction, rows);
    if (pending.length > 0) throw stillRemoved(pending[0]!);
    const made = new Set(created.map(nameOf));
    const outcome: ManyCreated = {
      created: created.map((row) => {
        const { input, secret } = prepared.get(nameOf(row))!;
        return { device: input, secret };
      }),
      existing: inputs.filter((input) => own.has(input.product) && !made.has(nameOf(input))),
      unknown: inputs.filter(({ product }) => !own.has(product)),
    };
    await alongside?.(transaction, outcome);
    return outcome;
  });
}

/**
 * Creates devices in transactions of 5,000, and lets other work run between them. Devices that exist
 * already are left as they are; those whose namesake is being removed are made when it is.
 * @returns How many are new.
 * @throws {InvalidError} A device is not valid, or its product not there; the transactions before it
 *   are kept. @throws {UnavailableError} A namesake is not removed.
 */
export async function importDevices(
  options: ImportOptions,
  devices: Iterable<NewDevice>,
): Promise<number> {
  const { store, clock, random } = options;
  let created = 0;
  let rows = new Map<string, DevicesTable>();
  const flush = async () => {
    const untilMs = clock.monotonicMs() + REMOVAL_MS_MAX;
    for (let left: readonly DevicesTable[] = [...rows.values()]; left.length > 0;) {
      const done = await store.db.transaction().execute(async (transaction) => {
        await setProjects(transaction, left);
        return await insertRows(transaction, left);
      });
      created += done.created.length;
      left = done.pending;
      if (left.length === 0) break;
      if (clock.monotonicMs() >= untilMs) throw stillRemoved(left[0]!);
      await waitMs(clock, REMOVAL_LOOK_MS);
    }
    rows = new Map();
    await new Promise<void>((resolve) => clock.soon(resolve));
  };
  for (const input of devices) {
    const issues = deviceIssues(input);
    if (issues.length > 0) throw new InvalidError(issues[0]!.message, issues);
    const secret = input.secret ?? createSecret(random);
    rows.set(nameOf(input), newRow(input, "", secret, clock.nowMs()));
    if (rows.size >= TRANSACTION_ROWS) await flush();
  }
  await flush();
  return created;
}

interface Inserted {
  readonly created: readonly DevicesTable[];
  /** A deleted namesake is not removed yet. */
  readonly pending: readonly DevicesTable[];
}

/** Of rows with names of their own, those that are not there. */
async function insertRows(
  transaction: Transaction<RegistryTables>,
  rows: readonly DevicesTable[],
): Promise<Inserted> {
  const created: DevicesTable[] = [];
  const waiting: DevicesTable[] = [];
  for (let at = 0; at < rows.length; at += STATEMENT_ROWS) {
    const unknown = await unknownRows(transaction, rows.slice(at, at + STATEMENT_ROWS));
    const pending = new Set(await pendingRemovals(transaction, unknown));
    waiting.push(...pending);
    const fresh = unknown.filter((row) => !pending.has(row));
    if (fresh.length === 0) continue;
    await transaction.insertInto("devices").values(fresh).execute();
    created.push(...fresh);
    const tags = fresh.flatMap(tagRows);
    for (let tag = 0; tag < tags.length; tag += STATEMENT_ROWS) {
      await transaction.insertInto("device_tags").values(tags.slice(tag, tag + STATEMENT_ROWS))
        .execute();
    }
  }
  return { created, pending: waiting };
}

/** @throws {InvalidError} A product is not there. */
async function setProjects(
  transaction: Transaction<RegistryTables>,
  rows: readonly DevicesTable[],
): Promise<void> {
  const keys = [...new Set(rows.map(({ product }) => product))];
  const products = await transaction.selectFrom("products").select(["key", "project"])
    .where("key", "in", keys).execute();
  const projectOf = new Map(products.map(({ key, project }) => [key, project]));
  for (const row of rows) {
    const project = projectOf.get(row.product);
    if (project === undefined) throw new InvalidError(`Cannot find product "${row.product}"`);
    row.project = project;
  }
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
  return rows.filter((row) => !known.has(nameOf(row)));
}

function tagRows({ product, device, tags }: DevicesTable): DeviceTagsTable[] {
  return (JSON.parse(tags) as string[]).map((tag) => ({ tag, product, device }));
}

function nameOf({ product, device }: { readonly product: string; readonly device: string }) {
  return `${product}/${device}`;
}

function stillRemoved(row: DevicesTable): UnavailableError {
  return new UnavailableError(
    "log",
    `Cannot create device "${nameOf(row)}": the one deleted before is still being removed`,
  );
}
