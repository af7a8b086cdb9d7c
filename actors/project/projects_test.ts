import assert from "node:assert/strict";
import { silentLogger } from "../../runtime/logger.ts";
import { systemRandom } from "../../runtime/random.ts";
import { openTestRegistry, type TestRegistry } from "../../test/support/test_registry.ts";
import { ApiKeys } from "../access/api_keys.ts";
import { PasswordHasher } from "../access/password.ts";
import { Sessions } from "../access/sessions.ts";
import { Users } from "../access/users.ts";
import type { FollowedChange } from "../device/changes.ts";
import { importDevices } from "../device/device_import.ts";
import type { Outcome } from "../registry/outcome.ts";
import { KeptAnswers } from "../registry/kept_answers.ts";
import { PROJECT_TABLES, startProjectRemovals } from "./project_removals.ts";
import { Projects } from "./projects.ts";

const OWNER = { name: "bob", password: "a long password" };

function valueOf<T>(outcome: Outcome<T>): T {
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

function codeOf(outcome: Outcome<unknown>): string {
  assert.ok(!outcome.ok, "it was not refused");
  return outcome.code;
}

/** @param onDeleted Default: nothing is removed, as if the process had died right after. */
function projectsOf({ store, clock }: TestRegistry, onDeleted = () => {}) {
  const passwords = new PasswordHasher(systemRandom);
  const options = { store, clock, random: systemRandom, passwords };
  const users = new Users(options);
  const projects = new Projects({ store, clock, users, onDeleted });
  return { projects, users, sessions: new Sessions(options), keys: new ApiKeys(options) };
}

function removalsOf({ store, changes, clock }: TestRegistry) {
  return startProjectRemovals({ store, changes, clock, logger: silentLogger });
}

Deno.test("a project is created with its first owner, all or nothing", async () => {
  await using registry = await openTestRegistry();
  const { projects, sessions, users } = projectsOf(registry);
  const made = valueOf(await projects.create({ id: "p", name: "Plant", owner: OWNER }));
  assert.deepEqual([made.id, made.name, made.version], ["p", "Plant", 1]);
  const login = await sessions.login({ ...OWNER, remote: "192.0.2.1" });
  assert.ok(login.ok);
  assert.deepEqual([login.principal.project, login.principal.role], ["p", "owner"]);
  assert.equal(codeOf(await projects.create({ id: "p" })), "exists");
  assert.equal(codeOf(await projects.create({ id: "q", owner: OWNER })), "exists");
  assert.equal(await projects.get("q"), undefined, "its owner's name was taken");
  const bad = { id: "a b", name: "", owner: { name: "x y", password: "short" } };
  const refused = await projects.create(bad);
  assert.ok(!refused.ok && refused.code === "invalid");
  assert.deepEqual(refused.issues.map(({ path }) => path), [
    "id",
    "name",
    "owner.name",
    "owner.password",
  ]);
  const nowhere = { ...OWNER, name: "x", role: "owner", project: "none" } as const;
  assert.equal(codeOf(await users.create(nowhere)), "not_found");
});

Deno.test("projects are listed by id, found by name, and renamed under their version", async () => {
  await using registry = await openTestRegistry();
  const { projects } = projectsOf(registry);
  for (const id of ["b", "a"]) valueOf(await projects.create({ id, name: `Plant ${id}` }));
  const first = valueOf(await projects.list({ limit: 2 }));
  assert.deepEqual(first.items.map(({ id }) => id), ["a", "b"]);
  const rest = valueOf(await projects.list({ limit: 2, cursor: first.nextCursor! }));
  assert.deepEqual(rest.items.map(({ id }) => id), ["default"]);
  const found = valueOf(await projects.list({ limit: 9, q: "plant B" }));
  assert.deepEqual(found.items.map(({ id }) => id), ["b"]);
  assert.deepEqual([await projects.count({}), await projects.count({ id: "a" })], [3, 1]);
  assert.equal(codeOf(await projects.list({ limit: 2, cursor: "x" })), "invalid");
  assert.equal(valueOf(await projects.rename("a", "New", 1)).version, 2);
  assert.equal(codeOf(await projects.rename("a", "Newer", 1)), "stale");
  assert.equal(codeOf(await projects.rename("none", "x")), "not_found");
  assert.equal(codeOf(await projects.rename("a", "")), "invalid");
});

Deno.test("a project with content is deleted only if that is confirmed, `default` never", async () => {
  await using registry = await openTestRegistry();
  const { projects, users, keys } = projectsOf(registry);
  valueOf(await projects.create({ id: "p" }));
  const content = [
    async () => {
      await registry.products.create({ key: "pump", project: "p" });
      return () => registry.products.delete("pump");
    },
    async () => {
      const user = valueOf(await users.create({ ...OWNER, role: "operator", project: "p" }));
      return () => users.delete("p", user.id);
    },
    async () => {
      const input = { name: "k", scopes: ["devices:read"] };
      const { apiKey } = valueOf(await keys.create(input, { project: "p", id: "u" }));
      return () => keys.delete("p", apiKey.id);
    },
  ];
  for (const add of content) {
    const take = await add();
    assert.equal(codeOf(await projects.delete("p")), "in_use");
    await take();
  }
  assert.equal(codeOf(await projects.delete("p", { expectedVersion: 2 })), "stale");
  assert.equal(codeOf(await projects.delete("default", { isConfirmed: true })), "in_use");
  assert.equal(valueOf(await projects.delete("p")), true);
  assert.equal(valueOf(await projects.delete("p")), false);
});

Deno.test("a confirmed deletion takes everything along, and goes on after a crash", async () => {
  await using registry = await openTestRegistry();
  const { projects, sessions, keys, users } = projectsOf(registry);
  const { store, products, devices, changes } = registry;
  valueOf(await projects.create({ id: "p", owner: OWNER }));
  for (const key of ["one", "two"]) valueOf(await products.create({ key, project: "p" }));
  valueOf(await products.create({ key: "kept" }));
  const many = Array.from({ length: 450 }, (_none, i) => ({
    product: i % 2 === 0 ? "one" : "two",
    device: `d-${i}`,
    tags: ["t"],
  }));
  await importDevices({ ...registry, random: systemRandom }, many);
  valueOf(await devices.create({ product: "kept", device: "d", tags: ["t"] }));
  const login = await sessions.login({ ...OWNER, remote: "192.0.2.1" });
  assert.ok(login.ok);
  const input = { name: "k", scopes: ["devices:read"] };
  const { key } = valueOf(await keys.create(input, { project: "p", id: "u" }));
  assert.ok(await sessions.find(login.token) && await keys.find(key));
  const answers = new KeptAnswers({ ...registry, random: systemRandom });
  const request = { project: "p", caller: "key:k", key: "1", print: new Uint8Array(32) };
  const answer = { status: 201, headers: {}, body: "{}" };
  await answers.keep({ ...request, credential: key }, answer);

  const told: FollowedChange[] = [];
  changes.onChange((change) => void told.push(change));
  assert.equal(valueOf(await projects.delete("p", { isConfirmed: true })), true);
  assert.equal(await sessions.find(login.token), undefined);
  assert.equal(await keys.find(key), undefined);
  assert.ok(!(await sessions.login({ ...OWNER, remote: "192.0.2.1" })).ok);
  assert.equal(await projects.get("p"), undefined);
  const late = await products.create({ key: "late", project: "p" });
  assert.equal(codeOf(late), "not_found", "nothing is added any more");
  assert.equal(codeOf(await projects.create({ id: "p" })), "exists", "it is still being removed");

  {
    await using _cut = removalsOf(registry); // Ended after its first slice.
  }
  await using removals = removalsOf(registry);
  await removals.idle();
  const left = (table: string) => store.reader.prepareOne(`select count(*) n from "${table}"`)()!.n;
  assert.deepEqual(
    ["devices", "device_tags", "products", "users", "sessions", "browsers", "api_keys", "answers"]
      .map(left),
    [1, 1, 1, 0, 0, 0, 0, 0],
  );
  const kinds = told.map(({ kind }) => kind);
  assert.equal(kinds.filter((kind) => kind === "device_deleted").length, 450);
  assert.equal(kinds.filter((kind) => kind === "product_deleted").length, 2);
  valueOf(await projects.create({ id: "p" }));
  const again = await products.create({ key: "one", project: "p" });
  assert.equal(codeOf(again), "exists", "the history of its devices stays with nobody");
  valueOf(await users.create({ ...OWNER, role: "owner", project: "p" }));
});

Deno.test("a product's key stays with the project that had it first", async () => {
  await using registry = await openTestRegistry();
  const { projects } = projectsOf(registry);
  valueOf(await projects.create({ id: "p" }));
  valueOf(await registry.products.create({ key: "pump", project: "p" }));
  assert.equal(codeOf(await registry.products.create({ key: "pump" })), "exists");
  valueOf(await registry.products.delete("pump"));
  assert.equal(codeOf(await registry.products.create({ key: "pump" })), "exists");
  valueOf(await registry.products.create({ key: "pump", project: "p" }));
});

Deno.test("each table that names a project is removed with it", async () => {
  await using registry = await openTestRegistry();
  const tables = await registry.store.db.introspection.getTables();
  const ofProject = tables.filter(({ columns }) => columns.some(({ name }) => name === "project"))
    .map(({ name }) => name).sort();
  const apart = ["answers", "audit", "devices", "product_keys", "products"];
  const known = [...PROJECT_TABLES, ...apart].sort();
  assert.deepEqual(ofProject, known, "a new table belongs into PROJECT_TABLES");
});
