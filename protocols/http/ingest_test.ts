import assert from "node:assert/strict";
import { partitionOf } from "../../runtime/actor/address.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { basic, HttpHarness, SECRET } from "../../test/support/http_harness.ts";
import { parseIngestPath } from "./ingest_path.ts";

const PATH = "/ingest/v1/pump/p-1/properties";
const AUTH = basic("pump/p-1", SECRET);
const MODEL = {
  properties: [{
    identifier: "t",
    accessMode: "r",
    dataType: { type: "double", specs: { min: -40, max: 125 } },
  }],
};

Deno.test("a post is answered 202 only once it is durable", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  harness.ingress.isAutomatic = false;
  let answer: Response | undefined;
  const sent = harness.send("POST", PATH, { headers: AUTH, json: { t: 21.5, on: true } })
    .then((response) => answer = response);
  await harness.clock.settle();
  assert.equal(harness.ingress.messages.length, 1, "it is offered");
  assert.equal(answer, undefined, "and not acknowledged yet");
  harness.ingress.settle();
  await sent;
  assert.equal(answer!.status, 202);
  assert.deepEqual(await answer!.json(), { accepted: 2 });
  assert.deepEqual(harness.ingress.messages[0], {
    append: 1,
    to: "device/pump/p-1",
    body: { type: "properties", samples: [{ values: { t: 21.5, on: true } }] },
  });
});

Deno.test("posts in one append are answered together, later ones wait for theirs", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  harness.ingress.isAutomatic = false;
  const answered: number[] = [];
  const post = (n: number) =>
    harness.send("POST", PATH, { headers: AUTH, json: { n } }).then(() => answered.push(n));
  const first = [post(1), post(2)];
  await harness.clock.settle();
  const append = harness.ingress.seal();
  const last = post(3);
  await harness.clock.settle();
  harness.ingress.settle(append);
  await Promise.all(first);
  assert.deepEqual(answered, [1, 2]);
  harness.ingress.settle();
  await last;
  assert.deepEqual(answered, [1, 2, 3]);
});

Deno.test("events are appended with their name, and names may be escaped", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const path = "/ingest/v1/pump/p-1/events/too%3Ahot";
  const answer = await harness.send("POST", path, { headers: AUTH, json: { celsius: 131 } });
  assert.equal(answer.status, 202);
  const { body } = harness.ingress.messages[0]!;
  assert.deepEqual(body, { type: "event", event: "too:hot", data: { celsius: 131 } });
});

Deno.test("points off the model are refused with path and bound, the rest is kept", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision(MODEL);
  const json = [{ t: 20 }, { at: harness.clock.nowMs(), values: { t: 130 } }, { u: 1 }];
  const answer = await harness.send("POST", PATH, { headers: AUTH, json });
  assert.equal(answer.status, 207);
  const { accepted, refused } = await answer.json();
  assert.equal(accepted, 1);
  assert.deepEqual(
    refused.map((issue: { path: string; rule: string }) => [issue.path, issue.rule]),
    [["1.values.t", "max"], ["2.u", "unknown"]],
  );
  assert.match(refused[0].message, /125/);
  const none = await harness.send("POST", PATH, { headers: AUTH, json: { t: 130 } });
  assert.equal(none.status, 400, "nothing is left to keep");
  assert.equal((await none.json()).errors[0].path, "t");
  assert.equal(harness.ingress.messages.length, 1);
  assert.deepEqual(harness.refused, { point_max: 1, point_unknown: 1, off_model: 1 });
});

