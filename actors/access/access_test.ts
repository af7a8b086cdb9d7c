import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { seededRandom, systemRandom } from "../../runtime/random.ts";
import { openTestRegistry, type TestRegistry } from "../../test/support/test_registry.ts";
import type { Outcome } from "../registry/outcome.ts";
import { type ApiKeyQuery, ApiKeys } from "./api_keys.ts";
import { PasswordHasher } from "./password.ts";
import { Sessions } from "./sessions.ts";
import { Users } from "./users.ts";

function valueOf<T>(outcome: Outcome<T>): T {
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

function codeOf(outcome: Outcome<unknown>): string {
  assert.ok(!outcome.ok, "it was not refused");
  return outcome.code;
}

function accessOf({ store, clock }: TestRegistry) {
  const random = systemRandom;
  const passwords = new PasswordHasher(random);
  return {
    users: new Users({ store, clock, random, passwords }),
    sessions: new Sessions({ store, clock, random, passwords }),
    keys: new ApiKeys({ store, clock, random }),
  };
}

const REMOTE = "192.0.2.1";

Deno.test("the owner is made once, its random password is told once and stored hashed", async () => {
  await using registry = await openTestRegistry();
  const { users, sessions } = accessOf(registry);
  const { password } = valueOf(await users.ensureOwner());
  assert.match(password!, /^[A-Za-z0-9_-]{24}$/);
  assert.deepEqual(valueOf(await users.ensureOwner()), {});
  assert.deepEqual(valueOf(await users.ensureOwner("another password")), {});
  const row = registry.store.reader.prepareOne("select password from users")()!;
  assert.match(String(row.password), /^scrypt\$32768\$8\$1\$[A-Za-z0-9_-]{22}\$[A-Za-z0-9_-]{43}$/);
  const login = await sessions.login({ name: "owner", password: password!, remote: REMOTE });
  assert.ok(login.ok);
  assert.equal(login.principal.role, "owner");
  assert.deepEqual(await sessions.find(login.token), login.principal);
});

Deno.test("a configured password is taken if it is one", async () => {
  await using registry = await openTestRegistry();
  const { users, sessions } = accessOf(registry);
  assert.equal(codeOf(await users.ensureOwner("short")), "invalid");
  assert.deepEqual(valueOf(await users.ensureOwner("pässword öf the owner")), {});
  const login = (password: string) => sessions.login({ name: "owner", password, remote: REMOTE });
  assert.ok((await login("pa\u0308ssword o\u0308f the owner")).ok, "typed on another keyboard");
  for (const wrong of ["", "pässword öf the owne", "\ud800", "x".repeat(100_000)]) {
    assert.deepEqual(await login(wrong), { ok: false, code: "bad_credentials" });
  }
});

Deno.test("a session ends by logout, by time, by a new password, and at the bound", async () => {
  await using registry = await openTestRegistry();
  const { users, sessions } = accessOf(registry);
  const user = valueOf(
    await users.create({ name: "ann", role: "operator", password: "password 1" }),
  );
  const open = async (password = "password 1") => {
    const login = await sessions.login({ name: "ann", password, remote: REMOTE });
    assert.ok(login.ok);
    return login;
  };
  const first = await open();
  const second = await open();
  assert.notEqual(first.token, second.token);
  assert.notEqual(first.principal.csrf, second.principal.csrf);
  const stored = registry.store.reader.prepareAll("select * from sessions")();
  assert.ok(!JSON.stringify(stored).includes(first.token));
  await sessions.logout(first.token);
  await sessions.logout(first.token);
  assert.equal(await sessions.find(first.token), undefined);
  assert.ok(await sessions.find(second.token));
  valueOf(await users.update("default", user.id, { password: "password 2" }));
  assert.equal(await sessions.find(second.token), undefined);
  assert.ok(!(await sessions.login({ name: "ann", password: "password 1", remote: REMOTE })).ok);
  const third = await open("password 2");
  await registry.clock.advance(LIMITS.sessionMs);
  assert.equal(await sessions.find(third.token), undefined);
  for (const hostile of ["", "x".repeat(43) + "'", "\ud800", "x".repeat(100_000)]) {
    assert.equal(await sessions.find(hostile), undefined);
    await sessions.logout(hostile);
  }
  const fourth = await open("password 2");
  valueOf(await users.update("default", user.id, { enabled: false }));
  assert.equal(await sessions.find(fourth.token), undefined);
  assert.deepEqual(await sessions.login({ name: "ann", password: "password 2", remote: REMOTE }), {
    ok: false,
    code: "bad_credentials",
  });
});

Deno.test("one person has a bounded number of sessions: the oldest give way", async () => {
  await using registry = await openTestRegistry();
  const { users, sessions } = accessOf(registry);
  valueOf(await users.create({ name: "ann", role: "viewer", password: "password 1" }));
  const login = async () => {
    const opened = await sessions.login({ name: "ann", password: "password 1", remote: REMOTE });
    await registry.clock.advance(1);
    assert.ok(opened.ok);
    return opened.token;
  };
  const first = await login();
  const second = await login();
  for (let i = 0; i < LIMITS.sessionsPerUserMax - 1; i++) await login();
  assert.equal(await sessions.find(first), undefined);
  assert.ok(await sessions.find(second));
  const count = registry.store.reader.prepareOne("select count(*) n from sessions")()!.n;
  assert.equal(count, LIMITS.sessionsPerUserMax);
});

Deno.test("failed logins wait longer and longer, by address and by name", async () => {
  await using registry = await openTestRegistry();
  const { users, sessions } = accessOf(registry);
  valueOf(await users.ensureOwner("the right one"));
  const login = (remote: string, password: string, name = "owner") =>
    sessions.login({ name, password, remote });
  for (let i = 0; i < 5; i++) {
    const name = i % 2 === 0 ? "owner" : "nobody";
    assert.deepEqual(await login(REMOTE, "wrong", name), { ok: false, code: "bad_credentials" });
  }
  assert.equal((await login(REMOTE, "wrong")).ok, false);
  assert.deepEqual(await login(REMOTE, "the right one"), {
    ok: false,
    code: "locked_out",
    retryAfterMs: 1_000,
  });
  assert.ok((await login("192.0.2.2", "the right one")).ok, "another address may");
  await registry.clock.advance(1_000);
  assert.equal((await login(REMOTE, "wrong")).ok, false);
  await registry.clock.advance(1_000);
  const locked = await login(REMOTE, "the right one");
  assert.ok(!locked.ok && locked.code === "locked_out" && locked.retryAfterMs === 1_000);
  await registry.clock.advance(1_000);
  assert.ok((await login(REMOTE, "the right one")).ok);
  assert.ok(!(await login(REMOTE, "wrong")).ok);
  assert.ok((await login(REMOTE, "the right one")).ok, "a success forgives");
});

Deno.test("more passwords at once than are checked or wait are refused", async () => {
  const passwords = new PasswordHasher(seededRandom(1));
  const room = LIMITS.passwordHashesMax + LIMITS.passwordHashesWaitingMax;
  const outcomes = await Promise.allSettled(
    Array.from({ length: room + 3 }, () => passwords.verify("password", undefined)),
  );
  const refused = outcomes.filter((outcome) => outcome.status === "rejected");
  assert.equal(refused.length, 3);
  assert.equal(refused[0]!.reason.code, "overloaded");
  const stored = await passwords.hash("password");
  assert.ok(await passwords.verify("password", stored), "the room is given back");
  assert.ok(!await passwords.verify("passwore", stored));
  await assert.rejects(passwords.verify("x", "md5$abc"), { code: "codec" });
});

Deno.test("users are refused by rule, and names are taken once", async () => {
  await using registry = await openTestRegistry();
  const { users } = accessOf(registry);
  const create = (more: object) =>
    users.create({ name: "ann", role: "viewer", password: "password", ...more });
  valueOf(await create({}));
  assert.equal(codeOf(await create({})), "exists");
  for (const name of ["", "a b", "__proto__", "\ud800", "x".repeat(65), "'--"]) {
    assert.equal(codeOf(await create({ name })), "invalid");
  }
  assert.equal(codeOf(await create({ name: "bob", role: "root" })), "invalid");
  assert.equal(codeOf(await create({ name: "bob", password: "x".repeat(257) })), "invalid");
  assert.equal(codeOf(await users.update("default", "nobody", {})), "not_found");
});

Deno.test("an API key is shown once, has scopes and an expiry, and can be deleted", async () => {
  await using registry = await openTestRegistry();
  const { keys } = accessOf(registry);
  const { clock, store } = registry;
  const creator = { project: "default", id: "user-1" };
  const expiresAt = clock.nowMs() + 120_000;
  const input = { name: "line 4", scopes: ["devices:read", "devices:read"], expiresAt };
  const { key, apiKey } = valueOf(await keys.create(input, creator));
  assert.match(key, /^roost_[A-Za-z0-9_-]{43}$/);
  assert.ok(!JSON.stringify(store.reader.prepareAll("select * from api_keys")()).includes(key));
  assert.deepEqual(await keys.find(key), {
    type: "key",
    id: apiKey.id,
    project: "default",
    name: "line 4",
    scopes: ["devices:read"],
  });
  const listed = valueOf(await keys.list("default", { limit: 5 }));
  assert.deepEqual(listed.items, [{ ...apiKey, lastUsedAt: clock.nowMs() }]);
  await clock.advance(30_000);
  await keys.find(key);
  const used = valueOf(await keys.list("default", { limit: 5 })).items[0]!.lastUsedAt;
  assert.equal(used, clock.nowMs() - 30_000, "written once a minute at most");
  await clock.advance(90_000);
  assert.equal(await keys.find(key), undefined, "expired");
  for (const hostile of ["", "roost_", "roost_' or 1=1", `roost_${"x".repeat(43)}`, "\ud800"]) {
    assert.equal(await keys.find(hostile), undefined);
  }
  const other = valueOf(await keys.create({ name: "b", scopes: ["cluster:read"] }, creator));
  assert.equal(await keys.delete("another project", other.apiKey.id), false);
  assert.ok(await keys.find(other.key));
  assert.equal(await keys.delete("default", other.apiKey.id), true);
  assert.equal(await keys.delete("default", other.apiKey.id), false);
  assert.equal(await keys.find(other.key), undefined);
});

Deno.test("API keys are sorted, searched and counted, each project's on its own", async () => {
  await using registry = await openTestRegistry();
  const { keys } = accessOf(registry);
  const make = async (name: string, project = "default") => {
    await registry.clock.advance(1);
    valueOf(await keys.create({ name, scopes: ["devices:read"] }, { project, id: "u" }));
  };
  for (const name of ["b", "a", "b", "C"]) await make(name);
  await registry.store.db.insertInto("projects").values({
    id: "other",
    name: "Other",
    version: 1,
    created_at: 1,
    updated_at: 1,
    deleted_at: null,
  }).execute();
  await make("a", "other");
  const sorted = async (sort: ApiKeyQuery["sort"], q?: string) => {
    const names: string[] = [];
    let cursor: string | null | undefined;
    do {
      const asked = { limit: 1, ...(sort && { sort }), ...(q && { q }), ...(cursor && { cursor }) };
      const page = valueOf(await keys.list("default", asked));
      names.push(...page.items.map(({ name }) => name));
      cursor = page.nextCursor;
    } while (cursor !== null);
    return names.join("");
  };
  assert.equal(await sorted("name"), "Cabb");
  assert.equal(await sorted("-name"), "bbaC");
  assert.equal(await sorted("createdAt"), "babC");
  assert.equal(await sorted("-createdAt"), "Cbab");
  assert.equal(await sorted("createdAt", "B"), "bb");
  assert.equal((await sorted(undefined)).length, 4);
  const counts = [await keys.count("default"), await keys.count("default", "c")];
  assert.deepEqual([...counts, await keys.count("other"), await keys.count("none")], [4, 1, 1, 0]);
});

Deno.test("bad API keys are refused with their paths", async () => {
  await using registry = await openTestRegistry();
  const { keys } = accessOf(registry);
  const pathsOf = async (more: object) => {
    const input = { name: "a", scopes: ["devices:read"], ...more };
    const outcome = await keys.create(input, { project: "default", id: "u" });
    assert.ok(!outcome.ok && outcome.code === "invalid");
    return outcome.issues.map(({ path }) => path);
  };
  assert.deepEqual(await pathsOf({ name: "", scopes: [] }), ["name", "scopes"]);
  assert.deepEqual(await pathsOf({ scopes: ["devices:read", "users:write"] }), ["scopes.1"]);
  assert.deepEqual(await pathsOf({ expiresAt: 1 }), ["expiresAt"]);
  assert.deepEqual(await pathsOf({ expiresAt: NaN }), ["expiresAt"]);
});
