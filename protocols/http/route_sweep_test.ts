/** Rules of the API that hold for each route alike, whatever it does. */
import assert from "node:assert/strict";
import { UnavailableError } from "../../runtime/errors.ts";
import { basic, deadLetter, HttpHarness, ORIGIN, SECRET } from "../../test/support/http_harness.ts";
import { requestOf } from "../../test/support/http_requests.ts";
import { createHttpApp } from "./http_app.ts";
import type { Route } from "./route.ts";

type Headers = Record<string, string>;

const NO_RATE = { rate: { perSecond: 1e9, burst: 1e9 } };
const DEVICE = "/api/v1/devices/pump/p-1";
/** Writes without a resource that others change: no entity tag. Jobs change by themselves only. */
const TAGLESS = new Set([
  "PUT /api/v1/groups/{id}/devices/{product}/{device}",
  "PATCH /api/v1/session/password",
  "POST /api/v1/devices/{product}/{device}/services/{service}",
  "POST /api/v1/jobs/telemetry-export",
  "POST /api/v1/jobs/telemetry-import",
  "POST /api/v1/jobs/device-import",
  "POST /api/v1/master-keys/rotate",
  "POST /api/v1/jobs/rebuild-views",
  "POST /api/v1/cluster/tree/kill",
  "POST /api/v1/cluster/dead-letters/replay",
  "POST /api/v1/cluster/dead-letters/discard",
  "POST /api/v1/cluster/partitions/{partition}/skip-damage",
]);
/** Creations whose resource the caller may not read. */
const UNLOCATED = new Set(["POST /api/v1/projects/{id}/owners"]);
/** Sessions, calls, jobs and members of groups have no versions: they are there, or not. */
const UNCONDITIONAL = new Set([
  "DELETE /api/v1/session",
  "DELETE /api/v1/sessions/{id}",
  "PUT /api/v1/groups/{id}/devices/{product}/{device}",
  "DELETE /api/v1/groups/{id}/devices/{product}/{device}",
  "DELETE /api/v1/devices/{product}/{device}/calls/{callId}",
  "DELETE /api/v1/jobs/{id}",
]);

interface Fixture {
  readonly harness: HttpHarness;
  readonly owner: Headers;
  /** What stands in paths: things that are there, by kind of the route's resource. */
  readonly there: (route: Route) => Record<string, string>;
}

async function opened(overrides = {}): Promise<Fixture> {
  const harness = await HttpHarness.start({ ...NO_RATE, ...overrides });
  await harness.provision({ properties: [], events: [], services: [] });
  await harness.products.update("pump", { mode: "open" });
  for (let id = 1; id <= 3; id++) harness.letters.push(deadLetter(id));
  const owner = await harness.login("owner");
  await harness.projects.create({ id: "plant" });
  const user = await harness.users.create({
    name: "ann",
    role: "viewer",
    password: "a long password",
  });
  const creator = { project: "default", id: "u" };
  const key = await harness.keys.create({ name: "k", scopes: ["devices:read"] }, creator);
  const group = await harness.groups.create("default", { name: "hall" });
  assert.ok(user.ok && group.ok && key.ok);
  const ids: Record<string, string> = {
    projects: "plant",
    users: user.value.id,
    keys: key.value.apiKey.id,
    groups: group.value.id,
  };
  const there = ({ path }: Route) => {
    const id = ids[path.split("/")[3]!] ?? "x1";
    return { product: "pump", device: "p-1", id };
  };
  return { harness, owner, there };
}

/** Routes of the API for callers, but for the feed, whose answer does not end. */
function callerRoutes({ app }: HttpHarness): Route[] {
  return app.routes.filter(({ policy, name }) =>
    policy.type === "caller" && name !== "GET /api/v1/live"
  );
}

function assertRated(answer: Response, what: string): void {
  for (const name of ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]) {
    assert.match(answer.headers.get(name) ?? "", /^\d+$/, `${what}: ${name}`);
  }
}