Deno.test("bad bodies are refused by reason and never offered", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const deep = "[".repeat(40_000) + "]".repeat(20_000);
  const bad: Record<string, [BodyInit, number]> = {
    "not JSON": ["{", 400],
    "empty": ["", 400],
    "NaN": ['{"t":NaN}', 400],
    "beyond a double": ['{"t":1e999}', 400],
    "a lone surrogate": ['{"t":"\\ud800"}', 400],
    "__proto__": ['{"__proto__":{"a":1}}', 400],
    "broken UTF-8": [new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 400],
    "deep": [deep, 400],
    "deep and closed": [`{"a":${"[".repeat(40)}${"]".repeat(40)}}`, 400],
    "nothing": ["{}", 400],
    "text": ['"x"', 400],
    "far ahead": [`{"at":${harness.clock.nowMs() + 1e12},"values":{"t":1}}`, 400],
    "too large": [`{"t":"${"x".repeat(LIMITS.payloadBytesMax)}"}`, 413],
  };
  for (const [name, [body, status]] of Object.entries(bad)) {
    const answer = await harness.send("POST", PATH, { headers: AUTH, body });
    const text = await answer.text();
    assert.equal(answer.status, status, `${name}: ${text.slice(0, 200)}`);
    assert.equal(answer.headers.get("content-type"), "application/problem+json");
  }
  assert.equal(harness.ingress.messages.length, 0);
  const counted = Object.values(harness.refused).reduce((sum, count) => sum + count, 0);
  assert.equal(counted, Object.keys(bad).length, "each is counted once");
});

Deno.test("an announced length over the bound is refused unread", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  let pulls = 0;
  const body = new ReadableStream({ pull: () => void pulls++ }, { highWaterMark: 0 });
  const headers = { ...AUTH, "content-length": String(LIMITS.payloadBytesMax + 1) };
  const request = new Request(`http://localhost${PATH}`, { method: "POST", headers, body });
  const answer = await harness.app.fetch(request);
  assert.equal(answer.status, 413);
  assert.equal(pulls, 0);
});

Deno.test("a slow body is given up after its time, a late append says that it is unknown", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const body = new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode('{"t":')),
  });
  const slow = harness.send("POST", PATH, { headers: AUTH, body });
  harness.ingress.isAutomatic = false;
  await harness.clock.advance(1_000);
  const late = harness.send("POST", PATH, { headers: AUTH, json: { t: 1 } });
  await harness.clock.advance(LIMITS.acknowledgeMsMax - 1_000);
  const slowAnswer = await slow;
  assert.equal(slowAnswer.status, 408);
  await harness.clock.advance(1_000);
  const lateAnswer = await late;
  assert.equal(lateAnswer.status, 503);
  const problem = await lateAnswer.json();
  assert.equal(problem.type, "urn:roost:problem:not-acknowledged");
  assert.match(problem.detail, /may still be stored/);
  assert.ok(Number(lateAnswer.headers.get("retry-after")) >= 1);
  assert.equal(harness.app.figures().posts, 0, "nothing waits any more");
  assert.deepEqual(harness.refused, { body_timeout: 1 });
  harness.ingress.settle(); // Late: answered already, and harmless.
  await slowAnswer.body!.cancel();
});

Deno.test("a log that refuses or is full is 503 with Retry-After", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  harness.ingress.hasRoom = false;
  const full = await harness.send("POST", PATH, { headers: AUTH, json: { t: 1 } });
  harness.ingress.refusal = "disk_reserve";
  const refused = await harness.send("POST", PATH, { headers: AUTH, json: { t: 1 } });
  for (const answer of [full, refused]) {
    assert.equal(answer.status, 503);
    assert.equal((await answer.json()).type, "urn:roost:problem:overloaded");
    assert.ok(Number(answer.headers.get("retry-after")) >= 1);
  }
  const stranger = await harness.send("POST", PATH, { json: { t: 1 } });
  assert.equal(stranger.status, 401, "a stranger is not told");
  assert.deepEqual(harness.refused, { unauthorized: 1 }, "load is no refusal for good");
});

Deno.test("a revoked device is out at once, though its login was cached", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const post = async (headers = AUTH) => {
    const answer = await harness.send("POST", PATH, { headers, json: { t: 1 } });
    return [answer.status, answer.status === 202 ? undefined : (await answer.json()).type];
  };
  assert.deepEqual(await post(), [202, undefined]);
  await harness.devices.update("pump", "p-1", { enabled: false });
  assert.deepEqual(await post(), [401, "urn:roost:problem:device-disabled"]);
  await harness.devices.update("pump", "p-1", { enabled: true });
  assert.deepEqual(await post(), [202, undefined]);
  await harness.devices.rotateSecret("pump", "p-1", { secret: "secret-2" });
  assert.deepEqual(await post(), [401, "urn:roost:problem:unauthorized"]);
  assert.deepEqual(await post(basic("pump/p-1", "secret-2")), [202, undefined]);
  await harness.devices.delete("pump", "p-1");
  assert.deepEqual(await post(basic("pump/p-1", "secret-2")), [
    401,
    "urn:roost:problem:unauthorized",
  ]);
});

