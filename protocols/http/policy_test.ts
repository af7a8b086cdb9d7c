import assert from "node:assert/strict";
import { AssertionError } from "../../runtime/errors.ts";
import { type Role, type Scope, SCOPES } from "../../actors/access/principal.ts";
import { basic, deadLetter, HttpHarness, SECRET } from "../../test/support/http_harness.ts";
import { requestOf, textOf } from "../../test/support/http_requests.ts";
import { assertAllPoliciesUsed, POLICIES, policyOf } from "./policy.ts";
import type { Route } from "./route.ts";

/** What is expected of a caller: written out on its own, not read from the table. */
const PUBLIC = ["GET /", "GET /docs", "GET /openapi.json", "GET /livez", "GET /readyz"]
  .concat(["GET /{path}", "GET /metrics", "POST /api/v1/session"]);
const OWN_SESSION = [
  "GET /api/v1/session",
  "DELETE /api/v1/session",
  "PATCH /api/v1/session/password",
  "GET /api/v1/sessions",
  "DELETE /api/v1/sessions/{id}",
];
const VIEWER = [
  ...OWN_SESSION,
  "GET /api/v1/projects",
  "GET /api/v1/projects/{id}",
  "GET /api/v1/products",
  "GET /api/v1/products/{product}",
  "GET /api/v1/products/{product}/model",
  "GET /api/v1/products/{product}/models",
  "GET /api/v1/devices",
  "GET /api/v1/devices/{product}/{device}",
  "GET /api/v1/devices/{product}/{device}/credentials",
  "GET /api/v1/devices/{product}/{device}/properties",
  "GET /api/v1/devices/{product}/{device}/shadow",
  "GET /api/v1/devices/{product}/{device}/telemetry",
  "GET /api/v1/devices/{product}/{device}/events",
  "GET /api/v1/devices/{product}/{device}/messages",
  "GET /api/v1/devices/{product}/{device}/calls",
  "GET /api/v1/devices/{product}/{device}/calls/{callId}",
  "GET /api/v1/groups",
  "GET /api/v1/groups/{id}",
  "GET /api/v1/endpoints",
  "GET /api/v1/live",
  "GET /api/v1/jobs",
  "GET /api/v1/jobs/{id}",
  "GET /api/v1/cluster/ledger",
  "GET /api/v1/cluster/tree",
];
const AUDIT = ["GET /api/v1/audit", "GET /api/v1/audit/verification"];
const OWNER = [
  "POST /api/v1/projects",
  "PATCH /api/v1/projects/{id}",
  "DELETE /api/v1/projects/{id}",
  "POST /api/v1/projects/{id}/owners",
  "POST /api/v1/users",
  "GET /api/v1/users",
  "GET /api/v1/users/{id}",
  "PATCH /api/v1/users/{id}",
  "DELETE /api/v1/users/{id}",
  "GET /api/v1/master-keys",
  "POST /api/v1/master-keys/rotate",
  "POST /api/v1/keys",
  "GET /api/v1/keys",
  "GET /api/v1/keys/{id}",
  "DELETE /api/v1/keys/{id}",
  "POST /api/v1/cluster/tree/kill",
];
const NEVER_A_KEY = [
  ...OWNER,
  ...OWN_SESSION,
  "GET /api/v1/projects",
  "GET /api/v1/projects/{id}",
];

/** What is of no single project. */
const OF_INSTALLATION = [
  "POST /api/v1/projects",
  "DELETE /api/v1/projects/{id}",
  "POST /api/v1/projects/{id}/owners",
  "GET /api/v1/audit/verification",
  "GET /api/v1/master-keys",
  "POST /api/v1/master-keys/rotate",
  "POST /api/v1/jobs/rebuild-views",
  "GET /api/v1/cluster/ledger",
  "GET /api/v1/cluster/tree",
  "POST /api/v1/cluster/tree/kill",
  "GET /api/v1/cluster/partitions/{partition}/pending",
  "POST /api/v1/cluster/partitions/{partition}/skip-damage",
];
const ROLES: readonly Role[] = ["viewer", "operator", "owner"];

interface Sweep {
  readonly caller: string;
  readonly headers: Record<string, string>;
  /** 401, 403, or allowed: any other answer. */
  readonly expected: (route: string) => 401 | 403 | "allowed";
}

