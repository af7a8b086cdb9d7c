/** Memory of an idle MQTT connection: the main process before and after thousands connect. */
import { memoryOfTree } from "../../support/process_tree.ts";
import { letPass } from "../../support/wait.ts";
import { Fleet } from "../fleet.ts";
import { startLoad } from "../load/start_load.ts";
import type { BenchContext, Row, RowResult } from "../row.ts";

const CONNECTIONS = 5_000;
const SETTLE_MS = 5_000;

export const idleConnection: Row = {
  name: "idle-connection",
  what: "resident memory of an idle plain MQTT connection, the socket's process",
  run: runIdle,
};

async function runIdle(context: BenchContext): Promise<RowResult> {
  const count = context.isShort ? 50 : CONNECTIONS;
  const settleMs = context.isShort ? 300 : SETTLE_MS;
  await using fleet = await Fleet.start(context.directory, count);
  // A first wave warms code and pools up, so that the second costs what a connection costs.
  await connectAll(fleet, Math.ceil(count / 10), settleMs);
  await fleet.untilHandled();
  await letPass(settleMs);
  const before = mainBytes(fleet);
  const during = await connectAll(fleet, count, settleMs);
  const each = (during.main - before) / count;
  return {
    measures: [
      {
        name: "connection, main process",
        value: each / 1_024,
        unit: "KiB",
        target: 8,
        isLessBetter: true,
      },
    ],
    facts: { connections: count, "all processes PSS MB": Math.round(during.tree / 1e6) },
    faults: [],
  };
}

async function connectAll(
  fleet: Fleet,
  count: number,
  settleMs: number,
): Promise<{ main: number; tree: number }> {
  await using load = startLoad({
    ...fleet.target("mqtt"),
    devicesMax: count,
    inFlight: 0,
    durationMs: 600_000,
  });
  await load.connected;
  await fleet.untilHandled();
  await letPass(settleMs);
  const main = mainBytes(fleet);
  const tree = memoryOfTree(fleet.roost.pid).pssBytes;
  load.stop();
  await load.report;
  return { main, tree };
}

function mainBytes(fleet: Fleet): number {
  const { processes } = memoryOfTree(fleet.roost.pid);
  return processes.find((one) => one.pid === fleet.roost.pid)!.rssBytes;
}
