import assert from "node:assert/strict";
import { type Role, ROLES, SCOPES } from "../../actors/access/principal.ts";
import { deadLetter, HttpHarness, PASSWORD, START_MS } from "../../test/support/http_harness.ts";
import {
  type PathValues,
  requestOf,
  type SweepRequest,
  textOf,
} from "../../test/support/http_requests.ts";

interface Tenant {
  readonly project: string;
  /** In each text of its own that a caller does not name; so in none of a stranger's answers. */
  readonly secret: string;
  /** A value of its device. */
  readonly value: number;
  /** Ids by what they are of. */
  readonly ids: {
    readonly product: string;
    readonly device: string;
    readonly user: string;
    readonly key: string;
    readonly session: string;
    readonly letter: string;
    readonly group: string;
  };
}

/** A project with one of each thing, every text of which holds the marker. */
async function provision(harness: HttpHarness, project: string): Promise<Tenant> {
  const product = `zq-product-${project}`;
  const device = `zq-device-${project}`;
  const secret = `zqsecret-${project}`;
  const value = 4_000.125 + letterId; // No hash of the audit can hold its point.
  const name = `title ${secret}`;
  const model = { properties: [{ identifier: secret, name, dataType: { type: "double" } }] };
  const owner = { name: `${project}.${secret}`, password: PASSWORD };
  if (project !== "default") {
    accepted(await harness.projects.create({ id: project, owner }));
  } else accepted(await harness.users.create({ ...owner, role: "owner" }));
  accepted(await harness.products.create({ key: product, project, name, model }));
  accepted(
    await harness.devices.create({ product, device, name, tags: [secret] }),
  );
  const group = accepted(await harness.groups.create(project, { name }));
  accepted(await harness.groups.add(project, group.id, product, device));
  const creator = { project, id: "u1" };
  const key = accepted(
    await harness.keys.create({ name, scopes: ["devices:read"] }, creator),
  );
  const login = await harness.ports.sessions.login({ ...owner, remote: "192.0.2.9", agent: name });
  assert.ok(login.ok);
  const address = `device/${product}/${device}`;
  harness.ingress.handle(address, {
    type: "properties",
    samples: [{ values: { [secret]: 1, temperature: value } }],
  });
  await harness.telemetry.write({
    samples: [sample(`${product}/${device}`, value)],
    cursor: nextCursor++,
  });
  const letter = { ...deadLetter(letterId++, address), detail: name };
  harness.letters.push(letter);
  const { id: user, session } = login.principal;
  const ids = {
    product,
    device,
    user,
    key: key.apiKey.id,
    session,
    letter: String(letter.id),
    group: group.id,
  };
  return { project, secret, value, ids };
}
let nextCursor = 1;
let letterId = 1;

function sample(device: string, temperature: number) {
  const values = new TextEncoder().encode(JSON.stringify({ temperature }));
  return { device, atMs: START_MS, partition: 0, offset: nextCursor, position: 0, values };
}

