/** Bounds of HTTP by address: a peer has a whole IPv6 network of them, and IPv4 has two spellings. */
import assert from "node:assert/strict";
import { basic, HttpHarness } from "../../test/support/http_harness.ts";

const INGEST = "/ingest/v1/pump/p-1/properties";
/** Peers of one network each, and one of another. */
const NETWORKS = [
  { of: (i: number) => `2001:db8:0:7::${(i + 1).toString(16)}`, other: "2001:db8:0:8::1" },
  { of: (i: number) => i % 2 === 0 ? "192.0.2.7" : "::ffff:192.0.2.7", other: "::ffff:192.0.2.8" },
] as const;

Deno.test("wrong secrets of devices are counted by network", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const post = async (remote: string) => {
    const headers = basic("pump/p-1", "wrong");
    return (await harness.send("POST", INGEST, { headers, json: { t: 1 }, remote })).status;
  };
  for (const { of, other } of NETWORKS) {
    for (let i = 0; i < 10; i++) assert.equal(await post(of(i)), 401);
    assert.equal(await post(of(11)), 429);
    assert.equal(await post(other), 401);
  }
});

Deno.test("wrong passwords of people are counted by network", async () => {
  await using harness = await HttpHarness.start();
  for (const { of, other } of NETWORKS) {
    const login = async (name: string, remote: string) => {
      const json = { name, password: "a wrong password" };
      return (await harness.send("POST", "/api/v1/session", { json, remote })).status;
    };
    for (let i = 0; i < 6; i++) assert.equal(await login(`n-${i}`, of(i)), 401);
    assert.equal(await login("n-7", of(7)), 429);
    assert.equal(await login("n-8", other), 401);
  }
});

Deno.test("strangers share the rate of their network", async () => {
  await using harness = await HttpHarness.start({ rate: { perSecond: 1, burst: 3 } });
  const get = async (remote: string) =>
    (await harness.send("GET", "/api/v1/devices", { remote })).status;
  for (const { of, other } of NETWORKS) {
    for (let i = 0; i < 3; i++) assert.equal(await get(of(i)), 401);
    assert.equal(await get(of(3)), 429);
    assert.equal(await get(other), 401);
  }
});
