/** The product as a real process: started as a person would, killed as no person would. */
import { fileURLToPath } from "node:url";
import { systemClock } from "../../runtime/clock.ts";
import { freePort } from "./free_port.ts";
import { linesOf, type RunningProcess, startProcess } from "./process.ts";
import { isAlive, memoryOfTree, type TreeMemory, treeOf } from "./process_tree.ts";
import { RoostApi } from "./roost_api.ts";
import { waitFor, within } from "./wait.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const READY_MS = 30_000;
/** Drain of a graceful stop, as the root's supervisor allows. */
const STOP_MS = 20_000;
/** Children see the end of their pipes. */
const ORPHAN_MS = 5_000;
const STDOUT_LINES_MAX = 1_000;
export const OWNER_PASSWORD = "correct-horse-battery-staple";

export interface RoostOptions {
  /** Default: a new one, removed at the end. */
  readonly dataDir?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Composition root, relative to the repository. Default `runtime/main.ts`. */
  readonly entry?: string;
  readonly args?: readonly string[];
  /** Commands put before `deno`, such as `["taskset", "-c", "0"]`. */
  readonly wrapper?: readonly string[];
}

/** What the `ready` line says. */
export interface ReadyUrls {
  readonly http: string;
  readonly mqtt: string;
}

/** Starts the product and waits for its `ready` line. Throws with its standard error if it ends. */
export async function startRoost(options: RoostOptions = {}): Promise<TestRoost> {
  const roost = new TestRoost(options);
  try {
    await roost.start();
  } catch (fault) {
    await roost[Symbol.asyncDispose]();
    throw fault;
  }
  return roost;
}

export class TestRoost implements AsyncDisposable {
  readonly dataDir: string;
  /** Standard output since the last start, without the `ready` line. */
  readonly stdoutLines: string[] = [];
  readonly #options: RoostOptions;
  readonly #ports: { readonly http: number; readonly mqtt: number };
  #process: RunningProcess | undefined;
  #urls: ReadyUrls | undefined;
  #api: RoostApi | undefined;
  #readyMs = 0;
  #stdoutRead: Promise<void> = Promise.resolve();

  constructor(options: RoostOptions) {
    this.#options = options;
    this.dataDir = options.dataDir ?? Deno.makeTempDirSync({ prefix: "roost-test-" });
    this.#ports = { http: freePort(), mqtt: freePort() };
  }

  get pid(): number {
    return this.#running.pid;
  }

