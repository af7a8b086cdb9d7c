/** Devices that come and fetch: polls, what they are given, and what becomes of answers. */
import assert from "node:assert/strict";
import type { DeviceState } from "../../actors/device/messages.ts";
import { HTTP_LIMITS } from "../../runtime/http_limits.ts";
import { basic, HttpHarness, SECRET, START_MS } from "../../test/support/http_harness.ts";

const DEVICE = "/ingest/v1/pump/p-1";
const ADDRESS = "device/pump/p-1";
const AUTH = basic("pump/p-1", SECRET);

// deno-lint-ignore no-explicit-any -- tests know what they ask for
type Answer = { status: number; headers: Headers; body: any };

class Fixture implements AsyncDisposable {
  readonly harness: HttpHarness;
  #calls = 0;

  constructor(harness: HttpHarness) {
    this.harness = harness;
  }

  static async open(model?: unknown): Promise<Fixture> {
    const harness = await HttpHarness.start();
    await harness.provision(model);
    return new Fixture(harness);
  }

  /** Polls; what it offers is handled by the actors. */
  async poll(query = "", signal?: AbortSignal): Promise<Answer> {
    const path = `${DEVICE}/downlinks${query}`;
    const init = { headers: AUTH, ...(signal && { signal }) };
    const asked = this.harness.app.fetch(new Request(`http://localhost${path}`, init));
    await this.handled();
    return await answerOf(await asked);
  }

  async handled(): Promise<void> {
    await this.harness.clock.settle();
    this.harness.ingress.handleOffered();
    await this.harness.clock.settle();
  }

  /** A queued call, made as the API makes it. */
  async call(expiresInMs = 600_000): Promise<string> {
    const callId = `c${++this.#calls}`;
    this.harness.ingress.handle("command/pump/p-1", {
      type: "call",
      callId,
      service: "restart",
      input: { delay: 3 },
      mode: "queued",
      expiresAtMs: this.harness.clock.nowMs() + expiresInMs,
      createdBy: "ann",
    });
    await this.harness.clock.settle();
    return callId;
  }

  desire(values: Record<string, number | boolean>): void {
    this.harness.ingress.handle(ADDRESS, { type: "desire", values });
  }

  async reply(callId: string, json: unknown = { ok: true, output: {} }, service = "restart") {
    const path = `${DEVICE}/services/${service}/${callId}/reply`;
    return await answerOf(await this.harness.send("POST", path, { headers: AUTH, json }));
  }

  get state(): DeviceState | undefined {
    return this.harness.ingress.states.get(ADDRESS);
  }

  row(callId: string) {
    const query = { product: "pump", device: "p-1", callId, limit: 1 };
    return this.harness.ingress.calls.calls(query)[0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.harness[Symbol.asyncDispose]();
  }
}

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const body = text === "" ? undefined : JSON.parse(text);
  return { status: response.status, headers: response.headers, body };
}

function idsOf({ status, body }: Answer): string[] {
  assert.equal(status, 200, JSON.stringify(body));
  return body.calls.map(({ callId }: { callId: string }) => callId);
}

Deno.test("a poll gives what waits at once: calls in order, as sent, and what differs", async () => {
  await using fixture = await Fixture.open();
  const ids = [await fixture.call(), await fixture.call()];
  fixture.desire({ on: false });
  const { status, body, headers } = await fixture.poll("?waitMs=30000");
  assert.equal(status, 200);
  assert.equal(headers.get("cache-control"), "no-store");
  assert.deepEqual(body, {
    calls: ids.map((callId) => ({
      callId,
      service: "restart",
      input: { delay: 3 },
      expiresAt: START_MS + 600_000,
    })),
    desired: { version: 1, values: { on: false } },
  });
  assert.deepEqual(ids.map((id) => fixture.row(id)?.status), ["sent", "sent"]);
});

Deno.test("without anything a poll is empty, at once or when its time is over", async () => {
  await using fixture = await Fixture.open();
  const empty = { calls: [], desired: null };
  assert.deepEqual((await fixture.poll()).body, empty);
  const waiting = fixture.poll("?waitMs=30000");
  await fixture.handled();
  assert.equal(fixture.harness.app.figures().polls, 1);
  await fixture.harness.clock.advance(29_999);
  assert.equal(fixture.harness.app.figures().polls, 1);
  await fixture.harness.clock.advance(1);
  assert.deepEqual((await waiting).body, empty);
  assert.equal(fixture.harness.app.figures().polls, 0);
});

