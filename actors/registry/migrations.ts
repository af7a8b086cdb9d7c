/** Migrations of `registry.db`. Ids rise by one; a released migration never changes. */
import {
  type ColumnDefinitionBuilder,
  type Kysely,
  sql,
} from "../../runtime/store/relational_store.ts";
import type { Migration } from "../../runtime/store/migrations.ts";

export const REGISTRY_MIGRATIONS: readonly Migration[] = [
  { id: 1, name: "create registry", up: createRegistry },
  { id: 2, name: "create access", up: createAccess },
  { id: 3, name: "index orders of lists", up: indexOrders },
  { id: 4, name: "tenancy and logins", up: addTenancy },
  { id: 5, name: "create answers", up: createAnswers },
  { id: 6, name: "create audit", up: createAudit },
  { id: 7, name: "credentials of devices", up: addCredentials },
  { id: 8, name: "create jobs", up: createJobs },
  { id: 9, name: "create model versions", up: createModelVersions },
  { id: 10, name: "create groups", up: createGroups },
  { id: 11, name: "retention of products", up: addRetention },
  { id: 12, name: "index disabled devices", up: indexDisabled },
];

async function createRegistry(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable("projects").ifNotExists()
    .addColumn("id", "varchar(64)", (column) => column.primaryKey())
    .addColumn("name", "varchar(128)", (column) => column.notNull())
    .addColumn("created_at", "bigint", (column) => column.notNull())
    .execute();
  await db.schema.createTable("products").ifNotExists()
    .addColumn("key", "varchar(64)", (column) => column.primaryKey())
    .addColumn("project", "varchar(64)", (column) => column.notNull())
    .addColumn("name", "varchar(128)", (column) => column.notNull())
    .addColumn("mode", "varchar(8)", (column) => column.notNull())
    .addColumn("model", "text")
    .addColumn("late_days_max", "integer", (column) => column.notNull())
    .addColumn("version", "integer", (column) => column.notNull())
    .addColumn("created_at", "bigint", (column) => column.notNull())
    .addColumn("updated_at", "bigint", (column) => column.notNull())
    .execute();
  await db.schema.createTable("devices").ifNotExists()
    .addColumn("product", "varchar(64)", (column) => column.notNull())
    .addColumn("device", "varchar(64)", (column) => column.notNull())
    .addColumn("name", "varchar(128)", (column) => column.notNull())
    .addColumn("tags", "text", (column) => column.notNull())
    .addColumn("enabled", "integer", (column) => column.notNull())
    .addColumn("secret_hash", "blob", (column) => column.notNull())
    .addColumn("version", "integer", (column) => column.notNull())
    .addColumn("created_at", "bigint", (column) => column.notNull())
    .addColumn("updated_at", "bigint", (column) => column.notNull())
    .addPrimaryKeyConstraint("devices_key", ["product", "device"])
    .execute();
  await db.schema.createTable("device_tags").ifNotExists()
    .addColumn("tag", "varchar(64)", (column) => column.notNull())
    .addColumn("product", "varchar(64)", (column) => column.notNull())
    .addColumn("device", "varchar(64)", (column) => column.notNull())
    .addPrimaryKeyConstraint("device_tags_key", ["tag", "product", "device"])
    .execute();
  await db.schema.createIndex("device_tags_of_device").ifNotExists()
    .on("device_tags").columns(["product", "device"]).execute();
  await createChanges(db);
}

async function createChanges(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable("changes").ifNotExists()
    .addColumn("id", "integer", (column) => column.primaryKey().autoIncrement())
    .addColumn("kind", "varchar(32)", (column) => column.notNull())
    .addColumn("product", "varchar(64)", (column) => column.notNull())
    .addColumn("device", "varchar(64)", (column) => column.notNull())
    .addColumn("at", "bigint", (column) => column.notNull())
    .execute();
  await db.schema.createTable("followers").ifNotExists()
    .addColumn("name", "varchar(64)", (column) => column.primaryKey())
    .addColumn("position", "bigint", (column) => column.notNull())
    .execute();
}

