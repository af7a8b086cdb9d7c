/**
 * Hostile texts wherever a request may hold one, on every route of the table: in paths, parameters,
 * fields and headers. No answer is a fault of ours, and none of the texts is a header, a query or a path.
 */
import assert from "node:assert/strict";
import {
  basic,
  deadLetter,
  HttpHarness,
  SECRET,
  START_MS,
} from "../../test/support/http_harness.ts";
import { requestOf, textOf } from "../../test/support/http_requests.ts";
import {
  NAUGHTY_ESCAPES,
  NAUGHTY_STRINGS,
  someNaughty,
} from "../../test/support/naughty_strings.ts";
import type { Route } from "./route.ts";

type Headers = Record<string, string>;

const NO_RATE = { rate: { perSecond: 1e9, burst: 1e9 }, postsPerSecondMax: 1e9 };
/** It would end the session that the others are asked with. */
const ENDS_SESSION = "DELETE /api/v1/session";
/** Each hashes passwords, which takes its time. */
const HASHES = /password|^POST \/api\/v1\/(?:session|users|projects)/;

async function opened(): Promise<{ harness: HttpHarness; owner: Headers }> {
  const harness = await HttpHarness.start(NO_RATE);
  await harness.provision();
  for (let id = 1; id <= 3; id++) harness.letters.push(deadLetter(id));
  return { harness, owner: await harness.login("owner") };
}

async function assertSound(answer: Response, said: string): Promise<string> {
  const text = await textOf(answer);
  assert.ok(answer.status < 500, `${said} → ${answer.status} ${text.slice(0, 300)}`);
  assert.equal(answer.headers.get("x-injected"), null, said);
  const type = answer.headers.get("content-type") ?? "";
  if (answer.status >= 400) assert.equal(type, "application/problem+json", said);
  else if (text !== "" && type.startsWith("text/html")) assert.ok(!text.includes("alert(1)"), said);
  assert.ok(text.length < 100_000 || answer.status < 400, `${said}: a refusal of ${text.length} B`);
  return text;
}

function assertNoFault(harness: HttpHarness): void {
  assert.deepEqual(harness.logged.filter((line) => line.includes("request failed")), []);
}

/** What is stored, by table: none of the requests may reach around it. */
function tablesOf(harness: HttpHarness): string[] {
  return harness.store.reader.prepareAll("select name from sqlite_master order by name")()
    .map(({ name }) => String(name));
}

function headersOf(route: Route, owner: Headers): Headers {
  return route.policy.type === "device" ? {} : owner;
}

Deno.test("hostile names in the path of any route are refused or not there", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  const tables = tablesOf(harness);
  const routes = harness.app.routes.filter(({ path }) => path.includes("{"));
  const escaped = NAUGHTY_STRINGS.map((text) => encodeURIComponent(text.toWellFormed()));
  for (const route of routes) {
    const { method, json } = requestOf(route);
    for (const piece of [...escaped, ...NAUGHTY_ESCAPES]) {
      const path = route.path.replaceAll(/\{\w+\}/g, piece);
      const said = `${method} ${path.slice(0, 200)}`;
      const answer = await harness.send(method, path, { headers: headersOf(route, owner), json });
      await assertSound(answer, said);
    }
  }
  assert.deepEqual(tablesOf(harness), tables);
  assert.equal((await harness.devices.get("pump", "p-1"))?.device, "p-1");
  assertNoFault(harness);
});

// deno-lint-ignore no-explicit-any -- a JSON document
async function documentOf(harness: HttpHarness): Promise<any> {
  return await (await harness.send("GET", "/openapi.json")).json();
}

Deno.test("hostile values of any parameter are refused or mean themselves", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  const tables = tablesOf(harness);
  const document = await documentOf(harness);
  let asked = 0;
  let turn = 0;
  for (const route of harness.app.routes) {
    if (route.name === ENDS_SESSION) continue;
    const { parameters = [] } = document.paths[route.path][route.method];
    const names: string[] = parameters.filter((each: { in: string }) => each.in === "query")
      .map((each: { name: string }) => each.name);
    const { method, path, json } = requestOf(route);
    for (const name of names) {
      for (const text of someNaughty(turn++)) {
        const url = new URL(`http://localhost${path}`);
        url.searchParams.set(name, text.toWellFormed());
        const target = url.pathname + url.search;
        const headers = headersOf(route, owner);
        await assertSound(
          await harness.send(method, target, { headers, json }),
          `${method} ${target.slice(0, 200)}`,
        );
        asked++;
      }
    }
  }
  assert.ok(asked > 2_000, "there are parameters");
  assert.deepEqual(tablesOf(harness), tables);
  assert.equal(await harness.ports.finder.count({}), 1, "no filter was a statement");
  assertNoFault(harness);
});

