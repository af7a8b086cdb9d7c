import assert from "node:assert/strict";
import { silentLogger } from "../../runtime/logger.ts";
import { createManualClock } from "../../test/support/manual_clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { EventRing, type FeedItem } from "./live_event.ts";
import type { LiveFeed } from "./live_feed.ts";
import { LiveHub, type LiveSource } from "./live_hub.ts";
import { type KeyedTopic, keyedTopic, parseTopic } from "./topics.ts";

function topics(...names: string[]): KeyedTopic[] {
  return names.map((name) => keyedTopic(parseTopic(name)!, "default"));
}

/** Items as lines: `hello 3`, `change 4 ledger {"a":1}`, `gap 2 ledger`. */
function linesOf(items: readonly FeedItem[]): string[] {
  return items.map((item) => {
    if (item.type === "hello") return `hello ${item.sequence} ${item.topics.join()}`;
    if (item.type === "gap") return `gap ${item.missed} ${item.topics.join()}`;
    const { topic, value } = JSON.parse(new TextDecoder().decode(item.event.body));
    return `change ${item.event.sequence} ${topic} ${JSON.stringify(value)}`;
  });
}

function taken(feed: LiveFeed): string[] {
  return linesOf(feed.take(Infinity));
}

class TestSource implements LiveSource {
  readonly types = ["device", "devices", "ledger", "tree", "deadLetters"] as const;
  readonly followed = new Set<string>();
  fault: string | undefined;

  follow(topics: readonly KeyedTopic[]): Promise<void> {
    if (this.fault !== undefined) return Promise.reject(new Error(this.fault));
    for (const { key } of topics) this.followed.add(key);
    return Promise.resolve();
  }

  unfollow(topics: readonly KeyedTopic[]): void {
    for (const { key } of topics) this.followed.delete(key);
  }
}

function createHub(
  bounds: { eventsMax?: number; bytesMax?: number; ring?: EventRing } = {},
) {
  const clock = createManualClock();
  const source = new TestSource();
  const { eventsMax = 1_000, bytesMax = 1e6, ring } = bounds;
  const hub = new LiveHub({
    clock,
    logger: silentLogger,
    incarnation: "9",
    feedBounds: { eventsMax, bytesMax },
    ...(ring === undefined ? undefined : { ring }),
  });
  return { hub, source, clock };
}

async function attached(bounds: Parameters<typeof createHub>[0] = {}) {
  const parts = createHub(bounds);
  await parts.hub.attach(parts.source);
  return parts;
}

Deno.test("a feed is told of its topics only, in order, after hello", async () => {
  const { hub } = await attached();
  const feed = await hub.open(topics("device/a/b", "devices"));
  hub.publish("device/a/b", { n: 1 }, 1);
  hub.publish("device/a/c", { n: 2 }, 2);
  hub.publish("devices@other", { n: 3 }, 3);
  hub.publish("devices@default", { n: 4 }, 4);
  assert.deepEqual(taken(feed), [
    "hello 0 device/a/b,devices",
    'change 1 device/a/b {"n":1}',
    'change 2 devices {"n":4}',
  ]);
  assert.deepEqual(taken(feed), []);
});

Deno.test("a topic is followed while it is wanted and for a while after", async () => {
  const { hub, source, clock } = await attached();
  assert.equal(hub.wants("device/a/b"), false);
  const one = await hub.open(topics("device/a/b"));
  const other = await hub.open(topics("device/a/b", "ledger"));
  assert.deepEqual([...source.followed], ["device/a/b", "ledger"]);
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  other[Symbol.dispose]();
  await clock.advance(LIMITS.liveLingerMs - 1);
  assert.equal(source.followed.size, 2, "who comes back misses nothing");
  const back = await hub.open(topics("ledger"));
  await clock.advance(LIMITS.liveLingerMs);
  assert.deepEqual([...source.followed], ["ledger"]);
  assert.equal(hub.wants("device/a/b"), false);
  back[Symbol.dispose]();
  await clock.advance(LIMITS.liveLingerMs);
  assert.equal(source.followed.size, 0);
  assert.equal(clock.pending(), 0, "nothing is left to be done");
});

Deno.test("topics that linger are bounded: the longest abandoned is given up", async () => {
  const { hub, source } = await attached();
  for (let i = 0; i <= LIMITS.liveLingerTopicsMax; i++) {
    (await hub.open(topics(`device/a/d${i}`)))[Symbol.dispose]();
  }
  assert.equal(source.followed.size, LIMITS.liveLingerTopicsMax);
  assert.equal(source.followed.has("device/a/d0"), false);
});

