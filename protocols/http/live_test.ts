import assert from "node:assert/strict";
import { EventReader } from "../../test/support/event_reader.ts";
import { HttpHarness, START_MS } from "../../test/support/http_harness.ts";
import { LIMITS } from "../../runtime/limits.ts";

const DEVICE = "device/pump/p-1";

async function prepared(): Promise<HttpHarness> {
  const harness = await HttpHarness.start({ rate: { perSecond: 1e6, burst: 1e6 } });
  await harness.provision();
  return harness;
}

function follow(
  harness: HttpHarness,
  topics: string,
  headers: Record<string, string>,
): Promise<Response> {
  return harness.send("GET", `/api/v1/live?topics=${encodeURIComponent(topics)}`, { headers });
}

async function open(
  harness: HttpHarness,
  topics: string,
  headers: Record<string, string>,
): Promise<EventReader> {
  const answer = await follow(harness, topics, headers);
  assert.equal(answer.status, 200, answer.status === 200 ? "" : await answer.text());
  assert.equal(answer.headers.get("content-type"), "text/event-stream");
  assert.equal(answer.headers.get("cache-control"), "no-store");
  return new EventReader(answer.body!);
}

function project(harness: HttpHarness, view: string, key: string, row: unknown): void {
  const body = JSON.stringify({ view, key, row, version: 1, at: START_MS });
  harness.log.append(0, [{ to: `device/${key}`, body }], "view", START_MS);
}

Deno.test("a feed says hello, then tells what a device sends, records and projects", async () => {
  await using harness = await prepared();
  await using feed = await open(harness, DEVICE, await harness.login("viewer"));
  assert.deepEqual(await feed.next(), {
    id: "7-0",
    event: "hello",
    data: { at: START_MS, topics: [DEVICE] },
  });
  const samples = [{ values: { t: 1 } }, { at: 5, values: { t: 2 } }];
  const body = JSON.stringify({ type: "properties", samples });
  harness.log.append(0, [{ to: DEVICE, body }], "ingress", START_MS + 3);
  assert.deepEqual(await feed.next(), {
    id: "7-1",
    event: "change",
    data: {
      topic: DEVICE,
      at: START_MS + 3,
      value: {
        type: "properties",
        samples: [{ at: START_MS + 3, values: { t: 1 } }, { at: 5, values: { t: 2 } }],
      },
    },
  });
  const event = { type: "event", body: { event: "hot", at: 9, data: { c: 131 } } };
  harness.log.append(0, [{ to: DEVICE, body: JSON.stringify(event) }], "record", START_MS);
  assert.deepEqual((await feed.nextOf("event")).data.value, {
    type: "event",
    event: "hot",
    at: 9,
    data: { c: 131 },
  });
  project(harness, "presence", "pump/p-1", { online: true, session: "x.1", atMs: 4 });
  assert.deepEqual((await feed.nextOf("presence")).data.value, {
    type: "presence",
    status: "online",
    lastSeenAt: 4,
  });
  const call = { callId: "c1", product: "pump", device: "p-1", status: "sent" };
  project(harness, "calls", "pump/p-1/c1", call);
  assert.deepEqual((await feed.nextOf("call")).data.value, { ...call, type: "call" });
  harness.hub.publish(DEVICE, { type: "shadow", version: 2, delta: { on: true } }, START_MS);
  assert.equal((await feed.nextOf("shadow")).data.value.version, 2);
});

Deno.test("bodies that nobody can read are passed over, the feed goes on", async () => {
  await using harness = await prepared();
  await using feed = await open(harness, `${DEVICE},devices`, await harness.login("viewer"));
  await feed.next();
  for (
    const body of ["", "not json", "null", "[]", '{"type":"properties"}', '{"view":"presence",']
  ) {
    harness.log.append(0, [{ to: DEVICE, body }], "ingress");
    harness.log.append(0, [{ to: DEVICE, body }], "record");
    harness.log.append(0, [{ to: DEVICE, body }], "view");
  }
  project(harness, "presence", "pump/p-1", { online: false, session: null, atMs: 4 });
  assert.equal((await feed.next())!.data.value.type, "presence");
});