async function problemOf(answer: Response, what: string) {
  assert.equal(answer.headers.get("content-type"), "application/problem+json", what);
  const problem = await answer.json();
  assert.equal(problem.status, answer.status, what);
  assert.match(problem.type, /^urn:roost:problem:[a-z-]+$/, what);
  assert.ok(problem.title && problem.detail && problem.instance, what);
  if (answer.status === 400) {
    assert.ok(problem.errors.length > 0, what);
    for (const error of problem.errors) {
      assert.ok(typeof error.path === "string" && error.rule && error.message, what);
    }
  }
  return problem;
}

Deno.test("each write answers the new state with a strong entity tag, each creation where it is", async () => {
  const { harness, owner, there } = await opened();
  await using _ = harness;
  for (const route of callerRoutes(harness)) {
    if (route.method === "get" || route.method === "delete") continue;
    const request = requestOf(route, there(route));
    const { method, path } = request;
    const json = route.name === "POST /api/v1/products" ? { key: "fresh" } : request.json;
    const answer = await harness.send(method, path, { headers: owner, json });
    const text = await answer.text();
    if (TAGLESS.has(route.name)) {
      assert.equal(answer.headers.get("etag"), null, route.name);
      continue;
    }
    assert.ok(answer.ok, `${route.name}: ${answer.status} ${text}`);
    assert.match(answer.headers.get("etag") ?? "", /^"[\w-]+"$/, route.name);
    assert.equal(typeof JSON.parse(text), "object", route.name);
    const location = answer.headers.get("location");
    if (answer.status !== 201 || UNLOCATED.has(route.name)) continue;
    const found = await harness.send("GET", location!, { headers: owner });
    assert.equal(found.status, 200, `${route.name} → ${location}`);
    assert.equal(found.headers.get("etag"), answer.headers.get("etag"), route.name);
    await found.body?.cancel();
  }
});

Deno.test("each write but creations honours If-Match, and says so", async () => {
  const { harness, owner, there } = await opened();
  await using _ = harness;
  const document = await (await harness.send("GET", "/openapi.json")).json();
  for (const route of callerRoutes(harness)) {
    const { method, path, json } = requestOf(route, there(route));
    const isCreation = route.method === "post" && !route.path.endsWith("/rotate");
    const isExempt = TAGLESS.has(route.name) || UNCONDITIONAL.has(route.name);
    const isWanted = route.method !== "get" && !isCreation && !isExempt;
    assert.equal(route.isConditional, isWanted, route.name);
    const { parameters = [], responses } = document.paths[route.path][route.method];
    const isSaid = parameters.some(({ name }: { name: string }) => name === "If-Match");
    assert.equal(isSaid, isWanted, route.name);
    if (!isWanted) continue;
    assert.ok(responses[412], route.name);
    for (const tag of ['"x"', 'W/"x"', "x", '"x", "y"']) {
      const headers = { ...owner, "if-match": tag };
      const answer = await harness.send(method, path, { headers, json });
      assert.equal(answer.status, 412, `${route.name} ${tag}`);
      assert.match(answer.headers.get("etag") ?? "", /^"[\w-]+"$/, `${route.name} tells the tag`);
      await problemOf(answer, route.name);
    }
  }
  // Nothing was changed by any of them; the present tag is taken, in a list too.
  for (const path of [DEVICE, "/api/v1/products/pump", `${DEVICE}/shadow`]) {
    const etag = (await harness.send("GET", path, { headers: owner })).headers.get("etag")!;
    const json = path.endsWith("/shadow") ? { desired: {} } : {};
    const headers = { ...owner, "if-match": `"x", ${etag}` };
    assert.equal((await harness.send("PATCH", path, { headers, json })).status, 200, path);
  }
});