function accepted<T>(outcome: { ok: true; value: T } | { ok: false; message: string }): T {
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

/** Everything that the harness holds of the tenant, in words. */
function traceOf(harness: HttpHarness, { ids, project, secret }: Tenant): string[] {
  const named = [project, ids.product, ids.device, ids.user, ids.key, ids.group];
  const tables = harness.store.reader.prepareAll(
    "select name from sqlite_master where type = 'table' order by name",
  )();
  const rows = tables.flatMap(({ name }) =>
    harness.store.reader.prepareAll(`select * from "${name}"`)().map((row) =>
      `${name} ${JSON.stringify(row)}`
    )
  ).filter((row) => named.some((id) => row.includes(`"${id}"`)) || row.includes(secret));
  const state = harness.ingress.states.get(`device/${ids.product}/${ids.device}`);
  const letters = harness.letters.filter(({ id }) => String(id) === ids.letter);
  return [...rows, JSON.stringify(state), `${letters.length} letters`];
}

/** Paths that name the tenant's things, in each way that a route's parameters allow. */
function valuesOf({ ids, project }: Tenant): PathValues[] {
  const { product, device, letter } = ids;
  return [ids.user, ids.key, ids.session, ids.group, project].map((id) => ({
    product,
    device,
    letter,
    id,
  }));
}

/** Requests of lists and filters that name the other's things. */
function searchesOf({ ids, project, secret }: Tenant): SweepRequest[] {
  return [
    `/api/v1/devices?product=${ids.product}`,
    `/api/v1/devices?q=${ids.device}&limit=1`,
    `/api/v1/devices?tag=${secret}`,
    `/api/v1/devices?group=${ids.group}`,
    `/api/v1/groups?device=${ids.product}/${ids.device}`,
    `/api/v1/products?q=zq`,
    `/api/v1/projects?q=${project}`,
    `/api/v1/users?q=${secret}`,
    `/api/v1/sessions?user=${ids.user}`,
    `/api/v1/cluster/dead-letters?to=device/${ids.product}/${ids.device}`,
  ].map((path) => ({ method: "GET", path, json: undefined }));
}

async function attack(
  harness: HttpHarness,
  victim: Tenant,
  caller: string,
  headers: Record<string, string>,
): Promise<void> {
  const before = traceOf(harness, victim);
  assert.ok(before.length > 8, "the trace is not empty");
  const requests: SweepRequest[] = [...searchesOf(victim)];
  for (const route of harness.app.routes) {
    if (route.policy.type === "device" || route.name.endsWith(" /api/v1/session")) continue;
    for (const values of valuesOf(victim)) requests.push(requestOf(route, values));
  }
  for (const { method, path, json } of requests) {
    const answer = await harness.send(method, path, { headers, json });
    const text = await textOf(answer);
    const said = `${caller}: ${method} ${path} → ${answer.status} ${text.slice(0, 300)}`;
    assert.ok(answer.status < 500, said);
    assert.ok(!text.includes(victim.secret) && !text.includes(String(victim.value)), said);
    const parts = path.split("?")[0]!.split("/").map(decodeURIComponent);
    const names = Object.values(victim.ids).some((id) => parts.includes(id));
    const isRefused = [400, 403, 404, 409].includes(answer.status) || answer.status === 204;
    if (names) assert.ok(isRefused, said);
    // The caller's own audit tells it what it sent itself.
    const isEcho = path.startsWith("/api/v1/audit");
    if (!names && !isEcho && answer.status < 400) {
      assert.ok(!text.includes(victim.ids.product), said);
    }
  }
  assert.deepEqual(traceOf(harness, victim), before, `${caller} left a trace`);
}

for (const [attacker, victim] of [["other", "default"], ["default", "other"]] as const) {
  Deno.test(`nobody of ${attacker} sees or changes anything of ${victim}, on any route`, async () => {
    await using harness = await HttpHarness.start({ rate: { perSecond: 1e6, burst: 1e6 } });
    const of = new Map<string, Tenant>();
    for (const project of ["default", "other"]) of.set(project, await provision(harness, project));
    for (const role of ROLES) {
      const headers = await harness.login(role, attacker);
      // Owners of `default` may remove other projects, and see that they exist: that is their task.
      const isOfInstallation = attacker === "default" && role === "owner";
      const target = of.get(victim)!;
      await attack(harness, isOfInstallation ? withoutProject(target) : target, role, headers);
    }
    const key = await harness.keyOf(attacker, ...SCOPES);
    await attack(harness, of.get(victim)!, "key", key);
  });
}

/** The tenant as the installation's owners may name it: by its things, not by itself. */
function withoutProject(tenant: Tenant): Tenant {
  return { ...tenant, project: "no-such-project" };
}

Deno.test("each project's people see their own things on the same routes", async () => {
  await using harness = await HttpHarness.start();
  await provision(harness, "default");
  const { ids, secret, value } = await provision(harness, "other");
  const headers = await harness.login("owner", "other");
  const get = async (path: string) => {
    const answer = await harness.send("GET", `/api/v1/${path}`, { headers });
    assert.equal(answer.status, 200, path);
    return await answer.json();
  };
  const device = `devices/${ids.product}/${ids.device}`;
  assert.equal((await get(device)).name, `title ${secret}`);
  assert.equal((await get(`${device}/properties`)).temperature.value, value);
  assert.equal((await get(`${device}/telemetry?keys=temperature`)).series.temperature.length, 1);
  assert.deepEqual((await get("devices")).items.map((one: { device: string }) => one.device), [
    ids.device,
  ]);
  assert.deepEqual((await get("products")).items.map((one: { key: string }) => one.key), [
    ids.product,
  ]);
  assert.deepEqual((await get("keys")).items.map((one: { id: string }) => one.id), [ids.key]);
  assert.equal((await get("users")).items.length, 2);
  assert.deepEqual((await get("projects")).items.map((one: { id: string }) => one.id), ["other"]);
  assert.deepEqual(
    (await get("cluster/dead-letters")).items.map((one: { id: string }) => one.id),
    [ids.letter],
  );
  const session = await get("session");
  assert.equal(session.project, "other");
  const roles: Role[] = ["viewer", "operator"];
  for (const role of roles) {
    const asked = await harness.send("GET", "/api/v1/cluster/ledger", {
      headers: await harness.login(role, "other"),
    });
    assert.equal(asked.status, 403, "what is of no single project is for those of default");
    await asked.body?.cancel();
  }
});
