import assert from "node:assert/strict";
import { HttpHarness, START_MS } from "../../test/support/http_harness.ts";

const PATH = "/api/v1/devices/pump/p-1/events";

Deno.test("events are read newest first, by name and time, page by page", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const headers = await harness.login("viewer");
  const events = Array.from({ length: 10 }, (_, offset) => ({
    device: "pump/p-1",
    event: offset % 2 === 0 ? "hot" : "cold",
    atMs: START_MS + offset,
    partition: 0,
    offset,
    body: new TextEncoder().encode(JSON.stringify({ n: offset })),
  }));
  await harness.telemetry.write({ samples: [], events, cursor: 1 });
  const read = async (query: string) => {
    const answer = await harness.send("GET", PATH + query, { headers });
    return { status: answer.status, body: await answer.json() };
  };
  const first = await read("?limit=4");
  assert.deepEqual(first.body.items[0], { event: "cold", at: START_MS + 9, data: { n: 9 } });
  assert.equal(first.body.items.length, 4);
  const next = await read(`?limit=6&cursor=${encodeURIComponent(first.body.nextCursor)}`);
  assert.deepEqual(next.body.items.map(({ at }: { at: number }) => at - START_MS), [
    ...[5, 4, 3, 2, 1, 0],
  ]);
  assert.equal(next.body.nextCursor, null);
  const some = await read(`?event=hot&from=${START_MS + 2}&to=${START_MS + 6}`);
  assert.deepEqual(some.body.items.map(({ data }: { data: { n: number } }) => data.n), [4, 2]);
  assert.deepEqual((await read("?event=never")).body, { items: [], nextCursor: null });
  const refused = ["?from=5&to=4", "?limit=0", "?limit=501", "?cursor=x", "?event=a b", "?from=-1"];
  for (const query of [...refused, "?event=", "?at=1", "?to=NaN", "?cursor=AAAA"]) {
    const answer = await read(query);
    assert.equal(answer.status, 400, query);
    assert.equal(answer.body.type, "urn:roost:problem:invalid", query);
  }
  const other = await harness.send("GET", "/api/v1/devices/pump/p-2/events", { headers });
  assert.equal(other.status, 404);
  await other.body!.cancel();
});