  get urls(): ReadyUrls {
    if (this.#urls === undefined) throw new Error("Roost is not ready");
    return this.#urls;
  }

  get mqttPort(): number {
    return this.#ports.mqtt;
  }

  get httpPort(): number {
    return this.#ports.http;
  }

  /** From the spawn of the last start to its `ready` line. */
  get readyMs(): number {
    return this.#readyMs;
  }

  get isRunning(): boolean {
    return this.#process !== undefined && !this.#process.hasEnded;
  }

  get stderrText(): string {
    return this.#process?.stderrText() ?? "";
  }

  /** The owner's session; made at the first call, and again after a restart. */
  async api(): Promise<RoostApi> {
    this.#api ??= await RoostApi.login(this.urls.http, "owner", OWNER_PASSWORD);
    return this.#api;
  }

  /** Memory of all its processes now. */
  memory(): TreeMemory {
    return memoryOfTree(this.pid);
  }

  /** The pids of all its processes now. */
  tree(): number[] {
    return treeOf(this.pid);
  }

  /**
   * Starts it on the same data directory and ports; environment and entry may be others than before.
   * `isReadyAwaited: false` returns at once, for a start that is to die by itself.
   */
  async start(
    change: Pick<RoostOptions, "env" | "entry" | "args"> & { isReadyAwaited?: boolean } = {},
  ): Promise<void> {
    if (this.isRunning) throw new Error("Roost runs already");
    const options = { ...this.#options, ...change };
    const [command, ...args] = [...options.wrapper ?? [], Deno.execPath(), ...argsOf(options)];
    const startedMs = systemClock.monotonicMs();
    const running = startProcess(command!, args, {
      cwd: ROOT,
      env: {
        ...startEnvironment(),
        ROOST__DATA__DIR: this.dataDir,
        ROOST__HTTP__PORT: String(this.#ports.http),
        ROOST__MQTT__PORT: String(this.#ports.mqtt),
        ROOST__OWNER__PASSWORD: OWNER_PASSWORD,
        ROOST__CONSOLE__BUILD: "never", // A test that looks at the console asks for it.
        ...options.env,
      },
    });
    this.#process = running;
    this.#api = undefined;
    this.#urls = undefined;
    this.stdoutLines.length = 0;
    const ready = Promise.withResolvers<ReadyUrls | undefined>();
    this.#stdoutRead = this.#readStdout(running, ready.resolve);
    if (change.isReadyAwaited === false) return;
    const urls = await within(ready.promise, "the ready line", READY_MS);
    if (urls === undefined) {
      const status = await running.ended;
      throw new Error(`Roost ended with ${status.code} before it was ready: ${this.stderrText}`);
    }
    this.#readyMs = systemClock.monotonicMs() - startedMs;
  }

  /** SIGKILL by default; resolves when the process and all its children are gone. */
  async kill(signal: Deno.Signal = "SIGKILL"): Promise<void> {
    const running = this.#running;
    const pids = treeOf(running.pid);
    running.signal(signal);
    await within(running.ended, `the end after ${signal}`, STOP_MS);
    await this.#orphansGone(pids);
  }

  /** Resolves when it ended by itself (a fail point), and its children with it. */
  async ended(withinMs: number): Promise<Deno.CommandStatus> {
    return await within(this.#running.ended, "the end of Roost", withinMs);
  }

  /** SIGKILL if it runs, then a start on the same data directory and ports. */
  async restart(change: Pick<RoostOptions, "env" | "entry" | "args"> = {}): Promise<void> {
    if (this.isRunning) await this.kill();
    await this.start(change);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.isRunning) await this.kill();
    } finally {
      await this.#process?.[Symbol.asyncDispose]();
      await this.#stdoutRead;
      if (this.#options.dataDir === undefined) {
        await Deno.remove(this.dataDir, { recursive: true }).catch(ignoreMissing);
      }
    }
  }

  get #running(): RunningProcess {
    if (this.#process === undefined) throw new Error("Roost was never started");
    return this.#process;
  }

  async #readStdout(
    running: RunningProcess,
    ready: (urls: ReadyUrls | undefined) => void,
  ): Promise<void> {
    for await (const line of linesOf(running.stdout)) {
      if (line.startsWith("ready {")) {
        this.#urls = JSON.parse(line.slice("ready ".length));
        ready(this.#urls);
      } else if (this.stdoutLines.length < STDOUT_LINES_MAX) {
        this.stdoutLines.push(line);
      }
    }
    ready(undefined);
  }

  /** A child that outlives its parent would hold the data directory: it is ended and told. */
  async #orphansGone(pids: readonly number[]): Promise<void> {
    const left = () => pids.filter(isAlive);
    try {
      await waitFor(() => left().length === 0, {
        what: "Roost's children to end with it",
        withinMs: ORPHAN_MS,
        actual: left,
      });
    } catch (fault) {
      for (const pid of left()) Deno.kill(pid, "SIGKILL");
      throw fault;
    }
  }
}

function argsOf(options: RoostOptions): string[] {
  return [
    "run",
    "--no-prompt",
    `--config=${ROOT}deno.json`, // Entries of tests may stand elsewhere.
    ...options.entry === undefined ? startFlags() : [...startFlags().filter(isNoPermission), "-A"],
    options.entry ?? "runtime/main.ts",
    ...options.args ?? [],
  ];
}

/** What task `start` runs with, tests and bench run with; roots of tests may do more. */
function startFlags(): string[] {
  return startWords().filter((word) => word.startsWith("--") && word !== "--no-prompt");
}

function isNoPermission(flag: string): boolean {
  return !/^--(allow|deny|ignore|permission)/.test(flag);
}

/** Variables that task `start` sets before its command. */
function startEnvironment(): Record<string, string> {
  const words = startWords();
  const variables = words.slice(0, words.indexOf("deno")).map((word) => word.split("=", 2));
  return Object.fromEntries(variables);
}

function startWords(): string[] {
  const task: unknown = JSON.parse(Deno.readTextFileSync(`${ROOT}/deno.json`)).tasks?.start;
  const text = typeof task === "string"
    ? task
    : (task as { command?: string } | undefined)?.command ?? "";
  return text.replace("$(deno eval -p 'Deno.execPath()')", Deno.execPath()).split(/\s+/);
}

function ignoreMissing(fault: unknown): void {
  if (!(fault instanceof Deno.errors.NotFound)) throw fault;
}
