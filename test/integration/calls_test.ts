/** Service calls through the whole program: real clients, a real crash, real time. */
import assert from "node:assert/strict";
import { connect, type MqttClient } from "mqtt";
import { systemClock } from "../../runtime/clock.ts";
import type { DeviceLogin } from "../bench/load/options.ts";
import { EventReader } from "../support/event_reader.ts";
import { requirePeer } from "../support/peers.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import type { RoostApi } from "../support/roost_api.ts";
import { waitFor, within } from "../support/wait.ts";

const PUB = await requirePeer("mosquitto_pub");
const SUB = await requirePeer("mosquitto_sub");
const DEVICE = "/api/v1/devices/pump/p-1";
const CALLS = "v1/pump/p-1/services/+/+";
const WITHIN_MS = 10_000;

interface CallView {
  readonly callId: string;
  readonly status: string;
  readonly output?: unknown;
  readonly sentAt?: number;
}

/** A pump that tells its calls as they come. */
class Pump implements AsyncDisposable {
  readonly calls: { readonly topic: string; readonly input: unknown }[] = [];

  private constructor(readonly client: MqttClient) {
    client.on("message", (topic, payload) => {
      this.calls.push({ topic, input: JSON.parse(payload.toString()).input });
    });
  }

  /** @param filter Undefined: the subscription of the session lasts. */
  static async connect(roost: TestRoost, login: DeviceLogin, filter?: string): Promise<Pump> {
    const client = connect(roost.urls.mqtt, {
      protocolVersion: 5,
      clean: false,
      properties: { sessionExpiryInterval: 3_600 },
      clientId: "pump",
      username: `${login.product}/${login.device}`,
      password: login.secret,
      reconnectPeriod: 0,
    });
    // It listens before it is connected: to a session that lasts, calls come right behind the CONNACK.
    const pump = new Pump(client);
    const connected = new Promise((resolve, reject) => {
      client.once("connect", resolve);
      client.once("error", reject);
    });
    await within(connected, "the CONNACK", WITHIN_MS);
    if (filter !== undefined) await client.subscribeAsync(filter, { qos: 1 });
    return pump;
  }

  async next(): Promise<{ readonly topic: string; readonly input: unknown }> {
    return await waitFor(() => this.calls.shift(), { what: "a call", withinMs: WITHIN_MS });
  }

