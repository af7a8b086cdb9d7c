import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { basic, HttpHarness, SECRET, START_MS } from "../../test/support/http_harness.ts";

const DEVICE = "/api/v1/devices/pump/p-1";
const HOUR_MS = 3_600_000;

async function postStatus(harness: HttpHarness, secret: string): Promise<number> {
  const headers = basic("pump/p-1", secret);
  const path = "/ingest/v1/pump/p-1/properties";
  return (await harness.send("POST", path, { headers, json: { t: 1 } })).status;
}

Deno.test("a device posts by both secrets during an overlap, then by the new one only", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const headers = await harness.login("operator");
  assert.equal(await postStatus(harness, SECRET), 202);
  const json = { overlapMs: HOUR_MS };
  const answer = await harness.send("POST", `${DEVICE}/credentials/rotate`, { headers, json });
  const rotated = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(rotated));
  assert.equal(rotated.previousEndsAt, START_MS + HOUR_MS);
  assert.equal(await postStatus(harness, rotated.secret), 202);
  assert.equal(await postStatus(harness, SECRET), 202);
  const list = await harness.send("GET", `${DEVICE}/credentials`, { headers });
  const text = await list.text();
  assert.deepEqual(JSON.parse(text).items, [
    { kind: "secret", createdAt: START_MS, endsAt: null, isReadable: false },
    { kind: "secret", createdAt: START_MS, endsAt: START_MS + HOUR_MS, isReadable: false },
  ]);
  assert.ok(!text.includes(rotated.secret) && !text.includes(SECRET));
  await harness.clock.advance(HOUR_MS);
  assert.equal(await postStatus(harness, SECRET), 401, "not by a login that is remembered either");
  assert.equal(await postStatus(harness, rotated.secret), 202);
});

Deno.test("an overlap is bounded, and what is not there has no credentials", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const headers = await harness.login("operator");
  for (const overlapMs of [-1, 0.5, LIMITS.secretOverlapMsMax + 1, "1h", null]) {
    const json = { overlapMs };
    const answer = await harness.send("POST", `${DEVICE}/credentials/rotate`, { headers, json });
    assert.equal(answer.status, 400, String(overlapMs));
    assert.equal((await answer.json()).errors[0].path, "overlapMs");
  }
  assert.equal(await postStatus(harness, SECRET), 202, "nothing was rotated");
  const missing = await harness.send("GET", "/api/v1/devices/pump/p-9/credentials", { headers });
  assert.equal(missing.status, 404);
});

Deno.test("a product's retention is set, checked and given back to the node", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const headers = await harness.login("operator");
  const patch = async (retentionDays: unknown) => {
    const json = { retentionDays };
    const answer = await harness.send("PATCH", "/api/v1/products/pump", { headers, json });
    return { status: answer.status, body: await answer.json() };
  };
  assert.equal((await patch(90)).body.retentionDays, 90);
  for (const wrong of [0, -1, 1.5, 36_501, "90"]) assert.equal((await patch(wrong)).status, 400);
  assert.equal((await patch(null)).body.retentionDays, null);
});

Deno.test("a product's credentials are set, checked and put back to their default", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const headers = await harness.login("operator");
  const patch = async (credentials: unknown) => {
    const json = { credentials };
    const answer = await harness.send("PATCH", "/api/v1/products/pump", { headers, json });
    return { status: answer.status, body: await answer.json() };
  };
  assert.deepEqual((await patch(["secret", "signed"])).body.credentials, ["secret", "signed"]);
  for (const wrong of [[], ["password"], "secret", ["secret", "secret"]]) {
    assert.equal((await patch(wrong)).status, 400, JSON.stringify(wrong));
  }
  assert.deepEqual((await patch(null)).body.credentials, ["secret"]);
});
