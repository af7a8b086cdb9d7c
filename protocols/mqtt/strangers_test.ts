import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { Strangers } from "./strangers.ts";

const MAX = LIMITS.mqttStrangersPerNetworkMax;

Deno.test("strangers are bounded by network, and leave nothing behind", () => {
  const strangers = new Strangers();
  for (let i = 0; i < MAX; i++) assert.equal(strangers.add("192.0.2.1"), true);
  assert.equal(strangers.add("192.0.2.1"), false);
  assert.equal(strangers.add("192.0.2.2"), true);
  strangers.remove("192.0.2.1");
  assert.equal(strangers.add("192.0.2.1"), true);
  assert.equal(strangers.add("192.0.2.1"), false);
  assert.equal(strangers.count, MAX + 1);
  for (let i = 0; i < MAX; i++) strangers.remove("192.0.2.1");
  strangers.remove("192.0.2.2");
  assert.equal(strangers.count, 0);
  for (let i = 0; i < MAX; i++) assert.equal(strangers.add("192.0.2.1"), true);
});
