import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { HttpHarness } from "../../test/support/http_harness.ts";
import { takesGzip } from "./compression.ts";

Deno.test("gzip is taken where it is named, alone or among others, and not at weight 0", () => {
  const yes = ["gzip", "br, gzip", "deflate,gzip;q=0.5", "GZIP", "x-gzip", "gzip;q=1.0, *;q=0"];
  const no = [null, "", "br", "gzip;q=0", "gzip;q=0.000", "gzipped", "xgzip", "identity", "*;q=0"];
  for (const header of yes) assert.ok(takesGzip(header), header);
  for (const header of no) assert.ok(!takesGzip(header), String(header));
  assert.ok(!takesGzip(`${" ,".repeat(50_000)}gzip`), "a long one is not read to its end");
});

Deno.test("long answers are compressed for who takes it, short and other ones never", async () => {
  await using harness = await HttpHarness.start({ rate: { perSecond: 1e9, burst: 1e9 } });
  await harness.provision();
  for (let i = 0; i < 60; i++) {
    await harness.devices.create({ product: "pump", device: `d-${i}`, name: "né".repeat(30) });
  }
  const key = await harness.key("devices:read");
  const get = (path: string, encoding?: string) =>
    harness.send("GET", path, {
      headers: {
        ...key,
        ...(encoding === undefined ? undefined : { "accept-encoding": encoding }),
      },
    });
  const list = "/api/v1/devices?limit=60";
  const plain = await get(list);
  assert.equal(plain.headers.get("content-encoding"), null);
  const text = await plain.text();
  const zipped = await get(list, "br, gzip");
  assert.equal(zipped.headers.get("content-encoding"), "gzip");
  assert.equal(zipped.headers.get("vary"), "Accept-Encoding");
  assert.equal(zipped.headers.get("content-type"), "application/json");
  assert.equal(zipped.headers.get("ratelimit-limit"), plain.headers.get("ratelimit-limit"));
  const bytes = await zipped.bytes();
  assert.ok(bytes.length < text.length / 3, `${bytes.length} B of ${text.length}`);
  assert.equal(new TextDecoder().decode(gunzipSync(bytes)), text);

  const one = await get("/api/v1/devices/pump/p-1", "gzip");
  assert.equal(one.headers.get("content-encoding"), null, "short");
  assert.equal((await one.json()).device, "p-1");
  const page = await get("/docs", "gzip");
  assert.equal(page.headers.get("content-encoding"), null, "no JSON");
  await page.body?.cancel();
  const feed = await get("/api/v1/live?topics=devices", "gzip");
  assert.equal(feed.headers.get("content-encoding"), null, "a feed is not held back");
  await feed.body?.cancel();
});

Deno.test("an answer of many pieces is whole, and one that nobody reads to its end is given up", async () => {
  await using harness = await HttpHarness.start();
  const document = await (await harness.send("GET", "/openapi.json")).text();
  assert.ok(document.length > 65_536, "more than a piece");
  const asked = { headers: { "accept-encoding": "gzip" } };
  const zipped = await harness.send("GET", "/openapi.json", asked);
  assert.equal(zipped.headers.get("content-encoding"), "gzip");
  assert.equal(gunzipSync(await zipped.bytes()).toString("utf8"), document);
  const left = await harness.send("GET", "/openapi.json", asked);
  const reader = left.body!.getReader();
  await reader.read();
  await reader.cancel();
});

Deno.test("a compressed answer's entity tag is the state's", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision({ properties: properties(60) });
  const key = await harness.key("products:read");
  const path = "/api/v1/products/pump/model";
  const plain = await harness.send("GET", path, { headers: key });
  const zipped = await harness.send("GET", path, {
    headers: { ...key, "accept-encoding": "gzip" },
  });
  assert.equal(zipped.headers.get("content-encoding"), "gzip");
  assert.equal(zipped.headers.get("etag"), plain.headers.get("etag"));
  await plain.body?.cancel();
  await zipped.body?.cancel();
});

function properties(count: number) {
  return Array.from({ length: count }, (_, i) => {
    return { identifier: `p-${i}`, accessMode: "r", dataType: { type: "double", specs: {} } };
  });
}
