import assert from "node:assert/strict";
import fc from "fast-check";
import { LIMITS } from "../../runtime/limits.ts";
import { HttpHarness } from "../../test/support/http_harness.ts";
import { readSeed } from "../../test/support/seed.ts";

const DEVICES = "/api/v1/devices";
const NO_RATE = { rate: { perSecond: 1e9, burst: 1e9 } };

async function opened(): Promise<{ harness: HttpHarness; key: Record<string, string> }> {
  const harness = await HttpHarness.start(NO_RATE);
  await harness.provision();
  const scopes = ["devices:read", "devices:write", "products:write"];
  return { harness, key: await harness.key(...scopes) };
}

Deno.test("hostile JSON is refused with what is wrong, whatever route it is sent to", async () => {
  const { harness, key } = await opened();
  await using _ = harness;
  const nest = (levels: number) => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`;
  const device = '{"product":"pump","device":"x",';
  const bodies: Record<string, readonly [BodyInit, string]> = {
    "nothing": ["", "json"],
    "not JSON": ["{,}", "json"],
    "a byte order mark": ["\ufeff{}", "json"],
    "NaN": [`${device}"name":NaN}`, "json"],
    "beyond a double": [`${device}"x":1e999}`, "finite"],
    "deep": [nest(33), "depth"],
    "very deep": ["[".repeat(500_000), "depth"],
    "__proto__": [`${device}"__proto__":{"enabled":false}}`, "forbidden"],
    "__proto__ below": [`${device}"x":[{"__proto__":1}]}`, "forbidden"],
    "escaped __proto__": [`${device}"\\u005f_proto__":1}`, "forbidden"],
    "a lone surrogate": [`${device}"name":"\\udc00"}`, "unicode"],
    "a lone surrogate as a field": [`${device}"\\ud800":1}`, "unicode"],
    "broken UTF-8": [new Uint8Array([0x22, 0xc3, 0x28, 0x22]), "utf8"],
    "an unknown field": [`${device}"nmae":"x"}`, "unknown"],
    "a constructor": [`${device}"constructor":{"prototype":{"a":1}}}`, "unknown"],
    "a list": ["[]", "invalid_type"],
    "null": ["null", "invalid_type"],
    "another type": ['{"product":1,"device":"x"}', "invalid_type"],
    "a bad name": ['{"product":"pump","device":"a/b"}', "custom"],
    "control characters": [`${device}"name":"a\\u0000b"}`, "text"],
  };
  for (const [what, [body, rule]] of Object.entries(bodies)) {
    const headers = { ...key, "content-type": "application/json" };
    const answer = await harness.send("POST", DEVICES, { headers, body });
    const problem = await answer.json();
    assert.equal(answer.status, 400, `${what}: ${JSON.stringify(problem)}`);
    assert.equal(problem.type, "urn:roost:problem:invalid");
    assert.equal(problem.errors[0].rule, rule, `${what}: ${JSON.stringify(problem)}`);
  }
  assert.equal(await harness.devices.get("pump", "x"), undefined);
  assert.equal(({} as { enabled?: boolean }).enabled, undefined, "no prototype was touched");
});

Deno.test("each route refuses an unknown query parameter and, with a body, an unknown field", async () => {
  const { harness } = await opened();
  await using _ = harness;
  const headers = await harness.login("owner");
  for (const route of harness.app.routes) {
    if (route.policy.type === "device" || route.name === "DELETE /api/v1/session") continue;
    if (["GET /", "GET /{path}"].includes(route.name)) continue; // Addresses of the console's pages.
    const path = route.path.replace("{product}", "pump").replace("{device}", "p-1")
      .replace("{id}", "k1").replace("{partition}", "0")
      .replace("{service}", "restart").replace("{callId}", "c1");
    const method = route.method.toUpperCase();
    const isModel = route.name.startsWith("PUT") && route.path.endsWith("/model");
    const hasBody = route.bodyBytesMax !== undefined;
    const json = hasBody ? { surprise: 1 } : undefined;
    if (!isModel && hasBody) {
      const answer = await harness.send(method, path, { headers, json });
      const { errors } = await answer.json();
      assert.equal(answer.status, 400, route.name);
      const rules = errors.map((error: { path: string; rule: string }) => [error.path, error.rule]);
      assert.ok(rules.some(([at, rule]: string[]) => at === "surprise" && rule === "unknown"));
    }
    for (const query of ["?surprise=1", "?__proto__=1", "?constructor=1"]) {
      const answer = await harness.send(method, path + query, { headers, json: json && {} });
      assert.equal(answer.status, 400, route.name + query);
      assert.equal((await answer.json()).errors[0].rule, "unknown", route.name + query);
    }
  }
  const twice = await harness.send("GET", `${DEVICES}?limit=1&limit=2`, { headers });
  assert.equal((await twice.json()).errors[0].rule, "duplicate");
  for (const limit of ["0", "501", "-1", "1.5", "x", "", "0x10", "1e2", " 1", "9".repeat(400)]) {
    const answer = await harness.send("GET", `${DEVICES}?limit=${limit}`, { headers });
    assert.equal(answer.status, 400, limit);
  }
});

Deno.test("bodies are bounded in bytes and time, announced or not", async () => {
  const { harness, key } = await opened();
  await using _ = harness;
  const headers = { ...key, "content-type": "application/json" };
  const big = " ".repeat(LIMITS.httpBodyBytesMax + 1);
  assert.equal((await harness.send("POST", DEVICES, { headers, body: big })).status, 413);
  const announced = { ...headers, "content-length": String(LIMITS.httpBodyBytesMax + 1) };
  assert.equal(
    (await harness.send("POST", DEVICES, { headers: announced, body: "{}" })).status,
    413,
  );
  let isCancelled = false;
  const endless = new ReadableStream({
    pull: (controller) => controller.enqueue(new Uint8Array(65_536).fill(0x20)),
    cancel: () => void (isCancelled = true),
  });
  assert.equal((await harness.send("POST", DEVICES, { headers, body: endless })).status, 413);
  assert.ok(isCancelled, "the rest is not read");
  const slow = new ReadableStream({ start: (to) => to.enqueue(new TextEncoder().encode("{")) });
  const waiting = harness.send("POST", DEVICES, { headers, body: slow });
  await harness.clock.advance(LIMITS.httpBodyMs);
  assert.equal((await waiting).status, 408);
  const broken = new ReadableStream({ start: (to) => to.error(new Error("reset by peer")) });
  assert.equal((await harness.send("POST", DEVICES, { headers, body: broken })).status, 400);
  const login = { name: "x", password: "x".repeat(10_000) };
  assert.equal((await harness.send("POST", "/api/v1/session", { json: login })).status, 413);
  assert.equal(harness.app.figures().inFlight, 0);
});

Deno.test("what a form could send across sites is refused by its type", async () => {
  const { harness } = await opened();
  await using _ = harness;
  const { cookie } = await harness.login("owner");
  const types = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];
  const headers = await harness.login("operator");
  for (const type of [...types, "application/json; charset=latin1", ""]) {
    const sent = { ...headers, "content-type": type };
    const body = '{"key":"evil"}';
    const answer = await harness.send("POST", "/api/v1/products", { headers: sent, body });
    assert.equal(answer.status, 415, type);
    const forged = { cookie: cookie!, "content-type": type };
    const other = await harness.send("POST", "/api/v1/products", { headers: forged, body });
    assert.equal(other.status, 403, type);
  }
});

Deno.test("naughty texts come back as they were sent, or are refused", async () => {
  const { harness, key } = await opened();
  await using _ = harness;
  const seed = readSeed();
  const naughty = ["", "null", "undefined", "'; DROP TABLE devices;--", "<script>alert(1)</script>"]
    .concat(["%s%n%x", "../../etc/passwd", "Ω≈ç√∫", "田中さん", "👩‍👩‍👧‍👦", "\u202eabc", "ﷺ", "1e999"])
    .concat(["\u0000", "\u001b[31m", "a\nb", "\ud83d", "__proto__", "${7*7}", "﻿", "x".repeat(200)]);
  const path = `${DEVICES}/pump/p-1`;
  const check = async (name: string) => {
    const answer = await harness.send("PATCH", path, { headers: key, json: { name } });
    const body = await answer.json();
    if (answer.status === 200) {
      assert.equal(body.name, name);
      const read = await harness.send("GET", path, { headers: key });
      assert.equal((await read.json()).name, name);
    } else {
      assert.equal(answer.status, 400, JSON.stringify(name));
      // deno-lint-ignore no-control-regex -- they are what is refused
      assert.ok(name.length > 128 || !name.isWellFormed() || /[\u0000-\u001f\u007f]/.test(name));
    }
    const q = encodeURIComponent(name.toWellFormed());
    const found = await harness.send("GET", `${DEVICES}?q=${q}`, { headers: key });
    assert.ok(found.status === 200 || found.status === 400, `${found.status} for ${q}`);
    await found.body?.cancel();
  };
  for (const name of naughty) await check(name);
  await fc.assert(fc.asyncProperty(fc.string({ unit: "binary", maxLength: 40 }), check), {
    seed,
    numRuns: 60,
  });
});

Deno.test("names in paths are refused, never served by another route or a fault", async () => {
  const { harness, key } = await opened();
  await using _ = harness;
  for (
    const name of ["%00", "a%2Fb", "%2e%2e", "%E0%A4%A", "..%2f", "a b", "'", "%ff", "x".repeat(65)]
  ) {
    for (const suffix of ["", "/shadow", "/telemetry?keys=t", "/properties"]) {
      const path = `${DEVICES}/pump/${name}${suffix}`;
      const answer = await harness.send("GET", path, { headers: key });
      assert.ok(answer.status === 400 || answer.status === 404, `${path}: ${answer.status}`);
      assert.equal(answer.headers.get("content-type"), "application/problem+json");
      await answer.body?.cancel();
    }
  }
  assert.equal(harness.logged.filter((line) => line.includes("http request failed")).length, 0);
});

Deno.test("unknown paths are 404, known paths with another method 405 with Allow", async () => {
  await using harness = await HttpHarness.start();
  const unknown = await harness.send("GET", "/api/v1/secrets");
  assert.equal(unknown.status, 404);
  assert.equal((await unknown.json()).instance, "/api/v1/secrets");
  const other = await harness.send("PUT", "/api/v1/devices");
  assert.equal(other.status, 405);
  assert.equal(other.headers.get("allow"), "POST, GET, HEAD");
  assert.equal((await harness.send("HEAD", "/livez")).status, 200);
  const ingest = await harness.send("GET", "/ingest/v1/pump/p-1/properties");
  assert.equal(ingest.status, 405);
});

Deno.test("callers have a rate each, strangers one by address, and are told about it", async () => {
  await using harness = await HttpHarness.start({ rate: { perSecond: 1, burst: 3 } });
  const one = await harness.key("devices:read");
  const other = await harness.key("devices:read");
  const get = (headers = {}) => harness.send("GET", DEVICES, { headers });
  for (const remaining of ["2", "1", "0"]) {
    const answer = await get(one);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("ratelimit-limit"), "3");
    assert.equal(answer.headers.get("ratelimit-remaining"), remaining);
  }
  const refused = await get(one);
  assert.equal(refused.status, 429);
  assert.equal(refused.headers.get("retry-after"), "1");
  assert.equal((await get(other)).status, 200, "another caller has its own");
  for (let i = 0; i < 3; i++) assert.equal((await get()).status, 401);
  assert.equal((await get()).status, 429, "guessing is held back");
  await harness.clock.advance(1_000);
  assert.equal((await get(one)).status, 200);
  assert.equal((await get()).status, 401);
});

Deno.test("answers carry the headers that keep browsers safe", async () => {
  await using harness = await HttpHarness.start();
  for (const path of ["/", "/docs", "/api/v1/devices", "/nowhere"]) {
    const { headers } = await harness.send("GET", path);
    assert.equal(headers.get("x-content-type-options"), "nosniff", path);
    assert.equal(headers.get("x-frame-options"), "DENY", path);
    assert.match(headers.get("content-security-policy")!, /default-src 'none'/, path);
    assert.equal(headers.get("referrer-policy"), "no-referrer", path);
    assert.equal(headers.get("access-control-allow-origin"), null, path);
  }
});

Deno.test("a fault is logged once and told without its words", async () => {
  const peekState = () => Promise.reject(new Error("the secret is 42"));
  await using harness = await HttpHarness.start({ peekState });
  await harness.provision();
  const headers = await harness.key("devices:read");
  const answer = await harness.send("GET", `${DEVICES}/pump/p-1`, { headers });
  const text = await answer.text();
  assert.equal(answer.status, 500);
  assert.doesNotMatch(text, /42/);
  const logged = harness.logged.filter((line) => line.includes("http request failed"));
  assert.equal(logged.length, 1);
  assert.match(logged[0]!, /the secret is 42/);
  const id = answer.headers.get("x-request-id");
  assert.ok(id !== null && logged[0]!.includes(id), "the answer's id leads to its line");
});
