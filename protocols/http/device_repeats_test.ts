import assert from "node:assert/strict";
import { HTTP_LIMITS } from "../../runtime/http_limits.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { packHead } from "../../runtime/log/record.ts";
import { FakeIngress } from "../../test/support/fake_ingress.ts";
import { basic, HttpHarness, SECRET } from "../../test/support/http_harness.ts";
import { createManualClock } from "../../test/support/manual_clock.ts";
import { DeviceRepeats, keyedPostsRow, postNameOf } from "./device_repeats.ts";

const DEVICE = "/ingest/v1/pump/p-1";
const MODEL = {
  properties: [{
    identifier: "t",
    accessMode: "r",
    dataType: { type: "double", specs: { min: -40, max: 125 } },
  }],
};

function post(
  harness: HttpHarness,
  key: string,
  json: unknown,
  path = "properties",
): Promise<Response> {
  const headers = { ...basic("pump/p-1", SECRET), "idempotency-key": key };
  return harness.send("POST", `${DEVICE}/${path}`, { headers, json });
}

async function told(answer: Response): Promise<[number, string | null, unknown]> {
  return [answer.status, answer.headers.get("idempotent-replayed"), await answer.json()];
}

Deno.test("a post under a key is taken once, however often it comes", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  assert.deepEqual(await told(await post(harness, "a", { t: 1, u: 2 })), [202, null, {
    accepted: 2,
  }]);
  for (let i = 0; i < 3; i++) {
    const again = await post(harness, "a", { t: 1, u: 2 });
    assert.deepEqual(await told(again), [202, "true", { accepted: 2 }]);
  }
  assert.equal((await post(harness, "b", { t: 1, u: 2 })).status, 202);
  assert.equal((await post(harness, "e", { hot: true }, "events/heat")).status, 202);
  const event = await post(harness, "e", { hot: true }, "events/heat");
  assert.deepEqual(await told(event), [202, "true", { accepted: 1 }]);
  assert.deepEqual(harness.ingress.messages.map(({ body }) => body.type), [
    "properties",
    "properties",
    "event",
  ]);
});

Deno.test("a repeat that comes before the first is durable waits for it", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  harness.ingress.isAutomatic = false;
  let answered = 0;
  const sent = Array.from({ length: 3 }, async () => {
    const answer = await post(harness, "a", { t: 1 });
    answered++;
    return answer;
  });
  await harness.clock.settle();
  const late = post(harness, "a", { t: 1 });
  await harness.clock.settle();
  assert.equal(answered, 0);
  assert.equal(harness.ingress.messages.length, 1);
  harness.ingress.settle();
  const answers = await Promise.all([...sent, late]);
  const replayed = answers.map(({ headers }) => headers.get("idempotent-replayed"));
  assert.deepEqual(answers.map(({ status }) => status), [202, 202, 202, 202]);
  assert.deepEqual(replayed, [null, "true", "true", "true"]);
});

Deno.test("a key stands for one message, of one device", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  assert.equal((await post(harness, "a", { t: 1 })).status, 202);
  for (const [json, path] of [[{ t: 2 }, "properties"], [{ t: 1 }, "events/t"]] as const) {
    const [status, , problem] = await told(await post(harness, "a", json, path));
    assert.equal(status, 422);
    assert.equal((problem as { type: string }).type, "urn:roost:problem:idempotency-key-reused");
  }
  for (const bad of ["", "k".repeat(129), "\u00e4"]) {
    assert.equal((await post(harness, bad, { t: 1 })).status, 400, bad);
  }
  await harness.devices.create({ product: "pump", device: "p-2", secret: SECRET });
  const headers = { ...basic("pump/p-2", SECRET), "idempotency-key": "a" };
  const path = "/ingest/v1/pump/p-2/properties";
  const other = await harness.send("POST", path, { headers, json: { t: 1 } });
  assert.deepEqual(await told(other), [202, null, { accepted: 1 }]);
  assert.equal(harness.ingress.messages.length, 2);
});

