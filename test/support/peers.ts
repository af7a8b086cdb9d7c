/**
 * Real peers of integration tests and benches. What is not on `PATH` is unpacked from the
 * distribution's own packages into `.cache/peers`: no root, no service, nothing on the machine
 * changes. Where that is not possible, standard error says what is missing and what is skipped.
 */
import { fileURLToPath } from "node:url";
import { systemClock } from "../../runtime/clock.ts";
import { freePort } from "./free_port.ts";
import { startProcess } from "./process.ts";
import { waitFor } from "./wait.ts";

export { freePort } from "./free_port.ts";

export type Tool =
  | "mosquitto"
  | "mosquitto_pub"
  | "mosquitto_sub"
  | "mosquitto_rr"
  | "openssl"
  | "jq"
  | "curl"
  | "chromium";

interface ToolSource {
  /** Of Debian and Ubuntu. */
  readonly package: string;
  readonly file: string;
  /** Default `peers`. A set is unpacked whole into a folder of its own. */
  readonly set?: "browser";
  /** More packages of its set. */
  readonly with?: readonly string[];
}

const TOOLS: Readonly<Record<Tool, ToolSource>> = {
  mosquitto: { package: "mosquitto", file: "usr/sbin/mosquitto" },
  mosquitto_pub: { package: "mosquitto-clients", file: "usr/bin/mosquitto_pub" },
  mosquitto_sub: { package: "mosquitto-clients", file: "usr/bin/mosquitto_sub" },
  mosquitto_rr: { package: "mosquitto-clients", file: "usr/bin/mosquitto_rr" },
  openssl: { package: "openssl", file: "usr/bin/openssl" },
  jq: { package: "jq", file: "usr/bin/jq" },
  curl: { package: "curl", file: "usr/bin/curl" },
  // 130 MB, so only for those who ask for it; the font is for Chinese.
  chromium: {
    package: "chromium",
    file: "usr/lib/chromium/chromium",
    set: "browser",
    with: ["fonts-wqy-microhei"],
  },
};

export const PEER_TOOLS = Object.keys(TOOLS) as readonly Tool[];

const PEERS_DIR = fileURLToPath(new URL("../../.cache/peers", import.meta.url));
const SYSTEM_DIRS = ["/usr/local/sbin", "/usr/sbin", "/sbin"];
const INSTALL_FLAGS = ["--print-uris", "-qq", "-y", "--no-install-recommends"];
const START_MS = 10_000;
/** How long a failed unpacking is not tried again, by this or another process. */
const RETRY_MS = 600_000;

export interface PeerOptions {
  /** Default `.cache/peers`. */
  readonly dir?: string;
  /** Default true: a tool of the machine is taken first. */
  readonly isPathUsed?: boolean;
  /** Default: dpkg's own list of installed packages. */
  readonly statusFile?: string;
}

const found = new Map<Tool, Promise<string | undefined>>();

/**
 * The path of a tool, unpacked at the first call if need be; undefined if it cannot be had, after
 * saying so once on standard error. A test that needs it is skipped: `ignore: path === undefined`.
 */
export function requirePeer(tool: Tool): Promise<string | undefined> {
  const known = found.get(tool) ?? findPeer(tool);
  found.set(tool, known);
  return known;
}

/** As `requirePeer`, without memory of earlier calls. */
export async function findPeer(
  tool: Tool,
  options: PeerOptions = {},
): Promise<string | undefined> {
  const { set } = TOOLS[tool];
  const parent = options.dir ?? PEERS_DIR;
  const dir = set === undefined ? parent : `${parent}/${set}`;
  const ours = `${dir}/bin/${tool}`;
  const onPath = options.isPathUsed === false ? undefined : findOnPath(tool);
  if (onPath !== undefined) return onPath;
  if (isFile(ours)) return ours;
  try {
    await unpackPackages(dir, set, options.statusFile);
    if (isFile(ours)) return ours;
    return skipped(tool, `the packages have no ${TOOLS[tool].file}`);
  } catch (fault) {
    return skipped(tool, fault instanceof Error ? fault.message : String(fault));
  }
}

