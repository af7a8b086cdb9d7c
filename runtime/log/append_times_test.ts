import assert from "node:assert/strict";
import { DEVICE_LIMITS } from "../device_limits.ts";
import { AppendTimesOfLog } from "./append_times.ts";

const ENTRIES = DEVICE_LIMITS.appendsRemembered;

function append(times: AppendTimesOfLog, sequence: number, first: number, cursor = 0): void {
  const segments = [{ partition: 2, count: 2, bytes: new Uint8Array() }];
  const outcome = { ok: true, isRepeat: false, firstOffsets: [first] } as const;
  const sent = { incarnation: "1", sequence, segments, rows: [] };
  times.appended(sent, outcome, () => cursor, 1, 100);
}

Deno.test("an append is handled when the cursor is at its end, and stored with the head of then", () => {
  const times = new AppendTimesOfLog();
  append(times, 5, 10);
  append(times, 6, 12);
  times.handled(2, 13, 20, 201);
  const first = { firstOffset: 10, handledAtMs: 201, storedAtMs: 0 };
  const second = { firstOffset: 12, handledAtMs: 0, storedAtMs: 0 };
  assert.deepEqual(times.of(2, [5, 6]), [first, second]);
  times.stored(19, 300);
  assert.deepEqual(times.of(2, [5]), [first]);
  times.stored(20, 301);
  assert.deepEqual(times.of(2, [5, 6]), [{ ...first, storedAtMs: 301 }, second]);
  append(times, 7, 14, 16);
  assert.equal((times.of(2, [7])[0] as typeof first).handledAtMs, 100, "actors were faster");
});

Deno.test("of an append of another worker nothing is known, an old one has passed", () => {
  const times = new AppendTimesOfLog();
  assert.deepEqual(times.of(2, [1]), [null]);
  for (let i = 0; i < ENTRIES + 3; i++) append(times, 10 + i, 2 * i);
  assert.deepEqual(times.of(2, [9, 10]), [null, null], "it may still wait");
  times.handled(2, 2 * (ENTRIES + 3), 7, 200);
  times.stored(7, 300);
  const [foreign, old, oldest, repeat] = times.of(2, [9, 12, 13, 99_999]);
  assert.deepEqual([foreign, old, repeat], [null, "passed", null]);
  assert.deepEqual(oldest, { firstOffset: 6, handledAtMs: 200, storedAtMs: 300 });
});
