import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Clock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { seededRandom } from "../../runtime/random.ts";
import { createManualClock } from "../../test/support/manual_clock.ts";
import {
  openTestRegistry,
  TEST_NOW_MS,
  type TestRegistry,
} from "../../test/support/test_registry.ts";
import { waitFor } from "../../test/support/wait.ts";
import { startAnswerSweep } from "./answer_sweep.ts";
import { type AnswerBounds, KeptAnswers, type KeyedRequest } from "./kept_answers.ts";
import { openSealed, seal } from "./sealed.ts";

const ANSWER = { status: 201, headers: { etag: '"1"' }, body: '{"a":1}' };
const SECRET = "roost_a-secret-that-is-shown-once";
const SHOWN = {
  ...ANSWER,
  body: JSON.stringify({ id: "k1", key: SECRET }),
  bodyWithoutSecret: '{"id":"k1","key":null}',
};

/** With a clock of their own: the registry's has a timer each second, and a day is long. */
function answersOf({ store }: TestRegistry, clock: Clock, bounds?: AnswerBounds): KeptAnswers {
  const random = seededRandom(5);
  return new KeptAnswers({ store, clock, random, ...(bounds && { bounds }) });
}

function request(key: string, more: Partial<KeyedRequest> = {}): KeyedRequest {
  const print = Buffer.alloc(32, 1);
  return { project: "default", caller: "key:a", key, print, credential: "roost_x", ...more };
}

async function totalsOf({ store }: TestRegistry) {
  const { entries, bytes } = await store.db.selectFrom("answer_totals").selectAll()
    .where("project", "=", "default").executeTakeFirstOrThrow();
  const rows = await store.db.selectFrom("answers").selectAll().execute();
  assert.equal(rows.reduce((sum, row) => sum + row.bytes, 0), bytes, "in step with the rows");
  assert.equal(rows.length, entries);
  return { entries, bytes };
}

Deno.test("an answer is found by its caller, key and request for a day, and by no other", async () => {
  await using registry = await openTestRegistry();
  const clock = createManualClock(TEST_NOW_MS);
  const answers = answersOf(registry, clock);
  assert.deepEqual(await answers.find(request("k")), { type: "none" });
  await answers.keep(request("k"), ANSWER);
  assert.deepEqual(await answers.find(request("k")), { type: "same", answer: ANSWER });
  for (const other of [request("K"), request("k", { caller: "user:a" })]) {
    assert.equal((await answers.find(other)).type, "none");
  }
  assert.equal((await answers.find(request("k", { project: "other" }))).type, "none");
  const print = Buffer.alloc(32, 2);
  assert.deepEqual(await answers.find(request("k", { print })), { type: "other" });
  await clock.advance(LIMITS.answersKeptMs - 1);
  assert.equal((await answersOf(registry, clock).find(request("k"))).type, "same");
  await clock.advance(1);
  assert.equal((await answers.find(request("k"))).type, "none");
  await answers.keep(request("k", { print }), ANSWER);
  assert.equal(
    (await answers.find(request("k", { print }))).type,
    "same",
    "in place of the old one",
  );
  assert.equal((await totalsOf(registry)).entries, 1);
});

Deno.test("a secret is kept only sealed, for the credential that it was shown to", async () => {
  await using registry = await openTestRegistry();
  const clock = createManualClock(TEST_NOW_MS);
  const answers = answersOf(registry, clock);
  await answers.keep(request("k"), SHOWN);
  const rows = registry.store.reader.prepareAll("select * from answers")();
  const stored = rows.flatMap((row) =>
    Object.values(row).map((value) =>
      value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : String(value)
    )
  ).join();
  assert.ok(!stored.includes(SECRET) && !stored.includes("roost_x"));
  const found = await answers.find(request("k"));
  assert.ok(found.type === "same" && found.answer.body === SHOWN.body);
  const elsewhere = await answers.find(request("k", { credential: "roost_y" }));
  assert.ok(elsewhere.type === "same" && elsewhere.answer.body === SHOWN.bodyWithoutSecret);
});

