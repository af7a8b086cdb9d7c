/** Runs the examples of README.md and docs: see `support/doc_examples.ts` for how they are marked. */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "../runtime/clock.ts";
import { examplesOf, scriptOf, withAddresses } from "./support/doc_examples.ts";
import { PEER_TOOLS, requirePeer } from "./support/peers.ts";
import { OWNER_PASSWORD, startRoost, type TestRoost } from "./support/roost.ts";
import { walk } from "./support/walk.ts";

const ROOT = new URL("../", import.meta.url);
/** Of one page; beyond it a command waits for what never comes. */
const EXAMPLES_MS = 60_000;

const pages =
  (await walk(ROOT, (name) => !["node_modules", ".git", ".cache", "data"].includes(name)))
    .filter((path) => path === "README.md" || (path.startsWith("docs/") && path.endsWith(".md")));

for (const page of pages.sort()) {
  const examples = examplesOf(await Deno.readTextFile(new URL(page, ROOT)));
  const shell = examples.filter(({ language }) => language === "sh");
  const script = scriptOf(shell);
  const tools = await Promise.all(
    PEER_TOOLS.filter((tool) => new RegExp(`\\b${tool}\\b`).test(script)).map(requirePeer),
  );
  if (shell.length > 0) {
    Deno.test({
      name: `the shell examples of ${page} run`,
      ignore: tools.includes(undefined),
      fn: async () => {
        await using roost = await startRoost();
        await runShell(script, roost, tools.map((tool) => dirname(tool ?? "")));
      },
    });
  }
  for (const { line, code } of examples.filter(({ language }) => language === "ts")) {
    Deno.test(`the example at line ${line} of ${page} runs`, async () => {
      await runProgram(code);
    });
  }
}

Deno.test("the README has examples, so that they cannot rot unseen", () => {
  const readme = Deno.readTextFileSync(new URL("README.md", ROOT));
  assert(examplesOf(readme).length > 0);
});

/** `PASSWORD` is the owner's, which a person reads on the terminal. Runs in a directory of its own. */
async function runShell(
  script: string,
  roost: TestRoost,
  toolDirs: readonly string[],
): Promise<void> {
  const cwd = await Deno.makeTempDir({ prefix: "roost-docs-" });
  try {
    const ports = { http: roost.httpPort, mqtt: roost.mqttPort };
    const child = new Deno.Command("bash", {
      args: ["-c", withAddresses(script, ports)],
      cwd,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      env: {
        PATH: [...toolDirs, Deno.env.get("PATH") ?? ""].join(":"),
        PASSWORD: OWNER_PASSWORD,
        ROOT: fileURLToPath(ROOT),
      },
    }).spawn();
    assertSuccess(await outputWithin(child));
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
}

async function runProgram(code: string): Promise<void> {
  // From standard input, so that its relative imports are those of the working directory.
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--ext=ts", "-"],
    cwd: fileURLToPath(ROOT),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const input = child.stdin.getWriter();
  await input.write(new TextEncoder().encode(code));
  await input.close();
  assertSuccess(await outputWithin(child));
}

async function outputWithin(child: Deno.ChildProcess): Promise<Deno.CommandOutput> {
  const cancel = systemClock.after(EXAMPLES_MS, () => child.kill("SIGKILL"));
  try {
    return await child.output();
  } finally {
    cancel();
  }
}

function assertSuccess({ success, code, stdout, stderr }: Deno.CommandOutput): void {
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).slice(-4_000);
  assert(success, `exit ${code}\n${text(stdout)}\n${text(stderr)}`);
}
