import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { deadLetter, HttpHarness, START_MS } from "../../test/support/http_harness.ts";

const ALL = [
  "products:read",
  "products:write",
  "devices:read",
  "devices:write",
  "cluster:read",
  "cluster:write",
  "audit:read",
  "jobs:read",
  "jobs:write",
];
const DEVICE = "/api/v1/devices/pump/p-1";

interface Client {
  readonly harness: HttpHarness;
  call(
    method: string,
    path: string,
    json?: unknown,
    headers?: Record<string, string>,
    // deno-lint-ignore no-explicit-any -- whatever JSON the route answers
  ): Promise<{ status: number; body: any; headers: Headers }>;
}

async function clientOf(harness: HttpHarness): Promise<Client> {
  const key = await harness.key(...ALL);
  return {
    harness,
    async call(method, path, json, headers = {}) {
      const answer = await harness.send(method, path, { json, headers: { ...key, ...headers } });
      const text = await answer.text();
      const body = text === "" ? undefined : JSON.parse(text);
      return { status: answer.status, body, headers: answer.headers };
    },
  };
}

Deno.test("a person logs in, is known, needs the CSRF token to write, and logs out", async () => {
  await using harness = await HttpHarness.start();
  await harness.users.create({ name: "owner", role: "owner", password: "a long password" });
  const login = (password: string, headers = {}) =>
    harness.send("POST", "/api/v1/session", { json: { name: "owner", password }, headers });
  const wrong = await login("wrong");
  assert.equal(wrong.status, 401);
  assert.equal(wrong.headers.get("set-cookie"), null);
  assert.equal((await login("a long password", { "sec-fetch-site": "cross-site" })).status, 403);
  const answer = await login("a long password");
  assert.equal(answer.status, 200);
  const { csrf } = await answer.json();
  const [cookie] = answer.headers.getSetCookie();
  assert.match(
    cookie!,
    /^roost_session=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/,
  );
  const headers: Record<string, string> = { cookie: cookie!.split(";")[0]! };
  const who = await harness.send("GET", "/api/v1/session", { headers });
  const { user, ...session } = await who.json();
  assert.deepEqual([user.name, user.role], ["owner", "owner"]);
  assert.deepEqual(session, { project: "default", scopes: ALL, csrf });
  const json = { key: "pump" };
  for (const token of [undefined, "", "x".repeat(csrf.length)]) {
    const sent = token === undefined ? headers : { ...headers, "x-csrf-token": token };
    const refused = await harness.send("POST", "/api/v1/products", { json, headers: sent });
    assert.equal((await refused.json()).type, "urn:roost:problem:csrf");
  }
  headers["x-csrf-token"] = csrf;
  const created = await harness.send("POST", "/api/v1/products", { json, headers });
  assert.equal(created.status, 201);
  const out = await harness.send("DELETE", "/api/v1/session", { headers });
  assert.equal(out.status, 204);
  assert.match(out.headers.get("set-cookie")!, /^roost_session=; .*Max-Age=0/);
  assert.equal((await harness.send("GET", "/api/v1/session", { headers })).status, 401);
});

Deno.test("the cookie is marked Secure behind TLS", async () => {
  await using harness = await HttpHarness.start({ isCookieSecure: true });
  await harness.users.create({ name: "owner", role: "owner", password: "a long password" });
  const json = { name: "owner", password: "a long password" };
  const answer = await harness.send("POST", "/api/v1/session", { json });
  assert.match(answer.headers.get("set-cookie")!, /; Secure$/);
});

