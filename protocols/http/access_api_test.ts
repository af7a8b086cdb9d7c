import assert from "node:assert/strict";
import { HttpHarness, PASSWORD } from "../../test/support/http_harness.ts";

type Headers = Record<string, string>;

async function call(
  harness: HttpHarness,
  headers: Headers,
  method: string,
  path: string,
  json?: unknown,
  // deno-lint-ignore no-explicit-any -- whatever JSON the route answers
): Promise<{ status: number; body: any; headers: globalThis.Headers }> {
  const answer = await harness.send(method, `/api/v1/${path}`, { headers, json });
  const text = await answer.text();
  const body = text === "" ? undefined : JSON.parse(text);
  return { status: answer.status, body, headers: answer.headers };
}

/** A fresh session; `cookies` also holds what tells the browser from strangers. */
async function logIn(harness: HttpHarness, name: string, password = PASSWORD, cookies = "") {
  const headers: Headers = cookies === "" ? {} : { cookie: cookies };
  const answer = await harness.send("POST", "/api/v1/session", {
    json: { name, password },
    headers,
  });
  const body = await answer.json();
  const pairs = answer.headers.getSetCookie().map((cookie) => cookie.split(";")[0]!);
  return { status: answer.status, body, cookies: pairs.join("; "), csrf: body.csrf as string };
}

Deno.test("an installation's owner makes a project whose own owner lets people in", async () => {
  await using harness = await HttpHarness.start();
  const owner = await harness.login("owner");
  const json = { id: "plant", name: "Plant", owner: { name: "bob", password: PASSWORD } };
  const made = await call(harness, owner, "POST", "projects", json);
  assert.deepEqual([made.status, made.body.id, made.body.name], [201, "plant", "Plant"]);
  assert.equal(made.headers.get("location"), "/api/v1/projects/plant");
  assert.equal((await call(harness, owner, "POST", "projects", json)).status, 409);
  const bob = await logIn(harness, "bob");
  assert.equal(bob.body.project, "plant");
  assert.deepEqual(bob.body.user.role, "owner");
  assert.ok(bob.body.scopes.includes("devices:write"));
  const own: Headers = { cookie: bob.cookies, "x-csrf-token": bob.csrf };
  assert.equal((await call(harness, own, "POST", "projects", { id: "x" })).status, 403);
  assert.equal((await call(harness, own, "DELETE", "projects/plant")).status, 403);
  assert.equal((await call(harness, own, "GET", "projects/default")).status, 404);
  const renamed = await call(harness, own, "PATCH", "projects/plant", { name: "North" });
  assert.equal(renamed.body.name, "North");
  const reset = await call(harness, own, "PATCH", "projects/plant", { name: null });
  assert.equal(reset.body.name, "plant");
  const ann = { name: "ann", role: "viewer", password: PASSWORD };
  const user = await call(harness, own, "POST", "users", ann);
  assert.equal(user.status, 201);
  assert.deepEqual(Object.keys(user.body).sort(), [
    "createdAt",
    "enabled",
    "id",
    "lastLoginAt",
    "name",
    "role",
  ]);
  assert.equal((await call(harness, owner, "GET", `users/${user.body.id}`)).status, 404);
  const rescue = { name: "cay", password: PASSWORD };
  assert.equal((await call(harness, owner, "POST", "projects/plant/owners", rescue)).status, 201);
  assert.equal((await call(harness, owner, "POST", "projects/none/owners", rescue)).status, 404);
  assert.equal((await call(harness, own, "GET", "users?q=CAY")).body.items[0].role, "owner");
  assert.equal((await call(harness, owner, "DELETE", "projects/plant")).status, 409);
  const wrong = await call(harness, owner, "DELETE", "projects/plant?confirm=other");
  assert.equal(wrong.status, 409);
  assert.equal(
    (await call(harness, owner, "DELETE", "projects/plant?confirm=plant")).status,
    204,
  );
  assert.equal((await call(harness, own, "GET", "session")).status, 401);
  assert.equal((await call(harness, owner, "DELETE", "projects/plant")).status, 204);
});

