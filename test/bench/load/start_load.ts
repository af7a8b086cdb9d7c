/** Starts the generator as a process of its own and reads what it prints. */
import { fileURLToPath } from "node:url";
import type { LoadOptions, LoadReport } from "./options.ts";
import { linesOf, type RunningProcess, startProcess } from "../../support/process.ts";

const GENERATOR = fileURLToPath(new URL("../generator.ts", import.meta.url));

export interface RunningLoad extends AsyncDisposable {
  readonly pid: number;
  /** Resolves when all connections are open; rejects if the process ends before. */
  readonly connected: Promise<void>;
  /** Resolves when the run is over; rejects with its standard error if it failed. */
  readonly report: Promise<LoadReport>;
  /** Ends sending; `report` still comes. Twice is harmless. */
  stop(): void;
}

export function startLoad(options: LoadOptions): RunningLoad {
  const process = startProcess(Deno.execPath(), [
    "run",
    "-A",
    "--no-check",
    GENERATOR,
    JSON.stringify(options),
  ]);
  const connected = Promise.withResolvers<void>();
  const report = readReport(process, connected.resolve);
  report.catch(connected.reject);
  connected.promise.catch(() => {}); // Whoever waits for the report only is told by that.
  return {
    pid: process.pid,
    connected: connected.promise,
    report,
    stop: () => process.signal("SIGTERM"),
    [Symbol.asyncDispose]: async () => {
      await process[Symbol.asyncDispose]();
      await report.catch(() => {}); // Already told to whoever waited for it.
    },
  };
}

/** Runs to the end. */
export async function runLoad(options: LoadOptions): Promise<LoadReport> {
  await using load = startLoad(options);
  return await load.report;
}

async function readReport(process: RunningProcess, connected: () => void): Promise<LoadReport> {
  let report: LoadReport | undefined;
  for await (const line of linesOf(process.stdout)) {
    if (line === "connected") connected();
    else if (line.startsWith("report ")) report = JSON.parse(line.slice("report ".length));
  }
  const status = await process.ended;
  if (report !== undefined) return report;
  throw new Error(`The generator ended with ${status.code}: ${process.stderrText()}`);
}
