/** The live feed of the real process: over sockets, under a flood, through crashes and restarts. */
import assert from "node:assert/strict";
import mqtt from "mqtt";
import { LIMITS } from "../../runtime/limits.ts";
import type { DeviceLogin } from "../bench/load/options.ts";
import { EventReader, type StreamEvent } from "../support/event_reader.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import type { RoostApi } from "../support/roost_api.ts";
import { waitFor, within } from "../support/wait.ts";

const EVENT_MS = 10_000;
const DEVICE = "device/pump/p-1";
const SILENT_READERS = 40;
/** What the silent readers would hold if nothing were bounded: 40 x 1,000 x 40 kB are 1.6 GB. */
const FLOOD_MESSAGES = 1_000;
/** After these a silent reader has missed some: more than sockets and the feed hold. */
const SILENCE_MESSAGES = 500;
const FLOOD_TEXTS = 4;
const FLOOD_BYTES = FLOOD_TEXTS * LIMITS.textCharactersMax;
const GROWTH_BYTES_MAX = 400 * 1024 * 1024;

interface Pump extends AsyncDisposable {
  publish(suffix: string, body: unknown): Promise<void>;
}

async function provision(roost: TestRoost): Promise<{ api: RoostApi; pump: DeviceLogin }> {
  const api = await roost.api();
  await api.createProduct({ key: "pump" });
  return { api, pump: await api.createDevice("pump", "p-1") };
}

