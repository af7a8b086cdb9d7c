import assert from "node:assert/strict";
import { partitionOfActor } from "../../actors/behaviours.ts";
import { systemClock } from "../clock.ts";
import { packRecord } from "../log/record.ts";
import { silentLogger } from "../logger.ts";
import type { PartitionBatch } from "./batch.ts";
import { EngineDiedError, type EngineProcess, startEngineProcess } from "./engine_process.ts";

const ADDRESS = "device/pump/p-1";
const PARTITION = partitionOfActor(ADDRESS);
/** Only what the engine itself finds is to end it. */
const STALL_MS = 600_000;

function start(): Promise<EngineProcess> {
  return startEngineProcess({
    entry: import.meta.resolve("../../test/support/faulty_engine_main.ts"),
    load: (addresses) => Promise.resolve(addresses.map(() => undefined)),
    clock: systemClock,
    logger: silentLogger,
    stallMs: STALL_MS,
  });
}

/** A record for each set of values. */
function batchOf(all: readonly Record<string, unknown>[]): PartitionBatch {
  const segments = all.map((values, i) => {
    const body = JSON.stringify({ type: "properties", samples: [{ values }] });
    const bytes = packRecord({ to: ADDRESS, budget: 10 }, new TextEncoder().encode(body));
    return {
      ...{ partition: PARTITION, class: "ingress", epoch: 1, firstOffset: i, count: 1 } as const,
      ...{ acceptedAtMs: 1_000, bytes },
    };
  });
  const nextCursor = all.length;
  return { partition: PARTITION, cursor: 0, segments, nextCursor, reminders: [] };
}

Deno.test("an engine ends itself when a handler loops, and has said where it was", async () => {
  await using engine = await start();
  const batch = batchOf([...Array.from({ length: 20 }, (_, n) => ({ n })), { fault: "loop" }]);
  await assert.rejects(engine.handle([batch]), (fault) => {
    assert(fault instanceof EngineDiedError);
    assert.deepEqual(fault.suspect, { partition: PARTITION, roots: 16 });
    assert.match(fault.message, /exit code 70; a handler is stuck: Work took over \d+ ms/);
    return fault.hadBatch;
  });
});

Deno.test("work that did not get the CPU is done again by the same engine", async () => {
  await using engine = await start();
  const [commit] = await engine.handle([batchOf([{ n: 1 }, { fault: "wait" }, { n: 2 }])]);
  assert.deepEqual([commit!.processed, commit!.deadLetters], [3, []]);
  const [next] = await engine.handle([{ ...batchOf([{ n: 3 }]), partition: PARTITION }]);
  assert.equal(next!.processed, 1);
});

Deno.test("a part of a batch and a parked root pass through the pipes", async () => {
  await using engine = await start();
  const batch = batchOf([{ fault: "loop" }, { n: 1 }, { n: 2 }]);
  const parked = { ...batch, rootsMax: 1, isFirstParked: true } as const;
  const [commit] = await engine.handle([parked]);
  assert.deepEqual(commit!.deadLetters.map(({ reason }) => reason), ["killed_engine"]);
  assert.deepEqual([commit!.toCursor, commit!.isPartial], [1, true]);
  const [rest] = await engine.handle([{ ...batch, cursor: 1, rootsMax: 1 }]);
  assert.deepEqual([rest!.toCursor, rest!.isPartial], [2, true]);
});
