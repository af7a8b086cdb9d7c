import assert from "node:assert/strict";
import { AwayRates } from "./away_rates.ts";
import { Bucket } from "./rate_meter.ts";

/** Used up at 0 ms, full again after one second. */
function used() {
  const messages = new Bucket(10, 10, 0);
  messages.take(10);
  return { messages, bytes: undefined };
}

Deno.test("rates that are full again are forgotten, others go on where they were, once", () => {
  const rates = new AwayRates(10);
  const first = used();
  rates.keep("p/a", first, 0);
  rates.keep("p/b", { messages: new Bucket(10, 10, 0), bytes: undefined }, 0);
  assert.equal(rates.size, 1, "a full one is not kept");
  assert.equal(rates.take("p/a"), first);
  assert.equal(rates.take("p/a"), undefined);
  rates.keep("p/a", used(), 0);
  rates.keep("p/c", { messages: undefined, bytes: new Bucket(10, 10, 0) }, 900);
  assert.equal(rates.size, 1);
  const late = new Bucket(10, 10, 1_000);
  late.take(5);
  rates.keep("p/d", { messages: late, bytes: undefined }, 1_000);
  assert.deepEqual([rates.size, rates.take("p/a")], [1, undefined], "full after a second");
});

Deno.test("no more than the bound are kept, the longest away give way", () => {
  const rates = new AwayRates(3);
  for (const device of ["a", "b", "c", "d", "e"]) rates.keep(`p/${device}`, used(), 0);
  assert.equal(rates.size, 3);
  const isKept = (device: string) => rates.take(`p/${device}`) !== undefined;
  assert.deepEqual(["a", "b", "c", "d", "e"].map(isKept), [false, false, true, true, true]);
});
