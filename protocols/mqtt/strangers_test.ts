import assert from "node:assert/strict";
import { Strangers } from "./strangers.ts";

const limits = {
  mqttStrangersPerNetworkMax: 3,
  mqttFreshStrangersPerNetworkMax: 5,
  mqttStrangerMs: 100,
};

function sockets(count: number) {
  return Array.from({ length: count }, () => ({ network: "192.0.2.1" }));
}

Deno.test("the oldest stranger of a network gives way, and none leaves anything behind", () => {
  const strangers = new Strangers<{ network: string }>(limits);
  const [a, b, c, d, e] = sockets(5);
  const other = { network: "192.0.2.2" };
  for (const one of [a!, b!, c!, other]) assert.equal(strangers.add(one, 0), undefined);
  assert.equal(strangers.add(d!, 100), a);
  strangers.remove(a!);
  assert.equal(strangers.count, 4, "one that gave way is not counted twice");
  strangers.remove(b!);
  assert.equal(strangers.add(b!, 100), undefined);
  assert.equal(strangers.add(e!, 100), c);
  for (const one of [b!, d!, e!, other]) strangers.remove(one);
  assert.equal(strangers.count, 0);
  for (const one of [a!, b!, c!]) assert.equal(strangers.add(one, 100), undefined);
});

Deno.test("strangers that came just now may be more, up to a bound", () => {
  const strangers = new Strangers<{ network: string }>(limits);
  const all = sockets(8);
  for (const one of all.slice(0, 5)) assert.equal(strangers.add(one, 0), undefined);
  assert.equal(strangers.add(all[5]!, 99), all[0]);
  assert.equal(strangers.add(all[6]!, 100), all[1]);
  for (const one of all.slice(2, 4)) strangers.remove(one);
  assert.equal(strangers.add(all[7]!, 100), all[4]);
  assert.equal(strangers.count, 3);
});
