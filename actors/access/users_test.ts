import assert from "node:assert/strict";
import { systemRandom } from "../../runtime/random.ts";
import {
  openTestRegistry,
  TEST_NOW_MS,
  type TestRegistry,
} from "../../test/support/test_registry.ts";
import type { Outcome } from "../registry/outcome.ts";
import { PasswordHasher } from "./password.ts";
import { Sessions } from "./sessions.ts";
import { Users } from "./users.ts";

const PASSWORD = "a long password";
const REMOTE = "192.0.2.1";

function valueOf<T>(outcome: Outcome<T>): T {
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

function codeOf(outcome: Outcome<unknown>): string {
  assert.ok(!outcome.ok, "it was not refused");
  return outcome.code;
}

function accessOf({ store, clock }: TestRegistry) {
  const passwords = new PasswordHasher(systemRandom);
  const options = { store, clock, random: systemRandom, passwords };
  const users = new Users(options);
  const sessions = new Sessions(options);
  const login = async (name: string, password = PASSWORD) => {
    const opened = await sessions.login({ name, password, remote: REMOTE, agent: "a\nbrowser" });
    assert.ok(opened.ok, JSON.stringify(opened));
    return opened;
  };
  return { users, sessions, login };
}

Deno.test("a project is never left without an owner who can log in", async () => {
  await using registry = await openTestRegistry();
  const { users } = accessOf(registry);
  const make = async (name: string, role: "owner" | "operator") =>
    valueOf(await users.create({ name, role, password: PASSWORD }));
  const ann = await make("ann", "owner");
  await make("bob", "operator");
  const disabled = await make("cay", "owner");
  valueOf(await users.update("default", disabled.id, { enabled: false }));
  for (const patch of [{ enabled: false }, { role: "operator" }, { role: "viewer" }] as const) {
    assert.equal(codeOf(await users.update("default", ann.id, patch)), "in_use");
  }
  assert.equal(codeOf(await users.delete("default", ann.id)), "in_use");
  valueOf(await users.update("default", ann.id, { name: "anna", enabled: true, role: "owner" }));
  const dan = await make("dan", "owner");
  valueOf(await users.update("default", ann.id, { role: "viewer" }));
  assert.equal(codeOf(await users.update("default", dan.id, { enabled: false })), "in_use");
  valueOf(await users.update("default", disabled.id, { enabled: true }));
  assert.equal(valueOf(await users.delete("default", dan.id)), true);
  assert.equal(valueOf(await users.delete("default", dan.id)), false);
});

Deno.test("users are listed by name, counted, changed under their version", async () => {
  await using registry = await openTestRegistry();
  const { users, login } = accessOf(registry);
  for (const name of ["b", "a", "c"]) {
    valueOf(await users.create({ name, role: "owner", password: PASSWORD }));
  }
  const first = valueOf(await users.list("default", { limit: 2 }));
  assert.deepEqual(first.items.map(({ name }) => name), ["a", "b"]);
  const rest = valueOf(await users.list("default", { limit: 2, cursor: first.nextCursor! }));
  assert.deepEqual(rest.items.map(({ name }) => name), ["c"]);
  assert.equal(rest.nextCursor, null);
  assert.equal(codeOf(await users.list("default", { limit: 2, cursor: "x" })), "invalid");
  assert.deepEqual([await users.count("default"), await users.count("default", "B")], [3, 1]);
  assert.equal(await users.count("other"), 0);
  const [a, b] = first.items;
  assert.equal(a!.lastLoginAt, null);
  await login("a");
  assert.equal((await users.get("default", a!.id))!.lastLoginAt, TEST_NOW_MS);
  assert.equal(await users.get("other", a!.id), undefined);
  assert.equal(codeOf(await users.update("other", a!.id, {})), "not_found");
  assert.equal(codeOf(await users.update("default", a!.id, { name: b!.name })), "exists");
  const changed = valueOf(
    await users.update("default", a!.id, { name: "z" }, { expectedVersion: 1 }),
  );
  assert.deepEqual([changed.name, changed.version], ["z", 2]);
  assert.equal(
    codeOf(await users.update("default", a!.id, {}, { expectedVersion: 1 })),
    "stale",
  );
  assert.equal(codeOf(await users.delete("default", a!.id, 1)), "stale");
  const bad = { name: "a b", role: "root" as "owner", password: "short" };
  const refused = await users.update("default", a!.id, bad);
  assert.ok(!refused.ok && refused.code === "invalid");
  assert.deepEqual(refused.issues.map(({ path }) => path), ["name", "password", "role"]);
});

Deno.test("sessions are listed without their tokens, and ended one by one", async () => {
  await using registry = await openTestRegistry();
  const { users, sessions, login } = accessOf(registry);
  const ann = valueOf(await users.create({ name: "ann", role: "viewer", password: PASSWORD }));
  valueOf(await users.create({ name: "bob", role: "viewer", password: PASSWORD }));
  const first = await login("ann");
  await registry.clock.advance(1_000);
  const second = await login("ann");
  const other = await login("bob");
  const listed = await sessions.list(ann.id);
  assert.deepEqual(listed.map(({ id }) => id), [
    second.principal.session,
    first.principal.session,
  ]);
  assert.deepEqual([listed[0]!.agent, listed[0]!.remote], ["a browser", REMOTE]);
  assert.ok(!JSON.stringify(listed).includes(first.token.slice(0, 8)));
  assert.equal(await sessions.end(ann.id, other.principal.session), false);
  assert.equal(await sessions.end(ann.id, first.principal.session), true);
  assert.equal(await sessions.end(ann.id, first.principal.session), false);
  assert.equal(await sessions.find(first.token), undefined);
  assert.ok(await sessions.find(second.token) && await sessions.find(other.token));
});

Deno.test("one's own new password ends the other sessions, and needs the current one", async () => {
  await using registry = await openTestRegistry();
  const { users, sessions, login } = accessOf(registry);
  const ann = valueOf(await users.create({ name: "ann", role: "viewer", password: PASSWORD }));
  const own = await login("ann");
  const other = await login("ann");
  const confirm = (password: string) =>
    sessions.confirm(own.principal, { password, remote: REMOTE });
  for (let i = 0; i < 6; i++) assert.equal((await confirm("a guess of it")).isRight, false);
  assert.equal((await confirm(PASSWORD)).retryAfterMs, 1_000, "guesses wait");
  await registry.clock.advance(1_000);
  assert.equal((await confirm(PASSWORD)).isRight, true);
  const patch = { password: "another password" };
  const keptSession = own.principal.session;
  valueOf(await users.update("default", ann.id, patch, { keptSession }));
  assert.ok(await sessions.find(own.token));
  assert.equal(await sessions.find(other.token), undefined);
  await login("ann", "another password");
});