Deno.test("a key is shown once, listed without itself, and ended", async () => {
  await using harness = await HttpHarness.start();
  const headers = await harness.login("owner");
  const json = { name: "exporter", scopes: ["devices:read"], expiresAt: START_MS + 60_000 };
  const made = await harness.send("POST", "/api/v1/keys", { json, headers });
  assert.equal(made.status, 201);
  const { key, ...shown } = await made.json();
  assert.match(key, /^roost_[\w-]{43}$/);
  assert.equal(made.headers.get("location"), `/api/v1/keys/${shown.id}`);
  const bearer = { authorization: `Bearer ${key}` };
  assert.equal((await harness.send("GET", "/api/v1/devices", { headers: bearer })).status, 200);
  const { items } = await (await harness.send("GET", "/api/v1/keys", { headers })).json();
  assert.deepEqual(items, [{ ...shown, lastUsedAt: START_MS }]);
  for (let i = 0; i < 2; i++) {
    const ended = await harness.send("DELETE", `/api/v1/keys/${shown.id}`, { headers });
    assert.equal(ended.status, 204);
  }
  assert.equal((await harness.send("GET", "/api/v1/devices", { headers: bearer })).status, 401);
  const unknown = { name: "x", scopes: ["users:write"] };
  const refused = await harness.send("POST", "/api/v1/keys", { json: unknown, headers });
  assert.equal(refused.status, 400);
  assert.equal((await refused.json()).errors[0].path, "scopes.0");
});

Deno.test("products are created, replaced, patched and removed under their entity tags", async () => {
  await using harness = await HttpHarness.start();
  const { call } = await clientOf(harness);
  const created = await call("POST", "/api/v1/products", { key: "pump", name: "Pump" });
  assert.equal(created.status, 201);
  assert.equal(created.headers.get("location"), "/api/v1/products/pump");
  const etag = created.headers.get("etag")!;
  assert.match(etag, /^"[\w-]+"$/);
  assert.equal((await call("POST", "/api/v1/products", { key: "pump" })).status, 409);
  const path = "/api/v1/products/pump";
  const patched = await call("PATCH", path, { name: "New" }, { "if-match": etag });
  assert.equal(patched.status, 200);
  assert.equal(patched.body.version, 2);
  const stale = await call("PATCH", path, { name: "Newer" }, { "if-match": etag });
  assert.equal(stale.status, 412);
  assert.equal(stale.body.type, "urn:roost:problem:precondition-failed");
  assert.equal((await call("PATCH", path, { name: null })).body.name, "pump");
  const replaced = await call("PUT", path, { lateDaysMax: 3 });
  assert.equal(replaced.status, 200);
  assert.equal(replaced.body.lateDaysMax, 3);
  assert.equal((await call("PUT", path, {}, { "if-none-match": "*" })).status, 412);
  assert.equal((await call("PUT", "/api/v1/products/new", {}, { "if-match": "*" })).status, 412);
  assert.equal((await call("PUT", "/api/v1/products/new", {})).status, 201);
  assert.equal((await call("DELETE", path, undefined, { "if-match": etag })).status, 412);
  await harness.devices.create({ product: "pump", device: "p-1" });
  assert.equal((await call("DELETE", path)).status, 409);
  await harness.devices.delete("pump", "p-1");
  assert.equal((await call("DELETE", path)).status, 204);
  assert.equal((await call("DELETE", path)).status, 204);
  assert.equal((await call("GET", path)).status, 404);
});

Deno.test("a thing model is put and read, a bad one is refused with its paths", async () => {
  await using harness = await HttpHarness.start();
  const { call } = await clientOf(harness);
  await harness.provision();
  const path = "/api/v1/products/pump/model";
  assert.equal((await call("GET", path)).status, 404);
  const property = { identifier: "t", dataType: { type: "double", specs: { min: "0", max: "9" } } };
  const put = await call("PUT", path, { properties: [property] });
  assert.equal(put.status, 200);
  assert.deepEqual(put.body.properties[0].dataType.specs, { min: 0, max: 9 });
  assert.deepEqual((await call("GET", path)).body, put.body);
  const bad = { properties: [{ ...property, dataType: { type: "double", specs: { mim: 1 } } }] };
  const refused = await call("PUT", path, bad);
  assert.equal(refused.status, 400);
  assert.match(refused.body.errors[0].path, /^model\.properties\.0/);
});