Deno.test("a body that ends after its device was revoked is not taken", async () => {
  for (const how of ["delete", "disable", "rotate"]) {
    await using harness = await HttpHarness.start();
    await harness.provision();
    let send!: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => void (send = controller),
    });
    const slow = harness.send("POST", PATH, { headers: AUTH, body });
    await harness.clock.settle();
    if (how === "delete") await harness.devices.delete("pump", "p-1");
    else if (how === "disable") await harness.devices.update("pump", "p-1", { enabled: false });
    else await harness.devices.rotateSecret("pump", "p-1", { secret: "secret-2" });
    await harness.clock.settle();
    send.enqueue(new TextEncoder().encode('{"t":1}'));
    send.close();
    const answer = await slow;
    assert.equal(answer.status, 401, how);
    await answer.body!.cancel();
    assert.deepEqual(harness.ingress.bodies("properties"), []);
  }
});

Deno.test("ten wrong secrets close an address for the rest of a minute, but not to the known", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  await harness.devices.create({ product: "pump", device: "p-2", secret: "secret-2" });
  const post = async (headers: Record<string, string>, path = PATH) =>
    (await harness.send("POST", path, { headers, json: { t: 1 } })).status;
  assert.equal(await post(AUTH), 202);
  for (let i = 0; i < 10; i++) assert.equal(await post(basic("pump/p-1", `wrong-${i}`)), 401);
  assert.equal(await post(basic("pump/p-1", "wrong")), 429);
  const fresh = () => post(basic("pump/p-2", "secret-2"), "/ingest/v1/pump/p-2/properties");
  assert.equal(await fresh(), 429, "nothing new is looked at");
  assert.equal(await post(AUTH), 202, "who was right before is served");
  await harness.clock.advance(60_000);
  assert.equal(await fresh(), 202);
});

Deno.test("a device that floods is held to its rate, others are not", async () => {
  await using harness = await HttpHarness.start({ postsPerSecondMax: 2 });
  await harness.provision();
  await harness.devices.create({ product: "pump", device: "p-2", secret: "secret-2" });
  const post = (headers: Record<string, string>, path: string) =>
    harness.send("POST", path, { headers, json: { t: 1 } });
  for (let i = 0; i < 4; i++) assert.equal((await post(AUTH, PATH)).status, 202);
  const refused = await post(AUTH, PATH);
  assert.equal(refused.status, 429);
  assert.deepEqual(rateOf(refused), ["4", "0", "2"]);
  assert.equal(refused.headers.get("retry-after"), "1");
  const other = await post(basic("pump/p-2", "secret-2"), "/ingest/v1/pump/p-2/properties");
  assert.equal(other.status, 202);
  await harness.clock.advance(500);
  assert.equal((await post(AUTH, PATH)).status, 202);
});

Deno.test("each answer to a device that is let in tells what is left of its rate", async () => {
  await using harness = await HttpHarness.start({ postsPerSecondMax: 4 });
  await harness.provision();
  const device = PATH.slice(0, PATH.lastIndexOf("/"));
  const send = (method: string, path: string, more: object = {}) =>
    harness.send(method, `${device}/${path}`, { headers: AUTH, ...more });
  const asked: [status: number, answer: () => Promise<Response>][] = [
    [202, () => send("POST", "properties", { json: { t: 1 } })],
    [400, () => send("POST", "properties", { body: "{" })],
    [200, () => send("GET", "downlinks")],
    [200, () => send("GET", "time")],
    [200, () => send("POST", "token")],
    [413, () => send("POST", "properties", { body: "x".repeat(LIMITS.payloadBytesMax + 1) })],
    [404, () => send("POST", "services/restart/nobody/reply", { json: { ok: true } })],
  ];
  for (const [index, [status, answer]] of asked.entries()) {
    const got = await answer();
    assert.equal(got.status, status);
    const used = index + 1;
    assert.deepEqual(rateOf(got), ["8", String(8 - used), String(Math.ceil(used / 4))]);
  }
  const stranger = await harness.send("POST", PATH, { json: { t: 1 } });
  assert.deepEqual(rateOf(stranger), [null, null, null], "it is not let in");
});

