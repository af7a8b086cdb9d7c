/** Bodies of devices and of the API that come compressed, or as CBOR. */
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { encode } from "cborg";
import fc from "fast-check";
import { LIMITS } from "../../runtime/limits.ts";
import { basic, HttpHarness, SECRET } from "../../test/support/http_harness.ts";
import { readSeed } from "../../test/support/seed.ts";
import { inflate } from "./body_coding.ts";
import { cborToJson } from "./cbor_body.ts";

const PATH = "/ingest/v1/pump/p-1/properties";
const AUTH = basic("pump/p-1", SECRET);
const GZIP = { ...AUTH, "content-encoding": "gzip" };
const CBOR = { ...AUTH, "content-type": "application/cbor" };

function gzip(text: string | Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(gzipSync(text));
}

function cbor(value: unknown): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(encode(value));
}

function chunked(bytes: Uint8Array<ArrayBuffer>, size: number): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.subarray(at, at += size));
    },
  });
}

Deno.test("a compressed body is what it was compressed from, announced or in pieces", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const text = JSON.stringify(Array.from({ length: 500 }, (_, i) => ({ t: i, on: i % 2 === 0 })));
  for (const coding of ["gzip", "x-gzip", "GZIP", " gzip "]) {
    const headers = { ...AUTH, "content-encoding": coding };
    for (const body of [gzip(text), chunked(gzip(text), 100)]) {
      const answer = await harness.send("POST", PATH, { headers, body });
      assert.equal(answer.status, 202, await answer.text());
    }
  }
  const bodies = harness.ingress.bodies("properties");
  assert.equal(bodies.length, 8);
  assert.deepEqual(bodies[0].samples[499], { values: { t: 499, on: false } });
  const plain = { ...AUTH, "content-encoding": "identity" };
  assert.equal((await harness.send("POST", PATH, { headers: plain, json: { t: 1 } })).status, 202);
});

Deno.test("a body that is small and inflates beyond the bound is 413, broken ones are 400", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const bomb = gzip(new Uint8Array(60 * 1024 * 1024).fill(0x20));
  assert.ok(bomb.length < LIMITS.payloadBytesMax);
  const sound = gzip('{"t":1}');
  const flipped = sound.slice();
  flipped[sound.length - 6]! ^= 1;
  const cases: Record<string, [Uint8Array<ArrayBuffer>, number]> = {
    "a bomb": [bomb, 413],
    "one byte over": [gzip(`{"t":"${"x".repeat(LIMITS.payloadBytesMax - 7)}"}`), 413],
    "many members": [new Uint8Array(Array(2_000).fill([...gzip(" ".repeat(200))]).flat()), 413],
    "cut off": [sound.slice(0, -3), 400],
    "a wrong checksum": [flipped, 400],
    "rubbish behind": [new Uint8Array([...sound, 1, 2, 3]), 400],
    "no gzip": [new Uint8Array([0x7b, 0x7d]), 400],
    "nothing": [new Uint8Array(), 400],
    "gzip of no JSON": [gzip("{"), 400],
    "gzip of gzip": [gzip(sound), 400],
  };
  for (const [what, [body, status]] of Object.entries(cases)) {
    const answer = await harness.send("POST", PATH, { headers: GZIP, body });
    assert.equal(answer.status, status, `${what}: ${await answer.text()}`);
  }
  assert.equal(harness.ingress.messages.length, 0);
  const counted = Object.values(harness.refused).reduce((sum, count) => sum + count, 0);
  assert.equal(counted, Object.keys(cases).length, "each is counted once");
  const fits = `{"t":"${"x".repeat(LIMITS.payloadBytesMax - 8)}"}`;
  const over = inflate(bomb, LIMITS.payloadBytesMax);
  assert.ok(!over.ok && over.code === "too-large", "not by what comes behind");
  const inflated = inflate(gzip(fits), LIMITS.payloadBytesMax);
  assert.ok(inflated.ok);
  assert.equal(new TextDecoder().decode(inflated.bytes), fits);
});

Deno.test("a content coding that is not taken is 415 and says which are, unread", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const key = await harness.key("products:write");
  for (
    const coding of ["br", "deflate", "zstd", "gzip, gzip", "compress", "\u00ff", "x".repeat(999)]
  ) {
    for (
      const [path, headers] of [[PATH, AUTH], ["/api/v1/products", key]] as const
    ) {
      let pulls = 0;
      const body = new ReadableStream({ pull: () => void pulls++ }, { highWaterMark: 0 });
      const sent = { ...headers, "content-encoding": coding, "content-type": "application/json" };
      const answer = await harness.send("POST", path, { headers: sent, body });
      assert.equal(answer.status, 415, coding);
      assert.equal(answer.headers.get("accept-encoding"), "gzip, identity");
      assert.equal(pulls, 0);
      assert.ok((await answer.text()).length < 1_000);
    }
  }
});

Deno.test("the API takes compressed bodies within the bound of each route", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const key = await harness.key("products:write", "devices:write");
  const headers = { ...key, "content-type": "application/json", "content-encoding": "gzip" };
  const post = async (body: BodyInit) => {
    const answer = await harness.send("POST", "/api/v1/devices", { headers, body });
    await answer.body?.cancel();
    return answer.status;
  };
  assert.equal(await post(gzip('{"product":"pump","device":"zipped"}')), 201);
  assert.equal(await post(gzip(" ".repeat(LIMITS.httpBodyBytesMax + 1))), 413);
  assert.equal(await post(gzip("{}").slice(0, -1)), 400);
  assert.equal((await harness.devices.get("pump", "zipped"))?.device, "zipped");
});

