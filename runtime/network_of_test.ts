import assert from "node:assert/strict";
import fc from "fast-check";
import { networkOf } from "./network_of.ts";

Deno.test("an IPv4 address is its own network, in every spelling within IPv6", () => {
  assert.equal(networkOf("192.0.2.1"), "192.0.2.1");
  for (
    const mapped of [
      "::ffff:192.0.2.1",
      "::FFFF:192.0.2.1",
      "::ffff:c000:201",
      "::ffff:c000:0201",
      "0:0:0:0:0:ffff:192.0.2.1",
      "0000:0000:0000:0000:0000:ffff:c000:0201",
      "0::ffff:192.0.2.1",
    ]
  ) assert.equal(networkOf(mapped), "192.0.2.1", mapped);
  assert.notEqual(networkOf("::ffff:192.0.2.2"), "192.0.2.1");
});

Deno.test("addresses of one /64 are one network, in every spelling; those of two are two", () => {
  const network = "2001:db8:0:7::/64";
  for (
    const address of [
      "2001:db8:0:7::",
      "2001:db8:0:7::1",
      "2001:DB8:0:7:ffff:ffff:ffff:ffff",
      "2001:0db8:0000:0007:0000:0000:0000:0001",
      "2001:db8:0:7::192.0.2.1",
      "2001:db8:0:7::1%eth0",
    ]
  ) assert.equal(networkOf(address), network, address);
  assert.notEqual(networkOf("2001:db8:0:8::1"), network);
  assert.notEqual(networkOf("2001:db9:0:7::1"), network);
  assert.equal(networkOf("fe80::1%eth0"), "fe80:0:0:0::/64");
  assert.equal(networkOf("::1"), "0:0:0:0::/64");
  assert.equal(
    networkOf("::ffff:0:192.0.2.1"),
    "0:0:0:0::/64",
    "not mapped: the 16 bits stand elsewhere",
  );
});

Deno.test("what is no address is its own network", () => {
  for (
    const text of ["", "unknown", ":", ":::", "1::2::3", "1:2:3", "::g", "::12345", "::1.2.3.256"]
  ) assert.equal(networkOf(text), text);
  assert.equal(networkOf("1:2:3:4:5:6:7:8:9"), "1:2:3:4:5:6:7:8:9");
  assert.equal(networkOf("1:2:3:4::5:6:7:8"), "1:2:3:4::5:6:7:8", "nothing is left out");
});

Deno.test("a network is that of the first four groups, and its own network", () => {
  const group = fc.integer({ min: 0, max: 0xffff });
  fc.assert(
    fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), group, (groups, other) => {
      const text = groups.map((one) => one.toString(16)).join(":");
      const network = networkOf(text);
      assert.equal(networkOf(network), network);
      if (groups.slice(0, 5).every((one) => one === 0)) return;
      const neighbour = [...groups.slice(0, 4), ...groups.slice(4, 7), other];
      assert.equal(networkOf(neighbour.map((one) => one.toString(16)).join(":")), network);
    }),
  );
});
