/**
 * Who may do what: the one table (route × role × scope). A route without an entry here fails when the
 * app is made, and so does an entry without a route. API keys never manage users, sessions or keys.
 */
import { assert } from "../../runtime/errors.ts";
import { type Principal, type Role, type Scope, SCOPES } from "../../actors/access/principal.ts";
import { DEFAULT_PROJECT } from "../../actors/registry/registry_store.ts";

export type Policy =
  /** Anyone who reaches the port. */
  | { readonly type: "public" }
  /** A device by its own credentials, for its own path. */
  | { readonly type: "device" }
  /**
   * A person of at least this role, or a key with this scope; no scope: never a key. `any`: the parts
   * of the answer have entries of their own, which decide.
   */
  | {
    readonly type: "caller";
    readonly role: Role;
    readonly scope: Scope | "any" | undefined;
    /** What is of no single project: only for those of project `default`. */
    readonly isOfInstallation?: boolean;
  };

export type CallerPolicy = Policy & { readonly type: "caller" };

const PUBLIC: Policy = { type: "public" };
const DEVICE: Policy = { type: "device" };

export const POLICIES: Readonly<Record<string, Policy>> = {
  "GET /": PUBLIC,
  "GET /{path}": PUBLIC,
  "GET /docs": PUBLIC,
  "GET /openapi.json": PUBLIC,
  "GET /livez": PUBLIC,
  "GET /readyz": PUBLIC,
  "GET /metrics": PUBLIC,

  "POST /ingest/v1/{product}/{device}/properties": DEVICE,
  "POST /ingest/v1/{product}/{device}/events/{event}": DEVICE,
  "POST /ingest/v1/{product}/{device}/token": DEVICE,
  "GET /ingest/v1/{product}/{device}/downlinks": DEVICE,
  "POST /ingest/v1/{product}/{device}/services/{service}/{callId}/reply": DEVICE,
  "GET /ingest/v1/{product}/{device}/shadow": DEVICE,
  "GET /ingest/v1/{product}/{device}/time": DEVICE,

  "POST /api/v1/session": PUBLIC,
  "GET /api/v1/session": person("viewer"),
  "DELETE /api/v1/session": person("viewer"),
  "PATCH /api/v1/session/password": person("viewer"),
  "GET /api/v1/sessions": person("viewer"),
  "DELETE /api/v1/sessions/{id}": person("viewer"),

  "POST /api/v1/projects": ofInstallation(person("owner")),
  "GET /api/v1/projects": person("viewer"),
  "GET /api/v1/projects/{id}": person("viewer"),
  "PATCH /api/v1/projects/{id}": person("owner"),
  "DELETE /api/v1/projects/{id}": ofInstallation(person("owner")),
  "POST /api/v1/projects/{id}/owners": ofInstallation(person("owner")),

  "POST /api/v1/users": person("owner"),
  "GET /api/v1/users": person("owner"),
  "GET /api/v1/users/{id}": person("owner"),
  "PATCH /api/v1/users/{id}": person("owner"),
  "DELETE /api/v1/users/{id}": person("owner"),

  "GET /api/v1/audit": caller("owner", "audit:read"),
  "GET /api/v1/audit/verification": ofInstallation(caller("owner", "audit:read")),

  "GET /api/v1/master-keys": ofInstallation(person("owner")),
  "POST /api/v1/master-keys/rotate": ofInstallation(person("owner")),

  "POST /api/v1/keys": person("owner"),
  "GET /api/v1/keys": person("owner"),
  "GET /api/v1/keys/{id}": person("owner"),
  "DELETE /api/v1/keys/{id}": person("owner"),

  "POST /api/v1/products": caller("operator", "products:write"),
  "GET /api/v1/products": caller("viewer", "products:read"),
  "GET /api/v1/products/{product}": caller("viewer", "products:read"),
  "PUT /api/v1/products/{product}": caller("operator", "products:write"),
  "PATCH /api/v1/products/{product}": caller("operator", "products:write"),
  "DELETE /api/v1/products/{product}": caller("operator", "products:write"),
  "GET /api/v1/products/{product}/model": caller("viewer", "products:read"),
  "PUT /api/v1/products/{product}/model": caller("operator", "products:write"),
  "GET /api/v1/products/{product}/models": caller("viewer", "products:read"),

  "POST /api/v1/devices": caller("operator", "devices:write"),
  "GET /api/v1/devices": caller("viewer", "devices:read"),
  "GET /api/v1/devices/{product}/{device}": caller("viewer", "devices:read"),
  "PUT /api/v1/devices/{product}/{device}": caller("operator", "devices:write"),
  "PATCH /api/v1/devices/{product}/{device}": caller("operator", "devices:write"),
  "DELETE /api/v1/devices/{product}/{device}": caller("operator", "devices:write"),
  "GET /api/v1/devices/{product}/{device}/credentials": caller("viewer", "devices:read"),
  "POST /api/v1/devices/{product}/{device}/credentials/rotate": caller("operator", "devices:write"),
  "GET /api/v1/devices/{product}/{device}/properties": caller("viewer", "devices:read"),
  "GET /api/v1/devices/{product}/{device}/shadow": caller("viewer", "devices:read"),
  "PATCH /api/v1/devices/{product}/{device}/shadow": caller("operator", "devices:write"),
  "GET /api/v1/devices/{product}/{device}/telemetry": caller("viewer", "devices:read"),
  "GET /api/v1/devices/{product}/{device}/events": caller("viewer", "devices:read"),
  "GET /api/v1/devices/{product}/{device}/messages": caller("viewer", "devices:read"),
  "POST /api/v1/devices/{product}/{device}/services/{service}": caller("operator", "devices:write"),
  "GET /api/v1/devices/{product}/{device}/calls": caller("viewer", "devices:read"),
  "GET /api/v1/devices/{product}/{device}/calls/{callId}": caller("viewer", "devices:read"),
  "DELETE /api/v1/devices/{product}/{device}/calls/{callId}": caller("operator", "devices:write"),

  "POST /api/v1/groups": caller("operator", "devices:write"),
  "GET /api/v1/groups": caller("viewer", "devices:read"),
  "GET /api/v1/groups/{id}": caller("viewer", "devices:read"),
  "PATCH /api/v1/groups/{id}": caller("operator", "devices:write"),
  "DELETE /api/v1/groups/{id}": caller("operator", "devices:write"),
  "PUT /api/v1/groups/{id}/devices/{product}/{device}": caller("operator", "devices:write"),
  "DELETE /api/v1/groups/{id}/devices/{product}/{device}": caller("operator", "devices:write"),

  "GET /api/v1/endpoints": caller("viewer", "any"),
  "GET /api/v1/live": caller("viewer", "any"),

  "GET /api/v1/jobs": caller("viewer", "jobs:read"),
  "GET /api/v1/jobs/{id}": caller("viewer", "jobs:read"),
  "GET /api/v1/jobs/{id}/result": caller("operator", "jobs:read"),
  "DELETE /api/v1/jobs/{id}": caller("operator", "jobs:write"),
  "POST /api/v1/jobs/telemetry-export": caller("operator", "devices:read"),
  "POST /api/v1/jobs/telemetry-import": caller("operator", "devices:write"),
  "POST /api/v1/jobs/device-import": caller("operator", "devices:write"),
  "POST /api/v1/jobs/rebuild-views": ofInstallation(caller("operator", "cluster:write")),

  "GET /api/v1/cluster/ledger": ofInstallation(caller("viewer", "cluster:read")),
  "GET /api/v1/cluster/tree": ofInstallation(caller("viewer", "cluster:read")),
  "POST /api/v1/cluster/tree/kill": ofInstallation(person("owner")),
  "GET /api/v1/cluster/dead-letters": caller("operator", "cluster:read"),
  "POST /api/v1/cluster/dead-letters/replay": caller("operator", "cluster:write"),
  "POST /api/v1/cluster/dead-letters/discard": caller("operator", "cluster:write"),
  "GET /api/v1/cluster/partitions/{partition}/pending": ofInstallation(
    caller("operator", "cluster:read"),
  ),
  "POST /api/v1/cluster/partitions/{partition}/skip-damage": ofInstallation(
    caller("operator", "cluster:write"),
  ),
};

