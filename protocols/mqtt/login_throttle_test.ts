import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { LoginThrottle } from "./login_throttle.ts";

Deno.test("ten failures within a minute block a network until the minute is over", () => {
  const throttle = new LoginThrottle();
  for (let i = 0; i < 9; i++) throttle.fail("10.0.0.1", i);
  assert.equal(throttle.isBlocked("10.0.0.1", 10), false);
  throttle.fail("10.0.0.1", 10);
  assert.equal(throttle.isBlocked("10.0.0.1", 59_999), true);
  assert.equal(throttle.isBlocked("10.0.0.2", 20), false);
  assert.equal(throttle.isBlocked("10.0.0.1", 60_000), false);
  throttle.fail("10.0.0.1", 60_000);
  assert.equal(throttle.isBlocked("10.0.0.1", 60_001), false);
});

Deno.test("the table of networks is bounded; the oldest gives way", () => {
  const throttle = new LoginThrottle();
  for (let i = 0; i < 10; i++) throttle.fail("victim", 0);
  for (let i = 0; i < LIMITS.loginFailureAddressesMax - 1; i++) throttle.fail(`a${i}`, 1);
  assert.equal(throttle.isBlocked("victim", 2), true);
  throttle.fail("one more", 2);
  assert.equal(throttle.isBlocked("victim", 2), false);
});
