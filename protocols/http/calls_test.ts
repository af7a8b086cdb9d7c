/** Service calls over the API, with the actors behind it. */
import assert from "node:assert/strict";
import type { CallAnswer } from "../../actors/command/messages.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { HttpHarness, START_MS } from "../../test/support/http_harness.ts";
import { waitFor } from "../../test/support/wait.ts";

const DEVICE = "/api/v1/devices/pump/p-1";
const ADDRESS = "device/pump/p-1";
const RESTART = `${DEVICE}/services/restart`;
const MODEL = {
  properties: [],
  services: [{
    identifier: "restart",
    inputData: [
      {
        identifier: "delay",
        dataType: { type: "int", specs: { min: 0, max: 60 } },
        required: true,
      },
      { identifier: "why", dataType: { type: "text" } },
    ],
    outputData: [{ identifier: "at", dataType: { type: "date" } }],
  }],
};

// deno-lint-ignore no-explicit-any -- tests know what they ask for
type Answer = { status: number; headers: Headers; body: any };

interface Fixture extends AsyncDisposable {
  readonly harness: HttpHarness;
  call(method: string, path: string, json?: unknown): Promise<Answer>;
  /** The device is connected and takes calls. */
  connect(): void;
  reply(callId: string, answer: CallAnswer): void;
  /** Ids that went to the connection, in order; taken. */
  sent(): string[];
}

async function opened(model?: unknown): Promise<Fixture> {
  const harness = await HttpHarness.start();
  await harness.provision(model);
  const owner = await harness.login("owner");
  let epoch = 0;
  return {
    harness,
    async call(method, path, json) {
      const answer = await harness.send(method, path, { headers: owner, json });
      const text = await answer.text();
      const body = text === "" ? undefined : JSON.parse(text);
      return { status: answer.status, headers: answer.headers, body };
    },
    connect() {
      const session = `a.${++epoch}`;
      harness.ingress.handle(ADDRESS, { type: "connected", session, epoch, wire: "mqtt" });
      harness.ingress.handle(ADDRESS, { type: "deliver", session, calls: true });
    },
    reply: (callId, answer) => {
      harness.ingress.handle(ADDRESS, { type: "reply", callId, answer });
    },
    sent: () =>
      harness.ingress.downlinks.splice(0).filter(({ message }) => message.type === "call")
        .map(({ message }) => (message as unknown as { callId: string }).callId),
    [Symbol.asyncDispose]: () => harness[Symbol.asyncDispose](),
  };
}

/** The id of the call that the request makes, once it has gone out. */
function sentCall(fixture: Fixture): Promise<string> {
  return waitFor(() => fixture.sent()[0], { what: "the call to go out", withinMs: 5_000 });
}

/** Time passes until the request is answered. */
async function answered(fixture: Fixture, asked: Promise<Answer>): Promise<Answer> {
  let answer: Answer | undefined;
  asked.then((value) => answer = value);
  const { clock } = fixture.harness;
  return await waitFor(async () => {
    await clock.advance(10);
    return answer;
  }, { what: "the answer", withinMs: 10_000, everyMs: 1 });
}

Deno.test("a caller waits for the answer of the device, whatever it is", async () => {
  await using fixture = await opened(MODEL);
  fixture.connect();
  const asked = fixture.call("POST", RESTART, { input: { delay: 3 } });
  const callId = await sentCall(fixture);
  fixture.reply(callId, { ok: true, output: { at: START_MS } });
  const { status, body } = await asked;
  assert.deepEqual([status, body], [200, { callId, ok: true, output: { at: START_MS } }]);
  const refusing = fixture.call("POST", RESTART, { input: { delay: 0 }, timeoutMs: 60_000 });
  const second = await sentCall(fixture);
  fixture.reply(second, { ok: false, error: "jammed" });
  assert.deepEqual((await refusing).body, { callId: second, ok: false, error: "jammed" });
  const row = await fixture.call("GET", `${DEVICE}/calls/${callId}`);
  assert.deepEqual(row.body, {
    ...{ callId, product: "pump", device: "p-1", service: "restart", status: "answered" },
    ...{ mode: "sync", input: { delay: 3 }, output: { at: START_MS }, createdBy: "default-owner" },
    ...{ createdAt: START_MS, sentAt: START_MS, answeredAt: START_MS },
    expiresAt: START_MS + 5_000,
  });
});

