/**
 * Builds the console: `deno task build`, and as a child of the node. Says its progress on standard
 * output, one JSON document a line, and exits non-zero with the cause when it fails.
 *
 * Order: lock · look for the build of these sources · install the packages of `web/` · bundle ·
 * compress · rename into place · remove older builds.
 */
import { fileURLToPath } from "node:url";
import { buildsFolder, hashSources, LISTING } from "../../protocols/http/console/build_folder.ts";
import type { BuildProgress } from "../../protocols/http/console/build_progress.ts";
import { compressFolder } from "./compress.ts";
import { BuildError, causeOf, runTool, stopTools } from "./tools.ts";

const WEB = new URL("../", import.meta.url);
const BUILDS = buildsFolder(new URL("../", WEB));
/** Older builds that stay, for a node that is about to read one. */
const KEPT = 2;

async function build(): Promise<void> {
  await Deno.mkdir(BUILDS, { recursive: true });
  using lock = await Deno.open(new URL("lock", BUILDS), {
    create: true,
    write: true,
  });
  say({ phase: "looking" });
  await lock.lock(true);
  const hash = await hashSources(WEB);
  const folder = new URL(`${hash}/`, BUILDS);
  if (!await exists(new URL(LISTING, folder))) await make(folder);
  say({ phase: "ready" });
}

async function make(folder: URL): Promise<void> {
  await install();
  const making = new URL(`making-${Deno.pid}/`, BUILDS);
  try {
    await bundle(making);
    say({ phase: "compressing", progress: 0 });
    await compressFolder(
      making,
      (progress) => say({ phase: "compressing", progress }),
    );
    await Deno.rename(making, folder);
  } catch (fault) {
    await Deno.remove(making, { recursive: true }).catch(ignoreMissing);
    throw fault;
  }
  await removeOlder(folder);
}

/** Reads nothing from the network when all packages are in the cache. */
async function install(): Promise<void> {
  const lock = JSON.parse(await Deno.readTextFile(new URL("deno.lock", WEB)));
  const packages = Object.keys(lock.npm ?? {}).length;
  let lines = 0;
  say({ phase: "installing", progress: 0 });
  await runTool(["install", "--frozen"], WEB, (line) => {
    // A package is downloaded, then initialised.
    if (!/Download|Initialize/.test(line)) return;
    say({
      phase: "installing",
      progress: Math.min(1, ++lines / (2 * packages)),
    });
  });
}

async function bundle(into: URL): Promise<void> {
  say({ phase: "bundling", progress: 0 });
  const entry = fileURLToPath(new URL("bundle.ts", import.meta.url));
  // Vite looks into /proc when it is loaded, which Deno only lets a process do that may do all.
  const flags = ["--no-prompt", "--quiet", "--cached-only", "--allow-all"];
  await runTool(["run", ...flags, entry, fileURLToPath(into)], WEB, (line) => {
    const [, done] = /^progress (\S+)$/.exec(line) ?? [];
    if (done !== undefined) say({ phase: "bundling", progress: Number(done) });
  });
}

async function removeOlder(current: URL): Promise<void> {
  const others: { url: URL; atMs: number }[] = [];
  for await (const entry of Deno.readDir(BUILDS)) {
    const url = new URL(`${entry.name}/`, BUILDS);
    if (!entry.isDirectory || url.href === current.href) continue;
    others.push({ url, atMs: (await Deno.stat(url)).mtime?.getTime() ?? 0 });
  }
  others.sort((a, b) => b.atMs - a.atMs);
  for (const { url } of others.slice(KEPT)) {
    await Deno.remove(url, { recursive: true });
  }
}

async function exists(url: URL): Promise<boolean> {
  return await Deno.stat(url).then(() => true, (fault) => {
    ignoreMissing(fault);
    return false;
  });
}

function ignoreMissing(fault: unknown): void {
  if (!(fault instanceof Deno.errors.NotFound)) throw fault;
}

function say(progress: BuildProgress): void {
  const bytes = new TextEncoder().encode(JSON.stringify(progress) + "\n");
  for (let at = 0; at < bytes.length;) {
    at += Deno.stdout.writeSync(bytes.subarray(at));
  }
}

/** A node that ends takes its build with it: its end of the pipe closes. */
async function endWithParent(): Promise<void> {
  if (Deno.stdin.isTerminal() || !Deno.args.includes("--with-parent")) return;
  for await (const _ of Deno.stdin.readable) continue;
  stopTools();
  Deno.exit(1);
}

Deno.addSignalListener("SIGTERM", () => {
  stopTools();
  Deno.exit(1);
});
void endWithParent();
try {
  await build();
  Deno.exit(0);
} catch (fault) {
  const { cause, fix } = fault instanceof BuildError ? fault : causeOf(fault);
  say({ phase: "failed", cause, fix });
  Deno.exit(1);
}
