import assert from "node:assert/strict";
import { createManualClock } from "../../test/support/manual_clock.ts";
import { UnauthorizedError } from "../errors.ts";
import { silentLogger } from "../logger.ts";
import type { StoredActivity } from "../log/partition_log.ts";
import {
  type ActivityCall,
  type ActivityKind,
  type ActivityResult,
  ActivityRunner,
  type ActivityRunnerOptions,
} from "./activities.ts";
import type { Json } from "./behaviour.ts";

type Run = (input: Json, call: ActivityCall) => Promise<Json>;

function setUp(run: Run, options: Partial<ActivityRunnerOptions & ActivityKind> = {}) {
  const clock = createManualClock();
  const delivered: [string, ActivityResult][] = [];
  const finished: string[] = [];
  const kind: ActivityKind = {
    concurrencyMax: 2,
    attemptsMax: 3,
    timeoutMs: 1_000,
    backoffMs: 100,
    backoffMsMax: 150,
    ...options,
    run,
  };
  const runner = new ActivityRunner({
    kinds: new Map([["webhook", kind]]),
    clock,
    random: { fraction: () => 0.5 },
    logger: silentLogger,
    deliver: (to, message) => Promise.resolve(void delivered.push([to, message])),
    finish: (id) => Promise.resolve(void finished.push(id)),
    ...options,
  });
  return { clock, delivered, finished, runner };
}

function stored(n: number, kind = "webhook"): StoredActivity {
  return { id: `1-0-7/${n}:call`, kind, from: "device/a", input: JSON.stringify({ n }) };
}

Deno.test("an activity runs with its input and stable id; its result is delivered, then finished", async () => {
  const calls: unknown[] = [];
  const { clock, delivered, finished, runner } = setUp((input, { id, from, attempt }) => {
    calls.push({ input, id, from, attempt });
    return Promise.resolve({ status: 200 });
  });
  await using _ = runner;
  assert.equal(runner.offer([stored(0)]), 1);
  await clock.settle();
  const id = "1-0-7/0:call";
  assert.deepEqual(calls, [{ input: { n: 0 }, id, from: "device/a", attempt: 1 }]);
  assert.deepEqual(delivered, [["device/a", {
    type: "activityDone",
    id,
    name: "call",
    kind: "webhook",
    value: { status: 200 },
  }]]);
  assert.deepEqual([finished, runner.held, clock.pending()], [[id], 0, 0]);
});

Deno.test("not more than concurrencyMax of a kind run at a time, in order", async () => {
  const gates: (() => void)[] = [];
  const started: Json[] = [];
  const { clock, finished, runner } = setUp((input) => {
    started.push((input as { n: number }).n);
    return new Promise((resolve) => gates.push(() => resolve(null)));
  });
  await using _ = runner;
  runner.offer([0, 1, 2, 3].map((n) => stored(n)));
  await clock.settle();
  assert.deepEqual(started, [0, 1]);
  gates[1]!();
  await clock.settle();
  assert.deepEqual([started, finished], [[0, 1, 2], ["1-0-7/1:call"]]);
  for (let i = 0; i < 4; i++) {
    gates[i]?.();
    await clock.settle();
  }
  assert.equal(finished.length, 4);
});

Deno.test("a failure is tried again after a growing, bounded wait, and then told", async () => {
  const times: number[] = [];
  const { clock, delivered, runner } = setUp(() => {
    times.push(clock.nowMs());
    return Promise.reject(new Error("refused"));
  });
  await using _ = runner;
  runner.offer([stored(0)]);
  await clock.advance(1_000);
  // 100 ms and then 150 instead of 200, of each three quarters, since `fraction` is a half.
  assert.deepEqual(times, [0, 75, 187.5]);
  assert.deepEqual(delivered.map(([, result]) => result), [{
    type: "activityFailed",
    id: "1-0-7/0:call",
    name: "call",
    kind: "webhook",
    attempts: 3,
    detail: "refused",
  }]);
});

