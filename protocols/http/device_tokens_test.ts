/** Tokens of devices: what they open, and when they end. */
import assert from "node:assert/strict";
import { createMasterKey } from "../../runtime/secret/master_key.ts";
import { seededRandom } from "../../runtime/random.ts";
import { basic, HttpHarness, SECRET, START_MS } from "../../test/support/http_harness.ts";

const DEVICE = "/ingest/v1/pump/p-1";
const AUTH = basic("pump/p-1", SECRET);

async function tokenOf(harness: HttpHarness, headers = AUTH, path = DEVICE): Promise<string> {
  const answer = await harness.send("POST", `${path}/token`, { headers });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("cache-control"), "no-store");
  const { token, expiresAt } = await answer.json();
  assert.equal(expiresAt, harness.clock.nowMs() + 3_600_000);
  return token;
}

function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}

async function post(harness: HttpHarness, token: string, path = DEVICE, remote?: string) {
  const init = { headers: bearer(token), json: { t: 1 } };
  const answer = await harness.send("POST", `${path}/properties`, {
    ...init,
    ...(remote && { remote }),
  });
  await answer.body?.cancel();
  return answer.status;
}

Deno.test("a token opens every route of its device, for an hour", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const token = await tokenOf(harness);
  const requests: [string, string, unknown, number][] = [
    ["POST", "properties", { t: 1 }, 202],
    ["POST", "events/hot", { celsius: 131 }, 202],
    ["POST", "services/restart/c1/reply", { ok: true }, 404],
    ["GET", "downlinks", undefined, 200],
    ["GET", "shadow", undefined, 200],
    ["GET", "time", undefined, 200],
  ];
  for (const [method, path, json, status] of requests) {
    const answer = await harness.send(method, `${DEVICE}/${path}`, {
      headers: bearer(token),
      json,
    });
    assert.equal(answer.status, status, `${path}: ${await answer.text()}`);
  }
  await harness.clock.advance(3_600_000 - 1);
  assert.equal(await post(harness, token), 202);
  await harness.clock.advance(1);
  assert.equal(await post(harness, token), 401, "though it was known a moment ago");
});

Deno.test("a token is had for the secret only, and is of one device", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  await harness.devices.create({ product: "pump", device: "p-2", secret: "secret-2" });
  const token = await tokenOf(harness);
  const again = await harness.send("POST", `${DEVICE}/token`, { headers: bearer(token) });
  assert.equal(again.status, 401, "who finds one would have it for ever");
  assert.equal(await post(harness, token, "/ingest/v1/pump/p-2"), 401);
  const owner = await harness.send("GET", "/api/v1/devices", { headers: bearer(token) });
  assert.equal(owner.status, 401, "it is no key of the API");
  const key = await harness.key("devices:read", "devices:write");
  const posted = await harness.send("POST", `${DEVICE}/properties`, { headers: key, json: {} });
  assert.equal(posted.status, 401, "nor is a key a token");
});

Deno.test("whatever is wrong with a token, the answer is that to a wrong secret", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const token = await tokenOf(harness);
  const [, end, key, mac] = token.split(".") as [string, string, string, string];
  const foreign = createMasterKey(seededRandom(99));
  const later = (parseInt(end, 36) + 3_600_000).toString(36);
  const wrong = ["", "x", "dt", "dt...", `dt.${later}.${key}.${mac}`, `dt.${end}.${key}.`]
    .concat([`dt.${end}.${foreign.id}.${mac}`, `dt.${end}.${key}.${mac}x`, token.toUpperCase()])
    .concat([`${token} `.repeat(2), `dt.${"z".repeat(500)}.${key}.${mac}`, "\u00ff".repeat(43)]);
  const refusal = async (path: string, headers: Record<string, string>, remote: string) => {
    const init = { headers, json: { t: 1 }, remote };
    const answer = await harness.send("POST", `${path}/properties`, init);
    const { instance: _, ...problem } = await answer.json();
    return [answer.status, answer.headers.get("www-authenticate"), problem];
  };
  const wanted = await refusal(DEVICE, basic("pump/p-1", "wrong"), "192.0.2.200");
  for (const [i, text] of wrong.entries()) {
    const remote = `192.0.2.${i + 10}`;
    assert.deepEqual(await refusal(DEVICE, bearer(text), remote), wanted, text);
  }
  const unknown = "/ingest/v1/pump/nobody";
  assert.deepEqual(await refusal(unknown, bearer(token), "192.0.2.201"), wanted);
});