Deno.test("a list follows presence, and what an operator does to devices", async () => {
  await using harness = await prepared();
  const headers = await harness.login("operator");
  await using feed = await open(harness, `devices,${DEVICE}`, headers);
  const device = { product: "pump", device: "p-1" };
  const nextOfList = async () => {
    for (;;) {
      const { data } = await feed.nextOf("change");
      if (data.topic === "devices") return data.value;
    }
  };
  project(harness, "presence", "pump/p-1", { online: true, session: "x.1", atMs: 4 });
  assert.deepEqual(await nextOfList(), { ...device, status: "online", lastSeenAt: 4 });
  harness.ingress.presence.set("pump/p-1", { online: true, session: "x.1", atMs: 4 });
  const path = "/api/v1/devices/pump/p-1";
  await harness.send("PATCH", path, { headers, json: { enabled: false } });
  assert.deepEqual(await nextOfList(), { ...device, status: "disabled", lastSeenAt: 4 });
  await harness.send("PATCH", path, { headers, json: { enabled: true } });
  assert.deepEqual(await nextOfList(), { ...device, status: "online", lastSeenAt: 4 });
  await harness.send("DELETE", path, { headers });
  assert.deepEqual(await nextOfList(), { ...device, status: "removed", lastSeenAt: null });
  harness.hub.publish(DEVICE, { type: "late" }, 1);
  project(harness, "presence", "pump/p-9", { online: true, session: "x.1", atMs: 4 });
  harness.hub.publish("devices@default", { last: true }, 1);
  assert.deepEqual(await nextOfList(), { last: true }, "nothing of a device that is not there");
});

Deno.test("the ledger is told at once, then when it has changed, twice a second at most", async () => {
  let accepted = 10;
  const ledger = () => {
    const terms = { processed: 10, pending: 0, deadLettered: 0, rolledBack: 0 };
    return Promise.resolve({ epoch: 1, total: { accepted, ...terms }, partitions: [] });
  };
  const base = await HttpHarness.start();
  const refused = { malformed: 0 };
  const cluster = { ...base.ports.cluster, ledger, refused: () => refused };
  await base[Symbol.asyncDispose]();
  await using harness = await HttpHarness.start({ cluster });
  await using feed = await open(
    harness,
    "ledger,deadLetters,tree",
    await harness.login("operator"),
  );
  const hello = await feed.next();
  assert.deepEqual(hello!.data.topics, ["ledger", "deadLetters", "tree"]);
  const first = [await feed.next(), await feed.next(), await feed.next()].map((one) => one!.data);
  assert.deepEqual(first.map(({ topic }) => topic).sort(), ["deadLetters", "ledger", "tree"]);
  assert.deepEqual(first.find(({ topic }) => topic === "ledger").value, {
    accepted: 10,
    processed: 10,
    pending: 0,
    deadLettered: 0,
    rolledBack: 0,
    refusedTotal: 0,
    rates: { acceptedPerSecond: 0, processedPerSecond: 0 },
  });
  await harness.clock.advance(1_000);
  for (let i = 0; i < 10; i++) {
    accepted += 100;
    await harness.clock.advance(50);
  }
  const second = await feed.next();
  assert.equal(second!.data.topic, "ledger");
  assert.equal(second!.data.value.accepted, accepted);
  assert.equal(second!.data.value.rates.acceptedPerSecond, 1_000);
  refused.malformed++;
  await harness.clock.advance(500);
  assert.equal((await feed.next())!.data.value.refusedTotal, 1);
});

Deno.test("topics that are none, too many or of no device are refused", async () => {
  await using harness = await prepared();
  const headers = await harness.login("viewer");
  const status = async (query: string) =>
    (await harness.send("GET", `/api/v1/live${query}`, { headers })).status;
  for (const query of ["", "?topics=", "?topics=x", "?topics=ledger,", "?topics=device/pump"]) {
    assert.equal(await status(query), 400, query);
  }
  assert.equal(await status("?topics=ledger&topics=tree"), 400);
  assert.equal(await status("?topics=ledger&since=1"), 400);
  const many = Array.from({ length: LIMITS.liveTopicsMax + 1 }, (_, i) => `device/pump/p-${i}`);
  assert.equal(await status(`?topics=${many.join()}`), 400);
  assert.equal(await status("?topics=device/pump/p-2"), 404);
  assert.equal(await status("?topics=ledger,device/other/p-1"), 404);
  const naughty = ["<script>alert(1)</script>", "../../etc/passwd", "device/pump/p-1\u0000", "%00"];
  for (const topic of naughty) {
    assert.equal(await status(`?topics=${encodeURIComponent(topic)}`), 400, topic);
  }
  assert.equal(harness.hub.feeds, 0);
});