export interface MosquittoOptions {
  /** More lines of its configuration, such as `max_inflight_messages 20`. */
  readonly config?: readonly string[];
}

/** A broker on 127.0.0.1 that lets everybody in. Throws if there is none: ask `requirePeer` first. */
export async function startMosquitto(
  options: MosquittoOptions = {},
): Promise<AsyncDisposable & { readonly port: number; readonly pid: number }> {
  const command = await requirePeer("mosquitto");
  if (command === undefined) throw new Error("mosquitto is missing");
  const port = freePort();
  const file = await Deno.makeTempFile({ prefix: "roost-mosquitto-", suffix: ".conf" });
  const lines = [`listener ${port} 127.0.0.1`, "allow_anonymous true", ...options.config ?? []];
  await Deno.writeTextFile(file, lines.join("\n") + "\n");
  const running = startProcess(command, ["-c", file]);
  const dispose = async () => {
    await running[Symbol.asyncDispose]();
    await Deno.remove(file).catch(ignoreMissing);
  };
  try {
    await waitFor(() => running.hasEnded || accepts(port), {
      what: "mosquitto to listen",
      withinMs: START_MS,
      actual: () => running.stderrText(),
    });
    if (running.hasEnded) throw new Error(`mosquitto ended: ${running.stderrText()}`);
  } catch (fault) {
    await dispose();
    throw fault;
  }
  return { port, pid: running.pid, [Symbol.asyncDispose]: dispose };
}

function skipped(tool: Tool, why: string): undefined {
  tell(`peers: ${tool} is missing (${why}); what needs it is SKIPPED`);
  tell(`peers: to run it, put ${tool} (package ${TOOLS[tool].package}) on PATH`);
  return undefined;
}

function toolsOf(set: ToolSource["set"]): [string, ToolSource][] {
  return Object.entries(TOOLS).filter(([, tool]) => tool.set === set);
}

/** Packages of a set, and what they depend on beyond what is installed; once, for all processes. */
async function unpackPackages(
  dir: string,
  set: ToolSource["set"],
  statusFile = "/var/lib/dpkg/status",
): Promise<void> {
  const all = toolsOf(set).flatMap(([, tool]) => [tool.package, ...tool.with ?? []]);
  const packages = [...new Set(all)];
  if (Deno.build.os !== "linux" || findOnPath("apt-get") === undefined) {
    throw new Error("this system has no apt-get to unpack it from");
  }
  await Deno.mkdir(`${dir}/debs`, { recursive: true });
  using lock = await Deno.open(`${dir}/lock`, { create: true, write: true });
  await lock.lock(true);
  const [mark, failed] = [`${dir}/unpacked`, `${dir}/failed`];
  if (isFile(mark) && Deno.readTextFileSync(mark) === packages.join("\n")) return;
  const failedAtMs = stat(failed)?.mtime?.getTime() ?? 0;
  if (systemClock.nowMs() - failedAtMs < RETRY_MS) throw new Error(Deno.readTextFileSync(failed));
  tell(`peers: unpacking what is missing of ${packages.join(", ")} into ${dir}`);
  try {
    await unpackInto(dir, packages, statusFile);
    await writeLaunchers(dir, set);
    await Deno.writeTextFile(mark, packages.join("\n"));
  } catch (fault) {
    await Deno.writeTextFile(failed, fault instanceof Error ? fault.message : String(fault));
    throw fault;
  }
}

async function unpackInto(
  dir: string,
  wanted: readonly string[],
  statusFile: string,
): Promise<void> {
  const options = ["-o", `Dir::State::status=${statusFile}`, "-o", "Debug::NoLocking=true"];
  const own = await ownLists(dir);
  const list = (more: string[]) =>
    output("apt-get", [...options, ...more, "install", ...INSTALL_FLAGS, ...wanted]);
  let apt = options;
  const uris = await list([]).catch(async () => {
    apt = [...options, ...own];
    await output("apt-get", [...apt, "update", "-qq"]);
    return await list(own);
  });
  // Each line: 'http://…/mosquitto_2.0.11-1_amd64.deb' mosquitto_2.0.11-1_amd64.deb 409728 SHA256:…
  const packages = uris.split("\n").flatMap((line) => /^'[^']+' ([^_\s]+)_/.exec(line)?.[1] ?? []);
  if (packages.length === 0) throw new Error("its package is installed, but not on PATH");
  await output("apt-get", [...apt, "download", "-qq", ...packages], `${dir}/debs`);
  for (const entry of Deno.readDirSync(`${dir}/debs`)) {
    if (!entry.name.endsWith(".deb")) continue;
    await output("dpkg", ["-x", `${dir}/debs/${entry.name}`, `${dir}/root`]);
  }
}

