/**
 * Who may do what: the one table (route × role × scope). A route without an entry here fails when the
 * app is made, and so does an entry without a route. API keys never manage users, sessions or keys.
 */
import { assert } from "../../runtime/errors.ts";
import type { Role, Scope } from "../../actors/access/principal.ts";

export type Policy =
  /** Anyone who reaches the port. */
  | { readonly type: "public" }
  /** A device by its own credentials, for its own path. */
  | { readonly type: "device" }
  /** A person of at least this role, or a key with this scope; no scope: never a key. */
  | { readonly type: "caller"; readonly role: Role; readonly scope: Scope | undefined };

const PUBLIC: Policy = { type: "public" };
const DEVICE: Policy = { type: "device" };

export const POLICIES: Readonly<Record<string, Policy>> = {
  "GET /": PUBLIC,
  "GET /docs": PUBLIC,
  "GET /openapi.json": PUBLIC,
  "GET /livez": PUBLIC,
  "GET /readyz": PUBLIC,
  "GET /metrics": PUBLIC,

  "POST /ingest/v1/{product}/{device}/properties": DEVICE,
  "POST /ingest/v1/{product}/{device}/events/{event}": DEVICE,

  "POST /api/v1/session": PUBLIC,
  "GET /api/v1/session": person("viewer"),
  "DELETE /api/v1/session": person("viewer"),

  "POST /api/v1/keys": person("owner"),
  "GET /api/v1/keys": person("owner"),
  "DELETE /api/v1/keys/{id}": person("owner"),

  "POST /api/v1/products": caller("operator", "products:write"),
  "GET /api/v1/products": caller("viewer", "products:read"),
  "GET /api/v1/products/{product}": caller("viewer", "products:read"),
  "PUT /api/v1/products/{product}": caller("operator", "products:write"),
  "PATCH /api/v1/products/{product}": caller("operator", "products:write"),
  "DELETE /api/v1/products/{product}": caller("operator", "products:write"),
  "GET /api/v1/products/{product}/model": caller("viewer", "products:read"),
  "PUT /api/v1/products/{product}/model": caller("operator", "products:write"),

  "POST /api/v1/devices": caller("operator", "devices:write"),
  "GET /api/v1/devices": caller("viewer", "devices:read"),
  "GET /api/v1/devices/{product}/{device}": caller("viewer", "devices:read"),
  "PATCH /api/v1/devices/{product}/{device}": caller("operator", "devices:write"),
  "DELETE /api/v1/devices/{product}/{device}": caller("operator", "devices:write"),
  "POST /api/v1/devices/{product}/{device}/credentials/rotate": caller("operator", "devices:write"),
  "GET /api/v1/devices/{product}/{device}/properties": caller("viewer", "devices:read"),
  "GET /api/v1/devices/{product}/{device}/shadow": caller("viewer", "devices:read"),
  "PATCH /api/v1/devices/{product}/{device}/shadow": caller("operator", "devices:write"),
  "GET /api/v1/devices/{product}/{device}/telemetry": caller("viewer", "devices:read"),

  "GET /api/v1/cluster/ledger": caller("viewer", "cluster:read"),
  "GET /api/v1/cluster/tree": caller("viewer", "cluster:read"),
  "POST /api/v1/cluster/tree/kill": person("owner"),
  "GET /api/v1/cluster/dead-letters": caller("operator", "cluster:read"),
  "POST /api/v1/cluster/dead-letters/replay": caller("operator", "cluster:write"),
  "POST /api/v1/cluster/dead-letters/discard": caller("operator", "cluster:write"),
  "GET /api/v1/cluster/partitions/{partition}/pending": caller("operator", "cluster:read"),
  "POST /api/v1/cluster/partitions/{partition}/skip-damage": caller("operator", "cluster:write"),
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

function person(role: Role): Policy {
  return { type: "caller", role, scope: undefined };
}

function caller(role: Role, scope: Scope): Policy {
  return { type: "caller", role, scope };
}