Deno.test("each topic takes the role or scope of what it keeps up to date", async () => {
  await using harness = await prepared();
  const statusOf = async (topics: string, headers: Record<string, string>) => {
    const answer = await follow(harness, topics, headers);
    await answer.body!.cancel();
    return answer.status;
  };
  const viewer = await harness.login("viewer");
  assert.equal(await statusOf("ledger,tree,devices", viewer), 200);
  assert.equal(await statusOf("ledger,deadLetters", viewer), 403);
  assert.equal(await statusOf("deadLetters", await harness.login("operator")), 200);
  const devices = await harness.key("devices:read");
  assert.equal(await statusOf(`devices,${DEVICE}`, devices), 200);
  assert.equal(await statusOf(`${DEVICE},ledger`, devices), 403);
  assert.equal(await statusOf("ledger,tree,deadLetters", await harness.key("cluster:read")), 200);
  assert.equal(await statusOf("devices", await harness.key("devices:write")), 403);
  assert.equal(await statusOf("devices", {}), 401);
});

Deno.test("feeds end within seconds of the rights that they were opened with", async () => {
  await using harness = await prepared();
  const operator = await harness.login("operator");
  const viewer = await harness.login("viewer");
  const owner = await harness.login("owner");
  const key = await harness.key("devices:read");
  await using kept = await open(harness, "ledger", viewer);
  await using lowered = await open(harness, "ledger,deadLetters", operator);
  await using allowed = await open(harness, "ledger", operator);
  await using ended = await open(harness, DEVICE, key);
  await using loggedOut = await open(harness, DEVICE, owner);
  for (const feed of [kept, lowered, allowed, ended, loggedOut]) await feed.nextOf("hello");
  const { sessions } = harness.ports;
  const find = sessions.find.bind(sessions);
  sessions.find = async (token) => {
    const caller = await find(token);
    return caller?.role === "operator" ? { ...caller, role: "viewer" } : caller;
  };
  const keys = await harness.keys.list("default", { limit: 10 });
  assert.ok(keys.ok);
  await harness.keys.delete("default", keys.value.items[0]!.id);
  await harness.send("DELETE", "/api/v1/session", { headers: owner });
  await harness.clock.advance(LIMITS.liveRecheckMs + 1_000);
  for (const feed of [lowered, ended, loggedOut]) {
    while (await feed.next() !== undefined);
  }
  assert.equal(harness.hub.feeds, 2);
  harness.hub.publish("ledger", { accepted: 77 }, 1);
  for (const feed of [kept, allowed]) {
    while ((await feed.nextOf("change")).data.value.accepted !== 77);
  }
});

Deno.test("a reader that comes back resumes by its last event, or is told of a gap", async () => {
  await using harness = await prepared();
  const headers = await harness.login("viewer");
  const first = await open(harness, DEVICE, headers);
  await first.next();
  for (let n = 1; n <= 3; n++) harness.hub.publish(DEVICE, { n }, n);
  assert.equal((await first.next())!.id, "7-1");
  await first[Symbol.asyncDispose]();
  const again = { ...headers, "last-event-id": "7-1" };
  await using second = await open(harness, DEVICE, again);
  assert.equal((await second.next())!.id, "7-1");
  assert.deepEqual((await second.next())!.data.value, { n: 2 });
  assert.deepEqual((await second.next())!.data.value, { n: 3 });
  for (const id of ["7-99", "8-1", "7--1", "x", "7-1'; drop table events; --", "7-1e3"]) {
    await using forged = await open(harness, DEVICE, { ...headers, "last-event-id": id });
    await forged.next();
    assert.deepEqual(await forged.next(), {
      event: "gap",
      data: { missed: null, topics: [DEVICE] },
    }, id);
  }
});

