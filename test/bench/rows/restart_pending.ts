/**
 * Restart after SIGKILL with 100,000 messages acknowledged and not handled. The backlog is made by
 * stopping the engine process: acknowledgements do not wait for it.
 */
import { systemClock } from "../../../runtime/clock.ts";
import { waitFor } from "../../support/wait.ts";
import { treeOf } from "../../support/process_tree.ts";
import { Fleet } from "../fleet.ts";
import { startLoad } from "../load/start_load.ts";
import type { BenchContext, Row, RowResult } from "../row.ts";

const PENDING = 100_000;
const ENGINE = "engine_main";

export const restartPending: Row = {
  name: "restart-pending",
  what: "restart after kill -9 with 100,000 pending: ready and draining",
  run: runRestart,
};

async function runRestart(context: BenchContext): Promise<RowResult> {
  await using fleet = await Fleet.start(context.directory, context.isShort ? 20 : 500);
  const pending = await makeBacklog(fleet, context.isShort ? 1_000 : PENDING);
  const before = (await fleet.api.ledger()).total;
  const stopped = enginesOf(fleet.roost.pid);
  const killed = fleet.roost.kill();
  for (const pid of stopped) Deno.kill(pid, "SIGKILL"); // A stopped child cannot see its pipe end.
  await killed;
  const startedMs = systemClock.monotonicMs();
  await fleet.roost.start();
  const readyMs = systemClock.monotonicMs() - startedMs;
  const api = fleet.api;
  const first = (await api.ledger()).total;
  await waitFor(async () => {
    const { processed, pending } = (await api.ledger()).total;
    return pending === 0 || processed > first.processed;
  }, { what: "the backlog to drain", withinMs: 60_000, everyMs: 5 });
  const drainingMs = systemClock.monotonicMs() - startedMs;
  await waitFor(async () => (await api.ledger()).total.pending === 0, {
    what: "the backlog to be handled",
    withinMs: 120_000,
  });
  const drainedMs = systemClock.monotonicMs() - startedMs;
  const after = (await api.ledger()).total;
  return {
    measures: [
      {
        name: "ready and draining",
        value: drainingMs / 1_000,
        unit: "s",
        target: 2,
        isLessBetter: true,
      },
      { name: "all handled", value: drainedMs / 1_000, unit: "s" },
    ],
    facts: { pending, "ready line s": readyMs / 1_000 },
    faults: after.accepted < before.accepted
      ? [`accepted fell from ${before.accepted} to ${after.accepted}`]
      : [],
  };
}

/** Loads flat out with the engine stopped until so many are pending. Returns how many. */
async function makeBacklog(fleet: Fleet, least: number): Promise<number> {
  await using load = startLoad({
    ...fleet.target("mqtt"),
    inFlight: 20,
    durationMs: 120_000,
    isReconnecting: true,
  });
  await load.connected;
  let pending = 0;
  await waitFor(async () => {
    // A stopped engine misses its heartbeat, is killed and started again: stop that one too.
    for (const pid of enginesOf(fleet.roost.pid)) Deno.kill(pid, "SIGSTOP");
    pending = (await fleet.api.ledger()).total.pending;
    return pending >= least;
  }, { what: `${least} pending messages`, withinMs: 110_000, actual: () => pending });
  return pending;
}

function enginesOf(root: number): number[] {
  return treeOf(root).filter((pid) =>
    pid !== root && Deno.readTextFileSync(`/proc/${pid}/cmdline`).includes(ENGINE)
  );
}
