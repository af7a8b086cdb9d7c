/** A device that only speaks HTTP, against the whole program: real sockets, real time, a real crash. */
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { encode } from "cborg";
import { systemClock } from "../../runtime/clock.ts";
import { seededRandom } from "../../runtime/random.ts";
import type { DeviceLogin } from "../bench/load/options.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import type { RoostApi } from "../support/roost_api.ts";
import { readSeed } from "../support/seed.ts";
import { letPass, waitFor } from "../support/wait.ts";

const DEVICE = "/api/v1/devices/pump/p-1";
const WITHIN_MS = 10_000;
/** So many keys of a device are known. */
const KEYED_POSTS = 60;

// deno-lint-ignore no-explicit-any -- tests know what they ask for
type Answer = { status: number; body: any };

class HttpPump {
  readonly #roost: TestRoost;
  #authorization: string;

  constructor(roost: TestRoost, { product, device, secret }: DeviceLogin) {
    this.#roost = roost;
    this.#authorization = `Basic ${btoa(`${product}/${device}:${secret}`)}`;
  }

  async login(): Promise<void> {
    const { status, body } = await this.ask("POST", "token");
    assert.equal(status, 200);
    this.#authorization = `Bearer ${body.token}`;
  }

  async ask(method: string, path: string, json?: unknown, signal?: AbortSignal): Promise<Answer> {
    const body = json === undefined ? undefined : JSON.stringify(json);
    return await this.send(method, path, body, {}, signal);
  }