Deno.test("a list sorts by the fields it names, and by nothing else that a client writes", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  for (const path of ["devices", "products", "users", "keys", "projects"]) {
    for (
      const sort of ["secret_hash", "-password", "rowid", "1", "name,id", "name desc", "--name"]
    ) {
      const answer = await harness.send("GET", `/api/v1/${path}?sort=${encodeURIComponent(sort)}`, {
        headers: owner,
      });
      const { errors } = await answer.json();
      assert.deepEqual([answer.status, errors[0].path], [400, "query.sort"], `${path} ${sort}`);
    }
  }
});

Deno.test("forged cursors are refused or begin somewhere, on every list", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  for (let i = 0; i < 5; i++) await harness.devices.create({ product: "pump", device: `d-${i}` });
  const first = await harness.send("GET", "/api/v1/devices?limit=2", { headers: owner });
  const real: string = (await first.json()).nextCursor;
  const encoded = (value: unknown) =>
    btoa(JSON.stringify(value)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const forged = [real, real.slice(0, -1), real + "A", real.toUpperCase(), real.repeat(3)]
    .concat([encoded([]), encoded({}), encoded(null), encoded(["x"]), encoded([1, 2, 3, 4, 5])])
    .concat([encoded([["a"], { b: 1 }]), encoded(["' or 1=1--", "\u0000"]), encoded("__proto__")])
    .concat([encoded([1e308, -1e308]), encoded(["9".repeat(300), ""]), "AAAA", "=", "-", "%%%"]);
  const document = await documentOf(harness);
  const lists = harness.app.routes.filter(({ path, method }) =>
    document.paths[path][method].parameters?.some((each: { name: string }) =>
      each.name === "cursor"
    )
  );
  assert.ok(lists.length >= 6);
  for (const route of lists) {
    const { method, path } = requestOf(route);
    for (const cursor of [...forged, ...NAUGHTY_STRINGS.slice(0, 60)]) {
      const query = `cursor=${encodeURIComponent(cursor.toWellFormed())}`;
      const target = `${path}${path.includes("?") ? "&" : "?"}${query}`;
      const answer = await harness.send(method, target, { headers: owner });
      assert.ok([200, 400, 403, 404].includes(answer.status), `${target}: ${answer.status}`);
      await assertSound(answer, target);
    }
  }
  const other = await harness.send("GET", `/api/v1/devices?sort=-name&cursor=${real}`, {
    headers: owner,
  });
  assert.equal(other.status, 400, "a cursor goes on in its own order only");
  await other.body?.cancel();
  assertNoFault(harness);
});

/** The same document with one of its texts replaced, for each text in it. */
function* mutants(json: unknown, text: string): Generator<unknown> {
  if (typeof json === "string") yield text;
  else if (Array.isArray(json)) {
    for (const [i, item] of json.entries()) {
      for (const each of mutants(item, text)) yield json.with(i, each);
    }
  } else if (typeof json === "object" && json !== null) {
    for (const [key, value] of Object.entries(json)) {
      for (const each of mutants(value, text)) yield { ...json, [key]: each };
    }
  }
}

/** Texts of the answer are those that were sent under the same names. */
function assertSame(sent: object, told: Record<string, unknown>, said: string): void {
  for (const [name, text] of Object.entries(sent)) {
    if (typeof text !== "string" || typeof told[name] !== "string") continue;
    assert.equal(told[name], text, said);
    compared++;
  }
}
let compared = 0;

Deno.test("hostile texts in any field of a body are refused or come back as they are", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  const tables = tablesOf(harness);
  const document = await documentOf(harness);
  for (const [turn, route] of harness.app.routes.entries()) {
    if (route.name === ENDS_SESSION || route.policy.type === "device") continue;
    const content = document.paths[route.path][route.method].requestBody?.content;
    const example = content?.["application/json"]?.example;
    if (example === undefined) continue;
    const { method, path } = requestOf(route);
    const strings = HASHES.test(route.name) ? NAUGHTY_STRINGS.slice(0, 6) : someNaughty(turn);
    for (const text of strings) {
      for (const json of mutants(example, text)) {
        // Nobody would answer, and the clock stands still.
        const body = route.path.endsWith("/{service}") ? { expiresAt: 1, ...json as object } : json;
        const answer = await harness.send(method, path, { headers: owner, json: body });
        const said = `${method} ${path} ${JSON.stringify(json).slice(0, 200)}`;
        const told = await assertSound(answer, said);
        if (answer.ok && told !== "") assertSame(json as object, JSON.parse(told), said);
      }
    }
  }
  assert.deepEqual(tablesOf(harness), tables);
  assert.ok(compared > 500, `${compared} texts came back`);
  assertNoFault(harness);
});

