/** From the spawn to the first acknowledged message, and what the idle product takes. */
import { systemClock } from "../../../runtime/clock.ts";
import { startRoost } from "../../support/roost.ts";
import { letPass } from "../../support/wait.ts";
import { PRODUCT } from "../fleet.ts";
import { firstPuback } from "../first_puback.ts";
import { type BenchContext, median, type Row, type RowResult } from "../row.ts";

const RUNS = 5;
const SETTLE_MS = 5_000;

export const startUp: Row = {
  name: "start-up",
  what: "start to first accepted message with an empty log; resident memory idle",
  run: runStartUp,
};

async function runStartUp(context: BenchContext): Promise<RowResult> {
  await using roost = await startRoost({ dataDir: `${context.directory}/data` });
  const api = await roost.api();
  await api.createProduct({ key: PRODUCT });
  const login = await api.createDevice(PRODUCT, "first");
  const accepted: number[] = [];
  const ready: number[] = [];
  for (let run = 0; run < (context.isShort ? 1 : RUNS); run++) {
    await roost.kill("SIGTERM");
    const startedMs = systemClock.monotonicMs();
    const first = firstPuback(roost.mqttPort, login, 30_000);
    await roost.start();
    ready.push(roost.readyMs);
    accepted.push(await first - startedMs);
  }
  await roost.kill("SIGTERM");
  await roost.start();
  await letPass(context.isShort ? 500 : SETTLE_MS);
  const memory = roost.memory();
  return {
    measures: [
      {
        name: "first accepted message",
        value: median(accepted) / 1_000,
        unit: "s",
        target: 0.5,
        floor: 2,
        isLessBetter: true,
      },
      {
        name: "idle memory (PSS, all processes)",
        value: memory.pssBytes / 1e6,
        unit: "MB",
        target: 130,
        floor: 220,
        isLessBetter: true,
      },
    ],
    facts: {
      "ready line s": median(ready) / 1_000,
      starts: accepted.length,
      "RSS MB (shared pages counted in each)": Math.round(memory.rssBytes / 1e6),
      processes: memory.processes.map((one) =>
        `${one.command.split("/").at(-1)} ${Math.round(one.rssBytes / 1e6)}`
      ).join(" + "),
    },
    faults: [],
  };
}
