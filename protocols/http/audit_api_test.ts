import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { deadLetter, HttpHarness, PASSWORD } from "../../test/support/http_harness.ts";
import { requestOf } from "../../test/support/http_requests.ts";

type Headers = Record<string, string>;

interface Row {
  readonly id: string;
  readonly actor: string;
  readonly action: string;
  readonly object: string;
  readonly detail: Record<string, unknown>;
  readonly outcome: string;
}

const NO_RATE = { rate: { perSecond: 1e6, burst: 1e6 } };

async function auditOf(harness: HttpHarness, headers: Headers, query = ""): Promise<Row[]> {
  const answer = await harness.send("GET", `/api/v1/audit?limit=500${query}`, { headers });
  assert.equal(answer.status, 200);
  return (await answer.json()).items;
}

async function send(harness: HttpHarness, headers: Headers, request: [string, string, unknown?]) {
  const [method, path, json] = request;
  const answer = await harness.send(method, `/api/v1/${path}`, { headers, json });
  const text = await answer.text();
  return { status: answer.status, body: text === "" ? undefined : JSON.parse(text) };
}

Deno.test("each write through the API has one row, whatever its route", async () => {
  await using harness = await HttpHarness.start(NO_RATE);
  await harness.provision({ properties: [], events: [], services: [] });
  harness.letters.push(deadLetter(1));
  const headers = await harness.login("owner");
  let known = (await auditOf(harness, headers)).length;
  for (const route of harness.app.routes) {
    if (route.policy.type === "device" || route.name === "DELETE /api/v1/session") continue;
    const { method, path, json } = requestOf(route);
    const answer = await harness.send(method, path, { headers, json });
    await answer.body?.cancel();
    await harness.clock.advance(60_000); // Refusals are bounded, see below.
    const rows = await auditOf(harness, headers);
    const isWrite = route.method !== "get";
    assert.equal(rows.length - known, isWrite ? 1 : 0, route.name);
    known = rows.length;
    if (!isWrite) continue;
    const [row] = rows as [Row];
    assert.equal(row.action, route.action, route.name);
    assert.equal(row.outcome === "ok", answer.status < 400, `${route.name} ${row.outcome}`);
    if (route.name !== "POST /api/v1/session") assert.equal(row.actor, "default-owner");
  }
  const actions = harness.app.routes.filter(({ method }) => method !== "get")
    .map(({ action }) => action);
  assert.equal(new Set(actions).size, actions.length, "no two routes have one name");
});

Deno.test("rows name what was made, and never a secret", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const headers = await harness.login("owner");
  const secrets = ["brought-along", "pass word", "another password"];
  const [secret, password, other] = secrets as [string, string, string];
  const device = { product: "pump", device: "p-2", secret };
  await send(harness, headers, ["POST", "devices", device]);
  await send(harness, headers, ["POST", "devices/pump/p-2/credentials/rotate", { secret }]);
  const user = await send(harness, headers, ["POST", "users", {
    name: "ann",
    role: "viewer",
    password,
  }]);
  await send(harness, headers, ["PATCH", `users/${user.body.id}`, { password: other }]);
  await send(harness, headers, ["PATCH", "session/password", { current: "x", password: other }]);
  const owner = { name: "bob", password };
  await send(harness, headers, ["POST", "projects", { id: "plant", owner }]);
  const key = await send(harness, headers, ["POST", "keys", { name: "k", scopes: ["audit:read"] }]);
  await send(harness, headers, ["PATCH", "devices/pump/p-1/shadow", {
    desired: { wifi_password: secret, on: true },
  }]);
  await send(harness, headers, ["DELETE", "projects/plant?confirm=plant"]);
  const rows = await auditOf(harness, headers);
  const text = JSON.stringify(rows) + JSON.stringify(
    harness.store.reader.prepareAll("select * from audit")(),
  );
  for (const hidden of [...secrets, key.body.key]) assert.ok(!text.includes(hidden), hidden);
  assert.deepEqual(rows.map(({ object }) => object).slice(0, 9), [
    "projects/plant",
    "devices/pump/p-1/shadow",
    `keys/${key.body.id}`,
    "projects/plant",
    "session/password",
    `users/${user.body.id}`,
    `users/${user.body.id}`,
    "devices/pump/p-2/credentials/rotate",
    "devices/pump/p-2",
  ]);
  assert.deepEqual(rows[1]!.detail, { desired: { wifi_password: "(hidden)", on: true } });
  assert.deepEqual(rows[0]!.detail, { query: { confirm: "plant" } });
  assert.equal(rows[4]!.outcome, "forbidden");
  const bearer = { authorization: `Bearer ${key.body.key}` };
  assert.equal((await auditOf(harness, bearer)).length, rows.length, "a key with the scope reads");
  const names = { name: "x".repeat(100), tags: Array(32).fill("y".repeat(64)) };
  await send(harness, headers, ["PATCH", "devices/pump/p-1", names]);
  const [long] = await auditOf(harness, headers);
  assert.deepEqual(long!.detail.fields, ["name", "tags"]);
});