async function connectPump(
  roost: TestRoost,
  { product, device, secret }: DeviceLogin,
): Promise<Pump> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${roost.mqttPort}`, {
    username: `${product}/${device}`,
    password: secret,
    clientId: device,
    reconnectPeriod: 0,
  });
  return {
    publish: async (suffix, body) => {
      const topic = `v1/${product}/${device}/${suffix}`;
      await client.publishAsync(topic, JSON.stringify(body), { qos: 1 });
    },
    [Symbol.asyncDispose]: () => client.endAsync(),
  };
}

async function follow(
  api: RoostApi,
  topics: string,
  headers: Record<string, string> = {},
): Promise<EventReader> {
  const answer = await api.fetch("GET", `/api/v1/live?topics=${topics}`, undefined, headers);
  assert.equal(answer.status, 200, answer.status === 200 ? "" : await answer.text());
  return new EventReader(answer.body!);
}

function next(feed: EventReader, kind: string): Promise<StreamEvent> {
  return within(feed.nextOf(kind), `"${kind}" on the feed`, EVENT_MS);
}

Deno.test("what a device does is on the feed as it is done", async () => {
  await using roost = await startRoost();
  const { api, pump } = await provision(roost);
  await using feed = await follow(api, `${DEVICE},devices,ledger`);
  assert.deepEqual((await next(feed, "hello")).data.topics, [DEVICE, "devices", "ledger"]);
  {
    await using client = await connectPump(roost, pump);
    assert.equal((await next(feed, "presence")).data.value.status, "online");
    await client.publish("properties", { temperature: 21.5 });
    const [sample] = (await next(feed, "properties")).data.value.samples;
    assert.deepEqual(sample.values, { temperature: 21.5 });
    await client.publish("events/hot", { at: sample.at, data: { celsius: 131 } });
    assert.deepEqual((await next(feed, "event")).data.value, {
      type: "event",
      event: "hot",
      at: sample.at,
      data: { celsius: 131 },
    });
    await waitFor(async () => {
      const path = "/api/v1/devices/pump/p-1/events?event=hot";
      const { items } = await api.request<{ items: { at: number }[] }>("GET", path);
      return items.length === 1 && items[0]!.at === sample.at;
    }, { what: "the event in history", withinMs: EVENT_MS });
    await api.desire("pump", "p-1", { on: true });
    const shadow = (await next(feed, "shadow")).data.value;
    assert.deepEqual(shadow, { type: "shadow", version: 1, delta: { on: true } });
    await client.publish("properties", { on: true });
    assert.deepEqual((await next(feed, "shadow")).data.value.delta, {});
  }
  await waitFor(async () => (await next(feed, "change")).data.value.status === "offline", {
    what: "the close on the list",
    withinMs: EVENT_MS,
  });
});

Deno.test("a thousand open feeds are told, one more is refused until one has gone", async () => {
  await using roost = await startRoost();
  const { api, pump } = await provision(roost);
  await using client = await connectPump(roost, pump);
  const program = await api.asProgram(LIMITS.liveFeedsMax / LIMITS.liveFeedsPerCallerMax);
  const before = roost.memory().rssBytes;
  const feeds: EventReader[] = [];
  for (let opened = 0; opened < LIMITS.liveFeedsMax; opened += 50) {
    const some = await Promise.all(Array.from({ length: 50 }, () => follow(program, DEVICE)));
    feeds.push(...some);
  }
  const refused = await api.fetch("GET", "/api/v1/live?topics=ledger");
  assert.equal(refused.status, 503);
  assert.equal(refused.headers.get("retry-after"), "5");
  await refused.body!.cancel();
  await client.publish("properties", { temperature: 1 });
  await Promise.all(feeds.map((feed) => next(feed, "properties")));
  const each = (roost.memory().rssBytes - before) / LIMITS.liveFeedsMax;
  assert.ok(each < 200_000, `${Math.round(each)} B a feed`);
  await feeds.pop()![Symbol.asyncDispose]();
  await waitFor(async () => {
    const answer = await api.fetch("GET", "/api/v1/live?topics=ledger");
    await answer.body!.cancel();
    return answer.status === 200;
  }, { what: "the place of a closed feed", withinMs: EVENT_MS });
  await Promise.all(feeds.map((feed) => feed[Symbol.asyncDispose]()));
});

Deno.test("readers that never read cost little, and are told what they missed", async () => {
  await using roost = await startRoost();
  const { api, pump } = await provision(roost);
  await using client = await connectPump(roost, pump);
  const key = await api.createKey("silent", ["devices:read"]);
  const silent = await Promise.all(
    Array.from({ length: SILENT_READERS }, () => silentReader(roost, key)),
  );
  await using feed = await follow(api, DEVICE);
  await next(feed, "hello");
  const before = roost.memory().rssBytes;
  let last = 0;
  const read = (async () => {
    while (last !== FLOOD_MESSAGES - 1) {
      last = (await next(feed, "properties")).data.value.samples[0].values.n;
    }
  })();
  const text = "x".repeat(LIMITS.textCharactersMax);
  const texts = Object.fromEntries(Array.from({ length: FLOOD_TEXTS }, (_, i) => [`t${i}`, text]));
  const publish = (n: number) => client.publish("properties", { n, ...texts });
  for (let n = 0; n < SILENCE_MESSAGES; n++) await publish(n);
  // One reads again before its silence has lasted `liveStallMs`, which ends a feed.
  const gap = silent[0]!.readToGap();
  for (let n = SILENCE_MESSAGES; n < FLOOD_MESSAGES; n++) await publish(n);
  // The last one comes again if it fell into a gap of the feed that is read.
  await waitFor(async () => {
    if (last !== FLOOD_MESSAGES - 1) await publish(FLOOD_MESSAGES - 1);
    return last === FLOOD_MESSAGES - 1;
  }, { what: "the last message on the feed", withinMs: EVENT_MS });
  await read;
  const growth = roost.memory().rssBytes - before;
  assert.ok(growth < GROWTH_BYTES_MAX, `memory grew by ${growth >> 20} MB`);
  const told = await within(gap, "the gap of a silent reader", EVENT_MS);
  assert.match(told, /event: gap\ndata: \{"missed":\d+,"topics":\["device\/pump\/p-1"\]\}/);
  for (const reader of silent) reader[Symbol.dispose]();
});

Deno.test("a feed lives through a restart of the log, and resumes over none of the process", async () => {
  await using roost = await startRoost();
  const { api, pump } = await provision(roost);
  {
    await using client = await connectPump(roost, pump);
    await using feed = await follow(api, DEVICE);
    await next(feed, "hello");
    await client.publish("properties", { n: 1 });
    const { id } = await next(feed, "properties");
    await client.publish("properties", { n: 2 });
    await next(feed, "properties");
    await using resumed = await follow(api, DEVICE, { "last-event-id": id! });
    assert.deepEqual((await next(resumed, "properties")).data.value.samples[0].values, { n: 2 });
    await api.killChild("storage/log");
    assert.deepEqual((await next(feed, "gap")).data, { missed: null, topics: [DEVICE] });
    await client.publish("properties", { n: 3 });
    assert.deepEqual((await next(feed, "properties")).data.value.samples[0].values, { n: 3 });
    await api.killChild("storage/readers/live");
    assert.deepEqual((await next(feed, "gap")).data, { missed: null, topics: [DEVICE] });
    await client.publish("properties", { n: 4 });
    const { id: lastId } = await next(feed, "properties");
    const ended = feed.next();
    await roost.kill("SIGTERM");
    assert.equal(await within(ended, "the end of the feed", EVENT_MS), undefined);
    await roost.start();
    await using back = await follow(await roost.api(), DEVICE, { "last-event-id": lastId! });
    assert.deepEqual((await next(back, "gap")).data, { missed: null, topics: [DEVICE] });
  }
});

interface SilentReader extends Disposable {
  /** Reads from now on, until a gap was told. */
  readToGap(): Promise<string>;
}

/** Deno's own socket: that of `node:net` reads ahead, paused or not. */
async function silentReader(roost: TestRoost, key: string): Promise<SilentReader> {
  const socket = await Deno.connect({ hostname: "127.0.0.1", port: roost.httpPort });
  const request = `GET /api/v1/live?topics=${DEVICE} HTTP/1.1\r\nHost: localhost\r\n` +
    `Authorization: Bearer ${key}\r\n\r\n`;
  await socket.write(new TextEncoder().encode(request));
  return {
    async readToGap() {
      const decoder = new TextDecoder();
      let text = "";
      for await (const bytes of socket.readable) {
        text = (text + decoder.decode(bytes, { stream: true })).slice(-2 * FLOOD_BYTES);
        const at = text.indexOf("event: gap\n");
        if (at !== -1 && text.includes("}\n\n", at)) return text.slice(at);
      }
      throw new Error("The feed ended without a gap");
    },
    [Symbol.dispose]() {
      try {
        socket.close();
      } catch (fault) { // Reading it to the gap has closed it.
        if (!(fault instanceof Deno.errors.BadResource)) throw fault;
      }
    },
  };
}