async function createAccess(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable("users").ifNotExists()
    .addColumn("id", "varchar(64)", (column) => column.primaryKey())
    .addColumn("project", "varchar(64)", (column) => column.notNull())
    .addColumn("name", "varchar(64)", (column) => column.notNull().unique())
    .addColumn("role", "varchar(16)", (column) => column.notNull())
    .addColumn("enabled", "integer", (column) => column.notNull())
    .addColumn("password", "varchar(255)", (column) => column.notNull())
    .addColumn("version", "integer", (column) => column.notNull())
    .addColumn("created_at", "bigint", (column) => column.notNull())
    .addColumn("updated_at", "bigint", (column) => column.notNull())
    .execute();
  await db.schema.createTable("sessions").ifNotExists()
    .addColumn("token_hash", "binary(32)", (column) => column.primaryKey())
    .addColumn("user", "varchar(64)", (column) => column.notNull())
    .addColumn("csrf", "varchar(64)", (column) => column.notNull())
    .addColumn("created_at", "bigint", (column) => column.notNull())
    .addColumn("expires_at", "bigint", (column) => column.notNull())
    .execute();
  await db.schema.createTable("api_keys").ifNotExists()
    .addColumn("id", "varchar(64)", (column) => column.primaryKey())
    .addColumn("project", "varchar(64)", (column) => column.notNull())
    .addColumn("name", "varchar(128)", (column) => column.notNull())
    .addColumn("key_hash", "binary(32)", (column) => column.notNull().unique())
    .addColumn("scopes", "text", (column) => column.notNull())
    .addColumn("created_by", "varchar(64)", (column) => column.notNull())
    .addColumn("created_at", "bigint", (column) => column.notNull())
    .addColumn("expires_at", "bigint")
    .addColumn("last_used_at", "bigint")
    .execute();
}

/** Orders of lists. Those of devices hold their names too, so that a search reads no rows. */
async function indexOrders(db: Kysely<unknown>): Promise<void> {
  const indexes = {
    devices_by_key: ["devices", "product", "device", "name"],
    devices_by_device: ["devices", "device", "product", "name"],
    devices_by_name: ["devices", "name", "product", "device"],
    devices_by_created: ["devices", "created_at", "product", "device"],
    products_by_key: ["products", "project", "key"],
    products_by_name: ["products", "project", "name", "key"],
    products_by_created: ["products", "project", "created_at", "key"],
  };
  for (const [name, [table, ...columns]] of Object.entries(indexes)) {
    await db.schema.createIndex(name).ifNotExists().on(table!).columns(columns).execute();
  }
}

async function addTenancy(db: Kysely<unknown>): Promise<void> {
  await addColumns(db, "projects", {
    version: ["integer", (column) => column.notNull().defaultTo(1)],
    updated_at: ["bigint", (column) => column.notNull().defaultTo(0)],
    deleted_at: ["bigint", (column) => column],
  });
  await addColumns(db, "users", { last_login_at: ["bigint", (column) => column] });
  await addColumns(db, "sessions", {
    remote: ["varchar(64)", (column) => column.notNull().defaultTo("")],
    agent: ["varchar(255)", (column) => column.notNull().defaultTo("")],
  });
  await db.schema.createTable("product_keys").ifNotExists()
    .addColumn("key", "varchar(64)", (column) => column.primaryKey())
    .addColumn("project", "varchar(64)", (column) => column.notNull())
    .execute();
  await sql`insert into product_keys (key, project) select p.key, p.project from products p
    where not exists (select 1 from product_keys k where k.key = p.key)`.execute(db);
  await addProjectToDevices(db);
  await db.schema.createTable("browsers").ifNotExists()
    .addColumn("token_hash", "binary(32)", (column) => column.primaryKey())
    .addColumn("user", "varchar(64)", (column) => column.notNull())
    .addColumn("used_at", "bigint", (column) => column.notNull())
    .execute();
  await db.schema.createIndex("browsers_of_user").ifNotExists()
    .on("browsers").columns(["user", "used_at"]).execute();
  await db.schema.createIndex("sessions_of_user").ifNotExists()
    .on("sessions").columns(["user", "created_at"]).execute();
  await db.schema.createIndex("users_of_project").ifNotExists()
    .on("users").columns(["project", "name"]).execute();
}

/** Devices are listed, searched and counted by project: it comes first in their orders. */
async function addProjectToDevices(db: Kysely<unknown>): Promise<void> {
  await addColumns(db, "devices", {
    project: ["varchar(64)", (column) => column.notNull().defaultTo("")],
  });
  await sql`update devices set project = (select p.project from products p
    where p.key = devices.product) where project = ''`.execute(db);
  const orders = {
    key: ["product", "device", "name"],
    device: ["device", "product", "name"],
    name: ["name", "product", "device"],
    created: ["created_at", "product", "device"],
  };
  for (const [name, columns] of Object.entries(orders)) {
    await db.schema.dropIndex(`devices_by_${name}`).ifExists().execute();
    await db.schema.createIndex(`devices_of_project_by_${name}`).ifNotExists()
      .on("devices").columns(["project", ...columns]).execute();
  }
}