Deno.test("a device is created with its secret, changed, rotated and removed", async () => {
  await using harness = await HttpHarness.start();
  const { call } = await clientOf(harness);
  await harness.products.create({ key: "pump" });
  const json = { product: "pump", device: "p-1", name: "Pump 1", tags: ["hall"] };
  const created = await call("POST", "/api/v1/devices", json);
  assert.equal(created.status, 201);
  assert.equal(created.headers.get("location"), DEVICE);
  const { secret, ...device } = created.body;
  assert.ok(secret.length >= 40);
  assert.equal(device.status, "never");
  assert.equal(device.lastSeenAt, null);
  assert.deepEqual((await call("GET", DEVICE)).body, device, "the secret is not shown again");
  assert.equal((await call("POST", "/api/v1/devices", json)).status, 409);
  const etag = created.headers.get("etag")!;
  const patched = await call("PATCH", DEVICE, { tags: null, name: null }, { "if-match": etag });
  assert.deepEqual([patched.body.tags, patched.body.name], [[], ""]);
  assert.equal((await call("PATCH", DEVICE, {}, { "if-match": etag })).status, 412);
  const rotate = `${DEVICE}/credentials/rotate`;
  const own = await call("POST", rotate, { secret: "brought along" });
  assert.equal(own.body.secret, "brought along");
  const fresh = await call("POST", rotate);
  assert.equal(fresh.status, 200, "no body is the same as {}");
  assert.notEqual(fresh.body.secret, "brought along");
  assert.equal((await call("POST", rotate, { secret: "short" })).status, 400);
  const disabled = await call("PATCH", DEVICE, { enabled: false });
  assert.equal(disabled.body.status, "disabled");
  for (let i = 0; i < 2; i++) assert.equal((await call("DELETE", DEVICE)).status, 204);
  assert.equal((await call("GET", DEVICE)).status, 404);
  assert.equal((await call("POST", "/api/v1/devices", { ...json, product: "none" })).status, 404);
});

Deno.test("a device's status follows its connection, and posts count as seen", async () => {
  await using harness = await HttpHarness.start();
  const { call } = await clientOf(harness);
  await harness.provision();
  const address = "device/pump/p-1";
  const status = async () => {
    const { items } = (await call("GET", "/api/v1/devices")).body;
    const { body } = await call("GET", DEVICE);
    assert.deepEqual([items[0].status, items[0].lastSeenAt], [body.status, body.lastSeenAt]);
    return [body.status, body.lastSeenAt];
  };
  assert.deepEqual(await status(), ["never", null]);
  harness.ingress.handle(address, { type: "properties", samples: [{ values: { t: 1 } }] });
  assert.deepEqual(await status(), ["offline", START_MS]);
  harness.ingress.handle(address, { type: "connected", session: "a.1", epoch: 1, wire: "mqtt" });
  assert.deepEqual(await status(), ["online", START_MS]);
  harness.ingress.handle(address, { type: "disconnected", session: "a.1", reason: "closed" });
  assert.deepEqual(await status(), ["offline", START_MS]);
  await harness.clock.advance(LIMITS.presenceEveryMs);
  harness.ingress.handle(address, { type: "event", event: "e", data: null });
  assert.deepEqual(await status(), ["offline", START_MS + LIMITS.presenceEveryMs]);
});