Deno.test("what was refused may be sent again, a repeat is told of the same refused points", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision(MODEL);
  assert.equal((await post(harness, "a", { t: 130 })).status, 400);
  harness.ingress.hasRoom = false;
  assert.equal((await post(harness, "a", { t: 1 })).status, 503);
  harness.ingress.hasRoom = true;
  const at = harness.clock.nowMs() + LIMITS.aheadMsMax + 1_000;
  const json = [{ t: 1 }, { t: 130 }, { at, values: { t: 2 } }];
  const first = await told(await post(harness, "a", json));
  assert.deepEqual([first[0], first[1]], [207, null]);
  await harness.clock.advance(60_000); // The time would be accepted by now.
  assert.deepEqual(await told(await post(harness, "a", json)), [207, "true", first[2]]);
  assert.equal(harness.ingress.messages.length, 1);
});

Deno.test("a key is known for a day, and with a deleted device it goes", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  await post(harness, "a", { t: 1 });
  await harness.clock.advance(LIMITS.answersKeptMs - 1);
  assert.deepEqual((await told(await post(harness, "a", { t: 1 })))[1], "true");
  await harness.clock.advance(1);
  assert.deepEqual((await told(await post(harness, "a", { t: 1 })))[1], null);
  await harness.devices.delete("pump", "p-1");
  harness.ingress.rows.delete(keyedPostsRow("pump/p-1")); // As the node does.
  await harness.devices.create({ product: "pump", device: "p-1", secret: SECRET });
  assert.deepEqual((await told(await post(harness, "a", { t: 1 })))[1], null);
});

/** A device's posts straight into the log. */
class Place {
  readonly clock = createManualClock(1_700_000_000_000);
  repeats: DeviceRepeats;

  constructor(readonly ingress: FakeIngress) {
    const { clock } = this;
    const readRow = (key: string) => this.ingress.readRow(key);
    this.repeats = new DeviceRepeats({ clock, ingress, readRow });
  }

  /** Whether it was taken: nothing was known of its key. */
  async post(key: string): Promise<boolean> {
    const posts = await this.repeats.postsOf("pump/p-1");
    const name = postNameOf(key, "properties", new TextEncoder().encode(key));
    if (posts.find(name) !== undefined) return false;
    const body = new TextEncoder().encode(JSON.stringify({ type: "heard", key }));
    const head = packHead({ to: "device/pump/p-1", budget: 1 });
    const post = { ...name, atMs: this.clock.nowMs(), points: 1 };
    assert.ok(posts.offer({ partition: 0, head }, [body], post) !== undefined);
    return true;
  }
}

Deno.test("after a crash a key is known exactly where its message is", async () => {
  const keys = ["a", "b", "c", "d"];
  const ingress = new FakeIngress({ isAutomatic: false });
  ingress.isSealingEach = true;
  const place = new Place(ingress);
  for (const key of keys) assert.ok(await place.post(key));
  for (let append = 0; append <= keys.length; append++) {
    const found = ingress.crashedAt(append);
    const after = new Place(found);
    const has = found.messages.map(({ body }) => body.key);
    assert.deepEqual(has, keys.slice(0, append));
    for (const key of keys) assert.equal(await after.post(key), !has.includes(key), key);
    assert.equal(found.messages.length, keys.length);
  }
});

Deno.test("of a device the last keys are known, in a row that does not grow", async () => {
  const { keyedPostsMax } = HTTP_LIMITS;
  const ingress = new FakeIngress({ isAutomatic: true });
  const place = new Place(ingress);
  for (let n = 0; n < keyedPostsMax + 3; n++) assert.ok(await place.post(`key ${n}`));
  const row = await ingress.readRow(keyedPostsRow("pump/p-1"));
  assert.equal(row!.length, 1 + 44 * keyedPostsMax);
  const after = new Place(ingress);
  for (const each of [place, after]) {
    assert.equal(await each.post(`key ${keyedPostsMax + 2}`), false);
    assert.equal(await each.post("key 3"), false, "the oldest that is known");
  }
  assert.ok(await after.post("key 2"));
});

Deno.test("posts of many devices are forgotten in memory, and read again with what is on its way", async () => {
  const ingress = new FakeIngress({ isAutomatic: false });
  const place = new Place(ingress);
  assert.ok(await place.post("a"));
  place.repeats.forget("pump/p-1");
  let isTaken: boolean | undefined;
  const again = place.post("a").then((taken) => isTaken = taken);
  await place.clock.settle();
  assert.equal(isTaken, undefined, "it waits for what was offered");
  ingress.settle();
  await again;
  assert.equal(isTaken, false);
});
