import assert from "node:assert/strict";
import { DEVICE_LIMITS } from "../../runtime/device_limits.ts";
import { listMessages } from "./message_list.ts";
import { RING_BYTES } from "./message_ring.ts";
import { MessageTraces } from "./message_traces.ts";

const AT_MS = 1_700_000_000_000;
const DEVICE = { key: "pump/p-1", target: { partition: 3 } };
const SLOTS = DEVICE_LIMITS.tracedMessages;

Deno.test("a ring lists what is durable newest first, and forgets facts with their message", () => {
  const traces = new MessageTraces(() => 7);
  traces.refuse(DEVICE, "http", "events/hot", 3, AT_MS, { reason: "invalid", detail: "t: max" });
  traces.accept(DEVICE, "mqtt", "properties", 9, AT_MS + 1, 4);
  traces.accept(DEVICE, "mqtt", "properties", 9, AT_MS + 2, 5);
  const listed = traces.list(DEVICE.key, 50, 4)!;
  assert.equal(listed.partition, 3);
  assert.deepEqual(listed.messages, [
    {
      ...{ number: 1, wire: "mqtt", topic: "properties", bytes: 9 },
      ...{ atMs: AT_MS + 1, append: 4, index: 7 },
    },
    {
      ...{ number: 0, wire: "http", topic: "events/hot", bytes: 3, atMs: AT_MS, append: 0 },
      ...{ index: 0, reason: "invalid", detail: "t: max" },
    },
  ]);
  for (let i = 0; i < SLOTS; i++) traces.accept(DEVICE, "mqtt", "own", 1, AT_MS, 5);
  const { messages } = traces.list(DEVICE.key, 500, 5)!;
  assert.equal(messages.length, SLOTS);
  assert.ok(messages.every(({ wire, reason }) => wire === "mqtt" && reason === undefined));
  traces.forget(DEVICE.key);
  assert.equal(traces.list(DEVICE.key, 50, 5), undefined);
});

Deno.test("texts are bounded, and devices that are silent longest give way to the bytes", () => {
  const traces = new MessageTraces(() => 0);
  const long = "x".repeat(60_000);
  const device = (n: number) => ({ key: `pump/d-${n}`, target: { partition: 0 } });
  traces.accept(device(0), "mqtt", "properties", 1, AT_MS, 1);
  const each = RING_BYTES + SLOTS * 2 * (2 * DEVICE_LIMITS.tracedTextCharacters);
  const count = Math.ceil(DEVICE_LIMITS.traceBytesMax / each) + 50;
  for (let n = 1; n <= count; n++) {
    for (let i = 0; i < SLOTS; i++) {
      traces.refuse(device(n), "mqtt", long + i, 1, AT_MS, { reason: "r", detail: long });
    }
  }
  assert.equal(traces.list("pump/d-0", 1, 1), undefined);
  const [newest] = traces.list(`pump/d-${count}`, 1, 1)!.messages;
  assert.equal(newest!.topic.length, DEVICE_LIMITS.tracedTextCharacters);
  assert.equal(newest!.detail!.length, DEVICE_LIMITS.tracedTextCharacters);
  let kept = 0;
  for (let n = 0; n <= count; n++) if (traces.list(`pump/d-${n}`, 1, 1) !== undefined) kept++;
  assert.ok(kept > 0 && kept * each <= DEVICE_LIMITS.traceBytesMax, `${kept} are kept`);
});

Deno.test("a message is dead-lettered by its own record, others of its append are not", async () => {
  let index = 0;
  const traces = new MessageTraces(() => index);
  for (; index < 3; index++) traces.accept(DEVICE, "mqtt", "properties", 1, AT_MS, 6);
  index = 0;
  traces.accept(DEVICE, "mqtt", "own", 1, AT_MS, 7);
  traces.accept(DEVICE, "mqtt", "properties", 1, AT_MS, 8);
  traces.accept(DEVICE, "mqtt", "properties", 1, AT_MS, 9);
  const times = new Map([
    [6, { firstOffset: 40, handledAtMs: AT_MS + 1, storedAtMs: AT_MS + 2 }],
    [7, { firstOffset: 43, handledAtMs: AT_MS + 1, storedAtMs: AT_MS + 2 }],
    [8, { firstOffset: 44, handledAtMs: AT_MS + 1, storedAtMs: 0 }],
  ]);
  const letter = {
    ...{ to: "device/pump/p-1", body: new Uint8Array(), bodyBytes: 0, isIngress: true, id: 1 },
    ...{ acceptedAtMs: AT_MS, recordId: "5-3-41", reason: "threw", detail: "Error: no\n  at x" },
    ...{ traceId: "", partition: 3, parkedAtMs: AT_MS + 5 },
  };
  index = 1;
  traces.accept(DEVICE, "http", "services/stop/c1/reply", 1, AT_MS, 6, undefined, 2);
  const answer = { ...letter, to: "command/pump/p-1", recordId: "5-3-42", reason: "stuck" };
  const log = {
    appendTimes: (_: number, appends: readonly number[]) =>
      Promise.resolve(appends.map((append) => times.get(append) ?? null)),
    deadLetters: ({ address }: { readonly address?: string }) =>
      Promise.resolve([letter, answer].filter(({ to }) => to === address)),
  };
  const items = await listMessages({ traces, settled: () => 9, log }, "pump", "p-1", 50);
  const told = items.map(({ status, handledAt, storedAt }) => [
    ...[status, handledAt && handledAt - AT_MS, storedAt && storedAt - AT_MS],
  ]);
  assert.deepEqual(told, [
    ["deadLettered", 5, null],
    ["accepted", null, null],
    ["handled", 1, null],
    ["handled", 1, null],
    ["deadLettered", 5, 2],
    ["deadLettered", 5, 2],
    ["stored", 1, 2],
  ]);
  assert.deepEqual([items[0]!.reason, items[5]!.detail], ["stuck", "Error: no"]);
});
