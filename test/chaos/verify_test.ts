import assert from "node:assert/strict";
import { RoostApi } from "../support/roost_api.ts";
import { assertBalanced, assertExactlyOnce } from "./verify.ts";

const DEVICE = { product: "p", device: "d", secret: "s" };

Deno.test("verification passes what is there once and in order, over pages", async () => {
  await using served = serveHistory([1, 2, 3, 4, 5], 5);
  assert.equal(await verify(served.api, [1, 2, 4]), 5);
});

Deno.test("verification notices a missing message", async () => {
  await using served = serveHistory([1, 2, 4], 4);
  await assert.rejects(verify(served.api, [1, 2, 3]), /"missing":1,"first":\[3\]/);
});

Deno.test("verification notices a message that is stored twice", async () => {
  await using served = serveHistory([1, 2, 2, 3], 3);
  await assert.rejects(verify(served.api, [1, 2]), /stored twice/);
});

Deno.test("verification notices messages out of order", async () => {
  await using served = serveHistory([1, 3, 2], 2);
  await assert.rejects(verify(served.api, [1, 2]), /out of order/);
});

Deno.test("verification notices a last value that is not the last of history", async () => {
  await using served = serveHistory([1, 2, 3], 2);
  await assert.rejects(verify(served.api, [1, 2]), /last value/);
});

Deno.test("each ledger term that is off by one is noticed", () => {
  const right = { accepted: 10, processed: 4, pending: 3, deadLettered: 2, rolledBack: 1 };
  const total = right;
  assertBalanced({ total, refused: {}, partitions: [{ partition: 0, ...right }] });
  for (const term of Object.keys(right) as (keyof typeof right)[]) {
    const wrong = { ...right, [term]: right[term] + 1 };
    const partitions = [{ partition: 0, ...wrong }];
    assert.throws(() => assertBalanced({ total, refused: {}, partitions }), /does not add up/);
    assert.throws(() => assertBalanced({ total: wrong, refused: {}, partitions: [] }), /total/);
  }
});

function verify(api: RoostApi, acknowledged: readonly number[]): Promise<number> {
  return assertExactlyOnce(api, { device: DEVICE, acknowledged }, 0, 100);
}

/** The two routes that verification asks, answering pages of two points. */
function serveHistory(sequences: readonly number[], last: number) {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const url = new URL(request.url);
    if (url.pathname.endsWith("/properties")) {
      return Response.json({ seq: { value: last, at: 1 } });
    }
    const from = Number(url.searchParams.get("cursor") ?? 0);
    const seq = sequences.slice(from, from + 2).map((sequence) => [1, sequence]);
    const nextCursor = from + 2 < sequences.length ? String(from + 2) : null;
    return Response.json({ series: { seq }, nextCursor });
  });
  return {
    api: RoostApi.withKeys(`http://127.0.0.1:${server.addr.port}`, ["roost_x"]),
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