Deno.test("lists go page by page to their end, filtered, and refuse forged cursors", async () => {
  await using harness = await HttpHarness.start();
  const { call } = await clientOf(harness);
  await harness.products.create({ key: "pump" });
  for (let i = 0; i < 7; i++) {
    const tags = i % 2 === 0 ? ["even"] : [];
    await harness.devices.create({ product: "pump", device: `p-${i}`, tags });
  }
  const all = async (query: string) => {
    const names: string[] = [];
    let cursor = "";
    do {
      const { body } = await call("GET", `/api/v1/devices?limit=2${query}${cursor}`);
      assert.ok(body.items.length <= 2);
      names.push(...body.items.map((item: { device: string }) => item.device));
      cursor = body.nextCursor === null ? "" : `&cursor=${encodeURIComponent(body.nextCursor)}`;
    } while (cursor !== "");
    return names.join();
  };
  assert.equal(await all(""), "p-0,p-1,p-2,p-3,p-4,p-5,p-6");
  assert.equal(await all("&tag=even"), "p-0,p-2,p-4,p-6");
  assert.equal(await all("&q=P-3"), "p-3");
  assert.equal(await all("&product=none"), "");
  assert.equal(await all("&sort=-device"), "p-6,p-5,p-4,p-3,p-2,p-1,p-0");
  assert.equal(await all("&sort=-createdAt&tag=even"), "p-6,p-4,p-2,p-0");
  harness.ingress.handle("device/pump/p-5", { type: "event", event: "e", data: null });
  await harness.clock.advance(1);
  harness.ingress.handle("device/pump/p-3", { type: "event", event: "e", data: null });
  assert.equal(await all("&sort=lastSeenAt"), "p-5,p-3,p-0,p-1,p-2,p-4,p-6");
  assert.equal(await all("&sort=-lastSeenAt&tag=even"), "p-0,p-2,p-4,p-6");
  const { body } = await call("GET", "/api/v1/devices?sort=-lastSeenAt&limit=1&count=true");
  assert.deepEqual([body.items[0].lastSeenAt, body.count], [START_MS + 1, 7]);
  assert.equal((await call("GET", "/api/v1/devices?tag=even&count=true&limit=1")).body.count, 4);
  assert.ok(!("count" in (await call("GET", "/api/v1/devices?count=false")).body));
  const lists = ["/api/v1/devices", "/api/v1/products", "/api/v1/cluster/dead-letters"];
  for (const list of lists) {
    for (const cursor of ["x", "!!!", "AAAA", "WyJhIl0=", "%00", "ZGVhZDotMQ", "9".repeat(1_000)]) {
      const answer = await call("GET", `${list}?cursor=${cursor}`);
      assert.equal(answer.status, 400, `${list} ${cursor}`);
      assert.equal(answer.body.errors[0].path, "query.cursor");
    }
  }
});

Deno.test("properties and shadow are read from committed state; a desire is answered by the actor", async () => {
  await using harness = await HttpHarness.start();
  const { call } = await clientOf(harness);
  const property = (identifier: string, accessMode: string) => {
    return { identifier, accessMode, dataType: { type: "bool", specs: { 0: "off", 1: "on" } } };
  };
  await harness.provision({ properties: [property("on", "rw"), property("hot", "r")] });
  const shadow = `${DEVICE}/shadow`;
  assert.deepEqual((await call("GET", shadow)).body, {
    version: 0,
    desired: {},
    reported: {},
    delta: {},
  });
  const samples = [{ values: { on: true } }];
  harness.ingress.handle("device/pump/p-1", { type: "properties", samples });
  const properties = (await call("GET", `${DEVICE}/properties`)).body;
  assert.deepEqual(properties, { on: { value: true, at: START_MS } });
  const desired = await call("PATCH", shadow, { desired: { on: false }, version: 0 });
  assert.equal(desired.status, 200);
  assert.equal(desired.headers.get("etag"), '"1"');
  assert.deepEqual(desired.body.delta, { on: false });
  assert.deepEqual((await call("GET", shadow)).body, desired.body);
  assert.equal((await call("PATCH", shadow, { desired: {}, version: 0 })).status, 409);
  const match = (etag: string) => call("PATCH", shadow, { desired: {} }, { "if-match": etag });
  assert.equal((await match('"0"')).status, 412);
  assert.equal((await match('W/"1"')).status, 412);
  assert.equal((await match('"1"')).status, 200);
  const refused = await call("PATCH", shadow, { desired: { hot: true, on: 7, x: 1 } });
  assert.equal(refused.status, 400);
  const paths = refused.body.errors.map((error: { path: string }) => error.path);
  assert.deepEqual(paths, ["desired.hot", "desired.on", "desired.x"]);
  assert.equal((await call("GET", "/api/v1/devices/pump/p-9/shadow")).status, 404);
  assert.equal(
    (await call("PATCH", "/api/v1/devices/pump/p-9/shadow", { desired: {} })).status,
    404,
  );
});