function rateOf({ headers }: Response): (string | null)[] {
  return ["limit", "remaining", "reset"].map((name) => headers.get(`ratelimit-${name}`));
}

Deno.test("paths of devices are taken whole or not at all", () => {
  const good = { kind: "properties", product: "p:1", device: "d.2" };
  assert.deepEqual(parseIngestPath("/ingest/v1/p:1/d.2/properties"), good);
  assert.deepEqual(parseIngestPath("/ingest/v1/p%3A1/d.2/properties"), good);
  assert.deepEqual(parseIngestPath("/ingest/v1/p/d/services/s/c%3A1/reply"), {
    kind: "reply",
    product: "p",
    device: "d",
    call: { service: "s", callId: "c:1" },
  });
  for (
    const bad of [
      "/ingest/v1/p/d/token/",
      "/ingest/v1/p/d/services/s/c",
      "/ingest/v1/p/d/services/s/c/replies",
      "/ingest/v1/p/d/services/s/c/reply/",
      "/ingest/v1/p/d/services//c/reply",
      "/ingest/v1/",
      "/ingest/v1/p/d",
      "/ingest/v1/p/d/",
      "/ingest/v1/p/d/properties/",
      "/ingest/v1/p/d/events",
      "/ingest/v1/p/d/events/",
      "/ingest/v1/p/d/events/e/f",
      "/ingest/v1/p/d/event/e",
      "/ingest/v1//d/properties",
      "/ingest/v1/p/%2f/properties",
      "/ingest/v1/p/%zz/properties",
      "/ingest/v1/__proto__/d/properties",
      `/ingest/v1/${"p".repeat(65)}/d/properties`,
    ]
  ) assert.equal(parseIngestPath(bad), undefined, bad);
});

Deno.test("a post to a stopped partition is told to come again, and others are taken", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const partitionOfDevice = (name: string) => partitionOf({ group: "things" }, `pump/${name}`);
  const partition = partitionOfDevice("p-1");
  const other = ["a", "b", "c"].find((name) => partitionOfDevice(name) !== partition)!;
  await harness.devices.create({ product: "pump", device: other, secret: SECRET });
  harness.stopped.replace([partition]);
  const answer = await harness.send("POST", PATH, { headers: AUTH, json: { t: 1 } });
  assert.equal(answer.status, 503);
  assert.equal(answer.headers.get("retry-after"), "10");
  const { type, detail } = await answer.json();
  assert.equal(type, "urn:roost:problem:partition-stopped");
  assert.match(detail, /damaged record/);
  assert.deepEqual(harness.refused, { partition_stopped: 1 });
  const path = `/ingest/v1/pump/${other}/properties`;
  const headers = basic(`pump/${other}`, SECRET);
  assert.equal((await harness.send("POST", path, { headers, json: { t: 1 } })).status, 202);
  assert.equal(harness.ingress.messages.length, 1);
  harness.stopped.replace([]);
  const again = await harness.send("POST", PATH, { headers: AUTH, json: { t: 1 } });
  assert.equal(again.status, 202);
});

Deno.test("a post of a suspended device is refused with 409 until it is resumed", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  harness.suspended.add("device/pump/p-1");
  const answer = await harness.send("POST", PATH, { headers: AUTH, json: { t: 1 } });
  assert.equal(answer.status, 409);
  assert.equal(answer.headers.get("retry-after"), null, "nothing to wait for");
  const { type, hint } = await answer.json();
  assert.equal(type, "urn:roost:problem:suspended");
  assert.match(hint, /Replay/);
  assert.deepEqual(harness.refused, { suspended: 1 });
  assert.equal(harness.ingress.messages.length, 0);
  harness.suspended.clear();
  const again = await harness.send("POST", PATH, { headers: AUTH, json: { t: 1 } });
  assert.equal(again.status, 202);
});