Deno.test("a waiting poll is answered when a call is made or something is desired", async () => {
  await using fixture = await Fixture.open();
  const forCall = fixture.poll("?waitMs=60000");
  await fixture.handled();
  const callId = await fixture.call();
  assert.deepEqual(idsOf(await forCall), [callId]);
  const forValue = fixture.poll("?waitMs=60000");
  await fixture.handled();
  fixture.desire({ on: true });
  const { body } = await forValue;
  assert.deepEqual(body, { calls: [], desired: { version: 1, values: { on: true } } });
});

Deno.test("what was fetched comes again until it is answered or reported, and not at once", async () => {
  await using fixture = await Fixture.open();
  const callId = await fixture.call();
  fixture.desire({ on: true });
  assert.deepEqual(idsOf(await fixture.poll()), [callId]);
  assert.deepEqual((await fixture.poll()).body, { calls: [], desired: null }, "it has them");
  const waiting = fixture.poll("?waitMs=60000");
  await fixture.handled();
  await fixture.harness.clock.advance(9_999);
  assert.equal(fixture.harness.app.figures().polls, 1);
  await fixture.harness.clock.advance(1);
  const again = (await waiting).body;
  const rest = (await fixture.poll()).body;
  assert.deepEqual([...again.calls, ...rest.calls].map((one) => one.callId), [callId]);
  assert.deepEqual((again.desired ?? rest.desired)?.values, { on: true });
  await fixture.harness.clock.advance(10_000);
  assert.deepEqual((await fixture.poll()).body, { calls: [], desired: null }, "the pause doubles");
  await fixture.harness.clock.advance(10_000);
  assert.deepEqual(idsOf(await fixture.poll()), [callId]);

  assert.equal((await fixture.reply(callId)).status, 202);
  fixture.harness.ingress.handle(ADDRESS, {
    type: "properties",
    samples: [{ values: { on: true } }],
  });
  await fixture.harness.clock.advance(600_000);
  assert.deepEqual((await fixture.poll()).body, { calls: [], desired: null });
});

Deno.test("a device that has started anew asks for all", async () => {
  await using fixture = await Fixture.open();
  const callId = await fixture.call();
  fixture.desire({ on: true });
  await fixture.poll();
  const { body } = await fixture.poll("?all=true");
  assert.equal(body.calls[0].callId, callId);
  assert.deepEqual(body.desired.values, { on: true });
  assert.deepEqual((await fixture.poll("?all=false")).body, { calls: [], desired: null });
});

Deno.test("what was fetched for a peer that went away is fetched again at once", async () => {
  await using fixture = await Fixture.open();
  const { ingress } = fixture.harness;
  const callId = await fixture.call();
  const ask = ingress.ask.bind(ingress);
  const gone = new AbortController();
  ingress.ask = async (address, message) => {
    const reply = await ask(address, message);
    gone.abort();
    return reply;
  };
  const lost = await fixture.poll("?waitMs=30000", gone.signal);
  assert.equal(lost.status, 499, "nobody reads it");
  assert.equal(fixture.row(callId)?.status, "sent");
  ingress.ask = ask;
  assert.deepEqual(idsOf(await fixture.poll()), [callId]);
});

Deno.test("a second poll ends the first, and hung peers leave when they are gone", async () => {
  await using fixture = await Fixture.open();
  const first = fixture.poll("?waitMs=60000");
  await fixture.handled();
  const gone = new AbortController();
  const second = fixture.poll("?waitMs=60000", gone.signal);
  await fixture.handled();
  const { status, body, headers } = await first;
  assert.equal(status, 409);
  assert.equal(body.type, "urn:roost:problem:superseded");
  assert.equal(headers.get("retry-after"), "1");
  assert.equal(fixture.harness.app.figures().polls, 1);
  gone.abort();
  await second;
  assert.equal(fixture.harness.app.figures().polls, 0);
});

