/**
 * What supervisors and the children they own agree on. All of it is data or plain functions:
 * `supervisor.ts` holds the behaviour.
 *
 * A child that starts something owes, in this order:
 * 1. `start` settles: it returns what runs, or throws and leaves nothing behind. It gives up when
 *    `context.signal` aborts.
 * 2. `done` settles when the child ends by itself; a crash is a rejection or `{ fault }`.
 * 3. Dispose drains and releases, also after `done` has settled; twice is harmless.
 */
import { NotRetryableError } from "../errors.ts";
import type { Clock } from "../clock.ts";
import type { Random } from "../random.ts";
import type { LifecycleEvents } from "./lifecycle_events.ts";

/** Ids from the root's child downwards, without the root: `["gateways", "mqtt"]`. */
export type ChildPath = readonly string[];

export type SupervisionStatus =
  | "starting"
  | "running"
  /** Waits for its backoff, or for the child before it. */
  | "restarting"
  | "stopping"
  | "stopped"
  /** Failed in a way that is not retried: waits for `retry`. */
  | "blocked"
  /** Ended with a fault for good: a temporary child, or a supervisor that gave up. */
  | "failed";

/** The live tree of a node, as plain JSON. */
export interface SupervisionTree {
  readonly id: string;
  readonly status: SupervisionStatus;
  /** Starts after the first, failed ones included. */
  readonly restarts: number;
  /** Epoch milliseconds of the last start that worked. */
  readonly startedAtMs?: number;
  /** Text of the last fault, also after a restart. */
  readonly lastFault?: string;
  readonly children: readonly SupervisionTree[];
}

export interface Running extends AsyncDisposable {
  /** Settles when the child ends by itself: normally, or with a fault. */
  readonly done: Promise<void | { readonly fault: unknown }>;
  /** What the child supervises itself, in this process or another. */
  tree?(): readonly SupervisionTree[];
  /**
   * Ends it, or the descendant that `path` names, abnormally and at once.
   * @returns Whether there is such a descendant and it runs.
   */
  kill?(path: ChildPath): boolean;
  /** Starts a blocked descendant again. */
  retry?(path: ChildPath): boolean;
}

export interface StartContext {
  readonly path: ChildPath;
  /** Aborts when nobody waits for this start any more. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: LifecycleEvents;
}

export type Restart =
  /** Always started again. */
  | "permanent"
  /** Started again after a fault, not after a normal end. */
  | "transient"
  /** Never started again. */
  | "temporary";

export interface ChildSpec {
  /** Unique among its siblings, without `/`. */
  readonly id: string;
  readonly start: (context: StartContext) => Promise<Running>;
  readonly restart: Restart;
  /** How long dispose may take; then the child is killed and left behind. */
  readonly shutdownMs: number;
}

export type Strategy =
  /** Only the child that ended is restarted. */
  | "one_for_one"
  /** The child and all that were started after it. */
  | "rest_for_one"
  /** All children. */
  | "one_for_all";

export interface Intensity {
  /** `0 <= restartsMax`. One more within the window, and the supervisor gives up: it escalates. */
  readonly restartsMax: number;
  readonly withinMs: number;
}

/** The n-th restart in a row waits `min(maxMs, firstMs * 2^(n-1))`, of which half is jitter. */
export interface Backoff {
  readonly firstMs: number;
  readonly maxMs: number;
}

export const BACKOFF_DEFAULT: Backoff = { firstMs: 20, maxMs: 10_000 };

export interface SupervisorSpec {
  readonly strategy: Strategy;
  readonly intensity: Intensity;
  readonly backoff?: Backoff;
  /** In dependency order: started from the first to the last, stopped in reverse. */
  readonly children: readonly ChildSpec[];
}

/** Codes of faults that a restart cannot cure: somebody must change something first. */
const BLOCKING_CODES: ReadonlySet<unknown> = new Set([
  "not_retryable",
  "unauthorized",
  "forbidden",
]);

/** By code as well as by class, since a fault that crossed a Worker has lost its class. */
export function isBlocking(fault: unknown): boolean {
  if (fault instanceof NotRetryableError) return true;
  return typeof fault === "object" && fault !== null && "code" in fault &&
    BLOCKING_CODES.has(fault.code);
}