/** Options that keep apt's lists and caches in our folder, for a machine that has none. */
async function ownLists(dir: string): Promise<string[]> {
  for (const name of ["state/lists/partial", "cache/archives/partial"]) {
    await Deno.mkdir(`${dir}/apt/${name}`, { recursive: true });
  }
  const user = Deno.uid() === 0 ? ["-o", "APT::Sandbox::User=root"] : [];
  return ["-o", `Dir::State=${dir}/apt/state`, "-o", `Dir::Cache=${dir}/apt/cache`, ...user];
}

/** The unpacked libraries are not where the loader looks, and `exec` keeps the process id. */
async function writeLaunchers(dir: string, set: ToolSource["set"]): Promise<void> {
  await Deno.mkdir(`${dir}/bin`, { recursive: true });
  const libraries = ["usr/lib", "lib"].flatMap((name) => {
    const inner = `${dir}/root/${name}`;
    if (!isDirectory(inner)) return [];
    // Such as `usr/lib/x86_64-linux-gnu/pulseaudio`.
    return [inner, ...foldersIn(inner), ...foldersIn(inner).flatMap(foldersIn)];
  });
  const fonts = `${dir}/fonts.conf`;
  await Deno.writeTextFile(fonts, fontsConfiguration(dir));
  for (const [tool, { file }] of toolsOf(set)) {
    if (!isFile(`${dir}/root/${file}`)) continue;
    const text = `#!/bin/sh\nFONTCONFIG_FILE="${fonts}" ` +
      `LD_LIBRARY_PATH="${libraries.join(":")}" exec "${dir}/root/${file}" "$@"\n`;
    await Deno.writeTextFile(`${dir}/bin/${tool}`, text, { mode: 0o755 });
  }
}

function foldersIn(path: string): string[] {
  const folders = [...Deno.readDirSync(path)].filter((entry) => entry.isDirectory);
  return folders.map((entry) => `${path}/${entry.name}`);
}

/** The machine's fonts, and those that were unpacked. */
function fontsConfiguration(dir: string): string {
  return `<?xml version="1.0"?>\n<fontconfig>` +
    `<include ignore_missing="yes">/etc/fonts/fonts.conf</include>` +
    `<dir>${dir}/root/usr/share/fonts</dir><cachedir>${dir}/font-cache</cachedir></fontconfig>\n`;
}

async function output(command: string, args: readonly string[], cwd?: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    env: { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" },
    ...(cwd === undefined ? {} : { cwd }),
  }).output();
  if (success) return new TextDecoder().decode(stdout);
  const text = new TextDecoder().decode(stderr).trim().split("\n").slice(-3).join(" ");
  throw new Error(`${[command, ...args].join(" ")}: ${text}`);
}

function findOnPath(command: string): string | undefined {
  const dirs = [...(Deno.env.get("PATH") ?? "").split(":"), ...SYSTEM_DIRS];
  return dirs.filter((dir) => dir !== "").map((dir) => `${dir}/${command}`).find(isFile);
}

function isFile(path: string): boolean {
  return stat(path)?.isFile ?? false;
}

function isDirectory(path: string): boolean {
  return stat(path)?.isDirectory ?? false;
}

function stat(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound || fault instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    throw fault;
  }
}

async function accepts(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch (fault) {
    if (fault instanceof Deno.errors.ConnectionRefused) return false;
    throw fault;
  }
}

function ignoreMissing(fault: unknown): void {
  if (!(fault instanceof Deno.errors.NotFound)) throw fault;
}

function tell(line: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(line + "\n"));
}