Deno.test("hostile texts in what a device sends are refused, or kept as they are", async () => {
  const { harness } = await opened();
  await using _ = harness;
  const headers = basic("pump/p-1", SECRET);
  let kept = 0;
  for (const text of NAUGHTY_STRINGS.map((one) => one.toWellFormed())) {
    const piece = encodeURIComponent(text);
    const posts: readonly (readonly [path: string, json: unknown])[] = [
      ["properties", { [text]: text }],
      ["properties", { at: START_MS, values: { text } }],
      ["properties", text],
      [`events/${piece}`, { text }],
      ["events/hot", { [text]: text }],
      [`services/${piece}/${piece}/reply`, { ok: true, output: { text } }],
      [`services/restart/c1/reply`, { ok: false, error: text }],
    ];
    for (const [path, json] of posts) {
      const target = `/ingest/v1/pump/p-1/${path}`;
      const answer = await harness.send("POST", target, { headers, json });
      const said = `${target} ${JSON.stringify(json).slice(0, 200)}`;
      await assertSound(answer, said);
      if (answer.status !== 202 || json !== posts[1]![1]) continue;
      assert.equal(harness.ingress.messages.at(-1)!.body.samples[0].values.text, text, said);
      kept++;
    }
  }
  assert.ok(kept > 400, `${kept} were kept`);
  assertNoFault(harness);
});

Deno.test("hostile headers are refused or nothing, on every route", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  const names = ["authorization", "cookie", "if-match", "if-none-match", "idempotency-key"]
    .concat(["last-event-id", "accept-encoding", "content-type", "content-encoding", "accept"])
    .concat(["x-csrf-token", "content-length", "range", "origin", "host", "x-forwarded-for"]);
  const values = ["", "\u00ff", "x".repeat(20_000), "bytes=0-", "Basic !!!", "Bearer ", "\t", ","]
    .concat(['"', '"a", W/"b", ,', "gzip;q=9", "__proto__", "*", "1e9", "-1", "a=b; a=b; =;"]);
  for (const [turn, route] of harness.app.routes.entries()) {
    if (route.name === ENDS_SESSION) continue;
    const { method, path, json } = requestOf(route);
    for (const [index, name] of names.entries()) {
      // Each route has three of them, so that all together have each several times.
      for (const each of [0, 5, 10]) {
        const value = values[(turn + index + each) % values.length]!;
        // As a proxy of ours would: a length that is none never gets to the app.
        if (name === "content-length" && !/^\d+$/.test(value)) continue;
        const headers = { ...headersOf(route, owner), [name]: value };
        await assertSound(
          await harness.send(method, path, { headers, json }),
          `${route.name} ${name}: ${value.slice(0, 40)}`,
        );
      }
    }
  }
  assertNoFault(harness);
});

Deno.test("a cookie alone writes nothing, on any route, whoever sends it", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  const { cookie } = owner;
  const trace = () =>
    tablesOf(harness).filter((name) => !/^(?:audit|sqlite|sessions)/.test(name)).map((table) => {
      const isTable = harness.store.reader.prepareOne(
        "select count(*) n from sqlite_master where type = 'table' and name = ?",
      )(table)!.n;
      return isTable === 1
        ? JSON.stringify(harness.store.reader.prepareAll(`select * from "${table}"`)())
        : "";
    });
  const before = trace();
  const writes = harness.app.routes.filter(({ method, policy }) =>
    method !== "get" && policy.type === "caller"
  );
  assert.ok(writes.length > 20);
  const tokens = [undefined, "", "x", "undefined", "null", "0".repeat(43)];
  for (const route of writes) {
    const { method, path, json } = requestOf(route);
    for (const token of tokens) {
      const headers = { cookie: cookie!, ...(token !== undefined && { "x-csrf-token": token }) };
      const answer = await harness.send(method, path, { headers, json });
      const { type } = await answer.json();
      assert.deepEqual([answer.status, type], [403, "urn:roost:problem:csrf"], route.name);
    }
    const both = { ...owner, authorization: "Bearer roost_wrong" };
    const covered = await harness.send(method, path, { headers: both, json });
    assert.equal(covered.status, 401, `${route.name}: a wrong key is not covered up by a cookie`);
    await covered.body?.cancel();
  }
  assert.deepEqual(trace(), before);
});
