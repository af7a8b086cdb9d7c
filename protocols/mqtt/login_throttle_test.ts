import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { LoginThrottle, networkOf } from "./login_throttle.ts";

Deno.test("ten failures within a minute block an address until the minute is over", () => {
  const throttle = new LoginThrottle();
  for (let i = 0; i < 9; i++) throttle.fail("10.0.0.1", i);
  assert.equal(throttle.isBlocked("10.0.0.1", 10), false);
  throttle.fail("::ffff:10.0.0.1", 10);
  assert.equal(throttle.isBlocked("10.0.0.1", 59_999), true);
  assert.equal(throttle.isBlocked("10.0.0.2", 20), false);
  assert.equal(throttle.isBlocked("10.0.0.1", 60_000), false);
  throttle.fail("10.0.0.1", 60_000);
  assert.equal(throttle.isBlocked("10.0.0.1", 60_001), false);
});

Deno.test("a peer's whole IPv6 network is one address", () => {
  assert.equal(networkOf("2001:db8::1"), networkOf("2001:db8:0:0:ffff::2"));
  assert.notEqual(networkOf("2001:db8:0:1::1"), networkOf("2001:db8:0:2::1"));
  assert.equal(networkOf("::1"), "0:0:0:0");
  assert.equal(networkOf("fe80::1%eth0"), "fe80:0:0:0");
});

Deno.test("the table of addresses is bounded; the oldest gives way", () => {
  const throttle = new LoginThrottle();
  for (let i = 0; i < 10; i++) throttle.fail("victim", 0);
  for (let i = 0; i < LIMITS.loginFailureAddressesMax - 1; i++) throttle.fail(`a${i}`, 1);
  assert.equal(throttle.isBlocked("victim", 2), true);
  throttle.fail("one more", 2);
  assert.equal(throttle.isBlocked("victim", 2), false);
});
