import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { type Clock, systemClock } from "../../runtime/clock.ts";
import { ApiClient } from "./api_client.ts";

Deno.test("a POST whose answer was lost is sent again under the same key, and waited for", async () => {
  const keys: (string | undefined)[] = [];
  const answers = ["none", 409, 201] as const;
  const server = createServer((request, response) => {
    keys.push(request.headers["idempotency-key"] as string | undefined);
    const answer = request.method === "GET" ? 200 : answers[keys.length - 1]!;
    if (answer === "none") return void request.socket.destroy();
    response.writeHead(answer, answer === 409 ? { "retry-after": "1" } : {});
    response.end('{"id":"j1"}');
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  // Waits are over at once.
  const clock: Clock = {
    ...systemClock,
    after: (_, callback) => {
      systemClock.soon(callback);
      return () => {};
    },
  };
  const credentials = { type: "key", key: "roost_x" } as const;
  const api = await ApiClient.open(`http://127.0.0.1:${port}`, credentials, clock);
  assert.deepEqual(await api.request("POST", "/api/v1/jobs/device-import", "{}"), { id: "j1" });
  assert.equal(keys.length, 3);
  assert.ok(keys[0] !== undefined && keys.every((key) => key === keys[0]));
  await api.request("GET", "/api/v1/jobs/j1");
  assert.equal(keys[3], undefined);
  server.close();
  server.closeAllConnections();
});
