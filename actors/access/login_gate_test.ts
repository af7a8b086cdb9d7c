import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { seededRandom } from "../../runtime/random.ts";
import { openTestRegistry } from "../../test/support/test_registry.ts";
import { type LoginAttempt, LoginGate } from "./login_gate.ts";

async function gateFor(user = "owner") {
  const registry = await openTestRegistry();
  const gate = new LoginGate({ ...registry, random: seededRandom(3) });
  await registry.store.db.insertInto("users").values({
    id: "u1",
    project: "default",
    name: user,
    role: "owner",
    enabled: 1,
    password: "",
    version: 1,
    created_at: 0,
    updated_at: 0,
    last_login_at: null,
  }).execute();
  const remember = (browser?: string) =>
    registry.store.db.transaction().execute((trx) => gate.remember(trx, "u1", browser));
  const fail = async (attempt: LoginAttempt, times: number) => {
    for (let i = 0; i < times; i++) await gate.enter(attempt);
  };
  return { registry, gate, remember, fail };
}

Deno.test("outsiders never hold up a browser that has logged in before", async () => {
  const { registry, gate, remember, fail } = await gateFor();
  await using _ = registry;
  const browser = await remember();
  for (let i = 0; i < 200; i++) {
    await fail({ name: "owner", remote: `192.0.2.${i}` }, 1);
    await fail({ name: "owner", remote: "198.51.100.7" }, 1);
  }
  const stranger = { name: "owner", remote: "203.0.113.1" };
  assert.equal((await gate.enter(stranger)).isOpen, false, "strangers wait");
  const sameAddress = { name: "owner", remote: "198.51.100.7", browser };
  const entered = await gate.enter(sameAddress);
  assert.ok(entered.isOpen && entered.isKnownBrowser, "also from the address of the outsiders");
  entered.succeeded();
  assert.equal((await gate.enter(stranger)).isOpen, false, "its success opens nothing to them");
});

Deno.test("a known browser that guesses waits, too, and only for its own user", async () => {
  const { registry, gate, remember, fail } = await gateFor();
  await using _ = registry;
  const browser = await remember();
  const attempt = { name: "owner", remote: "192.0.2.1", browser };
  await fail(attempt, 6);
  const waiting = await gate.enter(attempt);
  assert.ok(!waiting.isOpen && waiting.retryAfterMs === 1_000);
  assert.ok((await gate.enter({ name: "owner", remote: "192.0.2.1" })).isOpen);
  const other = await gate.enter({ ...attempt, name: "ann" });
  assert.ok(other.isOpen && !other.isKnownBrowser, "for another name it is a stranger");
  for (const forged of ["", "x".repeat(43), "'", "\ud800", "x".repeat(100_000)]) {
    const entered = await gate.enter({ name: "bob", remote: forged.slice(0, 9), browser: forged });
    assert.ok(entered.isOpen && !entered.isKnownBrowser);
  }
});

Deno.test("a person has a bounded number of known browsers: the oldest give way", async () => {
  const { registry, gate, remember } = await gateFor();
  await using _ = registry;
  const isKnown = async (browser: string) => {
    const entered = await gate.enter({ name: "owner", remote: browser, browser });
    assert.ok(entered.isOpen);
    entered.succeeded();
    return entered.isKnownBrowser;
  };
  const next = async (browser?: string) => {
    await registry.clock.advance(1);
    return await remember(browser);
  };
  const first = await next();
  const second = await next();
  for (let i = 0; i < LIMITS.browsersPerUserMax - 2; i++) await next();
  assert.equal(await next(first), first, "a known one keeps its token, and is young again");
  await next();
  assert.deepEqual([await isKnown(first), await isKnown(second)], [true, false]);
});
