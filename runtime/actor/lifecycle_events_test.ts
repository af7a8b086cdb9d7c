import assert from "node:assert/strict";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics.ts";
import {
  countLifecycle,
  createLifecycleEvents,
  type LifecycleEvent,
  logLifecycle,
} from "./lifecycle_events.ts";

const CRASH: LifecycleEvent = {
  atMs: 1,
  path: ["gateways", "mqtt"],
  type: "exited",
  reason: "fault",
  fault: "boom",
};

Deno.test("one event reaches log, metrics and late readers", () => {
  const events = createLifecycleEvents();
  const metrics = createMetrics();
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  logLifecycle(events, createLogger({ level: "info", write, nowMs: () => 0, isText: false }));
  countLifecycle(events, metrics);
  events.emit(CRASH);
  events.emit({ atMs: 2, path: ["a"], type: "started" });
  assert.deepEqual(lines.map((line) => JSON.parse(line)), [{
    at: "1970-01-01T00:00:00.000Z",
    level: "warn",
    message: "child exited",
    child: "gateways/mqtt",
    reason: "fault",
    fault: "boom",
  }]);
  assert.match(metrics.render(), /roost_children_total\{event="exited"\} 1/);
  assert.deepEqual(events.recent()[0], CRASH);
});

Deno.test("only the newest events are kept and a subscription ends", () => {
  const events = createLifecycleEvents(2);
  const seen: number[] = [];
  const end = events.subscribe((event) => void seen.push(event.atMs));
  for (let atMs = 0; atMs < 3; atMs++) events.emit({ ...CRASH, atMs });
  end();
  end();
  events.emit({ ...CRASH, atMs: 3 });
  assert.deepEqual(events.recent().map((event) => event.atMs), [2, 3]);
  assert.deepEqual(seen, [0, 1, 2]);
});
