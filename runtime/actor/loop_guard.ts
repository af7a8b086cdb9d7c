/**
 * Ends synchronous work that does not end by itself. `node:vm` watches a script from a native thread
 * and terminates it, also in the middle of an endless loop; 20 µs a call, and no second isolate.
 *
 * Terminated work stops where it is, without its `catch` and `finally`: the caller throws away all
 * that it was about to change.
 */
import process from "node:process";
import { Script } from "node:vm";

/** Runs a slice of work and gives what it gives. */
export type Guard = <T>(work: () => T) => T;

export class StuckError extends Error {
  override readonly name = "StuckError";
  /** Of the process, its garbage collector included. */
  readonly cpuMs: number;
  constructor(withinMs: number, cpuMs: number) {
    super(`Work took over ${withinMs} ms, ${Math.round(cpuMs)} ms of them on the CPU`);
    this.cpuMs = cpuMs;
  }
}

/** A script reaches nothing but globals. */
const WORK = Symbol.for("roost.guarded");
const RUN = new Script(`globalThis[Symbol.for("roost.guarded")]()`);
const scope = globalThis as { [WORK]?: () => void };

/** @throws {StuckError} The work was terminated after `withinMs` of wall-clock time. */
export function runWithin<T>(withinMs: number, work: () => T): T {
  let result!: T;
  scope[WORK] = () => void (result = work());
  const before = process.cpuUsage();
  try {
    RUN.runInThisContext({ timeout: withinMs, displayErrors: false });
  } catch (fault) {
    if ((fault as { code?: unknown } | null)?.code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw fault;
    const { user, system } = process.cpuUsage(before);
    throw new StuckError(withinMs, (user + system) / 1_000);
  }
  return result;
}