/** What removes comes after what looks, and the end of the caller's own session last. */
function inOrder(routes: readonly Route[]): Route[] {
  const rank = ({ name, method }: Route) =>
    name === "DELETE /api/v1/session" ? 2 : method === "delete" ? 1 : 0;
  return routes.toSorted((one, other) => rank(one) - rank(other));
}

async function sweep(harness: HttpHarness, { caller, headers, expected }: Sweep): Promise<void> {
  const isDevice = headers.authorization?.startsWith("Basic") === true;
  for (const route of inOrder(harness.app.routes)) {
    const isOfDevices = route.policy.type === "device";
    if (isOfDevices && isDevice) continue;
    const { method, path, json } = requestOf(route);
    // Wrong credentials of devices count against their network: each has one of its own.
    const remote = isOfDevices ? `198.51.${swept >> 8}.${swept++ & 255}` : undefined;
    const answer = await harness.send(method, path, { headers, json, ...(remote && { remote }) });
    const body = await textOf(answer);
    const said = `${caller}: ${route.name} → ${answer.status} ${body.slice(0, 200)}`;
    const want = isOfDevices ? 401 : expected(route.name);
    // A wrong password is answered by 401 too, but to nobody in particular.
    if (want === 401) assert.equal(answer.status, 401, said);
    else if (want === 403) assert.equal(answer.status, 403, said);
    else if (route.name !== "POST /api/v1/session") {
      assert.ok(answer.status !== 401 && answer.status !== 403 && answer.status < 500, said);
    }
    if (answer.status >= 400) {
      assert.equal(answer.headers.get("content-type"), "application/problem+json", said);
      assert.equal(JSON.parse(body).status, answer.status, said);
    }
  }
}

let swept = 0;

function least(route: string): Role {
  if (VIEWER.includes(route)) return "viewer";
  return OWNER.includes(route) || AUDIT.includes(route) ? "owner" : "operator";
}

/** Scope of a route by its resource, written down apart from the table. */
function scopeOf(route: string): Scope {
  if (route === "GET /api/v1/live") return "devices:read"; // Of the topic that is asked for.
  if (route === "POST /api/v1/jobs/telemetry-export") return "devices:read"; // It only reads.
  if (route === "POST /api/v1/jobs/rebuild-views") return "cluster:write";
  if (/^POST .api.v1.jobs.(telemetry|device)-import$/.test(route)) return "devices:write";
  const isRead = route.startsWith("GET ");
  const named = /\/api\/v1\/(\w+)/.exec(route)![1]!;
  const resource = named === "groups" ? "devices" : named; // Groups are of devices.
  return `${resource}:${isRead ? "read" : "write"}` as Scope;
}

function mayByRole(role: Role, route: string): boolean {
  return PUBLIC.includes(route) || ROLES.indexOf(role) >= ROLES.indexOf(least(route));
}

function mayByScope(scope: Scope, route: string): boolean {
  // Endpoints are told to a key of whatever scope.
  if (PUBLIC.includes(route) || route === "GET /api/v1/endpoints") return true;
  return !NEVER_A_KEY.includes(route) && scopeOf(route) === scope;
}

async function prepared(): Promise<HttpHarness> {
  const harness = await HttpHarness.start({ rate: { perSecond: 1e6, burst: 1e6 } });
  await harness.provision({ properties: [], events: [], services: [] });
  await harness.products.update("pump", { mode: "open" });
  harness.letters.push(deadLetter(1));
  return harness;
}

Deno.test("each route has its policy, and strangers get nothing but what is public", async () => {
  await using harness = await prepared();
  assert.deepEqual(
    harness.app.routes.map((route) => route.name).sort(),
    Object.keys(POLICIES).sort(),
  );
  const isPublic = (route: string) => PUBLIC.includes(route) ? "allowed" as const : 401 as const;
  const wrongKey = `roost_${"A".repeat(43)}`;
  const strangers: Record<string, Record<string, string>> = {
    anonymous: {},
    "wrong key": { authorization: `Bearer ${wrongKey}` },
    "malformed key": { authorization: "Bearer x" },
    "basic credentials": basic("pump/p-1", SECRET),
    "wrong cookie": { cookie: `roost_session=${"A".repeat(43)}`, "x-csrf-token": "x" },
  };
  for (const [caller, headers] of Object.entries(strangers)) {
    await sweep(harness, { caller, headers, expected: isPublic });
  }
});

