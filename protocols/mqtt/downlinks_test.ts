import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { Downlinks } from "./downlinks.ts";

const payload = (text: string) => new TextEncoder().encode(text);

function send(downlinks: Downlinks, window: number): number | undefined {
  const item = downlinks.next(window);
  if (item !== undefined) item.isSent = true;
  return item?.packetId;
}

Deno.test("no more than the window is unacknowledged, and ids are not in use twice", () => {
  const downlinks = new Downlinks();
  for (let i = 0; i < 3; i++) assert.ok(downlinks.push("shadow", payload(String(i))));
  assert.deepEqual([send(downlinks, 2), send(downlinks, 2), send(downlinks, 2)], [1, 2, undefined]);
  assert.equal(downlinks.acknowledge(3), false);
  assert.equal(downlinks.acknowledge(1), true);
  assert.equal(downlinks.acknowledge(1), false);
  assert.equal(send(downlinks, 2), 3);
  for (let i = 0; i < 70_000; i++) {
    downlinks.acknowledge(3);
    downlinks.push("shadow", payload("x"));
    const id = send(downlinks, 3)!;
    assert.ok(id !== 2 && id >= 1 && id <= 0xffff);
    downlinks.acknowledge(id);
  }
});

Deno.test("what was sent is sent again with its id, before anything newer", () => {
  const downlinks = new Downlinks();
  downlinks.push("properties/set", payload("1"));
  assert.equal(send(downlinks, 9), 1);
  downlinks.push("properties/set", payload("2"));
  downlinks.rewind();
  assert.equal(send(downlinks, 9), 1);
  assert.equal(send(downlinks, 9), 2);
});

Deno.test("a desired state that waits is replaced, other messages are bounded", () => {
  const downlinks = new Downlinks();
  for (let i = 0; i < 1_000; i++) assert.ok(downlinks.push("properties/set", payload(String(i))));
  assert.equal(downlinks.length, 1);
  assert.equal(new TextDecoder().decode(downlinks.next(1)!.payload), "999");
  for (let i = 1; i < LIMITS.mqttDownlinksMax; i++) {
    assert.ok(downlinks.push("shadow", payload("")));
  }
  assert.equal(downlinks.push("shadow", payload("")), false);
});