Deno.test("a deletion twice is 204 twice, whatever it is of", async () => {
  const { harness, owner, there } = await opened();
  await using _ = harness;
  const deletions = callerRoutes(harness).filter(({ method }) => method === "delete")
    .filter(({ name }) => name !== "DELETE /api/v1/session")
    // A product goes after its devices.
    .sort((one, other) => other.path.length - one.path.length);
  assert.ok(deletions.length >= 6);
  for (const route of deletions) {
    const { method, path } = requestOf(route, there(route));
    for (let i = 0; i < 2; i++) {
      const answer = await harness.send(method, path, { headers: owner });
      assert.equal(answer.status, 204, `${route.name}: ${await answer.text()}`);
    }
  }
});

Deno.test("PUT under the client's own id creates, replaces, and can be kept to either", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  const put = async (path: string, json: unknown, headers: Headers = {}) => {
    const answer = await harness.send("PUT", path, { headers: { ...owner, ...headers }, json });
    return { status: answer.status, etag: answer.headers.get("etag"), body: await answer.json() };
  };
  const path = "/api/v1/devices/pump/new";
  assert.equal((await put(path, {}, { "if-match": "*" })).status, 412, "it is not there");
  const made = await put(path, { name: "New", tags: ["a"] }, { "if-none-match": "*" });
  assert.deepEqual([made.status, typeof made.body.secret, made.body.name], [201, "string", "New"]);
  assert.equal((await put(path, {}, { "if-none-match": "*" })).status, 412, "it is there");
  const replaced = await put(path, { enabled: false }, { "if-match": made.etag! });
  assert.equal(replaced.status, 200);
  const { name, tags, enabled, secret } = replaced.body;
  assert.deepEqual([name, tags, enabled, secret], ["", [], false, undefined]);
  assert.equal(
    harness.ports.directory.login("pump", "new", made.body.secret).ok,
    false,
    "disabled",
  );
  await put(path, {});
  assert.ok(harness.ports.directory.login("pump", "new", made.body.secret).ok, "its secret stays");
  assert.equal((await put("/api/v1/devices/none/new", {})).status, 404);
  assert.equal((await put(path, { secret: "of its own" })).status, 400);
});

Deno.test("each answer of a route tells the rate, and each refusal is a problem document", async () => {
  const { harness, owner, there } = await opened();
  await using _ = harness;
  const viewer = await harness.login("viewer");
  for (const route of callerRoutes(harness)) {
    const { method, path, json } = requestOf(route, there(route));
    const hasBody = route.bodyBytesMax !== undefined;
    const refused: Record<string, { headers: Headers; body?: string; status: number }> = {
      "a stranger": { headers: {}, status: 401 },
      ...(route.policy.type === "caller" && route.policy.role !== "viewer" &&
        { "too low a role": { headers: viewer, status: 403 } }),
      ...(hasBody && {
        "no JSON": { headers: { ...owner, "content-type": "text/plain" }, body: "{}", status: 415 },
        "broken JSON": {
          headers: { ...owner, "content-type": "application/json" },
          body: "{",
          status: 400,
        },
        "a long body": {
          headers: { ...owner, "content-type": "application/json", "content-length": "99999999" },
          body: "{}",
          status: 413,
        },
      }),
      "an unknown parameter": { headers: owner, status: 400 },
    };
    for (const [what, { headers, body, status }] of Object.entries(refused)) {
      const said = `${route.name}, ${what}`;
      const isQuery = what === "an unknown parameter";
      const url = isQuery ? `${path}${path.includes("?") ? "&" : "?"}surprise=1` : path;
      const sent = body === undefined
        ? { headers, json: method === "GET" ? undefined : json }
        : { headers, body };
      const answer = await harness.send(method, url, sent);
      assert.equal(answer.status, status, said);
      assertRated(answer, said);
      await problemOf(answer, said);
    }
  }
});

