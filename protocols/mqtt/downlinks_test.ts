import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { Downlinks } from "./downlinks.ts";

const payload = (text: string) => new TextEncoder().encode(text);

function send(downlinks: Downlinks, window: number): number | undefined {
  const item = downlinks.next(window, 0);
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
  assert.equal(new TextDecoder().decode(downlinks.next(1, 0)!.payload), "999");
  for (let i = 1; i < LIMITS.mqttDownlinksMax; i++) {
    assert.ok(downlinks.push("shadow", payload("")));
  }
  assert.equal(downlinks.push("shadow", payload("")), false);
});

Deno.test("a call waits once, however often it is asked for, until it is over or withdrawn", () => {
  const downlinks = new Downlinks();
  const { callsPerDeviceMax, mqttDownlinksMax } = LIMITS;
  const push = (callId: string, expiresAtMs = 100) =>
    downlinks.push(`services/restart/${callId}`, payload(callId), expiresAtMs);
  assert.ok(push("a") && push("b") && push("a"));
  assert.equal(downlinks.length, 2);
  assert.equal(send(downlinks, 1), 1);
  assert.ok(push("a"), "it is on its way");
  assert.equal(downlinks.length, 2);
  downlinks.drop("services/restart/a");
  assert.equal(downlinks.length, 2, "what was sent is acknowledged");
  downlinks.drop("services/restart/b");
  assert.equal(downlinks.length, 1);
  downlinks.rewind();
  assert.equal(downlinks.next(9, 99)?.packetId, 1, "the connection after gets it again");
  assert.equal(downlinks.next(9, 100), undefined, "it is over");
  assert.equal(downlinks.length, 0);
  for (let i = 0; i < callsPerDeviceMax; i++) assert.ok(push(`c${i}`));
  assert.equal(push("more"), false);
  for (let i = 0; i < mqttDownlinksMax; i++) assert.ok(downlinks.push("shadow", payload("")));
  assert.equal(downlinks.push("shadow", payload("")), false, "each has its own bound");
});
