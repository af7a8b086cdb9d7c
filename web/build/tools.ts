/** The tools of a build as child processes, and what their failures mean for a person. */
import type { BuildFix } from "../../protocols/http/console/build_progress.ts";

/** Lines of a tool's output that are kept for the cause of a failure. */
const TAIL_LINES = 30;
const NETWORK =
  /error sending request|dns error|tcp connect|timed out|no such host|connection|not found in the cache|--cached-only|client error/i;
const DISK = /no space left|read-only file system|permission denied|os error (?:13|28|30)\b/i;

export class BuildError extends Error {
  override readonly cause: string;
  readonly fix: BuildFix;
  constructor(cause: string, fix: BuildFix) {
    super(cause);
    this.cause = cause;
    this.fix = fix;
  }
}

const running = new Set<Deno.ChildProcess>();

/**
 * Runs `deno` with these arguments to its end; both outputs go to `onLine`.
 * @throws {BuildError} If it fails.
 */
export async function runTool(
  args: readonly string[],
  cwd: URL,
  onLine: (line: string) => void,
): Promise<void> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  running.add(child);
  const tail: string[] = [];
  const take = (line: string) => {
    onLine(line);
    if (line.trim() !== "" && !line.startsWith("progress ")) tail.push(line);
    if (tail.length > TAIL_LINES) tail.shift();
  };
  await Promise.all([
    readLines(child.stdout, take),
    readLines(child.stderr, take),
  ]);
  const status = await child.status;
  running.delete(child);
  if (!status.success) throw new BuildError(...reasonOf(tail.join("\n")));
}

export function stopTools(): void {
  for (const child of running) child.kill("SIGKILL");
}

/** What a fault of the build itself means. */
export function causeOf(fault: unknown): { cause: string; fix: BuildFix } {
  const [cause, fix] = reasonOf(
    fault instanceof Error ? fault.message : String(fault),
  );
  return { cause, fix };
}

function reasonOf(text: string): [string, BuildFix] {
  // deno-lint-ignore no-control-regex -- colours of tools
  const plain = text.replaceAll(/\x1b\[[0-9;]*m/g, "").trim();
  return [
    plain,
    DISK.test(plain) ? "disk" : NETWORK.test(plain) ? "network" : "sources",
  ];
}

async function readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine: (line: string) => void,
): Promise<void> {
  let rest = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    lines.forEach(onLine);
  }
  if (rest !== "") onLine(rest);
}