Deno.test("no answer in time is 504, and says whether the device has the call", async () => {
  await using fixture = await opened();
  const { harness, call } = fixture;
  const { status, body } = await answered(fixture, call("POST", RESTART, { timeoutMs: 250 }));
  assert.equal(status, 504);
  assert.equal(body.type, "urn:roost:problem:not-answered");
  assert.match(body.detail, /within 250 ms: the device was not connected for calls/);
  assert.ok(body.detail.includes(body.callId));
  const stored = (await call("GET", `${DEVICE}/calls/${body.callId}`)).body;
  assert.equal(stored.status, "expired");

  fixture.connect();
  assert.deepEqual(fixture.sent(), [], "it expired");
  const late = call("POST", RESTART, { timeoutMs: 1 });
  const callId = await sentCall(fixture);
  await harness.clock.advance(1);
  const answer = await late;
  assert.equal(answer.status, 504);
  assert.equal(answer.body.callId, callId);
  assert.match(answer.body.detail, /the device has it/);
  fixture.reply(callId, { ok: true, output: {} });
  assert.equal((await call("GET", `${DEVICE}/calls/${callId}`)).body.status, "expired");
});

Deno.test("an actor that says nothing is 504 with the id: its outcome is unknown", async () => {
  await using fixture = await opened();
  fixture.harness.ingress.isSilent = true;
  const answer = await fixture.call("POST", RESTART, { expiresAt: START_MS + 1_000 });
  assert.equal(answer.status, 504);
  assert.equal(answer.body.type, "urn:roost:problem:outcome-unknown");
  assert.ok(answer.body.detail.includes(answer.body.callId));
});

Deno.test("an answer whose word was lost is found where calls are kept", async () => {
  await using fixture = await opened();
  const { harness, call } = fixture;
  fixture.connect();
  harness.ingress.onPublished = () => {};
  const asked = call("POST", RESTART, { timeoutMs: 100 });
  const callId = await sentCall(fixture);
  fixture.reply(callId, { ok: true, output: { done: 1 } });
  assert.deepEqual((await answered(fixture, asked)).body, {
    callId,
    ok: true,
    output: { done: 1 },
  });
});

Deno.test("a queued call waits for the device, goes out in order, and can be cancelled", async () => {
  await using fixture = await opened(MODEL);
  const { call } = fixture;
  const ids: string[] = [];
  for (const delay of [1, 2, 3]) {
    const input = { input: { delay }, expiresAt: START_MS + 60_000 };
    const { status, headers, body } = await call("POST", RESTART, input);
    assert.equal(status, 202);
    assert.equal(headers.get("location"), `${DEVICE}/calls/${body.callId}`);
    assert.equal((await call("GET", headers.get("location")!)).body.status, "queued");
    ids.push(body.callId);
  }
  const path = `${DEVICE}/calls/${ids[1]}`;
  assert.equal((await call("DELETE", path)).status, 204);
  assert.equal((await call("DELETE", path)).status, 204, "twice is harmless");
  assert.equal((await call("GET", path)).body.status, "cancelled");
  fixture.connect();
  assert.deepEqual(fixture.sent(), [ids[0], ids[2]]);
  fixture.reply(ids[0]!, { ok: true, output: {} });
  const late = await call("DELETE", `${DEVICE}/calls/${ids[0]}`);
  assert.equal(late.status, 409);
  assert.match(late.body.detail, /it is answered/);
  const list = async (query: string) => {
    const { body } = await call("GET", `${DEVICE}/calls?${query}`);
    return body.items.map(({ status }: { status: string }) => status).sort();
  };
  assert.deepEqual(await list(""), ["answered", "cancelled", "sent"]);
  assert.deepEqual(await list("status=sent"), ["sent"]);
  const first = (await call("GET", `${DEVICE}/calls?limit=2`)).body;
  const rest = (await call("GET", `${DEVICE}/calls?limit=2&cursor=${first.nextCursor}`)).body;
  const all = [...first.items, ...rest.items].map(({ callId }) => callId).sort();
  assert.deepEqual(all, ids.toSorted());
  assert.equal(rest.nextCursor, null);
  assert.equal((await call("GET", `${DEVICE}/calls?cursor=WyJ4Il0`)).status, 400);
  assert.equal((await call("GET", `${DEVICE}/calls?status=lost`)).status, 400);
  assert.equal((await call("GET", `${DEVICE}/calls/nothing`)).status, 404);
  assert.equal((await call("DELETE", `${DEVICE}/calls/nothing`)).status, 204);
});