Deno.test("a reader that never reads holds little, and is closed after a while", async () => {
  await using harness = await prepared();
  const answer = await follow(harness, DEVICE, await harness.login("viewer"));
  const value = { text: "x".repeat(10_000) };
  for (let n = 0; n < 1_000; n++) harness.hub.publish(DEVICE, value, n);
  await using feed = new EventReader(answer.body!);
  assert.equal((await feed.next())!.event, "hello");
  const gap = (await feed.next())!;
  assert.equal(gap.event, "gap");
  assert.ok(gap.data.missed > 900, `${gap.data.missed} missed`);
  assert.deepEqual(gap.data.topics, [DEVICE]);
  let bytes = 0;
  let told = 0;
  for (let last = ""; last !== "7-1000"; told++) {
    const event = (await feed.next())!;
    bytes += JSON.stringify(event.data).length;
    last = event.id!;
  }
  assert.equal(told + gap.data.missed, 1_000);
  assert.ok(bytes <= LIMITS.liveQueueBytesMax + 20_000, `${bytes} B waited`);
  harness.hub.publish(DEVICE, value, 1);
  harness.hub.publish(DEVICE, value, 1);
  await feed.next();
  await harness.clock.advance(LIMITS.liveStallMs + 2_000);
  await assert.rejects(async () => {
    while (await feed.next() !== undefined);
  }, "the connection is broken off");
  assert.equal(harness.hub.feeds, 0);
});

Deno.test("silence is filled with comments, so that nobody takes the feed for dead", async () => {
  await using harness = await prepared();
  await using feed = await open(harness, DEVICE, await harness.login("viewer"));
  await feed.next();
  const next = feed.next();
  for (let i = 0; i < 4; i++) {
    await harness.clock.advance(LIMITS.liveHeartbeatMs);
    await harness.clock.settle();
  }
  harness.hub.publish(DEVICE, { n: 1 }, 1);
  await next;
  assert.ok(feed.comments >= 3 && feed.comments <= 4, `${feed.comments} comments`);
});

Deno.test("a thousand feeds are open at once, each caller has a bound, and more get 503", async () => {
  await using harness = await prepared();
  const feeds: EventReader[] = [];
  const answers = async (headers: Record<string, string>) => {
    const answer = await follow(harness, DEVICE, headers);
    if (answer.status === 200) feeds.push(new EventReader(answer.body!));
    return answer;
  };
  const callers = LIMITS.liveFeedsMax / LIMITS.liveFeedsPerCallerMax;
  for (let caller = 0; caller < callers; caller++) {
    const headers = await harness.key("devices:read");
    for (let i = 0; i < LIMITS.liveFeedsPerCallerMax; i++) {
      assert.equal((await answers(headers)).status, 200);
    }
    if (caller > 0) continue;
    const refused = await answers(headers);
    assert.equal(refused.status, 429);
    assert.ok(Number(refused.headers.get("retry-after")) > 0);
    await refused.body!.cancel();
  }
  assert.equal(harness.app.figures().feeds, LIMITS.liveFeedsMax);
  const headers = await harness.login("viewer");
  const refused = await answers(headers);
  assert.equal(refused.status, 503);
  assert.equal(refused.headers.get("retry-after"), "5");
  await refused.body!.cancel();
  harness.hub.publish(DEVICE, { n: 1 }, 1);
  for (const feed of feeds) assert.deepEqual((await feed.nextOf("change")).data.value, { n: 1 });
  await feeds.pop()![Symbol.asyncDispose]();
  assert.equal((await answers(headers)).status, 200);
  for (const feed of feeds) await feed[Symbol.asyncDispose]();
  assert.equal(harness.app.figures().feeds, 0);
  assert.equal(harness.hub.feeds, 0);
});

Deno.test("draining ends all feeds and opens none", async () => {
  await using harness = await prepared();
  const headers = await harness.login("viewer");
  await using feed = await open(harness, DEVICE, headers);
  await feed.next();
  const ended = feed.next();
  await harness.app.drain(1_000);
  assert.equal(await ended, undefined);
  assert.equal((await follow(harness, DEVICE, headers)).status, 503);
  assert.equal(harness.app.figures().feeds, 0);
});

Deno.test("HEAD opens no feed", async () => {
  await using harness = await prepared();
  const headers = await harness.login("viewer");
  const answer = await harness.send("HEAD", `/api/v1/live?topics=ledger`, { headers });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("content-type"), "text/event-stream");
  assert.equal(harness.hub.feeds, 0);
});
