import assert from "node:assert/strict";
import fc from "fast-check";
import { Bucket, RateMeter } from "./rate_meter.ts";

Deno.test("over any time a bucket gives its burst and its rate, and one overdraft at most", () => {
  const steps = fc.array(fc.record({ ms: fc.nat(2_000), tokens: fc.integer({ min: 1, max: 50 }) }));
  fc.assert(fc.property(steps, fc.integer({ min: 1, max: 100 }), (steps, perSecond) => {
    const bucket = new Bucket(perSecond, perSecond, 0);
    let nowMs = 0;
    let taken = 0;
    for (const { ms, tokens } of steps) {
      nowMs += ms;
      if (!bucket.isLevel(nowMs)) continue;
      bucket.take(tokens);
      taken += tokens;
    }
    assert.ok(taken <= perSecond + perSecond * nowMs / 1_000 + 50, `${taken} in ${nowMs} ms`);
  }));
});

Deno.test("a bucket that was idle holds no more than its burst", () => {
  const bucket = new Bucket(10, 10, 0);
  assert.equal(bucket.isLevel(3_600_000), true);
  bucket.take(10);
  assert.equal(bucket.isLevel(3_600_000), false);
  assert.equal(bucket.isLevel(3_600_100), true);
});

Deno.test("a meter names what the next message waits for, and counts nothing that is not limited", () => {
  const unlimited = { messages: undefined, bytes: undefined };
  const none = { packets: undefined, device: unlimited, project: undefined };
  const device = { ...unlimited, bytes: new Bucket(100, 100, 0) };
  const meter = new RateMeter({ ...none, device });
  assert.equal(meter.heldBy(0), undefined);
  meter.take(150);
  assert.equal(meter.heldBy(0), "heldByDeviceBytes");
  assert.equal(meter.heldBy(501), undefined);
  assert.equal(meter.isFlood(0), false);
  const project = new Bucket(1, 1, 0);
  const [one, other] = [new RateMeter({ ...none, project }), new RateMeter({ ...none, project })];
  one.take(1);
  assert.equal(other.heldBy(0), "heldByProjectMessages", "it is shared");
});