Deno.test("a caller whose call is cancelled is told so", async () => {
  await using fixture = await opened();
  fixture.connect();
  const asked = fixture.call("POST", RESTART, {});
  const callId = await sentCall(fixture);
  assert.equal((await fixture.call("DELETE", `${DEVICE}/calls/${callId}`)).status, 204);
  const { status, body } = await asked;
  assert.equal(status, 409);
  assert.equal(body.callId, callId);
});

Deno.test("input off the model is refused with its path and bound, and goes nowhere", async () => {
  await using fixture = await opened(MODEL);
  const { call } = fixture;
  const cases: [unknown, string, RegExp][] = [
    [{ input: { delay: 61 } }, "input.delay", /61.*at most 60/],
    [{ input: { delay: 1, why: 7 } }, "input.why", /7.*text/],
    [{ input: { delay: 1, force: true } }, "input.force", /no such field/],
    [{ input: {} }, "input.delay", /required/],
    [{}, "input.delay", /required/],
    [{ input: 3 }, "input", /./],
    [{ input: { delay: 1 }, timeoutMs: 1, expiresAt: START_MS + 9 }, "expiresAt", /both/],
    [{ input: { delay: 1 }, timeoutMs: 0 }, "timeoutMs", /./],
    [{ input: { delay: 1 }, timeoutMs: 60_001 }, "timeoutMs", /./],
    [{ input: { delay: 1 }, expiresAt: START_MS }, "expiresAt", /past/],
    [
      { input: { delay: 1 }, expiresAt: START_MS + 40 * 86_400_000 },
      "expiresAt",
      /callExpiryMsMax/,
    ],
    [{ input: { delay: 1 }, more: 1 }, "more", /./],
  ];
  for (const [json, path, message] of cases) {
    const { status, body } = await call("POST", RESTART, json);
    assert.equal(status, 400, JSON.stringify(json));
    assert.equal(body.errors[0].path, path, JSON.stringify(body));
    assert.match(body.errors[0].message, message);
  }
  assert.equal((await call("POST", `${DEVICE}/services/explode`, {})).status, 404);
  assert.equal((await call("POST", "/api/v1/devices/pump/p-9/services/restart", {})).status, 404);
  assert.deepEqual((await call("GET", `${DEVICE}/calls`)).body.items, []);
});

Deno.test("calls beyond the bound, of a disabled or a suspended device are refused", async () => {
  await using fixture = await opened();
  const { harness, call } = fixture;
  const queued = { expiresAt: START_MS + 60_000 };
  for (let i = 0; i < LIMITS.callsPerDeviceMax; i++) {
    assert.equal((await call("POST", RESTART, queued)).status, 202);
  }
  for (const json of [queued, { timeoutMs: 1_000 }]) {
    const full = await call("POST", RESTART, json);
    assert.equal(full.status, 429);
    assert.equal(full.headers.get("retry-after"), "1");
    assert.match(full.body.detail, /callsPerDeviceMax is 64/);
  }
  const text = "x".repeat(LIMITS.callInputBytesMax);
  const large = await call("POST", RESTART, { input: { text }, ...queued });
  assert.equal(large.status, 400);
  assert.match(large.body.detail, /callInputBytesMax is 16384/);
  await harness.devices.update("pump", "p-1", { enabled: false });
  assert.equal((await call("POST", RESTART, queued)).status, 409);
  await harness.devices.update("pump", "p-1", { enabled: true });
  for (const address of [ADDRESS, "command/pump/p-1"]) {
    harness.suspended.add(address);
    const refused = await call("POST", RESTART, queued);
    assert.equal(refused.body.type, "urn:roost:problem:suspended");
    harness.suspended.clear();
  }
});