async function createAudit(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable("audit").ifNotExists()
    .addColumn("project", "varchar(64)", (column) => column.notNull())
    .addColumn("seq", "bigint", (column) => column.notNull())
    .addColumn("at", "bigint", (column) => column.notNull())
    .addColumn("actor_type", "varchar(8)", (column) => column.notNull())
    .addColumn("actor_id", "varchar(64)", (column) => column.notNull())
    .addColumn("actor_name", "varchar(128)", (column) => column.notNull())
    .addColumn("action", "varchar(128)", (column) => column.notNull())
    .addColumn("object", "varchar(512)", (column) => column.notNull())
    .addColumn("detail", "text", (column) => column.notNull())
    .addColumn("remote", "varchar(64)", (column) => column.notNull())
    .addColumn("outcome", "varchar(64)", (column) => column.notNull())
    .addColumn("hash", "binary(32)", (column) => column.notNull())
    .addPrimaryKeyConstraint("audit_key", ["project", "seq"])
    .execute();
  await db.schema.createTable("audit_heads").ifNotExists()
    .addColumn("project", "varchar(64)", (column) => column.primaryKey())
    .addColumn("seq", "bigint", (column) => column.notNull())
    .addColumn("at", "bigint", (column) => column.notNull())
    .addColumn("hash", "binary(32)", (column) => column.notNull())
    .addColumn("mac", "varchar(64)", (column) => column.notNull())
    .addColumn("kept_after", "bigint", (column) => column.notNull())
    .addColumn("kept_hash", "binary(32)", (column) => column.notNull())
    .addColumn("kept_mac", "varchar(64)", (column) => column.notNull())
    .execute();
  await db.schema.createTable("master_keys").ifNotExists()
    .addColumn("id", "varchar(16)", (column) => column.primaryKey())
    .addColumn("check_text", "varchar(255)", (column) => column.notNull())
    .addColumn("created_at", "bigint", (column) => column.notNull())
    .execute();
  const orders = ["action", "actor_name", "actor_id", "object"];
  for (const column of orders) {
    await db.schema.createIndex(`audit_by_${column}`).ifNotExists()
      .on("audit").columns(["project", column, "seq"]).execute();
  }
}

async function addCredentials(db: Kysely<unknown>): Promise<void> {
  await addColumns(db, "products", {
    credentials: ["varchar(64)", (column) => column.notNull().defaultTo('["secret"]')],
  });
  await addColumns(db, "devices", {
    secret_sealed: ["text", (column) => column],
    secret_at: ["bigint", (column) => column],
  });
  // Of most installations it is empty: it is what the sweep of secrets looks at.
  await sql`create index if not exists devices_sealed on devices (product, device)
    where secret_sealed is not null`.execute(db);
  await db.schema.createTable("device_secrets").ifNotExists()
    .addColumn("product", "varchar(64)", (column) => column.notNull())
    .addColumn("device", "varchar(64)", (column) => column.notNull())
    .addColumn("secret_hash", "binary(32)", (column) => column.notNull())
    .addColumn("sealed", "text")
    .addColumn("created_at", "bigint", (column) => column.notNull())
    .addColumn("rotated_at", "bigint", (column) => column.notNull())
    .addColumn("ends_at", "bigint", (column) => column.notNull())
    .addPrimaryKeyConstraint("device_secrets_key", ["product", "device"])
    .execute();
  await db.schema.createIndex("device_secrets_end").ifNotExists()
    .on("device_secrets").columns(["ends_at"]).execute();
}

async function createModelVersions(db: Kysely<unknown>): Promise<void> {
  await addColumns(db, "products", {
    model_version: ["integer", (column) => column.notNull().defaultTo(0)],
  });
  await db.schema.createTable("product_models").ifNotExists()
    .addColumn("product", "varchar(64)", (column) => column.notNull())
    .addColumn("version", "integer", (column) => column.notNull())
    .addColumn("model", "text")
    .addColumn("is_breaking", "integer", (column) => column.notNull())
    .addColumn("changes", "text", (column) => column.notNull())
    .addColumn("created_at", "bigint", (column) => column.notNull())
    .addPrimaryKeyConstraint("product_models_key", ["product", "version"])
    .execute();
  await sql`insert into product_models (product, version, model, is_breaking, changes, created_at)
    select p.key, 1, p.model, 0, '[]', p.updated_at from products p where p.model is not null
    and not exists (select 1 from product_models m where m.product = p.key)`.execute(db);
  await sql`update products set model_version = 1
    where model is not null and model_version = 0`.execute(db);
}