Deno.test("a token ends with the secret, the device, and while it is disabled", async () => {
  for (const how of ["rotate", "delete", "disable", "remake"]) {
    await using harness = await HttpHarness.start();
    await harness.provision();
    const token = await tokenOf(harness);
    assert.equal(await post(harness, token), 202);
    if (how === "rotate") await harness.devices.rotateSecret("pump", "p-1", { secret: "secret-2" });
    else if (how === "disable") await harness.devices.update("pump", "p-1", { enabled: false });
    else await harness.devices.delete("pump", "p-1");
    if (how === "remake") { // With the same secret, at another time.
      await harness.store.db.deleteFrom("changes").execute();
      await harness.clock.advance(1);
      const row = { product: "pump", device: "p-1", secret: SECRET };
      assert.ok((await harness.devices.create(row)).ok);
    }
    assert.equal(await post(harness, token), 401, how);
    if (how !== "disable") continue;
    await harness.devices.update("pump", "p-1", { enabled: true });
    assert.equal(await post(harness, token), 202, "the secret is the same");
  }
});

Deno.test("while an old secret goes on, a token lasts no longer than it", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const before = await tokenOf(harness);
  const overlapMs = 600_000;
  await harness.devices.rotateSecret("pump", "p-1", { secret: "secret-2", overlapMs });
  assert.equal(await post(harness, before), 401, "it was made for the secret before");
  for (const secret of [SECRET, "secret-2"]) {
    const headers = basic("pump/p-1", secret);
    const answer = await harness.send("POST", `${DEVICE}/token`, { headers });
    const { token, expiresAt } = await answer.json();
    assert.equal(expiresAt, START_MS + overlapMs, secret);
    assert.equal(await post(harness, token), 202);
  }
  await harness.clock.advance(overlapMs);
  const old = await harness.send("POST", `${DEVICE}/token`, { headers: AUTH });
  assert.equal(old.status, 401);
  await old.body?.cancel();
  await tokenOf(harness, basic("pump/p-1", "secret-2"));
});

Deno.test("a product that allows no secrets any more allows no tokens", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const token = await tokenOf(harness);
  await harness.products.update("pump", { credentials: ["signed"] });
  assert.equal(await post(harness, token), 401);
});

Deno.test("a token outlives a restart and a new master key, while the old one is there", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const token = await tokenOf(harness);
  const { tokens } = harness.ports;
  assert.deepEqual(tokens.check("pump", "p-1", token), {
    ok: true,
    expiresAtMs: START_MS + 3_600_000,
  });
  const fresh = createMasterKey(seededRandom(5));
  const old = createMasterKey(seededRandom(7));
  assert.equal(harness.keyring.currentId, old.id, "the harness makes it of this seed");
  harness.keyring.replace([fresh, old]);
  assert.equal(tokens.check("pump", "p-1", token).ok, true);
  harness.keyring.replace([fresh]);
  assert.equal(tokens.check("pump", "p-1", token).ok, false);
});

Deno.test("wrong tokens close an address, ones that have ended do not", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const token = await tokenOf(harness);
  await harness.clock.advance(3_600_000);
  for (let i = 0; i < 20; i++) assert.equal(await post(harness, token), 401, "nobody is guessing");
  const fresh = await tokenOf(harness);
  for (let i = 0; i < 10; i++) assert.equal(await post(harness, `${token}x`), 401);
  assert.equal(await post(harness, fresh), 429);
  assert.equal(await post(harness, fresh, DEVICE, "198.51.100.7"), 202, "another address");
});