Deno.test("log-ins and refusals have rows, in the chain of the project that they concern", async () => {
  await using harness = await HttpHarness.start(NO_RATE);
  await harness.projects.create({ id: "plant", owner: { name: "bob", password: PASSWORD } });
  const owner = await harness.login("owner");
  const bob = await harness.login("operator", "plant");
  const logIn = (name: string) =>
    harness.send("POST", "/api/v1/session", { json: { name, password: "wrong" } });
  for (const name of ["bob", "nobody", "\ud800".toWellFormed()]) {
    assert.equal((await logIn(name)).status, 401);
  }
  assert.equal((await send(harness, bob, ["POST", "users", {}])).status, 403);
  const noCsrf: Headers = { cookie: bob.cookie! };
  assert.equal((await send(harness, noCsrf, ["POST", "products", {}])).status, 403);
  assert.equal((await send(harness, bob, ["POST", "products", { key: "a b" }])).status, 400);
  const [own, others] = [
    await auditOf(harness, owner),
    await harness.audit.reader.list("plant", {
      limit: 9,
    }),
  ];
  assert.deepEqual(own.map(({ actor, outcome }) => [actor, outcome]), [
    ["�", "unauthorized"],
    ["nobody", "unauthorized"],
    ["default-owner", "ok"],
  ]);
  assert.ok(others.ok);
  assert.deepEqual(
    others.value.items.map(({ actor, action, outcome }) => {
      return [actor.name, action, outcome];
    }),
    [
      ["plant-operator", "products.create", "invalid"],
      ["plant-operator", "products.create", "csrf"],
      ["plant-operator", "users.create", "forbidden"],
      ["bob", "session.login", "unauthorized"],
      ["plant-operator", "session.login", "ok"],
    ],
  );
});

Deno.test("refusals fill no disk: beyond the bound they are counted, and the count is told", async () => {
  await using harness = await HttpHarness.start(NO_RATE);
  const headers = await harness.login("operator");
  const refuse = () => send(harness, headers, ["POST", "users", {}]);
  for (let i = 0; i < LIMITS.auditFailuresPerNetworkMax + 7; i++) await refuse();
  const owner = await harness.login("owner");
  const rows = await auditOf(harness, owner, "&outcome=forbidden");
  assert.equal(rows.length, LIMITS.auditFailuresPerNetworkMax);
  await harness.clock.advance(60_000);
  await refuse();
  const [next] = await auditOf(harness, owner, "&outcome=forbidden");
  assert.equal(next!.detail.refusalsWithoutRow, 7);
});

Deno.test("the audit is checked through the API, by the installation's owners", async () => {
  await using harness = await HttpHarness.start();
  const owner = await harness.login("owner");
  const check = async () => {
    const { status, body } = await send(harness, owner, ["GET", "audit/verification"]);
    assert.equal(status, 200);
    return body.items[0];
  };
  await send(harness, owner, ["POST", "products", { key: "pump" }]);
  assert.deepEqual(await check(), { project: "default", isIntact: true, rows: 2, firstId: "1" });
  await harness.store.db.updateTable("audit").set({ actor_name: "somebody else" })
    .where("seq", "=", 2).execute();
  assert.deepEqual(await check(), {
    project: "default",
    isIntact: false,
    rows: 1,
    firstId: "1",
    fault: { id: "2", reason: "changed" },
  });
});