async function createGroups(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable("device_groups").ifNotExists()
    .addColumn("id", "varchar(64)", (column) => column.primaryKey())
    .addColumn("project", "varchar(64)", (column) => column.notNull())
    .addColumn("name", "varchar(128)", (column) => column.notNull())
    .addColumn("parent", "varchar(64)")
    .addColumn("version", "integer", (column) => column.notNull())
    .addColumn("created_at", "bigint", (column) => column.notNull())
    .addColumn("updated_at", "bigint", (column) => column.notNull())
    .execute();
  await db.schema.createTable("group_devices").ifNotExists()
    .addColumn("group_id", "varchar(64)", (column) => column.notNull())
    .addColumn("product", "varchar(64)", (column) => column.notNull())
    .addColumn("device", "varchar(64)", (column) => column.notNull())
    .addPrimaryKeyConstraint("group_devices_key", ["group_id", "product", "device"])
    .execute();
  const indexes = {
    device_groups_by_id: ["device_groups", "project", "id", "parent"],
    device_groups_by_name: ["device_groups", "project", "name", "id"],
    device_groups_by_created: ["device_groups", "project", "created_at", "id"],
    device_groups_by_parent: ["device_groups", "parent"],
    group_devices_of_device: ["group_devices", "product", "device", "group_id"],
  };
  for (const [name, [table, ...columns]] of Object.entries(indexes)) {
    await db.schema.createIndex(name).ifNotExists().on(table!).columns(columns).execute();
  }
}

async function addRetention(db: Kysely<unknown>): Promise<void> {
  await addColumns(db, "products", { retention_days: ["integer", (column) => column] });
}

type ColumnType = "integer" | "bigint" | "text" | "blob" | `varchar(${number})`;
type ColumnRules = (column: ColumnDefinitionBuilder) => ColumnDefinitionBuilder;

/** Those that are not there yet: a migration may run twice. */
async function addColumns(
  db: Kysely<unknown>,
  table: string,
  columns: Readonly<Record<string, readonly [ColumnType, ColumnRules]>>,
): Promise<void> {
  const tables = await db.introspection.getTables();
  const present = tables.find(({ name }) => name === table)?.columns.map(({ name }) => name) ?? [];
  for (const [name, [type, rules]] of Object.entries(columns)) {
    if (present.includes(name)) continue;
    await db.schema.alterTable(table).addColumn(name, type, rules).execute();
  }
}

async function createAnswers(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable("answers").ifNotExists()
    .addColumn("project", "varchar(64)", (column) => column.notNull())
    .addColumn("caller", "varchar(80)", (column) => column.notNull())
    .addColumn("key", "varchar(128)", (column) => column.notNull())
    .addColumn("print", "binary(32)", (column) => column.notNull())
    .addColumn("status", "integer", (column) => column.notNull())
    .addColumn("headers", "text", (column) => column.notNull())
    .addColumn("body", "text", (column) => column.notNull())
    .addColumn("sealed", "blob")
    .addColumn("bytes", "bigint", (column) => column.notNull())
    .addColumn("expires_at", "bigint", (column) => column.notNull())
    .addPrimaryKeyConstraint("answers_key", ["project", "caller", "key"])
    .execute();
  await db.schema.createIndex("answers_expiry").ifNotExists()
    .on("answers").columns(["expires_at"]).execute();
  await db.schema.createTable("answer_totals").ifNotExists()
    .addColumn("project", "varchar(64)", (column) => column.primaryKey())
    .addColumn("entries", "integer", (column) => column.notNull())
    .addColumn("bytes", "bigint", (column) => column.notNull())
    .execute();
}

async function createJobs(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable("jobs").ifNotExists()
    .addColumn("id", "varchar(64)", (column) => column.primaryKey())
    .addColumn("project", "varchar(64)", (column) => column.notNull())
    .addColumn("kind", "varchar(32)", (column) => column.notNull())
    .addColumn("status", "varchar(16)", (column) => column.notNull())
    .addColumn("progress", "real", (column) => column.notNull())
    .addColumn("input", "text", (column) => column.notNull())
    .addColumn("checkpoint", "text")
    .addColumn("starts", "integer", (column) => column.notNull())
    .addColumn("detail", "text")
    .addColumn("result", "text")
    .addColumn("problem", "text")
    .addColumn("created_by", "varchar(64)", (column) => column.notNull())
    .addColumn("created_at", "bigint", (column) => column.notNull())
    .addColumn("started_at", "bigint")
    .addColumn("finished_at", "bigint")
    .addColumn("file_type", "varchar(64)")
    .addColumn("file_name", "varchar(128)")
    .addColumn("file_expires_at", "bigint")
    .execute();
  await db.schema.createIndex("jobs_by_created").ifNotExists()
    .on("jobs").columns(["project", "created_at", "id"]).execute();
  await db.schema.createIndex("jobs_by_status").ifNotExists()
    .on("jobs").columns(["status", "created_at", "id"]).execute();
}

/** They are few among many. */
async function indexDisabled(db: Kysely<unknown>): Promise<void> {
  await sql`create index if not exists devices_disabled on devices (project, product, device)
    where enabled = 0`.execute(db);
}