const RANKS: Readonly<Record<Role, number>> = { viewer: 0, operator: 1, owner: 2 };

export function isRoleAtLeast(role: Role, least: Role): boolean {
  return RANKS[role] >= RANKS[least];
}

/** @param name `GET /api/v1/devices`. @throws {AssertionError} If the table has no such entry. */
export function policyOf(name: string): Policy {
  const policy = Object.hasOwn(POLICIES, name) ? POLICIES[name] : undefined;
  assert(policy !== undefined, `The route "${name}" has no entry in the policy table`);
  return policy;
}

/** @throws {AssertionError} If the table has an entry that is no route. */
export function assertAllPoliciesUsed(names: ReadonlySet<string>): void {
  for (const name of Object.keys(POLICIES)) {
    assert(names.has(name), `The policy "${name}" has no route`);
  }
}

/** The one decision, for every way of access. */
export function mayCall(policy: CallerPolicy, caller: Principal): boolean {
  if (policy.isOfInstallation && caller.project !== DEFAULT_PROJECT) return false;
  return caller.type === "user"
    ? isRoleAtLeast(caller.role, policy.role)
    : policy.scope === "any" || policy.scope !== undefined && caller.scopes.includes(policy.scope);
}

/** Scopes of keys that stand for what this caller may do. */
export function scopesOf(caller: Principal): Scope[] {
  if (caller.type === "key") return [...caller.scopes];
  const policies = Object.values(POLICIES).filter((policy) => policy.type === "caller");
  const allowed = policies.filter((policy) => mayCall(policy, caller)).map(({ scope }) => scope);
  return SCOPES.filter((scope) => allowed.includes(scope));
}

function person(role: Role): CallerPolicy {
  return { type: "caller", role, scope: undefined };
}

function caller(role: Role, scope: Scope | "any"): CallerPolicy {
  return { type: "caller", role, scope };
}

function ofInstallation(policy: CallerPolicy): CallerPolicy {
  return { ...policy, isOfInstallation: true };
}
