/**
 * Builds the console in a child process, at the first start after a change of its sources, while
 * everything else is served already. A build that fails is not tried again until somebody acts.
 */
import { fileURLToPath } from "node:url";
import { killable } from "../../../runtime/actor/resource_child.ts";
import type { ChildSpec } from "../../../runtime/actor/supervision.ts";
import { messageOf, NotRetryableError } from "../../../runtime/errors.ts";
import type { Logger } from "../../../runtime/logger.ts";
import { buildsFolder, hashSources, webFolder } from "./build_folder.ts";
import { type BuildProgress, parseProgress } from "./build_progress.ts";
import type { ConsoleSite } from "./site.ts";

export interface SiteBuildOptions {
  readonly site: ConsoleSite;
  readonly logger: Logger;
  /** Of the repository. */
  readonly root: URL;
  /** Nothing is read or started before. */
  readonly begin: Promise<void>;
  /** False: a build that is there is served, and none is made. */
  readonly isBuilt: boolean;
}

/** Blocked when the build failed: `retry` builds again. */
export function siteBuildChild(options: SiteBuildOptions): ChildSpec {
  return {
    id: "console",
    restart: "transient",
    shutdownMs: 2_000,
    start: () => {
      const build = new SiteBuild(options);
      const done = build.run().then(
        () => undefined,
        (fault) => ({
          fault: new NotRetryableError(messageOf(fault), { cause: fault }),
        }),
      );
      return Promise.resolve(killable(build, done, () => build.kill()));
    },
  };
}

class SiteBuild implements AsyncDisposable {
  readonly #options: SiteBuildOptions;
  #child: Deno.ChildProcess | undefined;
  #isEnded = false;

  constructor(options: SiteBuildOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { site, logger, root, begin, isBuilt } = this.#options;
    await begin;
    if (this.#isEnded) return;
    const folder = new URL(
      `${await hashSources(webFolder(root))}/`,
      buildsFolder(root),
    );
    if (await site.open(folder) || this.#isEnded) return;
    if (!isBuilt) {
      const cause = "console.build is false";
      site.progress = { phase: "failed", cause, fix: "disabled" };
      return logger.info("console is not built", { cause });
    }
    logger.info("console is being built");
    const failure = await this.#build();
    if (this.#isEnded) return;
    if (failure === undefined && await site.open(folder)) {
      return logger.info("console is served");
    }
    const failed = failure ??
      { cause: "the sources changed meanwhile", fix: "sources" as const };
    site.progress = { phase: "failed", ...failed };
    logger.error("console was not built", failed);
    throw new NotRetryableError(`Cannot build the console: ${failed.cause}`);
  }

  kill(): void {
    this.#isEnded = true;
    try {
      this.#child?.kill("SIGKILL");
    } catch (fault) {
      // It may have ended by itself.
      if (
        !(fault instanceof TypeError || fault instanceof Deno.errors.NotFound)
      ) throw fault;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await this.#child?.status;
  }

  async #build(): Promise<Failure | undefined> {
    const { site, root } = this.#options;
    const child = new Deno.Command(Deno.execPath(), {
      args: [...buildArguments(root, Deno.execPath()), "--with-parent"],
      stdin: "piped", // Its end tells the child that this process is gone.
      stdout: "piped",
      stderr: "null",
      env: { NO_COLOR: "1" },
    }).spawn();
    this.#child = child;
    let failure: Failure | undefined;
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(
      toLines(),
    );
    for await (const line of lines) {
      const progress = parseProgress(line);
      if (progress === undefined) continue;
      if (progress.phase === "failed") failure = progress;
      site.progress = progress;
    }
    const status = await child.status;
    await child.stdin.close().catch(() => {}); // Its reader is gone already.
    if (status.success) return undefined;
    return failure ??
      { cause: `the build ended with ${status.code}`, fix: "sources" };
  }
}

type Failure = Omit<Extract<BuildProgress, { phase: "failed" }>, "phase">;

/** Flags are named one by one: packages are fetched by the child's own child, `deno install`. */
export function buildArguments(root: URL, deno: string): string[] {
  const path = (url: URL) => fileURLToPath(url);
  return [
    "run",
    "--no-prompt",
    "--quiet",
    "--no-config",
    `--allow-read=${path(root)}`,
    `--allow-write=${path(buildsFolder(root))},${path(webFolder(root))}node_modules`,
    `--allow-run=${deno}`,
    path(new URL("build/main.ts", webFolder(root))),
  ];
}

function toLines(): TransformStream<string, string> {
  let rest = "";
  return new TransformStream({
    transform(chunk, controller) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) controller.enqueue(line);
    },
    flush(controller) {
      if (rest !== "") controller.enqueue(rest);
    },
  });
}
