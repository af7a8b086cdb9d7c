import assert from "node:assert/strict";
import fc from "fast-check";
import { ACK, type AckKind, AckQueue } from "./ack_queue.ts";

interface Entry {
  readonly append: number;
  readonly kind: AckKind;
  readonly reason: number;
  readonly packetId: number;
  readonly bytes: number;
}

const entries = fc.record({
  append: fc.integer({ min: 0, max: 20 }),
  kind: fc.constantFrom(...Object.values(ACK)),
  reason: fc.integer({ min: 0, max: 255 }),
  packetId: fc.integer({ min: 0, max: 65_535 }),
  bytes: fc.integer({ min: 0, max: 65_536 }),
});

Deno.test("the ring does what an array does, over any pushes and drops", () => {
  const step = fc.oneof(fc.array(entries, { maxLength: 30 }), fc.integer({ min: 0, max: 20 }));
  fc.assert(fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
    const queue = new AckQueue();
    let model: Entry[] = [];
    for (const one of steps) {
      if (Array.isArray(one)) {
        for (const { append, kind, reason, packetId, bytes } of one) {
          queue.push(append, kind, reason, packetId, bytes);
        }
        model.push(...one);
      } else {
        const blocked = model.findIndex(({ append }) => append > one);
        const ready = blocked < 0 ? model.length : blocked;
        assert.equal(queue.ready(one), ready);
        for (let i = 0; i < ready; i++) {
          const { kind, reason, packetId } = model[i]!;
          const seen = [queue.kindAt(i), queue.reasonAt(i), queue.packetIdAt(i)];
          assert.deepEqual(seen, [kind, reason, packetId]);
        }
        queue.drop(ready);
        model = model.slice(ready);
      }
      assert.equal(queue.length, model.length);
      assert.equal(queue.bytes, model.reduce((sum, { bytes }) => sum + bytes, 0));
    }
  }));
});