Deno.test("a reader that comes back is told what it missed, from the event it names", async () => {
  const { hub } = await attached();
  const feed = await hub.open(topics("device/a/b", "device/a/c"));
  for (let n = 1; n <= 3; n++) hub.publish("device/a/b", n, n);
  feed[Symbol.dispose]();
  hub.publish("device/a/c", 4, 4);
  const back = await hub.open(topics("device/a/b", "device/a/c"), "9-2");
  hub.publish("device/a/b", 5, 5);
  assert.deepEqual(taken(back), [
    "hello 2 device/a/b,device/a/c",
    "change 3 device/a/b 3",
    "change 4 device/a/c 4",
    "change 5 device/a/b 5",
  ]);
});

Deno.test("topics that were not followed since are a gap, the others resume", async () => {
  const { hub } = await attached();
  const feed = await hub.open(topics("device/a/b"));
  hub.publish("device/a/b", 1, 1);
  hub.publish("device/a/b", 2, 2);
  feed[Symbol.dispose]();
  const back = await hub.open(topics("device/a/b", "device/a/new"), "9-1");
  assert.deepEqual(taken(back), [
    "hello 1 device/a/b,device/a/new",
    "gap null device/a/new",
    "change 2 device/a/b 2",
  ]);
});

Deno.test("ids that are unknown, forged or pushed out of the ring lead to a gap", async () => {
  const { hub } = await attached({ ring: new EventRing(2, 1e6) });
  using feed = await hub.open(topics("device/a/b"));
  for (let n = 1; n <= 4; n++) hub.publish("device/a/b", n, n);
  assert.equal(taken(feed).length, 5);
  const ids = ["8-4", "9-5", "9--1", "9-", "9", "-4", "9-1e0", "9-0x2", "9-2.5", "9-4-4", "９-４"];
  for (const id of [...ids, "9-1", "9-" + "9".repeat(200), "\u0000", "'; drop table"]) {
    using back = await hub.open(topics("device/a/b"), id);
    assert.deepEqual(taken(back), ["hello 4 device/a/b", "gap null device/a/b"], id);
  }
  using back = await hub.open(topics("device/a/b"), "9-2");
  assert.deepEqual(taken(back).slice(1), ["change 3 device/a/b 3", "change 4 device/a/b 4"]);
});

Deno.test("a slow reader loses what waits, is told how much, and goes on", async () => {
  const { hub } = await attached({ eventsMax: 10 });
  const feed = await hub.open(topics("device/a/b", "device/a/c"));
  for (let n = 1; n <= 25; n++) hub.publish(n % 5 === 0 ? "device/a/c" : "device/a/b", n, n);
  assert.deepEqual(taken(feed), [
    "hello 0 device/a/b,device/a/c",
    "gap 20 device/a/b,device/a/c",
    ...[21, 22, 23, 24].map((n) => `change ${n} device/a/b ${n}`),
    "change 25 device/a/c 25",
  ]);
  hub.publish("device/a/b", 26, 26);
  assert.deepEqual(taken(feed), ["change 26 device/a/b 26"]);
});