Deno.test("users are changed under their entity tags; disabling ends their sessions at once", async () => {
  await using harness = await HttpHarness.start();
  const owner = await harness.login("owner");
  const input = { name: "ann", role: "operator", password: PASSWORD };
  const made = await call(harness, owner, "POST", "users", input);
  const path = `users/${made.body.id}`;
  assert.equal(made.headers.get("location"), `/api/v1/${path}`);
  const ann = await logIn(harness, "ann");
  const own: Headers = { cookie: ann.cookies, "x-csrf-token": ann.csrf };
  assert.equal((await call(harness, own, "GET", "session")).status, 200);
  const etag = made.headers.get("etag")!;
  const demote = { ...owner, "if-match": etag };
  assert.equal((await call(harness, demote, "PATCH", path, { role: "viewer" })).status, 200);
  assert.equal((await call(harness, demote, "PATCH", path, { role: "owner" })).status, 412);
  const product = await call(harness, own, "POST", "products", { key: "pump" });
  assert.equal(product.status, 403, "the new role counts at once");
  const off = await call(harness, owner, "PATCH", path, { enabled: false });
  assert.equal(off.body.enabled, false);
  assert.equal((await call(harness, own, "GET", "session")).status, 401);
  assert.equal((await logIn(harness, "ann")).status, 401);
  const self = (await call(harness, owner, "GET", "session")).body.user.id;
  for (const patch of [{ enabled: false }, { role: "viewer" }]) {
    assert.equal((await call(harness, owner, "PATCH", `users/${self}`, patch)).status, 409);
  }
  assert.equal((await call(harness, owner, "DELETE", `users/${self}`)).status, 409);
  assert.equal((await call(harness, demote, "DELETE", path)).status, 412);
  for (let i = 0; i < 2; i++) {
    assert.equal((await call(harness, owner, "DELETE", path)).status, 204);
  }
  assert.equal((await call(harness, owner, "GET", path)).status, 404);
});

Deno.test("a person changes the password, sees the open sessions and ends one", async () => {
  await using harness = await HttpHarness.start();
  const owner = await harness.login("owner");
  const input = { name: "ann", role: "viewer", password: PASSWORD };
  const { body: user } = await call(harness, owner, "POST", "users", input);
  const first = await logIn(harness, "ann");
  const second = await logIn(harness, "ann");
  const own: Headers = { cookie: first.cookies, "x-csrf-token": first.csrf };
  const { items } = (await call(harness, own, "GET", "sessions")).body;
  assert.equal(items.length, 2);
  assert.equal(items.filter((one: { isCurrent: boolean }) => one.isCurrent).length, 1);
  const seen = await call(harness, owner, "GET", `sessions?user=${user.id}`);
  assert.deepEqual(
    seen.body.items.map((one: { id: string }) => one.id),
    items.map((one: { id: string }) => one.id),
  );
  const foreign = (await call(harness, owner, "GET", "session")).body.user.id;
  assert.equal((await call(harness, own, "GET", `sessions?user=${foreign}`)).status, 403);
  const other = items.find((one: { isCurrent: boolean }) => !one.isCurrent).id;
  assert.equal((await call(harness, own, "DELETE", `sessions/${other}`)).status, 204);
  const ended = { cookie: second.cookies };
  assert.equal((await call(harness, ended, "GET", "session")).status, 401);
  const change = (current: string, password: string) =>
    call(harness, own, "PATCH", "session/password", { current, password });
  assert.equal((await change("wrong", "another password")).status, 403);
  assert.equal((await change(PASSWORD, "short")).status, 400);
  assert.equal((await change(PASSWORD, "another password")).status, 204);
  assert.equal((await call(harness, own, "GET", "session")).status, 200);
  assert.equal((await logIn(harness, "ann")).status, 401);
  assert.equal((await logIn(harness, "ann", "another password")).status, 200);
});

Deno.test("a browser that was logged in with gets in while strangers are held up", async () => {
  await using harness = await HttpHarness.start();
  await harness.users.create({ name: "ann", role: "owner", password: PASSWORD });
  const { cookies } = await logIn(harness, "ann");
  const browser = cookies.split("; ").find((cookie) => cookie.startsWith("roost_browser="))!;
  for (let i = 0; i < 6; i++) assert.equal((await logIn(harness, "ann", "wrong")).status, 401);
  assert.equal((await logIn(harness, "ann")).status, 429);
  const known = await logIn(harness, "ann", PASSWORD, browser);
  assert.equal(known.status, 200);
  assert.ok(known.cookies.includes(browser), "it keeps its token");
});
