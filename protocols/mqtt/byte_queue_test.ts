import assert from "node:assert/strict";
import fc from "fast-check";
import { ByteQueue } from "./byte_queue.ts";

Deno.test("bytes come out as they went in, and the budget knows how many wait", () => {
  const step = fc.oneof(fc.uint8Array({ maxLength: 700 }), fc.integer({ min: 0, max: 900 }));
  fc.assert(fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
    const budget = { bytes: 5 };
    const queue = new ByteQueue(budget);
    let model: number[] = [];
    for (const one of steps) {
      if (typeof one === "number") {
        const count = Math.min(one, model.length);
        queue.consume(count);
        model = model.slice(count);
      } else {
        queue.append(one);
        one.fill(0); // It was copied.
        model.push(...one);
      }
      assert.equal(budget.bytes, 5 + model.length);
      assert.equal(queue.length, model.length);
    }
    assert.equal(queue.view().length, model.length);
    queue.clear();
    assert.equal(budget.bytes, 5);
  }));
});

Deno.test("the view has the bytes that wait, in order", () => {
  const queue = new ByteQueue({ bytes: 0 });
  queue.append(Uint8Array.from({ length: 300 }, (_, i) => i & 0xff));
  queue.consume(250);
  queue.append(Uint8Array.of(1, 2, 3));
  assert.deepEqual([...queue.view().subarray(0, 3)], [250, 251, 252]);
  assert.deepEqual([...queue.view().subarray(-3)], [1, 2, 3]);
  assert.equal(queue.length, 53);
});
