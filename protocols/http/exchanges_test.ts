import assert from "node:assert/strict";
import { createManualClock } from "../../test/support/manual_clock.ts";
import { type Exchange, Exchanges } from "./exchanges.ts";

const BOUNDS = { deadlineMs: 100, openMax: 3, readingBytesMax: 10 };
const late = (exchange: Exchange) =>
  new Response(null, { status: exchange.append === 0 ? 408 : 503 });

Deno.test("exchanges hold no more requests and bytes than their bounds, and give both back", () => {
  const exchanges = new Exchanges(createManualClock(), late, BOUNDS);
  const answers: number[] = [];
  const start = (bytes: number) =>
    exchanges.start("/", "p/d", bytes, (to) => answers.push(to.status));
  const first = start(6)!;
  assert.equal(start(5), undefined, "the bytes being read are bounded");
  const second = start(4)!;
  exchanges.received(first);
  assert.equal(exchanges.readingBytes, 4);
  const third = start(1)!;
  assert.equal(start(0), undefined, "the requests are bounded");
  for (const exchange of [third, first, second, second]) {
    exchanges.finish(exchange, new Response(null, { status: 204 }));
  }
  assert.deepEqual(answers, [204, 204, 204], "each is answered once");
  assert.deepEqual([exchanges.open, exchanges.readingBytes], [0, 0]);
  exchanges.close();
});

Deno.test("each exchange is late by its own start, whatever it waits for", async () => {
  const clock = createManualClock();
  const exchanges = new Exchanges(clock, late, BOUNDS);
  const answers: string[] = [];
  const start = (name: string) =>
    exchanges.start(
      "/",
      "p/d",
      1,
      (to) => answers.push(`${name} ${to.status} at ${clock.nowMs()}`),
    )!;
  start("a");
  await clock.advance(40);
  const carried = start("b");
  exchanges.carry(carried, 1, new Response());
  const settled = start("c");
  exchanges.carry(settled, 2, new Response(null, { status: 202 }));
  await clock.advance(70);
  assert.deepEqual(answers, ["a 408 at 100"]);
  await clock.advance(29);
  exchanges.finish(carried, new Response(null, { status: 200 }));
  exchanges.settle(2);
  assert.deepEqual(answers.slice(1), ["b 200 at 139", "c 202 at 139"]);
  await clock.advance(1_000);
  assert.equal(answers.length, 3);
  assert.equal(clock.pending(), 0, "no timer is left");
});
