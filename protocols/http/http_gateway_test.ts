import assert from "node:assert/strict";
import { systemClock } from "../../runtime/clock.ts";
import { UnavailableError } from "../../runtime/errors.ts";
import { basic, HttpHarness, SECRET } from "../../test/support/http_harness.ts";
import { within } from "../../test/support/wait.ts";
import { startHttpGateway } from "./http_gateway.ts";

const OPTIONS = { hostname: "127.0.0.1", port: 0 };

Deno.test("the gateway serves devices and the API on one port, and drains on dispose", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const ports = { ...harness.ports, clock: systemClock };
  const gateway = await startHttpGateway({ ...OPTIONS, ports });
  const url = `http://127.0.0.1:${gateway.port}`;
  const live = await fetch(`${url}/livez`);
  assert.deepEqual(await live.json(), { status: "alive" });
  const headers = basic("pump/p-1", SECRET);
  const post = () =>
    fetch(`${url}/ingest/v1/pump/p-1/properties`, { method: "POST", headers, body: '{"t":1}' });
  const answer = await post();
  assert.equal(answer.status, 202);
  assert.deepEqual(await answer.json(), { accepted: 1 });
  harness.ingress.isAutomatic = false;
  const waiting = post();
  await within(offered(harness, 2), "the second post is offered", 5_000);
  const disposed = gateway[Symbol.asyncDispose]();
  harness.ingress.settle();
  assert.equal((await waiting).status, 202, "what was in flight is answered");
  await (await waiting).body?.cancel();
  await disposed;
  await gateway[Symbol.asyncDispose]();
  await gateway.done;
  await assert.rejects(fetch(`${url}/livez`));
});

Deno.test("an answer in one piece has its length, compressed or not", async () => {
  await using harness = await HttpHarness.start();
  const ports = { ...harness.ports, clock: systemClock };
  await using gateway = await startHttpGateway({ ...OPTIONS, ports });
  for (const coding of ["identity", "gzip"]) {
    const live = await fetch(`http://127.0.0.1:${gateway.port}/livez`, {
      headers: { "accept-encoding": coding },
    });
    const { length } = await live.bytes();
    assert.equal(live.headers.get("content-length"), String(length), coding);
  }
});

Deno.test("an address that is taken is told as such", async () => {
  await using harness = await HttpHarness.start();
  const ports = { ...harness.ports, clock: systemClock };
  await using gateway = await startHttpGateway({ ...OPTIONS, ports });
  const taken = startHttpGateway({ ...OPTIONS, port: gateway.port, ports });
  await assert.rejects(taken, UnavailableError);
});

Deno.test("a client that goes away in mid-request disturbs nobody", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const ports = { ...harness.ports, clock: systemClock };
  await using gateway = await startHttpGateway({ ...OPTIONS, ports });
  const { authorization } = basic("pump/p-1", SECRET);
  const half = "POST /ingest/v1/pump/p-1/properties HTTP/1.1\r\nHost: x\r\n" +
    `Authorization: ${authorization}\r\nContent-Length: 100\r\n\r\n{"t":`;
  for (let i = 0; i < 5; i++) {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: gateway.port });
    await connection.write(new TextEncoder().encode(half));
    connection.close();
  }
  const live = await fetch(`http://127.0.0.1:${gateway.port}/livez`);
  assert.equal(live.status, 200);
  await live.body?.cancel();
  await within(untilPosts(gateway, 0), "the cut posts are given up", 5_000);
  assert.equal(harness.ingress.messages.length, 0);
});

Deno.test("dispose does not wait for ever for a request that never ends", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const ports = { ...harness.ports, clock: systemClock };
  const gateway = await startHttpGateway({ ...OPTIONS, ports, drainMs: 50 });
  const { authorization } = basic("pump/p-1", SECRET);
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: gateway.port });
  const half = "POST /ingest/v1/pump/p-1/properties HTTP/1.1\r\nHost: x\r\n" +
    `Authorization: ${authorization}\r\nContent-Length: 100\r\n\r\n{"t":`;
  await connection.write(new TextEncoder().encode(half));
  await within(untilPosts(gateway, 1), "the half post is waited for", 5_000);
  await within(Promise.resolve(gateway[Symbol.asyncDispose]()), "dispose", 5_000);
});

async function untilPosts(
  gateway: { figures(): { posts: number } },
  count: number,
): Promise<void> {
  while (gateway.figures().posts !== count) await nextTurn();
}

async function offered(harness: HttpHarness, count: number): Promise<void> {
  while (harness.ingress.messages.length < count) await nextTurn();
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => systemClock.soon(resolve));
}
