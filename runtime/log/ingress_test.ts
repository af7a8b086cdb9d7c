import assert from "node:assert/strict";
import { partitionOf } from "../actor/address.ts";
import { type Clock, systemClock } from "../clock.ts";
import { OverloadedError, TimeoutError, UnavailableError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { silentLogger } from "../logger.ts";
import { GroupIngress, type IngressOptions, type IngressTarget } from "./ingress.ts";
import type { Append, AppendOutcome } from "./partition_log.ts";
import { packHead, recordsOf } from "./record.ts";
import { StoppedPartitions } from "./stopped_partitions.ts";

const BODY = new TextEncoder().encode('{"type":"x"}');

function targetOf(id: string): IngressTarget {
  const partition = partitionOf({ group: "things" }, id);
  return { partition, head: packHead({ to: `device/${id}`, budget: 10 }) };
}

/** A log whose appends are answered by hand, and a clock whose turns and timers are. */
function createBench(
  unacknowledgedBytesMax: number = LIMITS.unacknowledgedBytesMax,
  rest: Partial<IngressOptions> = {},
) {
  const appends: { append: Append; answer: (outcome: AppendOutcome | Error) => void }[] = [];
  const turns: (() => void)[] = [];
  const timers: (() => void)[] = [];
  const clock: Clock = {
    nowMs: () => 0,
    monotonicMs: () => 0,
    after: (_, callback) => {
      timers.push(callback);
      return () => timers.splice(timers.indexOf(callback), 1);
    },
    soon: (callback) => void turns.push(callback),
  };
  const ingress = new GroupIngress({
    log: {
      append: (append) =>
        new Promise((resolve, reject) =>
          appends.push({
            append,
            answer: (outcome) => outcome instanceof Error ? reject(outcome) : resolve(outcome),
          })
        ),
    },
    clock,
    logger: silentLogger,
    incarnation: "test",
    partitionOf: () => 0,
    unacknowledgedBytesMax,
    ...rest,
  });
  const turn = async () => {
    for (const callback of turns.splice(0)) callback();
    await new Promise<void>((resolve) => systemClock.soon(resolve));
  };
  const ring = async () => {
    for (const callback of timers.splice(0)) callback();
    await turn();
  };
  return { ingress, appends, turn, ring };
}

const OK: AppendOutcome = { ok: true, isRepeat: false };

Deno.test("what one turn brings goes out as one append, by partition and in order", async () => {
  const { ingress, appends, turn } = createBench();
  assert.equal(ingress.offer(targetOf("p/a"), [BODY]), 1);
  assert.equal(ingress.offer(targetOf("p/b"), [BODY.subarray(0, 3), BODY.subarray(3)]), 1);
  assert.equal(ingress.offer(targetOf("p/a"), [BODY]), 1);
  await turn();
  assert.equal(appends.length, 1);
  const seen = appends[0]!.append.segments.flatMap((segment) =>
    [...recordsOf({ ...segment, class: "ingress", epoch: 1, firstOffset: 0, acceptedAtMs: 0 })]
      .map((record) => `${record.to} ${new TextDecoder().decode(record.body)}`)
  );
  assert.deepEqual(seen.filter((line) => line.includes("/a")).length, 2);
  assert(seen.every((line) => line.endsWith('{"type":"x"}')));
});

Deno.test("one append is in flight, and nothing is settled before its answer", async () => {
  const { ingress, appends, turn } = createBench();
  const settled: number[] = [];
  ingress.onSettled((number) => settled.push(number));
  ingress.offer(targetOf("p/a"), [BODY]);
  await turn();
  assert.equal(ingress.offer(targetOf("p/a"), [BODY]), 2);
  await turn();
  assert.equal(appends.length, 1);
  assert.deepEqual(settled, []);
  appends[0]!.answer(OK);
  await turn();
  await turn();
  assert.deepEqual(settled, [1]);
  assert.equal(appends.length, 2);
  appends[1]!.answer(OK);
  await turn();
  assert.deepEqual(settled, [1, 2]);
  assert.equal(ingress.unacknowledgedBytes, 0);
});

Deno.test("a refused or lost append is sent again unchanged", async () => {
  const { ingress, appends, turn, ring } = createBench();
  ingress.offer(targetOf("p/a"), [BODY]);
  await turn();
  appends[0]!.answer({ ok: false, code: "overloaded", detail: "full", retryAfterMs: 10 });
  await turn();
  assert.equal(ingress.refusal, "overloaded");
  await ring();
  appends[1]!.answer(new Error("reply lost"));
  await turn();
  assert.equal(ingress.refusal, "store_failed");
  await ring();
  assert.equal(appends[2]!.append, appends[0]!.append);
  appends[2]!.answer({ ok: true, isRepeat: true });
  await turn();
  assert.equal(ingress.refusal, undefined);
  assert.equal(ingress.settled, 1);
});

Deno.test("at the bound an offer is given back, and room is announced", async () => {
  const { ingress, appends, turn } = createBench(200);
  let rooms = 0;
  ingress.onRoom(() => rooms++);
  let taken = 0;
  while (ingress.offer(targetOf("p/a"), [BODY]) !== undefined) taken++;
  assert(taken > 1 && ingress.unacknowledgedBytes <= 200, `${taken} taken`);
  await turn();
  assert.equal(rooms, 0);
  appends[0]!.answer(OK);
  await turn();
  assert.equal(rooms, 1);
  assert.notEqual(ingress.offer(targetOf("p/a"), [BODY]), undefined);
});

Deno.test("a message and its row share an append, wherever the one before is full", async () => {
  const value = new Uint8Array(1_000);
  const body = new TextEncoder().encode(`{"x":"${"x".repeat(1_000)}"}`);
  for (const spare of [0, 500, 1_500, 2_500]) {
    const { ingress, appends, turn } = createBench();
    const filling = LIMITS.appendBytesMax - spare;
    for (let bytes = 0; bytes < filling;) {
      const length = Math.min(LIMITS.payloadBytesMax, filling - bytes);
      const { head } = targetOf("p/a");
      ingress.offer(targetOf("p/a"), [new Uint8Array(Math.max(0, length - head.length))]);
      bytes += Math.max(length, head.length);
    }
    const number = ingress.offerWithRows(targetOf("p/b"), [body], [{ key: "mqtt/p/b", value }]);
    await turn();
    appends[0]!.answer(OK);
    await turn();
    await turn();
    const carrier = appends.find(({ append }) => append.sequence === number)!.append;
    const { partition } = targetOf("p/b");
    assert.deepEqual(carrier.rows, [{ key: "mqtt/p/b", value }]);
    const bodies = carrier.segments.filter((segment) => segment.partition === partition)
      .flatMap((segment) => [
        ...recordsOf({ ...segment, class: "ingress", epoch: 1, firstOffset: 0, acceptedAtMs: 0 }),
      ]).map((record) => record.body.length);
    assert.ok(bodies.includes(body.length), `${spare} B were left: ${bodies}`);
    assert.equal(appends.filter(({ append }) => append.rows.length > 0).length, 1);
  }
});

Deno.test("of a row that is written again in one append the last value counts, in bytes too", async () => {
  const { ingress, appends, turn } = createBench();
  const row = (bytes: number) => ({ key: "mqtt/p/a", value: new Uint8Array(bytes) });
  ingress.offer(targetOf("p/a"), [BODY]);
  const before = ingress.unacknowledgedBytes;
  for (let i = 0; i < 1_000; i++) ingress.offerRow("mqtt/p/a", row(60_000 + i).value);
  const rowBytes = ingress.unacknowledgedBytes - before;
  assert.ok(rowBytes < 62_000, `${rowBytes} B for one row`);
  ingress.offerRow("mqtt/p/a", row(10).value);
  assert.ok(ingress.unacknowledgedBytes - before < 100);
  await turn();
  assert.deepEqual(appends[0]!.append.rows, [row(10)]);
  appends[0]!.answer(OK);
  await turn();
  assert.equal(ingress.unacknowledgedBytes, 0);
});

Deno.test("a message and its row are refused together", () => {
  const { ingress } = createBench(200);
  const row = { key: "mqtt/p/a", value: new Uint8Array(160) };
  assert.equal(ingress.offerWithRows(targetOf("p/a"), [BODY], [row]), undefined);
  assert.equal(ingress.unacknowledgedBytes, 0);
  assert.equal(ingress.offerWithRows(targetOf("p/a"), [BODY], [{ key: "mqtt/p/a" }]), 1);
});

Deno.test("a question is answered once, times out, or is refused at the bound", async () => {
  const { ingress, appends, turn, ring } = createBench(200);
  const places: number[][] = [];
  const onOffered = (...place: number[]) => void places.push(place);
  ingress.offer({ ...targetOf("p/a"), partition: 0 }, [BODY]);
  const asked = ingress.ask("device/p/a", { type: "desire" }, { timeoutMs: 10, onOffered });
  assert.deepEqual(places, [[1, 1]], "behind the message that came before");
  await turn();
  const segment = appends[0]!.append.segments[0]!;
  const [, record] = recordsOf({
    ...segment,
    class: "ingress",
    epoch: 1,
    firstOffset: 0,
    acceptedAtMs: 0,
  });
  ingress.resolveReply(record!.replyTo!, { ok: true });
  ingress.resolveReply(record!.replyTo!, { ok: false });
  assert.deepEqual(await asked, { ok: true });
  const late = ingress.ask("device/p/a", { type: "desire" }, { timeoutMs: 10 });
  const timedOut = assert.rejects(late, TimeoutError);
  await ring();
  await timedOut;
  await assert.rejects(
    ingress.ask("device/p/a", { type: "x".repeat(200) }, { timeoutMs: 10, onOffered }),
    OverloadedError,
  );
  assert.equal(places.length, 1, "what is refused is in no append");
});

Deno.test("a question to a stopped partition is refused at once, counted, and not appended", async () => {
  const stopped = new StoppedPartitions();
  const refusals: string[] = [];
  const refuse = (reason: string) => void refusals.push(reason);
  const { ingress, appends, turn } = createBench(undefined, { stopped, refuse });
  stopped.replace([0]);
  const ask = () => ingress.ask("device/p/a", { type: "desire" }, { timeoutMs: 10 });
  await assert.rejects(ask(), (fault: unknown) => {
    assert.ok(fault instanceof UnavailableError && fault.retryable);
    assert.match(fault.message, /Cannot ask device\/p\/a: partition 0 is stopped/);
    return true;
  });
  await turn();
  assert.deepEqual([appends.length, refusals], [0, ["partition_stopped"]]);
  stopped.replace([1]);
  void ask();
  await turn();
  assert.equal(appends.length, 1);
  ingress.close();
});

Deno.test("listeners hear of each partition that stops, once, until it is back", () => {
  const stopped = new StoppedPartitions();
  const heard: number[] = [];
  const unlisten = stopped.onStopped((partition) => heard.push(partition));
  assert.deepEqual([stopped.size, stopped.has(3)], [0, false]);
  for (const partitions of [[3], [3, 5], [5], [], [3]]) stopped.replace(partitions);
  assert.deepEqual(heard, [3, 5, 3]);
  assert.deepEqual([stopped.size, stopped.has(3), stopped.has(5)], [1, true, false]);
  unlisten();
  stopped.replace([1]);
  assert.equal(heard.length, 3);
});
