import assert from "node:assert/strict";
import type { DeviceDirectory } from "../../actors/device/directory.ts";
import { createManualClock } from "../../test/support/manual_clock.ts";
import { DeviceLogins } from "./device_logins.ts";

const NONE = { check: () => ({ ok: false, code: "bad_credentials" } as const) };

type Revoked = (product: string, device: string, reason: string) => void;

/** Knows every device by the secret `s`, and counts how often it is asked. */
function directoryOf() {
  let revoke: Revoked = () => {};
  const asked: string[] = [];
  const directory = {
    login(product: string, device: string, secret: string) {
      asked.push(`${device}:${secret}`);
      return secret === "s:1"
        ? { ok: true, login: { product, device } }
        : { ok: false, code: "bad_credentials" };
    },
    onRevoked(listener: Revoked) {
      revoke = listener;
      return () => revoke = () => {};
    },
  } as unknown as DeviceDirectory;
  return { directory, asked, revoke: (device: string) => revoke("p", device, "device_deleted") };
}

const headerOf = (device: string, secret = "s:1") => `Basic ${btoa(`p/${device}:${secret}`)}`;

Deno.test("known logins are bounded, the least recently used one leaves first", () => {
  const { directory, revoke } = directoryOf();
  using logins = new DeviceLogins({
    directory,
    tokens: NONE,
    clock: createManualClock(),
    partitionOf: () => 0,
    entriesMax: 3,
  });
  for (const device of ["a", "b", "c"]) {
    assert.ok(logins.login(headerOf(device), "p", device).ok, "a secret may hold a colon");
  }
  assert.equal(logins.known(headerOf("a"))?.device, "a");
  logins.login(headerOf("d"), "p", "d");
  assert.equal(logins.size, 3);
  assert.equal(logins.known(headerOf("b")), undefined, "used longest ago");
  assert.equal(logins.known(headerOf("a"))?.device, "a");
  revoke("a");
  assert.equal(logins.known(headerOf("a")), undefined);
  assert.equal(logins.size, 2);
});

Deno.test("a login is looked at again after a minute", async () => {
  const { directory } = directoryOf();
  const clock = createManualClock();
  using logins = new DeviceLogins({ directory, tokens: NONE, clock });
  logins.login(headerOf("a"), "p", "a");
  await clock.advance(59_999);
  assert.ok(logins.known(headerOf("a")));
  await clock.advance(1);
  assert.equal(logins.known(headerOf("a")), undefined);
});

Deno.test("whatever is wrong with a header, the directory is asked all the same", () => {
  const { directory, asked } = directoryOf();
  using logins = new DeviceLogins({ directory, tokens: NONE, clock: createManualClock() });
  const wrong = ["", "Basic", "Basic !!!", "Basic /w==", `Basic ${"A".repeat(2_000)}`]
    .concat([headerOf("b"), headerOf("a", ""), `Basic ${btoa("p/a")}`]);
  for (const header of wrong) {
    assert.deepEqual(logins.login(header, "p", "a"), { ok: false, code: "bad_credentials" });
  }
  assert.deepEqual(asked, wrong.map(() => "a:"));
  assert.equal(logins.size, 0);
});