Deno.test("an actor that does not answer is 504, and the outcome is said to be unknown", async () => {
  await using harness = await HttpHarness.start();
  const { call } = await clientOf(harness);
  await harness.provision();
  harness.ingress.isSilent = true;
  const answer = await call("PATCH", `${DEVICE}/shadow`, { desired: { on: true } });
  assert.equal(answer.status, 504);
  assert.equal(answer.body.type, "urn:roost:problem:outcome-unknown");
});

Deno.test("a suspended actor is not asked: 409 until it is resumed", async () => {
  await using harness = await HttpHarness.start();
  const { call } = await clientOf(harness);
  await harness.provision();
  harness.suspended.add("device/pump/p-1");
  harness.ingress.isSilent = true; // As it would be: a question is one letter more.
  const answer = await call("PATCH", `${DEVICE}/shadow`, { desired: { on: true } });
  assert.equal(answer.status, 409);
  assert.equal(answer.body.type, "urn:roost:problem:suspended");
  assert.match(answer.body.hint, /Replay/);
  assert.equal((await call("GET", `${DEVICE}/shadow`)).status, 200, "reading asks nobody");
  harness.suspended.clear();
  harness.ingress.isSilent = false;
  const again = await call("PATCH", `${DEVICE}/shadow`, { desired: { on: true } });
  assert.equal(again.status, 200);
});

Deno.test("history is read raw page by page, in buckets, and thinned", async () => {
  await using harness = await HttpHarness.start();
  const { call } = await clientOf(harness);
  await harness.provision();
  const samples = Array.from({ length: 10 }, (_, offset) => ({
    device: "pump/p-1",
    atMs: START_MS + offset * 1_000,
    partition: 0,
    offset,
    position: 0,
    values: new TextEncoder().encode(JSON.stringify({ t: offset })),
  }));
  await harness.telemetry.write({ samples, cursor: 1 });
  await harness.clock.advance(60_000);
  const read = (query: string) => call("GET", `${DEVICE}/telemetry?keys=t${query}`);
  const first = await read("&limit=6");
  assert.equal(first.body.series.t.length, 6);
  assert.deepEqual(first.body.series.t[0], [START_MS, 0]);
  const next = await read(`&limit=6&cursor=${encodeURIComponent(first.body.nextCursor)}`);
  assert.deepEqual(next.body.series.t.map((point: number[]) => point[1]), [6, 7, 8, 9]);
  assert.equal(next.body.nextCursor, null);
  const range = `&from=${START_MS}&to=${START_MS + 10_000}`;
  const buckets = await read(`${range}&bucketMs=5000&agg=avg,max`);
  assert.deepEqual(buckets.body.series.t, [
    { at: START_MS, avg: 2, max: 4 },
    { at: START_MS + 5_000, avg: 7, max: 9 },
  ]);
  assert.equal((await read(`${range}&points=5`)).body.series.t.length, 5);
  const refused = ["", "&bucketMs=1&agg=avg", "&bucketMs=5", "&agg=avg", "&points=2", "&from=-1"]
    .concat(["&from=5&to=4", "&limit=0", "&limit=1e3", "&agg=sum&bucketMs=1", "&cursor=x"])
    .concat(["&points=5&cursor=x", "&keys=t", "&from=99999999999999999999", "&to=NaN"]);
  for (const query of refused.slice(1)) {
    assert.equal((await read(query)).status, 400, query);
  }
  for (const keys of ["", "a,", "a b", "a,".repeat(40) + "a/b", names(33)]) {
    const answer = await call("GET", `${DEVICE}/telemetry?keys=${encodeURIComponent(keys)}`);
    assert.equal(answer.status, 400, keys);
  }
});

