/**
 * `deno task bench [--short] [--row name]… [--sustain seconds] [--preload points] [--runs n]`
 *
 * Runs the rows one after the other and prints a table; the same as JSON goes to `.cache/bench/`.
 * Exits with 1 if a row did not run or counts disagree, never for a figure: `--strict` makes a figure
 * below its floor an error as well.
 */
import { parseArgs } from "node:util";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../runtime/clock.ts";
import { type BenchContext, type Row, verdictOf } from "./row.ts";
import { readCommit, readMachine, type RowReport, tableOf } from "./report.ts";
import { ROWS } from "./rows/mod.ts";

const OUT = fileURLToPath(new URL("../../.cache/bench/", import.meta.url));

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      short: { type: "boolean", default: false },
      strict: { type: "boolean", default: false },
      row: { type: "string", multiple: true },
      sustain: { type: "string" },
      preload: { type: "string" },
      runs: { type: "string" },
    },
  });
  const rows = chosenRows(values.row);
  const directory = Deno.makeTempDirSync({ prefix: "roost-bench-" });
  try {
    const context: BenchContext = {
      isShort: values.short,
      sustainMs: Number(values.sustain ?? (values.short ? 2 : 20)) * 1_000,
      preloadPoints: Number(values.preload ?? (values.short ? 2_000 : 0)),
      runs: Number(values.runs ?? (values.short ? 1 : 3)),
      directory,
      say: (line) => print(`  ${line}`),
    };
    process.exitCode = await runRows(rows, context, values.strict) ? 0 : 1;
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/** True if all ran and counts agree. */
async function runRows(
  rows: readonly Row[],
  context: BenchContext,
  isStrict: boolean,
): Promise<boolean> {
  const machine = readMachine(context.directory);
  const commit = await readCommit();
  print(
    `${machine.cores} x ${machine.cpu}, ${machine.memoryGib} GiB, Linux ${machine.kernel}, ` +
      `Deno ${machine.deno}, fdatasync ${machine.fdatasyncMs} ms; commit ${commit}` +
      (context.isShort ? "; short: figures mean nothing" : ""),
  );
  const reports: RowReport[] = [];
  for (const row of rows) {
    print(`${row.name}: ${row.what}`);
    reports.push(await runRow(row, context));
  }
  print("");
  print(tableOf(reports));
  const report = { machine, commit, ...plainOptions(context), rows: reports };
  Deno.mkdirSync(OUT, { recursive: true });
  const path = `${OUT}${new Date(systemClock.nowMs()).toISOString().replaceAll(":", "-")}.json`;
  Deno.writeTextFileSync(path, JSON.stringify(report, undefined, 2));
  print(`\n${path}`);
  const belowFloor = (one: RowReport) =>
    one.measures.some((measure) => measure.floor !== undefined && verdictOf(measure) === "MISS");
  return reports.every((one) => one.faults.length === 0 && !(isStrict && belowFloor(one)));
}

async function runRow(row: Row, context: BenchContext): Promise<RowReport> {
  const startedMs = systemClock.monotonicMs();
  const directory = `${context.directory}/${row.name}`;
  Deno.mkdirSync(directory);
  const took = () => Math.round(systemClock.monotonicMs() - startedMs);
  const { name, what } = row;
  try {
    const result = await row.run({ ...context, directory });
    return { row: name, what, tookMs: took(), ...result };
  } catch (fault) { // One row that does not run must not hide the others.
    const text = fault instanceof Error ? fault.stack ?? fault.message : String(fault);
    context.say(text);
    return { row: name, what, tookMs: took(), measures: [], facts: {}, faults: [text] };
  }
}

function chosenRows(names: readonly string[] | undefined): readonly Row[] {
  if (names === undefined) return ROWS;
  return names.map((name) => {
    const row = ROWS.find((one) => one.name === name);
    if (row !== undefined) return row;
    throw new Error(`No row "${name}": ${ROWS.map((one) => one.name).join(", ")}`);
  });
}

function plainOptions({ isShort, sustainMs, preloadPoints, runs }: BenchContext) {
  return { isShort, sustainMs, preloadPoints, runs };
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
}