Deno.test("429 and 503 say when to come again, on every route", async () => {
  const { harness, owner, there } = await opened();
  await using _ = harness;
  using slow = createHttpApp({ ...harness.ports, rate: { perSecond: 0.1, burst: 0 } });
  const down = () => Promise.reject(new UnavailableError("database", "Cannot use the database"));
  const { ports } = harness;
  using broken = createHttpApp({ ...ports, keys: { ...ports.keys, find: down } });
  for (const route of harness.app.routes) {
    if (route.policy.type === "device") continue;
    const { method, path, json } = requestOf(route, there(route));
    const requestWith = (headers: Headers) =>
      new Request(`http://localhost${path.replace("{path}", "x")}`, {
        method,
        headers: { ...headers, "content-type": "application/json" },
        ...(method === "GET" || method === "DELETE" ? {} : { body: JSON.stringify(json) }),
      });
    const limited = await slow.fetch(requestWith(owner), ORIGIN);
    assert.equal(limited.status, 429, route.name);
    assert.equal(limited.headers.get("retry-after"), "10", route.name);
    assertRated(limited, route.name);
    await problemOf(limited, route.name);
    if (route.policy.type !== "caller") continue;
    const key = { authorization: `Bearer roost_${"A".repeat(43)}` };
    const unavailable = await broken.fetch(requestWith(key), ORIGIN);
    assert.equal(unavailable.status, 503, route.name);
    assert.match(unavailable.headers.get("retry-after") ?? "", /^[1-9]\d*$/, route.name);
    await problemOf(unavailable, route.name);
  }
});

Deno.test("what no route takes is told the rate, and bounded by it", async () => {
  await using harness = await HttpHarness.start({ rate: { perSecond: 0.1, burst: 4 } });
  const asked = [["PUT", "/api/v1/devices", 405], ["POST", "/api/v1/nothing", 404]] as const;
  for (const [method, path, status] of [...asked, ...asked]) {
    const answer = await harness.send(method, path);
    assert.equal(answer.status, status, path);
    assertRated(answer, path);
    assert.equal(answer.headers.get("allow"), status === 405 ? "POST, GET, HEAD" : null);
    await problemOf(answer, path);
  }
  const limited = await harness.send("PUT", "/api/v1/devices");
  assert.equal(limited.status, 429);
  assert.equal(limited.headers.get("retry-after"), "10");
  assertRated(limited, "a fifth");
  await problemOf(limited, "a fifth");
});

Deno.test("devices are told what callers are: parameters, rates, problems", async () => {
  await using harness = await HttpHarness.start({ postsPerSecondMax: 1 });
  await harness.provision();
  const headers = basic("pump/p-1", SECRET);
  const post = (query: string) =>
    harness.send("POST", `/ingest/v1/pump/p-1/properties${query}`, { headers, json: { t: 1 } });
  const unknown = await post("?surprise=1");
  assert.equal(unknown.status, 400);
  await problemOf(unknown, "ingest");
  assert.equal((await post("?")).status, 202, "nothing is asked");
  const limited = await post("");
  assert.equal(limited.status, 429);
  assert.ok(limited.headers.get("retry-after"));
  assertRated(limited, "ingest");
  await problemOf(limited, "ingest");
});

Deno.test("what is not there and what is another project's are one answer", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  await harness.projects.create({ id: "other" });
  await harness.products.create({ key: "secret", project: "other" });
  await harness.devices.create({ product: "secret", device: "s-1" });
  for (const route of callerRoutes(harness)) {
    if (
      !/\{product\}/.test(route.path) || route.method === "put" && route.path.endsWith("{product}")
    ) {
      continue; // Keys of products are unique in the installation: a creation has to tell.
    }
    const ask = async (product: string, device: string) => {
      const { method, path, json } = requestOf(route, { product, device });
      const answer = await harness.send(method, path, { headers: owner, json });
      const text = (await answer.text()).replaceAll(product, "P").replaceAll(device, "D");
      return [answer.status, text, answer.headers.get("etag")];
    };
    assert.deepEqual(await ask("secret", "s-1"), await ask("missing", "m-1"), route.name);
  }
});