Deno.test("a sealed text opens with its credential, in its place, whole", () => {
  const random = seededRandom(6);
  const sealed = seal("Ünder", "credential", "row 1", random);
  assert.equal(openSealed(sealed, "credential", "row 1"), "Ünder");
  assert.equal(openSealed(sealed, "credentiaL", "row 1"), undefined);
  assert.equal(openSealed(sealed, "credential", "row 2"), undefined);
  for (let at = 0; at < sealed.length; at++) {
    const damaged = Uint8Array.from(sealed, (byte, index) => index === at ? byte ^ 1 : byte);
    assert.equal(openSealed(damaged, "credential", "row 1"), undefined, `byte ${at}`);
    assert.equal(openSealed(sealed.subarray(0, at), "credential", "row 1"), undefined);
  }
  const again = seal("Ünder", "credential", "row 1", random);
  assert.notDeepEqual(again, sealed, "no two are the same");
});

Deno.test("what is kept of a project is bounded in answers and bytes", async () => {
  await using registry = await openTestRegistry();
  const clock = createManualClock(TEST_NOW_MS);
  const answers = answersOf(registry, clock, { entriesMax: 3, bytesMax: 10_000 });
  await answers.keep(request("other", { project: "other" }), ANSWER);
  for (const key of ["a", "b"]) {
    assert.equal(await answers.fullForMs("default", 1), 0);
    await answers.keep(request(key), ANSWER);
    await clock.advance(1_000);
  }
  assert.equal(await answers.fullForMs("default", 1), 0);
  assert.equal(await answers.fullForMs("default", 2), LIMITS.answersKeptMs - 2_000);
  await answers.keep(request("c"), ANSWER);
  assert.equal(await answers.fullForMs("default", 1), LIMITS.answersKeptMs - 2_000);
  assert.equal(await answers.fullForMs("other", 1), 0);
  const bytes = answersOf(registry, clock, { entriesMax: 99, bytesMax: 10_000 });
  assert.equal(await bytes.fullForMs("default", 1), 0);
  await bytes.keep(request("d"), { ...ANSWER, body: "x".repeat(10_000) });
  assert.ok(await bytes.fullForMs("default", 1) > 0);
});

Deno.test("expired answers are swept in bounded steps, by themselves", async () => {
  await using registry = await openTestRegistry();
  const clock = createManualClock(TEST_NOW_MS);
  const answers = answersOf(registry, clock);
  for (let i = 0; i < 450; i++) await answers.keep(request(`k${i}`), ANSWER);
  await clock.advance(LIMITS.answersKeptMs - 1);
  await answers.keep(request("young"), ANSWER);
  await clock.advance(1);
  assert.equal(await answers.sweep(), true);
  assert.equal((await totalsOf(registry)).entries, 251);
  const ends: boolean[] = [];
  const counted = {
    async sweep() {
      const isMore = await answers.sweep();
      ends.push(isMore);
      return isMore;
    },
  };
  await using _sweep = startAnswerSweep({ answers: counted, clock, logger: silentLogger });
  for (const expected of [[true, false], [true, false, false]]) {
    await clock.advance(60_000);
    const what = "the sweep to end";
    await waitFor(async () => {
      await clock.advance(0);
      return ends.length === expected.length;
    }, { what, withinMs: 10_000, actual: () => ends });
    assert.deepEqual(ends, expected);
    assert.equal((await totalsOf(registry)).entries, 1);
  }
});

Deno.test("an answer and its effect are one: what cannot be kept is not done", async () => {
  await using registry = await openTestRegistry();
  const clock = createManualClock(TEST_NOW_MS);
  const { products, devices, changes } = registry;
  const answers = answersOf(registry, clock);
  const position = changes.position;
  const refuse = () => Promise.reject(new Error("disk full"));
  await assert.rejects(products.create({ key: "pump" }, refuse), /disk full/);
  assert.equal(await products.get("pump"), undefined);
  await products.create({ key: "pump" });
  const input = { product: "pump", device: "p" };
  await assert.rejects(devices.create(input, refuse), /disk full/);
  assert.equal(await devices.get("pump", "p"), undefined);
  const made = await devices.create(input, async (transaction, { device }) => {
    assert.equal(device.device, "p");
    await answers.keep(request("k"), ANSWER, transaction);
  });
  assert.ok(made.ok && (await answers.find(request("k"))).type === "same");
  await assert.rejects(devices.rotateSecret("pump", "p", { alongside: refuse }), /disk full/);
  assert.equal((await devices.get("pump", "p"))!.version, 1);
  assert.equal(changes.position, position + 1, "only the product that was made");
  const twice = await devices.create(input, () => assert.fail("of a refusal nothing is kept"));
  assert.ok(!twice.ok && twice.code === "exists");
});
