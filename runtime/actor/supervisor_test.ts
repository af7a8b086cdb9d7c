import assert from "node:assert/strict";
import { NotRetryableError } from "../errors.ts";
import { checkTranscript } from "../../test/support/golden.ts";
import { createManualClock } from "../../test/support/manual_clock.ts";
import { createLifecycleEvents, type LifecycleEvent } from "./lifecycle_events.ts";
import type {
  ChildSpec,
  Restart,
  Running,
  StartContext,
  Strategy,
  SupervisionTree,
} from "./supervision.ts";
import { startSupervisor, type Supervisor, supervisorChild } from "./supervisor.ts";

const BACKOFF = { firstMs: 100, maxMs: 800 };
const RANDOM = { fraction: () => 0, bytes: (length: number) => new Uint8Array(length) };

/** What the next starts and stops of a child do; set by commands. */
interface Script {
  failingStarts: number;
  isRefused: boolean;
  isHanging: boolean;
  isSlowToStop: boolean;
  end?: PromiseWithResolvers<void | { fault: unknown }>;
}

/** A supervisor of scripted children, driven by the commands of a transcript. */
class Stage {
  readonly clock = createManualClock(1_000);
  readonly events = createLifecycleEvents();
  readonly #scripts = new Map<string, Script>();
  readonly #trace: string[] = [];
  #supervisor: Supervisor | undefined;
  #children: readonly ChildSpec[];
  readonly #strategy: Strategy;

  /** Lines: `supervisor one_for_one`, then `a permanent`; an inner one's children are indented. */
  constructor(head: readonly string[]) {
    const lines = head.filter((line) => !line.startsWith("#"));
    this.#strategy = lines[0]!.split(" ")[1] as Strategy;
    this.#children = this.#parseChildren(lines.slice(1));
    this.events.subscribe((event) => this.#trace.push(textOf(event)));
  }

  readonly run = async (command: string): Promise<readonly string[]> => {
    await this.#act(command);
    await this.clock.settle();
    const tree = this.#supervisor?.live();
    const state = tree === undefined ? "not started" : treeText(tree);
    return [...this.#trace.splice(0), `= ${state}`];
  };

  async #act(command: string): Promise<void> {
    const [verb, name = "", count = "1"] = command.split(" ");
    const script = this.#scripts.get(name);
    switch (verb) {
      case "start":
        return void this.#start();
      case "wait":
        return await this.clock.advance(Number(name));
      case "crash":
        return script?.end?.resolve({ fault: new Error("boom") });
      case "end":
        return script?.end?.resolve();
      case "fail":
        return void (script!.failingStarts = Number(count));
      case "refuse":
        return void (script!.isRefused = true);
      case "allow":
        return void (script!.isRefused = false);
      case "hang":
        return void (script!.isHanging = true);
      case "slow":
        return void (script!.isSlowToStop = true);
      case "kill":
        return void this.#trace.push(`kill: ${this.#supervisor!.kill(name.split("/"))}`);
      case "retry":
        return void this.#trace.push(`retry: ${this.#supervisor!.retry(name.split("/"))}`);
      case "stop":
        return void this.#supervisor!.stop();
      default:
        throw new Error(`unknown command: ${command}`);
    }
  }

  #start(): void {
    const spec = this.#specOf(this.#strategy, this.#children);
    const options = { clock: this.clock, random: RANDOM, events: this.events };
    startSupervisor("root", spec, {
      ...options,
      onEscalated: (fault) => this.#trace.push(`root escalated: ${fault}`),
    }).then((supervisor) => {
      this.#supervisor = supervisor;
      this.#trace.push("root ready");
    }, (fault) => this.#trace.push(`root failed: ${fault}`));
  }

  #specOf(strategy: Strategy, children: readonly ChildSpec[]) {
    const intensity = { restartsMax: 2, withinMs: 10_000 };
    return { strategy, intensity, backoff: BACKOFF, children };
  }

  #parseChildren(lines: readonly string[]): readonly ChildSpec[] {
    const specs: ChildSpec[] = [];
    for (let at = 0; at < lines.length; at++) {
      const [id, kind] = lines[at]!.split(" ") as [string, string];
      const inner: string[] = [];
      while (lines[at + 1]?.startsWith("  ")) inner.push(lines[++at]!.slice(2));
      specs.push(
        inner.length > 0
          ? supervisorChild(id, this.#specOf(kind as Strategy, this.#parseChildren(inner)), {
            shutdownMs: 5_000,
          })
          : this.#child(id, kind as Restart),
      );
    }
    return specs;
  }

  #child(id: string, restart: Restart): ChildSpec {
    const script: Script = {
      failingStarts: 0,
      isRefused: false,
      isHanging: false,
      isSlowToStop: false,
    };
    this.#scripts.set(id, script);
    return {
      id,
      restart,
      shutdownMs: 1_000,
      start: (context) => this.#startChild(script, context),
    };
  }

  async #startChild(script: Script, context: StartContext): Promise<Running> {
    if (script.isHanging) {
      await new Promise<void>((resolve) =>
        context.signal.addEventListener("abort", () => resolve())
      );
      throw new Error("start aborted");
    }
    if (script.isRefused) throw new NotRetryableError("credentials refused");
    if (script.failingStarts-- > 0) throw new Error("cannot start");
    const end = Promise.withResolvers<void | { fault: unknown }>();
    script.end = end;
    return {
      done: end.promise,
      [Symbol.asyncDispose]: () =>
        script.isSlowToStop ? new Promise<void>(() => {}) : Promise.resolve(),
    };
  }
}