Deno.test("bytes that wait are bounded too, but one event always fits", async () => {
  const { hub } = await attached({ bytesMax: 1_000 });
  const feed = await hub.open(topics("device/a/b"));
  assert.equal(taken(feed).length, 1);
  hub.publish("device/a/b", "x".repeat(5_000), 1);
  assert.equal(taken(feed).length, 1);
  for (let n = 0; n < 10; n++) hub.publish("device/a/b", `${n}${"x".repeat(400)}`, n);
  const lines = taken(feed);
  assert.match(lines[0]!, /^gap 8 /);
  assert.equal(lines.length, 3);
  assert.match(lines[2]!, /^change 11 device\/a\/b "9x/);
});

Deno.test("a new feed of a state is told the present one", async () => {
  const { hub } = await attached();
  using first = await hub.open(topics("ledger"));
  hub.publish("ledger", { accepted: 1 }, 1);
  hub.publish("ledger", { accepted: 2 }, 2);
  using second = await hub.open(topics("ledger"));
  assert.deepEqual(taken(second), ["hello 2 ledger", 'change 2 ledger {"accepted":2}']);
  assert.equal(taken(first).length, 3);
});

Deno.test("events that the source lost are a gap in every feed of its topics", async () => {
  const { hub } = await attached();
  using feed = await hub.open(topics("device/a/b", "ledger"));
  using other = await hub.open(topics("ledger"));
  hub.publish("device/a/b", 1, 1);
  hub.lose(["device", "devices"], 7);
  hub.publish("device/a/b", 2, 2);
  assert.deepEqual(taken(feed).slice(1), [
    "change 1 device/a/b 1",
    "gap 7 device/a/b",
    "change 2 device/a/b 2",
  ]);
  assert.equal(taken(other).length, 1);
  using before = await hub.open(topics("device/a/b"), "9-1");
  assert.match(taken(before)[1]!, /^gap null/, "nobody resumes over a loss");
  using after = await hub.open(topics("device/a/b"), "9-2");
  assert.equal(taken(after).length, 1);
});

Deno.test("a source that is started again takes up what is wanted, and the feeds are told", async () => {
  const { hub, source } = await attached();
  using feed = await hub.open(topics("device/a/b"));
  hub.publish("device/a/b", 1, 1);
  hub.detach(source);
  await assert.rejects(hub.open(topics("device/a/c")), { code: "unavailable" });
  await assert.rejects(hub.open(topics("device/a/b")), { code: "unavailable" });
  const next = new TestSource();
  await hub.attach(next);
  assert.deepEqual([...next.followed], ["device/a/b"]);
  using other = await hub.open(topics("device/a/b", "device/a/c"));
  hub.publish("device/a/b", 2, 2);
  assert.deepEqual(taken(feed).slice(1), [
    "change 1 device/a/b 1",
    "gap null device/a/b",
    "change 2 device/a/b 2",
  ]);
  assert.equal(taken(other).length, 2);
});

Deno.test("a topic that cannot be followed is refused, and leaves nothing behind", async () => {
  const { hub, source, clock } = await attached();
  source.fault = "the log is away";
  await assert.rejects(hub.open(topics("device/a/b")), { code: "unavailable" });
  assert.equal(hub.wants("device/a/b"), false);
  source.fault = undefined;
  (await hub.open(topics("device/a/b")))[Symbol.dispose]();
  await clock.advance(LIMITS.liveLingerMs);
  assert.equal(source.followed.size, 0);
});

Deno.test("a topic that ends leaves its feeds, and closes those of nothing else", async () => {
  const { hub } = await attached();
  const one = await hub.open(topics("device/a/b"));
  using two = await hub.open(topics("device/a/b", "device/a/c"));
  hub.publish("device/a/b", 1, 1);
  hub.end("device/a/b");
  hub.publish("device/a/b", 2, 2);
  hub.publish("device/a/c", 3, 3);
  assert.equal(one.isClosed, true);
  assert.deepEqual(taken(one).slice(1), ["change 1 device/a/b 1"], "what waits is still told");
  assert.deepEqual(taken(two).slice(1), ["change 1 device/a/b 1", "change 3 device/a/c 3"]);
});

Deno.test("the ring keeps the newest events within its bounds", () => {
  const ring = new EventRing(100, 1_000);
  const add = (sequence: number, bytes: number) =>
    ring.add({ sequence, key: "k", body: new Uint8Array(bytes) });
  for (let n = 1; n <= 250; n++) add(n, 1);
  assert.equal(ring.length, 100);
  assert.equal(ring.after(149), undefined);
  assert.deepEqual(ring.after(150)!.map(({ sequence }) => sequence)[0], 151);
  assert.deepEqual(ring.after(250), []);
  add(251, 950);
  assert.equal(ring.length, 51);
  add(252, 5_000);
  assert.equal(ring.length, 1, "one that passes the bound alone is kept");
});

Deno.test("topics are read as they are written, and nothing else is one", () => {
  const names = ["ledger", "tree", "deadLetters", "devices", "jobs", "device/pump/p-1"]
    .concat("device/a:b/c_d.e");
  for (const name of names) assert.equal(topics(name)[0]!.name, name);
  for (
    const name of [
      ...["", "Ledger", "device", "device/", "device/a", "device/a/", "device//b", "device/a/b/c"],
      ...["device/a/..", "device/__proto__/b", "device/a/b c", "device/a/%2e", "__proto__", "*"],
      ...["devices@other", "device/" + "a".repeat(65) + "/b", "device/ä/b", "device/a/b\n"],
    ]
  ) assert.equal(parseTopic(name), undefined, name);
});