  async reply(topic: string, answer: unknown): Promise<void> {
    await this.client.publishAsync(`${topic}/reply`, JSON.stringify(answer), { qos: 1 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.endAsync(true);
  }
}

async function provision(roost: TestRoost): Promise<{ api: RoostApi; login: DeviceLogin }> {
  const api = await roost.api();
  await api.createProduct({ key: "pump" });
  return { api, login: await api.createDevice("pump", "p-1") };
}

function queue(api: RoostApi, input: unknown, expiresAt: number): Promise<{ callId: string }> {
  return api.request("POST", `${DEVICE}/services/restart`, { input, expiresAt });
}

async function statusBecomes(api: RoostApi, callId: string, status: string): Promise<CallView> {
  let actual: CallView | undefined;
  return await waitFor(async () => {
    actual = await api.request<CallView>("GET", `${DEVICE}/calls/${callId}`);
    return actual.status === status ? actual : undefined;
  }, { what: `the call to be ${status}`, withinMs: WITHIN_MS, actual: () => actual });
}

async function follow(api: RoostApi): Promise<EventReader> {
  const answer = await api.fetch("GET", "/api/v1/live?topics=device/pump/p-1");
  assert.equal(answer.status, 200);
  const feed = new EventReader(answer.body!);
  await within(feed.nextOf("hello"), "the feed", WITHIN_MS);
  return feed;
}

/** What the feed tells next of a call. */
async function told(feed: EventReader): Promise<readonly [string, string]> {
  const { data } = await within(feed.nextOf("call"), "a call on the feed", WITHIN_MS);
  return [data.value.callId, data.value.status];
}

Deno.test("each state of a queued call is told live, also over kill -9", async () => {
  await using roost = await startRoost();
  const { api, login } = await provision(roost);
  const expiresAt = systemClock.nowMs() + 3_600_000;
  let waits: string;
  {
    await using feed = await follow(api);
    waits = (await queue(api, { delay: 1 }, expiresAt)).callId;
    assert.deepEqual(await told(feed), [waits, "queued"]);
    const gone = (await queue(api, { delay: 2 }, expiresAt)).callId;
    assert.deepEqual(await told(feed), [gone, "queued"]);
    await api.request("DELETE", `${DEVICE}/calls/${gone}`);
    assert.deepEqual(await told(feed), [gone, "cancelled"]);
    const late = (await queue(api, { delay: 3 }, systemClock.nowMs() + 500)).callId;
    assert.deepEqual(await told(feed), [late, "queued"]);
    assert.deepEqual(await told(feed), [late, "expired"]);
    await using pump = await Pump.connect(roost, login, CALLS);
    assert.deepEqual(await told(feed), [waits, "sent"]);
    await pump.next();
    await roost.kill();
  }
  await roost.start();
  await using feed = await follow(await roost.api());
  await using pump = await Pump.connect(roost, login);
  const { topic } = await pump.next();
  await pump.reply(topic, { ok: true, output: {} });
  assert.deepEqual(await told(feed), [waits, "answered"]);
});

Deno.test("queued calls survive kill -9, and go to the device in order when it returns", async () => {
  await using roost = await startRoost();
  const { api, login } = await provision(roost);
  const expiresAt = systemClock.nowMs() + 3_600_000;
  const ids: string[] = [];
  for (const delay of [1, 2, 3]) ids.push((await queue(api, { delay }, expiresAt)).callId);
  await statusBecomes(api, ids[0]!, "queued");
  await roost.restart();
  const after = await roost.api();
  for (const callId of ids) await statusBecomes(after, callId, "queued");
  await using pump = await Pump.connect(roost, login, CALLS);
  for (const [index, callId] of ids.entries()) {
    const { topic, input } = await pump.next();
    assert.equal(topic, `v1/pump/p-1/services/restart/${callId}`);
    assert.deepEqual(input, { delay: index + 1 });
    await statusBecomes(after, callId, "sent");
    await pump.reply(topic, { ok: true, output: { done: index + 1 } });
    const { output } = await statusBecomes(after, callId, "answered");
    assert.deepEqual(output, { done: index + 1 });
  }
  const { items } = await after.request<{ items: CallView[] }>("GET", `${DEVICE}/calls`);
  assert.deepEqual(items.map(({ callId }) => callId).sort(), ids.toSorted());
});

Deno.test("a call that was sent before kill -9 comes again to the device, and is answered", async () => {
  await using roost = await startRoost();
  const { api, login } = await provision(roost);
  const { callId } = await queue(api, { delay: 1 }, systemClock.nowMs() + 3_600_000);
  {
    await using pump = await Pump.connect(roost, login, CALLS);
    await pump.next();
    await statusBecomes(api, callId, "sent");
    await roost.kill();
  }
  await roost.start();
  await using pump = await Pump.connect(roost, login);
  const { topic } = await pump.next();
  assert.ok(topic.endsWith(callId), "the same id");
  await pump.reply(topic, { ok: false, error: "jammed" });
  await statusBecomes(await roost.api(), callId, "failed");
});

Deno.test("a queued call expires at its time, also over kill -9, and is not delivered then", async () => {
  await using roost = await startRoost();
  const { api, login } = await provision(roost);
  const expiresAt = systemClock.nowMs() + 1_500;
  const { callId } = await queue(api, { delay: 1 }, expiresAt);
  await roost.restart();
  const after = await roost.api();
  const { sentAt } = await statusBecomes(after, callId, "expired");
  assert.equal(sentAt, undefined);
  assert.ok(systemClock.nowMs() >= expiresAt, "not before its time");
  await using pump = await Pump.connect(roost, login, CALLS);
  const later = await queue(after, { delay: 2 }, systemClock.nowMs() + 60_000);
  assert.ok((await pump.next()).topic.endsWith(later.callId));
});

Deno.test({
  name: "mosquitto's clients are called and answer while the caller waits",
  ignore: PUB === undefined || SUB === undefined,
  async fn() {
    await using roost = await startRoost();
    const { api, login } = await provision(roost);
    for (const version of ["mqttv311", "mqttv5"]) {
      const args = [
        ...["-h", "127.0.0.1", "-p", String(roost.mqttPort), "-V", version, "-q", "1"],
        ...["-u", "pump/p-1", "-P", login.secret],
      ];
      const listener = new Deno.Command(SUB!, {
        args: [...args, "-C", "1", "-F", "%t %p", "-t", CALLS],
        stdin: "null",
      }).output();
      const asked = api.request<{ callId: string; output: unknown }>(
        ...["POST", `${DEVICE}/services/restart`] as const,
        { input: { delay: 3 }, timeoutMs: 10_000 },
      );
      const { stdout } = await within(listener, "mosquitto_sub", WITHIN_MS);
      const [topic = "", payload = ""] = new TextDecoder().decode(stdout).trim().split(" ");
      assert.deepEqual(JSON.parse(payload), { input: { delay: 3 } });
      const answer = ["-t", `${topic}/reply`, "-m", '{"ok":true,"output":{"at":7}}'];
      const sent = await new Deno.Command(PUB!, { args: [...args, ...answer] }).output();
      assert.ok(sent.success, new TextDecoder().decode(sent.stderr));
      const { callId, output } = await asked;
      assert.deepEqual(output, { at: 7 });
      assert.ok(topic.endsWith(callId));
    }
  },
});

Deno.test("a call in time to no device is 504 at its deadline and names its id", async () => {
  await using roost = await startRoost();
  const { api } = await provision(roost);
  const answer = await api.fetch("POST", `${DEVICE}/services/restart`, { timeoutMs: 300 });
  const body = await answer.json();
  assert.equal(answer.status, 504, JSON.stringify(body));
  assert.equal(body.type, "urn:roost:problem:not-answered");
  await statusBecomes(api, body.callId, "expired");
});