Deno.test("a fault that is not retryable is final at once", async () => {
  const { clock, delivered, finished, runner } = setUp(() =>
    Promise.reject(new UnauthorizedError("wrong key"))
  );
  await using _ = runner;
  runner.offer([stored(0)]);
  await clock.settle();
  assert.ok(delivered[0]![1].type === "activityFailed" && delivered[0]![1].attempts === 1);
  assert.equal(finished.length, 1);
});

Deno.test("a handler that never ends fails by its timeout and frees its slot", async () => {
  const signals: AbortSignal[] = [];
  const { clock, delivered, runner } = setUp((input, { signal }) => {
    signals.push(signal);
    return (input as { n: number }).n === 0 ? new Promise(() => {}) : Promise.resolve(1);
  }, { concurrencyMax: 1, attemptsMax: 1 });
  await using _ = runner;
  runner.offer([stored(0), stored(1)]);
  await clock.advance(999);
  assert.equal(delivered.length, 0);
  await clock.advance(1);
  assert.deepEqual(delivered.map(([, { type }]) => type), ["activityFailed", "activityDone"]);
  assert.ok(signals[0]!.aborted && !signals[1]!.aborted);
});

Deno.test("unknown kinds and results that are too large are told as failures", async () => {
  const { clock, delivered, runner } = setUp(() => Promise.resolve("x".repeat(40_000)));
  await using _ = runner;
  runner.offer([stored(0, "unknown"), stored(1)]);
  await clock.settle();
  const details = delivered.map(([, result]) => result.type === "activityFailed" && result.detail);
  assert.match(String(details[0]), /No handler of kind "unknown"/);
  assert.match(String(details[1]), /40002 B does not fit/);
});

Deno.test("a result that cannot be delivered is delivered later; the work is not done again", async () => {
  let calls = 0;
  let refusals = 3;
  const order: string[] = [];
  const refuse = (what: string) => {
    order.push(what);
    return refusals-- > 0 ? Promise.reject(new Error("overloaded")) : Promise.resolve();
  };
  const { clock, runner } = setUp(() => Promise.resolve(++calls), {
    deliver: () => refuse("deliver"),
    finish: () => {
      if (order.filter((what) => what === "finish").length === 0) refusals = 1;
      return refuse("finish");
    },
  });
  await using _ = runner;
  runner.offer([stored(0)]);
  await clock.advance(60_000);
  assert.deepEqual(order, ["deliver", "deliver", "deliver", "deliver", "finish", "finish"]);
  assert.deepEqual([calls, runner.held], [1, 0]);
});

Deno.test("the bound leaves the rest in the store and says when there is room", async () => {
  const gates: (() => void)[] = [];
  let rooms = 0;
  const { clock, runner } = setUp(
    () => new Promise((resolve) => gates.push(() => resolve(null))),
    { heldMax: 2, onRoom: () => void rooms++ },
  );
  await using _ = runner;
  const all = [0, 1, 2].map((n) => stored(n));
  assert.equal(runner.offer(all), 2);
  assert.equal(runner.offer(all), 2); // The same again is not run twice.
  await clock.settle();
  assert.deepEqual([gates.length, rooms], [2, 0]);
  gates[0]!();
  await clock.settle();
  assert.equal(rooms, 1);
  assert.equal(runner.offer([stored(1), stored(2)]), 2);
  await clock.settle();
  assert.equal(gates.length, 3);
});

Deno.test("activities of a restart are spread in time", async () => {
  let calls = 0;
  const { clock, runner } = setUp(() => Promise.resolve(++calls), { restartSpreadMs: 1_000 });
  await using _ = runner;
  runner.offer([stored(0)], true);
  await clock.advance(499);
  assert.equal(calls, 0);
  await clock.advance(1);
  assert.equal(calls, 1);
});

Deno.test("dispose aborts what runs, delivers nothing more and leaves no timer", async () => {
  const { clock, delivered, finished, runner } = setUp((_input, { signal }) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
  );
  runner.offer([stored(0)]);
  runner.offer([stored(1)], true);
  await clock.settle();
  await runner[Symbol.asyncDispose]();
  await runner[Symbol.asyncDispose]();
  await clock.advance(100_000);
  assert.deepEqual([delivered, finished, clock.pending(), runner.held], [[], [], 0, 0]);
  assert.equal(runner.offer([stored(2)]), 0);
});