  async send(
    method: string,
    path: string,
    body?: BodyInit,
    more: Record<string, string> = {},
    signal?: AbortSignal,
  ): Promise<Answer> {
    const headers = { "authorization": this.#authorization, ...more };
    const url = `${this.#roost.urls.http}/ingest/v1/pump/p-1/${path}`;
    const init = { method, headers, ...(body && { body }), ...(signal && { signal }) };
    const answer = await fetch(url, init);
    const text = await answer.text();
    return { status: answer.status, body: text === "" ? undefined : JSON.parse(text) };
  }
}

async function provisioned(): Promise<{ roost: TestRoost; api: RoostApi; pump: HttpPump }> {
  const roost = await startRoost();
  const api = await roost.api();
  await api.createProduct({ key: "pump" });
  const pump = new HttpPump(roost, await api.createDevice("pump", "p-1"));
  return { roost, api, pump };
}

/** Waits until as many devices wait for downlinks. */
async function polling(api: RoostApi, count: number): Promise<void> {
  let actual = "";
  await waitFor(async () => {
    actual = /roost_http\{figure="polls"\} \d+/.exec(await api.metrics())?.[0] ?? "";
    return actual.endsWith(` ${count}`);
  }, { what: `${count} polls to wait`, withinMs: WITHIN_MS, actual: () => actual });
}

async function statusBecomes(api: RoostApi, status: string): Promise<void> {
  let actual: { status: string } | undefined;
  await waitFor(async () => {
    actual = await api.request<{ status: string }>("GET", DEVICE);
    return actual.status === status;
  }, { what: `the device to be ${status}`, withinMs: WITHIN_MS, actual: () => actual?.status });
}

Deno.test("an API call reaches a device that polls, and its answer the caller", async () => {
  const { roost, api, pump } = await provisioned();
  await using _ = roost;
  await pump.login();
  const waiting = pump.ask("GET", "downlinks?waitMs=60000");
  await polling(api, 1);
  await statusBecomes(api, "online");
  const called = api.request<Answer["body"]>("POST", `${DEVICE}/services/restart`, {
    input: { delay: 3 },
    timeoutMs: 30_000,
  });
  const { body: { calls } } = await waiting;
  assert.deepEqual(calls.map((call: { input: unknown }) => call.input), [{ delay: 3 }]);
  const [{ callId, service }] = calls;
  const reply = `services/${service}/${callId}/reply`;
  const taken = await pump.ask("POST", reply, { ok: true, output: { done: 1 } });
  assert.deepEqual([taken.status, taken.body], [202, { accepted: 1 }]);
  assert.deepEqual(await called, { callId, ok: true, output: { done: 1 } });
  const again = await pump.ask("POST", reply, { ok: true });
  assert.deepEqual([again.status, again.body.was], [409, "answered"]);

  const forValue = pump.ask("GET", "downlinks?waitMs=60000");
  await polling(api, 1);
  await api.request("PATCH", `${DEVICE}/shadow`, { desired: { on: false } });
  assert.deepEqual((await forValue).body, {
    calls: [],
    desired: { version: 1, values: { on: false } },
  });
  assert.deepEqual((await pump.ask("GET", "shadow")).body.desired.on.value, false);
});

Deno.test("what was fetched before kill -9 is fetched again, with the same token", async () => {
  const { roost, api, pump } = await provisioned();
  await using _ = roost;
  await pump.login();
  const expiresAt = systemClock.nowMs() + 3_600_000;
  const { callId } = await api.request<{ callId: string }>("POST", `${DEVICE}/services/restart`, {
    expiresAt,
  });
  const idsOf = ({ status, body }: Answer) => {
    assert.equal(status, 200, JSON.stringify(body));
    return body.calls.map((call: { callId: string }) => call.callId);
  };
  assert.deepEqual(idsOf(await pump.ask("GET", "downlinks?waitMs=10000")), [callId]);
  await roost.restart();
  assert.deepEqual(idsOf(await pump.ask("GET", "downlinks?waitMs=10000")), [callId]);
  const { status } = await pump.ask("POST", `services/restart/${callId}/reply`, { ok: true });
  assert.equal(status, 202);
  assert.deepEqual(idsOf(await pump.ask("GET", "downlinks")), []);
});

Deno.test("a peer that hangs up leaves nothing behind, and those that wait end with the device", async () => {
  const { roost, api, pump } = await provisioned();
  await using _ = roost;
  const gone = new AbortController();
  const hung = pump.ask("GET", "downlinks?waitMs=60000", undefined, gone.signal);
  await polling(api, 1);
  gone.abort();
  await assert.rejects(hung);
  await polling(api, 0);
  const waiting = pump.ask("GET", "downlinks?waitMs=60000");
  await polling(api, 1);
  await api.request("PATCH", DEVICE, { enabled: false });
  const { status, body } = await waiting;
  assert.deepEqual([status, body.type], [401, "urn:roost:problem:device-disabled"]);
  await polling(api, 0);
});

Deno.test("compressed bodies and CBOR are history like any other", async () => {
  const { roost, api, pump } = await provisioned();
  await using _ = roost;
  const gzip = { "content-encoding": "gzip" };
  const cbor = { "content-type": "application/cbor" };
  const sent = [
    await pump.send("POST", "properties", Uint8Array.from(gzipSync('{"t":1}')), gzip),
    await pump.send("POST", "properties", Uint8Array.from(encode({ t: 2.5 })), cbor),
  ];
  assert.deepEqual(sent.map(({ status }) => status), [202, 202]);
  const bomb = Uint8Array.from(gzipSync(new Uint8Array(50_000_000)));
  assert.equal((await pump.send("POST", "properties", bomb, gzip)).status, 413);
  type Page = { series: { t?: [number, number][] } };
  let values: number[] = [];
  await waitFor(async () => {
    const page = await api.request<Page>("GET", `${DEVICE}/telemetry?keys=t`);
    values = page.series.t?.map(([, value]) => value) ?? [];
    return values.length === 2;
  }, { what: "two points", withinMs: WITHIN_MS, actual: () => values });
  assert.deepEqual(values, [1, 2.5]);
});

Deno.test("after kill -9 each post under a key is history once, answered before or not", async () => {
  const seed = readSeed();
  const { roost, pump } = await provisioned();
  await using _ = roost;
  await pump.login();
  const first = new Map<number, Answer | undefined>();
  const post = (n: number) =>
    pump.send("POST", "properties", JSON.stringify({ n }), { "idempotency-key": `post ${n}` });
  let next = 0;
  let isKilled = false;
  const postSome = async () => {
    while (!isKilled && next < KEYED_POSTS) {
      const n = next++;
      first.set(n, await post(n).catch(() => undefined));
    }
  };
  const running = Promise.all(Array.from({ length: 8 }, postSome));
  await waitFor(() => first.size >= 8, { what: "first answers", withinMs: WITHIN_MS });
  await letPass(seededRandom(seed).fraction() * 20);
  isKilled = true;
  await roost.kill();
  await running;
  await roost.start();
  for (let round = 0; round < 2; round++) {
    for (const [n, told] of first) {
      const again = await post(n);
      assert.equal(again.status, 202, `seed ${seed}, ${n}`);
      if (told !== undefined) assert.deepEqual(again, told, `seed ${seed}, ${n}`);
    }
  }
  assert.equal((await pump.ask("POST", "properties", { end: true })).status, 202);
  const api = await roost.api();
  const range = { fromMs: 0, toMs: systemClock.nowMs() + 60_000 };
  await waitFor(async () => (await api.history("pump", "p-1", "end", range)).length === 1, {
    what: "what was posted last, and so all, to be history",
    withinMs: WITHIN_MS,
  });
  const values = (await api.history("pump", "p-1", "n", range)).map(([, value]) => Number(value));
  const numbers = [...first.keys()];
  const inOrder = (some: readonly number[]) => some.toSorted((one, other) => one - other);
  assert.deepEqual(inOrder(values), inOrder(numbers), `seed ${seed}`);
});