Deno.test("a poll gets at once what was being fetched for the one whose place it took", async () => {
  await using fixture = await Fixture.open();
  const { ingress, app } = fixture.harness;
  const callId = await fixture.call();
  const ask = ingress.ask.bind(ingress);
  const underWay = Promise.withResolvers<void>();
  ingress.ask = async (address, message) => {
    const reply = await ask(address, message);
    await underWay.promise;
    return reply;
  };
  const first = fixture.poll("?waitMs=60000");
  await fixture.handled();
  assert.equal(fixture.row(callId)?.status, "sent");
  const second = fixture.poll("?waitMs=60000");
  await fixture.handled();
  assert.equal((await first).status, 409);
  ingress.ask = ask;
  underWay.resolve();
  await fixture.handled();
  assert.equal(app.figures().polls, 0, "it does not wait for the repeat of the call");
  assert.deepEqual(idsOf(await second), [callId]);
});

Deno.test("polls end when their device may not any more, and when the gateway ends", async () => {
  for (const how of ["disable", "delete", "rotate", "close"]) {
    await using fixture = await Fixture.open();
    const { devices, app } = fixture.harness;
    const waiting = fixture.poll("?waitMs=60000");
    await fixture.handled();
    assert.equal(fixture.state?.link?.wire, "http");
    if (how === "disable") await devices.update("pump", "p-1", { enabled: false });
    else if (how === "delete") await devices.delete("pump", "p-1");
    else if (how === "rotate") await devices.rotateSecret("pump", "p-1", { secret: "secret-2" });
    else await app.drain(1_000);
    const { status, body, headers } = await waiting;
    assert.equal(status, how === "close" ? 503 : 401, how);
    if (how === "disable") assert.equal(body.type, "urn:roost:problem:device-disabled");
    if (how === "close") assert.equal(headers.get("connection"), "close");
    await fixture.handled();
    if (how !== "delete") assert.equal(fixture.state?.link, undefined, how);
    assert.equal(app.figures().polls, 0);
  }
});

Deno.test("a device that polls is connected, until it has not for a while", async () => {
  await using fixture = await Fixture.open();
  const { clock, ingress } = fixture.harness;
  const isOnline = () => ingress.presence.get("pump/p-1")?.online;
  await fixture.poll();
  await fixture.handled();
  assert.equal(isOnline(), true);
  await clock.advance(HTTP_LIMITS.pollAwayMs - 1_000);
  await fixture.poll();
  await clock.advance(HTTP_LIMITS.pollAwayMs - 1_000);
  await fixture.handled();
  assert.equal(isOnline(), true, "it came back in time");
  await clock.advance(3_000);
  await fixture.handled();
  assert.equal(isOnline(), false);
  await fixture.poll();
  await fixture.handled();
  assert.equal(isOnline(), true);
});

Deno.test("a connection over MQTT is the device's presence while it lasts, whatever is polled", async () => {
  await using fixture = await Fixture.open();
  const { clock, ingress } = fixture.harness;
  const link = () => fixture.state?.link?.wire;
  await fixture.poll();
  await fixture.handled();
  assert.equal(link(), "http");
  const epoch = fixture.harness.ports.link.nextEpoch();
  ingress.handle(ADDRESS, { type: "connected", session: "7.9.1", epoch, wire: "mqtt" });
  await fixture.poll();
  await fixture.handled();
  assert.equal(link(), "mqtt", "polls leave it alone");
  await clock.advance(HTTP_LIMITS.pollAwayMs + 2_000);
  await fixture.handled();
  assert.equal(link(), "mqtt", "and so does their end");
  ingress.handle(ADDRESS, { type: "disconnected", session: "7.9.1", reason: "closed" });
  assert.equal(link(), undefined);
  await fixture.poll();
  await fixture.handled();
  assert.equal(link(), "http", "then the polls are");
});