function textOf(event: LifecycleEvent): string {
  const path = event.path.join("/") || "root";
  const fault = "fault" in event && event.fault !== undefined ? `: ${event.fault}` : "";
  const reason = event.type === "exited" ? ` (${event.reason})` : "";
  const restarts = event.type === "restarted" ? ` #${event.restarts}` : "";
  return `${path} ${event.type}${reason}${restarts}${fault}`;
}

function treeText({ id, status, restarts, children }: SupervisionTree): string {
  const inner = children.length > 0 ? ` [${children.map(treeText).join(", ")}]` : "";
  return `${id} ${status}${restarts > 0 ? ` #${restarts}` : ""}${inner}`;
}

const TRANSCRIPTS = new URL("./supervisor_transcripts/", import.meta.url);

for (const entry of [...Deno.readDirSync(TRANSCRIPTS)].map((file) => file.name).sort()) {
  Deno.test(`supervisor keeps to the transcript ${entry}`, async () => {
    await checkTranscript(new URL(entry, TRANSCRIPTS), (head) => new Stage(head).run);
  });
}

Deno.test("dispose of a supervisor twice is harmless and done resolves", async () => {
  const stage = new Stage(["supervisor one_for_one", "a permanent"]);
  const { clock, events } = stage;
  const supervisor = await startSupervisor("root", {
    strategy: "one_for_one",
    intensity: { restartsMax: 0, withinMs: 1 },
    children: [],
  }, { clock, events, random: RANDOM });
  await supervisor[Symbol.asyncDispose]();
  await supervisor[Symbol.asyncDispose]();
  assert.equal(await supervisor.done, undefined);
  assert.deepEqual(supervisor.live(), {
    id: "root",
    status: "stopped",
    restarts: 0,
    children: [],
  });
});

/** A child that never ends by itself, with what a test needs to know of it. */
function resource(extra: Partial<Running> = {}): Running & { readonly disposals: number } {
  let disposals = 0;
  return {
    done: new Promise<void>(() => {}),
    get disposals() {
      return disposals;
    },
    [Symbol.asyncDispose]: () => {
      disposals++;
      return Promise.resolve();
    },
    ...extra,
  };
}

function startOne(start: ChildSpec["start"], signal?: AbortSignal) {
  const clock = createManualClock();
  const supervisor = startSupervisor("root", {
    strategy: "one_for_one",
    intensity: { restartsMax: 3, withinMs: 1_000 },
    children: [{ id: "log", restart: "permanent", shutdownMs: 100, start }],
  }, { clock, random: RANDOM, events: createLifecycleEvents(), ...(signal ? { signal } : {}) });
  return { clock, supervisor };
}

Deno.test("a child shows its own sub-tree, and a kill below it reaches it", async () => {
  const killed: string[] = [];
  const process: SupervisionTree = { id: "engine", status: "running", restarts: 2, children: [] };
  const { supervisor } = startOne(() =>
    Promise.resolve(resource({
      tree: () => [process],
      kill: (path) => killed.push(path.join("/")) > 0,
    }))
  );
  await using root = await supervisor;
  assert.deepEqual(root.live().children[0]?.children, [process]);
  assert.equal(root.kill(["log", "engine"]), true);
  assert.deepEqual(killed, ["engine"]);
});

Deno.test("a kill ends the child itself before it is disposed, and a throw there is no harm", async () => {
  const children: ReturnType<typeof resource>[] = [];
  const { clock, supervisor } = startOne(() => {
    const kill = () => {
      throw new Error("is gone already");
    };
    children.push(resource({ kill }));
    return Promise.resolve(children.at(-1)!);
  });
  await using root = await supervisor;
  assert.equal(root.kill(["log"]), true);
  await clock.advance(1_000);
  assert.equal(children.length, 2);
  assert.equal(root.live().status, "running");
  assert.equal(root.live().children[0]?.lastFault, "killed by an operator");
});

Deno.test("what comes up after its start was given up is disposed all the same", async () => {
  const late = Promise.withResolvers<Running>();
  const abort = new AbortController();
  const { clock, supervisor } = startOne(() => late.promise, abort.signal);
  await clock.settle();
  abort.abort();
  const refused = assert.rejects(supervisor, /root was stopped/);
  await clock.advance(100);
  await refused;
  const orphan = resource();
  late.resolve(orphan);
  await clock.settle();
  assert.equal(orphan.disposals, 1);
});

Deno.test("a fault that lost its class on the way from a Worker blocks by its code", async () => {
  const { supervisor } = startOne(() =>
    Promise.reject(Object.assign(new Error("refused"), { code: "unauthorized" }))
  );
  await using root = await supervisor;
  assert.equal(root.live().children[0]?.status, "blocked");
});

Deno.test("a stop while a child waits for its restart leaves no timer behind", async () => {
  const crash = Promise.withResolvers<{ fault: unknown }>();
  const { clock, supervisor } = startOne(() => Promise.resolve(resource({ done: crash.promise })));
  const root = await supervisor;
  crash.resolve({ fault: new Error("boom") });
  await clock.settle();
  assert.equal(root.live().children[0]?.status, "restarting");
  await root.stop();
  assert.equal(clock.pending(), 0);
});
