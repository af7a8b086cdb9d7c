/**
 * Handlers that throw, loop for ever, allocate without end or end their process, in the real program:
 * their own record is parked and can be replayed, everybody else goes on.
 */
import assert from "node:assert/strict";
import mqtt from "mqtt";
import { partitionOfActor } from "../../actors/behaviours.ts";
import { systemClock } from "../../runtime/clock.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import type { DeadLetterView, RoostApi } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";
import { assertBalanced, untilHandled } from "./verify.ts";

const PRODUCT = "pump";
/** A death of the main engine and two in the quarantine lane: some seconds, on a busy machine more. */
const PARKED_MS = 240_000;
const BAD = "bad";
/** One device in the partition of the bad one, some elsewhere. */
const NEIGHBOUR = neighbourOf(BAD);
const OTHERS = ["o-1", "o-2", "o-3", "o-4"].filter((name) =>
  partitionOf(name) !== partitionOf(BAD)
);

for (
  const [fault, reason] of [
    ["throw", "threw"],
    ["loop", "killed_engine"],
    ["exit", "killed_engine"],
    ["allocate", "killed_engine"],
  ] as const
) {
  Deno.test(`a handler that does "${fault}" is parked alone and disturbs nobody`, async () => {
    await using roost = await startRoost({ entry: "test/support/faulty_main.ts" });
    const api = await prepare(roost);
    await using bad = await connect(roost, BAD);
    await using neighbour = await connect(roost, NEIGHBOUR);
    const others = await Promise.all(OTHERS.map((name) => connect(roost, name)));
    const startedMs = systemClock.nowMs();
    await bad.publish({ n: 1 });
    await bad.publish({ fault });
    let sent = 0;
    const everybody = async () => {
      sent++;
      await Promise.all([neighbour, ...others].map((client) => client.publish({ n: sent })));
    };
    let letter: DeadLetterView | undefined;
    let handledMeanwhile = 0;
    await waitFor(async () => {
      await everybody(); // Acknowledged while the fault is in hand.
      handledMeanwhile = await valueOf(api, OTHERS[0]!);
      letter = (await api.deadLetters()).items[0];
      return letter !== undefined && handledMeanwhile > 0;
    }, { what: `the ${fault} to be parked`, withinMs: PARKED_MS, actual: () => handledMeanwhile });
    assert.equal(letter?.to, `device/${PRODUCT}/${BAD}`);
    assert.equal(letter?.reason, reason);
    // All other partitions have waited for one engine, not for a search.
    const restarts = reason === "killed_engine" ? 1 : 0;
    await waitFor(async () => await engineRestarts(api) === restarts, {
      what: `${restarts} restarts of the main engine`,
      withinMs: 10_000,
    });
    await bad.publish({ n: 2 });
    await everybody();
    const ledger = await untilHandled(api);
    assert.equal(ledger.total.deadLettered, 1);
    for (const name of [...OTHERS, NEIGHBOUR]) await assertInOrder(api, name, sent, startedMs);
    await assertInOrder(api, BAD, 2, startedMs);
    await replayAndDiscard(api, letter!);
    await Promise.all(others.map((client) => client[Symbol.asyncDispose]()));
  });
}

async function prepare(roost: TestRoost): Promise<RoostApi> {
  const api = await roost.api();
  await api.createProduct({ key: PRODUCT });
  for (const name of [BAD, NEIGHBOUR, ...OTHERS]) {
    await api.createDevice(PRODUCT, name, { secret: `secret-of-${name}` });
  }
  return api;
}

interface Client extends AsyncDisposable {
  /** Resolves with the PUBACK. */
  publish(values: Record<string, unknown>): Promise<void>;
}

async function connect(roost: TestRoost, name: string): Promise<Client> {
  const client = await mqtt.connectAsync(roost.urls.mqtt, {
    username: `${PRODUCT}/${name}`,
    password: `secret-of-${name}`,
    reconnectPeriod: 0,
  });
  let closed: Promise<void> | undefined;
  return {
    async publish(values) {
      const topic = `v1/${PRODUCT}/${name}/properties`;
      await client.publishAsync(topic, JSON.stringify(values), { qos: 1 });
    },
    [Symbol.asyncDispose]: () => closed ??= client.endAsync(),
  };
}

async function engineRestarts(api: RoostApi): Promise<number> {
  let node = await api.tree();
  for (const id of ["storage", "log", "engine"]) {
    node = node.children!.find((child) => child.id === id)!;
  }
  return node.restarts;
}

async function valueOf(api: RoostApi, name: string): Promise<number> {
  return ((await api.properties(PRODUCT, name))["n"]?.value ?? 0) as number;
}

/** Every acknowledged message of a device once, in order, and the last one is its value. */
async function assertInOrder(
  api: RoostApi,
  name: string,
  last: number,
  fromMs: number,
): Promise<void> {
  const wanted = Array.from({ length: last }, (_, i) => i + 1);
  let found: unknown[] = [];
  await waitFor(async () => {
    const toMs = systemClock.nowMs() + 5_000;
    const points = await api.history(PRODUCT, name, "n", { fromMs: fromMs - 5_000, toMs });
    found = points.map((point) => point[1]);
    return found.length >= last && await valueOf(api, name) === last;
  }, { what: `all messages of ${name}`, withinMs: 30_000, actual: () => found.length });
  assert.deepEqual(found, wanted);
}

/** Replayed it is parked again, since it is as it was; discarded it is handled. */
async function replayAndDiscard(api: RoostApi, letter: DeadLetterView): Promise<void> {
  await api.replayDeadLetters([letter.id]);
  const again = await waitFor(async () => {
    const ledger = await api.ledger();
    assertBalanced(ledger);
    const [item] = (await api.deadLetters()).items;
    return item !== undefined && item.id !== letter.id ? item : undefined;
  }, { what: "the replayed letter to be parked again", withinMs: PARKED_MS });
  await api.discardDeadLetters([again.id]);
  const ledger = await untilHandled(api);
  assert.equal(ledger.total.deadLettered, 0);
  assert.equal(ledger.total.accepted, ledger.total.processed);
}

function partitionOf(name: string): number {
  return partitionOfActor(`device/${PRODUCT}/${name}`);
}

function neighbourOf(name: string): string {
  for (let i = 0;; i++) if (partitionOf(`n-${i}`) === partitionOf(name)) return `n-${i}`;
}
