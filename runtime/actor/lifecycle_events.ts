/** One stream of what happens to supervised children. Log, metrics and API share it. */
import { assert, messageOf } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics.ts";
import type { ChildPath } from "./supervision.ts";

export type ExitReason =
  | "normal"
  | "fault"
  /** By an operator or a test. */
  | "killed"
  /** By its supervisor: the strategy or the end of the node. */
  | "shutdown"
  /** It did not come up. */
  | "start";

export type LifecycleEvent =
  & {
    /** Epoch milliseconds. */
    readonly atMs: number;
    readonly path: ChildPath;
  }
  & (
    | { readonly type: "started" }
    | { readonly type: "exited"; readonly reason: ExitReason; readonly fault?: string }
    | { readonly type: "restarted"; readonly restarts: number }
    | { readonly type: "blocked"; readonly fault: string }
    | { readonly type: "escalated"; readonly fault: string }
  );

export interface LifecycleEvents {
  emit(event: LifecycleEvent): void;
  /** Listeners must not throw. Returns the end of the subscription; twice is harmless. */
  subscribe(listener: (event: LifecycleEvent) => void): () => void;
  /** Oldest first, at most `keepMax`. */
  recent(): readonly LifecycleEvent[];
}

/** @param keepMax Events kept for late readers. */
export function createLifecycleEvents(keepMax = 256): LifecycleEvents {
  assert(keepMax > 0, "keepMax must be positive");
  const listeners = new Set<(event: LifecycleEvent) => void>();
  const kept: LifecycleEvent[] = [];
  return {
    emit(event) {
      kept.push(event);
      if (kept.length > keepMax) kept.shift();
      for (const listener of listeners) listener(event);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    recent: () => [...kept],
  };
}

/** Writes each event as one line; what needs an operator is a warning or an error. */
export function logLifecycle(events: LifecycleEvents, logger: Logger): () => void {
  return events.subscribe((event) => {
    const child = event.path.join("/");
    switch (event.type) {
      case "started":
        return logger.debug("child started", { child });
      case "restarted":
        return logger.warn("child restarted", { child, restarts: event.restarts });
      case "blocked":
        return logger.error("child blocked until retried", { child, fault: event.fault });
      case "escalated":
        return logger.error("supervisor gave up", { child, fault: event.fault });
      case "exited": {
        const fields = event.fault === undefined
          ? { child, reason: event.reason }
          : { child, reason: event.reason, fault: event.fault };
        const isExpected = event.fault === undefined;
        return isExpected
          ? logger.debug("child exited", fields)
          : logger.warn("child exited", fields);
      }
    }
  });
}

/** Counts each event by type: `roost_children_total{event="restarted"}`. */
export function countLifecycle(events: LifecycleEvents, metrics: Metrics): () => void {
  const family = metrics.counters("children_total", "Lifecycle events of supervised children", {
    labels: ["event"],
  });
  return events.subscribe((event) => void family.of(event.type).value++);
}

/** Text of a fault with its cause, bounded: it ends up in the tree, logs and the API. */
export function faultText(fault: unknown): string {
  const cause = fault instanceof Error && fault.cause !== undefined
    ? `: ${messageOf(fault.cause)}`
    : "";
  return (messageOf(fault) + cause).slice(0, 500);
}
