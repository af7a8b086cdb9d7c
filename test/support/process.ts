/** A child process of a test: its output is bounded, and disposing ends it. */

import { systemClock } from "../../runtime/clock.ts";

const STDERR_CHARACTERS_MAX = 256 * 1_024;
const STDERR_GRACE_MS = 500;

export interface RunningProcess extends AsyncDisposable {
  readonly pid: number;
  /** To be read by the caller, to the end. */
  readonly stdout: ReadableStream<Uint8Array>;
  readonly ended: Promise<Deno.CommandStatus>;
  readonly hasEnded: boolean;
  /** The newest 256 Ki characters. */
  stderrText(): string;
  /** Harmless once it has ended. */
  signal(signal: Deno.Signal): void;
}

export function startProcess(
  command: string,
  args: readonly string[],
  options: { readonly env?: Record<string, string>; readonly cwd?: string } = {},
): RunningProcess {
  const child = new Deno.Command(command, {
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...options,
  }).spawn();
  const stderr = new BoundedText(child.stderr);
  const drained = stderr.readAll();
  let hasEnded = false;
  const ended = child.status.then(async (status) => {
    hasEnded = true;
    await firstOf(drained, STDERR_GRACE_MS); // A child of its own may hold the pipe open.
    return status;
  });
  const signal = (name: Deno.Signal) => {
    if (!hasEnded) killQuietly(child, name);
  };
  return {
    pid: child.pid,
    stdout: child.stdout,
    ended,
    get hasEnded() {
      return hasEnded;
    },
    stderrText: () => stderr.text,
    signal,
    [Symbol.asyncDispose]: async () => {
      signal("SIGKILL");
      if (!child.stdout.locked) await child.stdout.cancel();
      await ended;
      await stderr.cancel();
    },
  };
}

/** Whole lines of a stream; the last one also without its newline. */
export async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

class BoundedText {
  text = "";
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  async readAll(): Promise<void> {
    const decoder = new TextDecoder();
    for (let read = await this.#reader.read(); !read.done; read = await this.#reader.read()) {
      this.text = (this.text + decoder.decode(read.value, { stream: true })).slice(
        -STDERR_CHARACTERS_MAX,
      );
    }
  }

  cancel(): Promise<void> {
    return this.#reader.cancel();
  }
}

/** Resolves when the promise does, or after `graceMs`. */
async function firstOf(promise: Promise<void>, graceMs: number): Promise<void> {
  let cancel = () => {};
  const grace = new Promise<void>((resolve) => cancel = systemClock.after(graceMs, resolve));
  await Promise.race([promise, grace]);
  cancel();
}

/** A process may end between the check and the signal. */
function killQuietly(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch (fault) {
    if (!(fault instanceof Deno.errors.NotFound || fault instanceof TypeError)) throw fault;
  }
}