function names(count: number): string {
  return Array.from({ length: count }, (_, i) => `k${i}`).join();
}

Deno.test("the cluster shows its ledger, tree and dead letters, and ends a child", async () => {
  await using harness = await HttpHarness.start();
  const { call } = await clientOf(harness);
  harness.refused.malformed = 2;
  const ledger = (await call("GET", "/api/v1/cluster/ledger")).body;
  assert.deepEqual(ledger.refused, { malformed: 2 });
  assert.equal(ledger.total.accepted, 3);
  const tree = (await call("GET", "/api/v1/cluster/tree")).body;
  assert.deepEqual([tree.id, tree.startedAt, tree.children[0].restarts], ["node", START_MS, 2]);
  const headers = await harness.login("owner");
  const kill = async (path: unknown) => {
    const url = "/api/v1/cluster/tree/kill";
    return (await harness.send("POST", url, { json: { path }, headers })).status;
  };
  assert.deepEqual([await kill("gateways/mqtt"), await kill(["gateways", "http"])], [204, 204]);
  assert.deepEqual([await kill("none"), await kill([]), await kill(7)], [404, 400, 400]);
  assert.deepEqual(harness.killed, ["gateways/mqtt", "gateways/http", "none"]);

  for (let id = 1; id <= 5; id++) harness.letters.push(deadLetter(id, `device/pump/p-${id % 2}`));
  const list = "/api/v1/cluster/dead-letters";
  const page = (await call("GET", `${list}?limit=3`)).body;
  assert.deepEqual(page.items.map((item: { id: string }) => item.id), ["5", "4", "3"]);
  assert.equal(page.items[0].body, '{"type":"properties"}');
  const rest = (await call("GET", `${list}?limit=3&cursor=${page.nextCursor}`)).body;
  assert.deepEqual(rest.items.map((item: { id: string }) => item.id), ["2", "1"]);
  assert.equal(rest.nextCursor, null);
  const oldest = (await call("GET", `${list}?sort=parkedAt&limit=2&count=true`)).body;
  assert.deepEqual(oldest.items.map((item: { id: string }) => item.id), ["1", "2"]);
  assert.equal(oldest.count, 5);
  const newer = (await call("GET", `${list}?sort=parkedAt&cursor=${oldest.nextCursor}`)).body;
  assert.deepEqual(newer.items.map((item: { id: string }) => item.id), ["3", "4", "5"]);
  const ofOne = (await call("GET", `${list}?to=device/pump/p-0&count=true`)).body;
  assert.equal(ofOne.count, 2);
  const own = (await call("GET", `${list}?to=device/pump/p-0`)).body;
  assert.deepEqual(own.items.map((item: { id: string }) => item.id), ["4", "2"]);
  assert.deepEqual((await call("POST", `${list}/replay`, { ids: ["5", "9"] })).body, {
    replayed: 1,
  });
  assert.deepEqual((await call("POST", `${list}/discard`, { ids: ["4", "3", "3"] })).body, {
    discarded: 2,
  });
  assert.equal((await call("POST", `${list}/discard`, { ids: [] })).status, 400);
});

Deno.test("health is told to anyone, without a version; not ready is 503", async () => {
  await using harness = await HttpHarness.start();
  assert.equal((await harness.send("GET", "/livez")).status, 200);
  const ready = await harness.send("GET", "/readyz");
  assert.deepEqual([ready.status, await ready.json()], [200, { status: "ready" }]);
  harness.notReady.push("log");
  const not = await harness.send("GET", "/readyz");
  assert.equal(not.status, 503);
  assert.match((await not.json()).detail, /log/);
  const metrics = await harness.send("GET", "/metrics");
  assert.match(metrics.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
  assert.equal(await metrics.text(), "roost_accepted_total 1\n");
});