Deno.test("an answer is taken once; a late or repeated one is told how the call ended", async () => {
  await using fixture = await Fixture.open();
  const first = await fixture.call();
  await fixture.poll();
  const taken = await fixture.reply(first, { ok: true, output: { at: 1 } });
  assert.deepEqual([taken.status, taken.body], [202, { accepted: 1 }]);
  assert.equal(fixture.row(first)?.status, "answered");
  assert.deepEqual(fixture.row(first)?.output, { at: 1 });
  const again = await fixture.reply(first, { ok: false, error: "jammed" });
  assert.equal(again.status, 409);
  assert.equal(again.body.type, "urn:roost:problem:call-ended");
  assert.deepEqual([again.body.callId, again.body.was], [first, "answered"]);
  assert.match(again.body.detail, /was answered already/);
  assert.equal(fixture.row(first)?.status, "answered", "the first answer counts");

  const late = await fixture.call(1_000);
  await fixture.harness.clock.advance(1_000);
  const { status, body } = await fixture.reply(late);
  assert.deepEqual([status, body.was], [409, "expired"]);
  const other = await fixture.call();
  assert.equal((await fixture.reply(other, { ok: true }, "stop")).status, 404, "another service");
  assert.equal((await fixture.reply("nobody")).status, 404);
  assert.equal((await fixture.reply(other, { ok: false, error: "jammed" })).status, 202);
  assert.equal(fixture.row(other)?.error, "jammed");
});

Deno.test("answers are checked as over MQTT: shape, size, and the model's output", async () => {
  const outputData = [{ identifier: "at", dataType: { type: "int", specs: { min: 0, max: 9 } } }];
  await using fixture = await Fixture.open({
    properties: [],
    services: [{ identifier: "restart", inputData: [], outputData }],
  });
  const callId = await fixture.call();
  const wrong = [[], "x", null, 1, {}, { ok: 1 }, { ok: false, error: 1 }, { ok: null }];
  for (const json of wrong) {
    assert.equal((await fixture.reply(callId, json)).status, 400, JSON.stringify(json));
  }
  const long = { ok: true, output: { text: "x".repeat(70_000) } };
  assert.equal((await fixture.reply(callId, long)).status, 413);
  assert.equal(fixture.row(callId)?.status, "queued", "it is still open");
  const { status, body } = await fixture.reply(callId, { ok: true, output: { at: 10 } });
  assert.equal(status, 207);
  assert.equal(body.refused[0].path, "output.at");
  assert.equal(fixture.row(callId)?.status, "failed");
  assert.match(String(fixture.row(callId)?.error), /output.at/);
});

Deno.test("answers are in the trace of the device, with what became of them", async () => {
  const outputData = [{ identifier: "at", dataType: { type: "int", specs: { min: 0, max: 9 } } }];
  await using fixture = await Fixture.open({
    properties: [],
    services: [{ identifier: "restart", inputData: [], outputData }],
  });
  const { ingress, ports } = fixture.harness;
  const [one, two, three] = [await fixture.call(), await fixture.call(), await fixture.call()];
  await fixture.reply(one);
  await fixture.reply(one);
  await fixture.reply("nobody");
  await fixture.reply(two, { ok: true, output: { at: 10 } });
  await fixture.reply(three, []);
  ingress.isSilent = true;
  await fixture.reply(three);
  const path = `${DEVICE}/services/restart/${three}/reply`;
  const headers = { ...AUTH, "content-encoding": "gzip" };
  await fixture.harness.send("POST", path, { headers, body: "no gzip" });
  const items = await ports.messages("pump", "p-1", 10);
  const topic = (callId: string) => `services/restart/${callId}/reply`;
  assert.deepEqual(items.map(({ topic, status, reason }) => [topic, status, reason]), [
    [topic(three), "refused", "malformed"],
    [topic(three), "accepted", undefined],
    [topic(three), "refused", "malformed"],
    [topic(two), "accepted", "partially_refused"],
    [topic("nobody"), "refused", "call_unknown"],
    [topic(one), "refused", "call_ended"],
    [topic(one), "accepted", undefined],
  ]);
  assert.match(items[3]!.detail!, /^output.at: /);
  assert.match(items[5]!.detail!, /was answered already/);
  assert.ok(items.every(({ wire, bytes }) => wire === "http" && bytes > 1));
});

Deno.test("an answer counts as a sign of life of its device", async () => {
  await using fixture = await Fixture.open();
  const callId = await fixture.call();
  await fixture.reply(callId);
  assert.equal(fixture.state?.lastSeenAtMs, START_MS);
  assert.equal(fixture.state?.link, undefined, "but it is no connection");
});