Deno.test("CBOR says what JSON says, on each route of a device", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const send = async (path: string, value: unknown, headers: Record<string, string> = CBOR) => {
    const body = cbor(value);
    return (await harness.send("POST", `/ingest/v1/pump/p-1/${path}`, { headers, body })).status;
  };
  const at = harness.clock.nowMs();
  const values = { t: 21.5, on: true, name: "né", bom: "\ufeffx", list: [1, [2]] };
  assert.equal(await send("properties", [{ at, values }]), 202);
  assert.equal(await send("events/hot", { celsius: 131 }), 202);
  const headers = { ...CBOR, "content-encoding": "gzip" };
  const body = gzip(cbor({ t: 1 }));
  assert.equal((await harness.send("POST", PATH, { headers, body })).status, 202);
  assert.deepEqual(harness.ingress.messages.map((message) => message.body), [
    { type: "properties", samples: [{ at, values }] },
    { type: "event", event: "hot", data: { celsius: 131 } },
    { type: "properties", samples: [{ values: { t: 1 } }] },
  ]);
});

Deno.test("CBOR that JSON cannot say, or that breaks its bounds, is refused", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const nested = (levels: number) => new Uint8Array([...Array(levels).fill(0x81), 0x01]);
  const text = new TextEncoder().encode("__proto__");
  const longKey = [0x79, 0x75, 0x30, ...Array(30_000).fill(0x61)];
  const cases: Record<string, Uint8Array<ArrayBuffer>> = {
    "nothing": new Uint8Array(),
    "JSON": new TextEncoder().encode('{"t":1}'),
    "cut off": cbor({ t: 1 }).slice(0, -1),
    "something behind": new Uint8Array([...cbor({ t: 1 }), 0]),
    "a byte string": cbor({ t: new Uint8Array([1]) }),
    "a tag": new Uint8Array([0xa1, 0x61, 0x74, 0xc0, 0x61, 0x78]),
    "undefined": new Uint8Array([0xa1, 0x61, 0x74, 0xf7]),
    "NaN": new Uint8Array([0xa1, 0x61, 0x74, 0xf9, 0x7e, 0x00]),
    "Infinity": new Uint8Array([0xa1, 0x61, 0x74, 0xf9, 0x7c, 0x00]),
    "beyond 2^53": cbor({ t: 2n ** 60n }),
    "a number as key": new Uint8Array([0xa1, 0x01, 0x02]),
    "a key twice": new Uint8Array([0xa2, 0x61, 0x74, 0x01, 0x61, 0x74, 0x02]),
    "__proto__": new Uint8Array([0xa1, 0x69, ...text, 0xa0]),
    "a break as a value": new Uint8Array([0xbf, 0x61, 0x74, 0xff, 0xff]),
    "a break alone": new Uint8Array([0xff]),
    "an array of 2^60": new Uint8Array([0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0, 1]),
    "a text of 2^50": new Uint8Array([0x7b, 0, 4, 0, 0, 0, 0, 0, 0, 0x61]),
    "broken UTF-8": new Uint8Array([0xa1, 0x61, 0x74, 0x62, 0xc3, 0x28]),
    "one broken byte": new Uint8Array([0xa1, 0x61, 0x74, 0x61, 0xff]),
    "deep": nested(33),
    "very deep": nested(60_000),
    "very deep maps": new Uint8Array(Array(20_000).fill([0xa1, 0x61, 0x74]).flat()),
    "deep without an end": new Uint8Array(Array(33).fill(0x9f)),
    "deep behind what has ended": new Uint8Array([0x83, 0x80, 0x9f, 0xff, ...nested(32)]),
    "a long key twice": new Uint8Array([0xa2, ...longKey, 0x01, ...longKey, 0x02]),
  };
  for (const [what, body] of Object.entries(cases)) {
    const answer = await harness.send("POST", PATH, { headers: CBOR, body });
    const said = await answer.text();
    assert.equal(answer.status, 400, `${what}: ${said}`);
    assert.ok(said.length < 1_000, what);
    assert.equal(said.includes("jsonDepthMax"), /deep/.test(what), `${what}: ${said}`);
  }
  assert.equal(harness.ingress.messages.length, 0);
  assert.equal(({} as { t?: unknown }).t, undefined);
  // One byte in CBOR, five as JSON.
  const grown = cbor(Array(LIMITS.payloadBytesMax - 100).fill(false));
  assert.equal((await harness.send("POST", PATH, { headers: CBOR, body: grown })).status, 413);
  assert.equal(cborToJson(nested(32)).ok, true, "as deep as JSON");
  const wide = new Uint8Array([
    0x98,
    99,
    ...Array(99).fill([0x9f, 0xa1, 0x61, 0x74, 0x80, 0xff]).flat(),
  ]);
  assert.equal(cborToJson(wide).ok, true, "what has ended is not depth");
});

Deno.test("any CBOR is read as its JSON or refused, never a fault", () => {
  const seed = readSeed();
  fc.assert(
    fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
      const read = cborToJson(encode(value));
      if (!read.ok) return assert.match(read.detail, /__proto__/);
      assert.deepEqual(JSON.parse(read.text), JSON.parse(JSON.stringify(value)));
    }),
    { seed, numRuns: 300 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      const read = cborToJson(bytes);
      if (read.ok) JSON.parse(read.text);
    }),
    { seed, numRuns: 2_000 },
  );
});
