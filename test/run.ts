/**
 * `deno task test`: every gate, one line a gate, and as the last line the sum of all,
 * `N passed, N failed, N skipped`; a gate that runs no tests counts as one. `deno task test PATH…`
 * runs the tests of these paths only, `--gates a,b` only these gates. Exits non-zero on any failure.
 */
import { spawn } from "node:child_process";
import process from "node:process";
import { systemClock } from "../runtime/clock.ts";
import { requirePeer } from "./support/peers.ts";
import { addTally, EMPTY_TALLY, type Tally, tallyOf } from "./support/test_summary.ts";

interface Gate {
  readonly name: string;
  /** Arguments of `deno`. */
  readonly args: readonly string[];
  /** Together below the 60 minutes of `.ci/run`. Beyond it the gate and all it started is killed. */
  readonly minutesMax: number;
  /** Whether Deno's test summary is counted, and has to be there. */
  readonly hasTests: boolean;
}

const SYSTEM = "test/support,test/bench,test/tidy_test.ts,test/docs_test.ts";

const GATES: readonly Gate[] = [
  gate("format", 1, ["fmt", "--check"]),
  gate("lint", 2, ["lint"]),
  gate("types", 3, [
    "check",
    "runtime",
    "actors",
    "protocols",
    "deploy",
    "test",
    "web/build/main.ts",
  ]),
  gate("console", 4, ["run", "-A", "test/console/check_types.ts"]),
  tests("tidy", 1, ["test/tidy_test.ts"]),
  tests("unit", 8, [
    "--parallel",
    ..."runtime actors protocols deploy web test/support test/bench".split(" "),
  ]),
  tests("system", 30, ["test", `--ignore=${SYSTEM}`]),
  tests("docs", 4, ["test/docs_test.ts"]),
  gate("bench", 8, ["task", "bench", "--short"]),
];

function gate(name: string, minutesMax: number, args: readonly string[]): Gate {
  return { name, args, minutesMax, hasTests: false };
}

function tests(name: string, minutesMax: number, args: readonly string[]): Gate {
  return { name, args: ["test", "-A", ...args], minutesMax, hasTests: true };
}

function gatesOf(args: readonly string[]): readonly Gate[] {
  if (args[0] === "--gates") {
    const names = (args[1] ?? "").split(",");
    const unknown = names.find((name) => !GATES.some((each) => each.name === name));
    if (unknown !== undefined) throw new Error(`no gate ${unknown}`);
    return GATES.filter((each) => names.includes(each.name));
  }
  return args.length === 0 ? GATES : [tests("tests", 55, args)];
}

/** What a gate gave; a failure that no test tells of counts as one. */
async function runGate(each: Gate): Promise<Tally> {
  const startedMs = systemClock.monotonicMs();
  tell(`\n== ${each.name}: deno ${each.args.join(" ")}\n`);
  const { code, text } = await run(each);
  const summary = each.hasTests ? tallyOf(text) : { ...EMPTY_TALLY, passed: code === 0 ? 1 : 0 };
  const hasFailed = code !== 0 || summary === undefined;
  const tally = summary ?? EMPTY_TALLY;
  const failed = hasFailed ? Math.max(1, tally.failed) : tally.failed;
  const seconds = ((systemClock.monotonicMs() - startedMs) / 1_000).toFixed(1);
  tell(`== ${each.name}: ${failed > 0 ? `FAILED (exit ${code})` : "ok"} in ${seconds} s\n`);
  return { ...tally, failed };
}

/** The end of its output holds the summary; the rest only passes through. */
const TAIL_CHARACTERS = 65_536;

function run(each: Gate): Promise<{ code: number; text: string }> {
  const child = spawn(Deno.execPath(), [...each.args], {
    detached: true, // A group of its own, so that what it started ends with it.
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...Deno.env.toObject(), NO_COLOR: "1", DENO_JOBS: "2" },
  });
  let text = "";
  const take = (chunk: Uint8Array) => {
    Deno.stdout.writeSync(chunk);
    text = (text + new TextDecoder().decode(chunk)).slice(-TAIL_CHARACTERS);
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  const group = child.pid;
  running = group;
  const cancel = systemClock.after(each.minutesMax * 60_000, () => {
    tell(`== ${each.name}: took over ${each.minutesMax} minutes, killed\n`);
    endGroup(group);
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      cancel();
      running = undefined;
      resolve({ code: code ?? 1, text });
    });
  });
}

/** The process group of the gate in hand. */
let running: number | undefined;

function endGroup(group: number | undefined): void {
  try {
    if (group !== undefined) process.kill(-group, "SIGKILL");
  } catch (fault) {
    if ((fault as { code?: string }).code !== "ESRCH") throw fault;
  }
}

function tell(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(line));
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => {
    endGroup(running);
    Deno.exit(1);
  });
}
const gates = gatesOf(Deno.args);
if (gates.some((each) => each.hasTests && each.name !== "tidy")) {
  // Unpacked before tests that run in parallel ask for it.
  await requirePeer("mosquitto");
  await requirePeer("chromium");
}
let total = EMPTY_TALLY;
const failing: string[] = [];
for (const each of gates) {
  const tally = await runGate(each);
  if (tally.failed > 0) failing.push(each.name);
  total = addTally(total, tally);
}
if (failing.length > 0) tell(`\nfailing: ${failing.join(", ")}\n`);
tell(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
Deno.exit(failing.length > 0 ? 1 : 0);
