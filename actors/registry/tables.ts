/**
 * Tables of `registry.db`, as Kysely sees them. Booleans are 0 and 1, times epoch milliseconds,
 * lists and models JSON text, hashes SHA-256.
 */
import type { Generated } from "../../runtime/store/relational_store.ts";

export interface ProjectsTable {
  id: string;
  name: string;
  version: number;
  created_at: number;
  updated_at: number;
  /** Set while it is being removed: it is not there any more for anybody. */
  deleted_at: number | null;
}

export interface ProductsTable {
  key: string;
  project: string;
  name: string;
  mode: string;
  model: string | null;
  /** Of `product_models`; 0: it never had one. */
  model_version: number;
  late_days_max: number;
  /** Null: the node's setting. */
  retention_days: number | null;
  /** Kinds, see `actors/product/credentials.ts`. */
  credentials: string;
  version: number;
  created_at: number;
  updated_at: number;
}

/** See `actors/product/model_history.ts`. */
export interface ProductModelsTable {
  product: string;
  version: number;
  model: string | null;
  is_breaking: number;
  /** JSON. */
  changes: string;
  created_at: number;
}

/** Each key that was ever taken, and by which project; empty: by one that is gone. */
export interface ProductKeysTable {
  key: string;
  project: string;
}

export interface DevicesTable {
  /** That of the product. */
  project: string;
  product: string;
  device: string;
  name: string;
  tags: string;
  enabled: number;
  secret_hash: Uint8Array;
  /** The secret itself, where the product allows signed logins. */
  secret_sealed: string | null;
  /** When it was made; null: with the device. */
  secret_at: number | null;
  version: number;
  created_at: number;
  updated_at: number;
}

/** Old secrets that go on beside the current one until their end. */
export interface DeviceSecretsTable {
  product: string;
  device: string;
  secret_hash: Uint8Array;
  sealed: string | null;
  created_at: number;
  rotated_at: number;
  ends_at: number;
}

export interface DeviceTagsTable {
  tag: string;
  product: string;
  device: string;
}

/** See `actors/group/groups.ts`. */
export interface DeviceGroupsTable {
  id: string;
  project: string;
  name: string;
  parent: string | null;
  version: number;
  created_at: number;
  updated_at: number;
}

export interface GroupDevicesTable {
  group_id: string;
  product: string;
  device: string;
}

/** What gateways and actors have to know of changes, in order; see `actors/device/changes.ts`. */
export interface ChangesTable {
  id: Generated<number>;
  kind: string;
  product: string;
  /** Empty for a change of the product itself. */
  device: string;
  at: number;
}

/** Positions of durable followers of `changes`. */
export interface FollowersTable {
  name: string;
  position: number;
}

export interface UsersTable {
  id: string;
  project: string;
  name: string;
  role: string;
  enabled: number;
  /** `scrypt$N$r$p$salt$hash`, base64url. */
  password: string;
  version: number;
  created_at: number;
  updated_at: number;
  last_login_at: number | null;
}

export interface SessionsTable {
  token_hash: Uint8Array;
  user: string;
  csrf: string;
  created_at: number;
  expires_at: number;
  /** Network of the login. */
  remote: string;
  /** What the client called itself at the login. */
  agent: string;
}

/** Browsers that a user has logged in with before; see `actors/access/login_gate.ts`. */
export interface BrowsersTable {
  token_hash: Uint8Array;
  user: string;
  used_at: number;
}

export interface KeysTable {
  id: string;
  project: string;
  name: string;
  key_hash: Uint8Array;
  scopes: string;
  created_by: string;
  created_at: number;
  expires_at: number | null;
  last_used_at: number | null;
}

/** First answers of requests with an `Idempotency-Key`; see `kept_answers.ts`. */
export interface AnswersTable {
  project: string;
  caller: string;
  key: string;
  print: Uint8Array;
  status: number;
  headers: string;
  /** Without the secret, if the answer shows one. */
  body: string;
  /** The whole body, sealed; null if there is no secret in it. */
  sealed: Uint8Array | null;
  /** What the row takes, about. */
  bytes: number;
  expires_at: number;
}

/** Of `answers`, by project: kept in step with it, since counting them all is slow. */
export interface AnswerTotalsTable {
  project: string;
  entries: number;
  bytes: number;
}

/** See `actors/audit/audit_row.ts`. */
export interface AuditTable {
  project: string;
  seq: number;
  at: number;
  actor_type: string;
  actor_id: string;
  actor_name: string;
  action: string;
  object: string;
  /** JSON. */
  detail: string;
  remote: string;
  outcome: string;
  hash: Uint8Array;
}

/** Where each project's audit ends, and after which row it is kept; both sealed. */
export interface AuditHeadsTable {
  project: string;
  seq: number;
  at: number;
  hash: Uint8Array;
  mac: string;
  kept_after: number;
  kept_hash: Uint8Array;
  kept_mac: string;
}

/** Keys that something in the registry is sealed with; more than one while the key is changed. */
export interface MasterKeysTable {
  id: string;
  check_text: string;
  created_at: number;
}

/** Long work; see `actors/job/`. Input, checkpoint, result and problem are JSON text. */
export interface JobsTable {
  id: string;
  project: string;
  kind: string;
  status: string;
  progress: number;
  input: string;
  checkpoint: string | null;
  starts: number;
  detail: string | null;
  result: string | null;
  problem: string | null;
  created_by: string;
  created_at: number;
  started_at: number | null;
  finished_at: number | null;
  /** Of the file that can be fetched; null: there is none, or not any more. */
  file_type: string | null;
  file_name: string | null;
  file_expires_at: number | null;
}

export interface RegistryTables {
  projects: ProjectsTable;
  products: ProductsTable;
  product_models: ProductModelsTable;
  product_keys: ProductKeysTable;
  devices: DevicesTable;
  device_secrets: DeviceSecretsTable;
  device_tags: DeviceTagsTable;
  device_groups: DeviceGroupsTable;
  group_devices: GroupDevicesTable;
  changes: ChangesTable;
  followers: FollowersTable;
  users: UsersTable;
  sessions: SessionsTable;
  browsers: BrowsersTable;
  api_keys: KeysTable;
  answers: AnswersTable;
  answer_totals: AnswerTotalsTable;
  audit: AuditTable;
  master_keys: MasterKeysTable;
  audit_heads: AuditHeadsTable;
  jobs: JobsTable;
}