Deno.test("an actor that says nothing is 503: the answer may be sent again", async () => {
  await using fixture = await Fixture.open();
  const callId = await fixture.call();
  fixture.harness.ingress.isSilent = true;
  const { status, body, headers } = await fixture.reply(callId);
  assert.equal(status, 503);
  assert.equal(body.type, "urn:roost:problem:not-acknowledged");
  assert.ok(headers.get("retry-after"));
  const polled = await fixture.poll();
  assert.equal(polled.status, 503, "what waits could not be fetched");
  fixture.harness.ingress.isSilent = false;
  assert.deepEqual(idsOf(await fixture.poll()), [callId], "and is not lost");
});

Deno.test("suspended and stopped devices are told so, and parameters are checked", async () => {
  await using fixture = await Fixture.open();
  for (
    const query of ["?waitMs=-1", "?waitMs=60001", "?waitMs=x", "?all=1", "?wait=1", "?waitMs="]
  ) {
    const { status, body } = await fixture.poll(query);
    assert.equal(status, 400, query);
    assert.match(body.errors[0].path, /^query\./);
  }
  for (const address of [ADDRESS, "command/pump/p-1"]) {
    fixture.harness.suspended.add(address);
    assert.equal((await fixture.poll()).body.type, "urn:roost:problem:suspended");
    assert.equal((await fixture.reply("c1")).body.type, "urn:roost:problem:suspended");
    fixture.harness.suspended.clear();
  }
  fixture.harness.stopped.replace(Array.from({ length: 64 }, (_, i) => i));
  const stopped = await fixture.poll();
  assert.equal(stopped.status, 503);
  assert.equal(stopped.headers.get("retry-after"), "10");
});

Deno.test("a device reads its shadow and the time, and nothing of others", async () => {
  await using fixture = await Fixture.open();
  const { harness } = fixture;
  const get = async (path: string, headers = AUTH) =>
    await answerOf(await harness.send("GET", `/ingest/v1/pump/${path}`, { headers }));
  assert.deepEqual((await get("p-1/shadow")).body, { version: 0, desired: {}, reported: {} });
  fixture.desire({ on: true });
  const desired = { on: { value: true, at: START_MS } };
  assert.deepEqual((await get("p-1/shadow")).body, { version: 1, desired, reported: {} });
  await harness.clock.advance(5);
  const time = { sent: 12, received: START_MS + 5, replied: START_MS + 5 };
  assert.deepEqual((await get("p-1/time?sent=12")).body, time);
  assert.equal((await get("p-1/time?sent=x")).status, 400);
  assert.equal((await get("p-1/shadow?x=1")).status, 400);
  await harness.devices.create({ product: "pump", device: "p-2", secret: "secret-2" });
  for (const path of ["p-2/shadow", "p-2/time", "p-2/downlinks"]) {
    assert.equal((await get(path)).status, 401, path);
  }
  const other = await harness.send("PUT", `${DEVICE}/downlinks`, { headers: AUTH, json: {} });
  assert.equal(other.status, 405);
  assert.equal(other.headers.get("allow"), "GET");
  await other.body?.cancel();
});

Deno.test("the number of polls that wait is bounded, and those that wait go on", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const { DevicePolls } = await import("./device_polls.ts");
  const answers: number[] = [];
  using polls = new DevicePolls(harness.ports, {
    unauthorized: () => new Response(null, { status: 401 }),
    disabled: () => new Response(null, { status: 401 }),
  });
  const request = new Request("http://localhost/x?waitMs=60000");
  const posterOf = (device: string) => {
    const target = { partition: 0, head: new Uint8Array() };
    return { product: "pump", device, key: `pump/${device}`, target };
  };
  harness.ports.ingress.offer = () => undefined; // Nobody needs to be told here.
  for (let i = 0; i < HTTP_LIMITS.pollsMax; i++) {
    const answer = polls.start(request, posterOf(`d-${i}`), "/x", "r") as Promise<Response>;
    void answer.then(({ status }) => answers.push(status));
  }
  const more = polls.start(request, posterOf("one-more"), "/x", "r");
  assert.ok(more instanceof Response);
  assert.equal(more.status, 503);
  assert.ok(more.headers.get("retry-after"));
  await more.body?.cancel();
  const again = polls.start(request, posterOf("d-0"), "/x", "r");
  assert.ok(again instanceof Promise, "one in place of one");
  await harness.clock.settle();
  assert.deepEqual(answers, [409]);
  assert.equal(polls.waiting, HTTP_LIMITS.pollsMax);
});