Deno.test("each role may do what its rank allows, on every route", async () => {
  await using harness = await prepared();
  for (const role of ROLES) {
    const headers = await harness.login(role);
    const expected = (route: string) => mayByRole(role, route) ? "allowed" as const : 403 as const;
    await sweep(harness, { caller: role, headers, expected });
    // An operator may have removed them.
    await harness.products.create({ key: "pump" });
    await harness.devices.create({ product: "pump", device: "p-1", secret: SECRET });
  }
});

Deno.test("a key may do what its one scope allows, and never manage keys", async () => {
  await using harness = await prepared();
  for (const scope of SCOPES) {
    const headers = await harness.key(scope);
    const expected = (route: string) =>
      mayByScope(scope, route) ? "allowed" as const : 403 as const;
    await sweep(harness, { caller: scope, headers, expected });
  }
});

Deno.test("people and keys of another project may nothing that is of the installation", async () => {
  await using harness = await prepared();
  await harness.projects.create({ id: "other" });
  const isOwn = (route: string) => !OF_INSTALLATION.includes(route);
  for (const role of ROLES) {
    const headers = await harness.login(role, "other");
    const expected = (route: string) =>
      isOwn(route) && mayByRole(role, route) ? "allowed" as const : 403 as const;
    await sweep(harness, { caller: `${role} of another project`, headers, expected });
  }
  for (const scope of SCOPES) {
    const headers = await harness.keyOf("other", scope);
    const expected = (route: string) =>
      isOwn(route) && mayByScope(scope, route) ? "allowed" as const : 403 as const;
    await sweep(harness, { caller: `${scope} of another project`, headers, expected });
  }
  assert.ok(await harness.devices.get("pump", "p-1"), "what is not theirs is there");
});

Deno.test("an expired key, an ended key and an ended session are strangers", async () => {
  await using harness = await prepared();
  const creator = { project: "default", id: "u1" };
  const expiresAt = harness.clock.nowMs() + 1_000;
  const expiring = await harness.keys.create({ name: "e", scopes: SCOPES, expiresAt }, creator);
  const deleted = await harness.keys.create({ name: "d", scopes: SCOPES }, creator);
  assert.ok(expiring.ok && deleted.ok);
  const session = await harness.login("owner");
  const path = "/api/v1/devices";
  const callers = {
    expiring: { authorization: `Bearer ${expiring.value.key}` },
    deleted: { authorization: `Bearer ${deleted.value.key}` },
    session,
  };
  for (const [caller, headers] of Object.entries(callers)) {
    assert.equal((await harness.send("GET", path, { headers })).status, 200, caller);
  }
  await harness.clock.advance(1_000);
  await harness.keys.delete("default", deleted.value.apiKey.id);
  assert.equal((await harness.send("DELETE", "/api/v1/session", { headers: session })).status, 204);
  const isPublic = (route: string) => PUBLIC.includes(route) ? "allowed" as const : 401 as const;
  for (const [caller, headers] of Object.entries(callers)) {
    await sweep(harness, { caller, headers, expected: isPublic });
  }
});

Deno.test("a device may post as itself only", async () => {
  await using harness = await prepared();
  await harness.devices.create({ product: "pump", device: "p-2", secret: "secret-2" });
  const paths = ["/ingest/v1/pump/p-1/properties", "/ingest/v1/pump/p-1/events/hot"];
  const owner = await harness.login("owner");
  const strangers: Record<string, Record<string, string>> = {
    anonymous: {},
    "another device": basic("pump/p-2", "secret-2"),
    "another device's name": basic("pump/p-1", "secret-2"),
    "an unknown device": basic("pump/p-9", SECRET),
    "no secret": basic("pump/p-1", ""),
    owner,
    key: await harness.key(...SCOPES),
  };
  for (const path of paths) {
    const answers = new Set<string>();
    for (const [caller, headers] of Object.entries(strangers)) {
      const answer = await harness.send("POST", path, { headers, json: { t: 1 } });
      assert.equal(answer.status, 401, caller);
      answers.add(await answer.text());
    }
    assert.equal(answers.size, 1, "all refusals are the same");
    const headers = basic("pump/p-1", SECRET);
    assert.equal((await harness.send("POST", path, { headers, json: { t: 1 } })).status, 202);
  }
});

Deno.test("a route without a policy and a policy without a route are bugs", () => {
  assert.throws(() => policyOf("GET /api/v1/secrets"), AssertionError);
  assert.throws(() => policyOf("constructor"), AssertionError);
  assert.throws(() => assertAllPoliciesUsed(new Set(["GET /livez"])), AssertionError);
});
