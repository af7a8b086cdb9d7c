/** Checks of the machine: ports, descriptors, memory, disk, clock. */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../../runtime/clock.ts";
import type { Config } from "../../runtime/config.ts";
import { messageOf } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { DOCTOR_LIMITS } from "./doctor_limits.ts";
import { fault, type Finding, ok, warning } from "./finding.ts";
import { listensOn, readOrEmpty, type RunningHolder } from "./holder.ts";

const MIB = 1024 * 1024;

export function checkPorts(config: Config, holder: RunningHolder | undefined): Finding[] {
  const ports: (readonly [field: string, port: number])[] = [
    ["http.port", config.http.port],
    ["mqtt.port", config.mqtt.port],
  ];
  if (config.mqtt.tlsCertificate !== undefined) ports.push(["mqtt.tlsPort", config.mqtt.tlsPort]);
  return ports.map(([field, port]) => checkPort(field, config.listen, port, holder));
}

function checkPort(
  field: string,
  hostname: string,
  port: number,
  holder: RunningHolder | undefined,
): Finding {
  const check = `port ${field}`;
  if (port === 0) return ok(check, "0: any free one is taken at the start");
  try {
    Deno.listen({ hostname, port }).close();
    return ok(check, `${port} is free`);
  } catch (cause) {
    if (cause instanceof Deno.errors.AddrInUse) return portInUse(check, field, port, holder);
    if (cause instanceof Deno.errors.PermissionDenied) {
      const fix = `Set ${field} to one above 1023, or give the process CAP_NET_BIND_SERVICE.`;
      return fault(check, `${port} may not be opened by this user`, fix);
    }
    const fix = "Set `listen` to an address of this machine, such as 127.0.0.1 or 0.0.0.0.";
    return fault(check, `cannot listen on ${hostname}:${port}: ${messageOf(cause)}`, fix);
  }
}

function portInUse(
  check: string,
  field: string,
  port: number,
  holder: RunningHolder | undefined,
): Finding {
  const isOurs = holder?.pid === undefined ? false : listensOn(holder.pid, port);
  if (isOurs === true) return ok(check, `${port} is held by the running Roost, ${holder!.pid}`);
  const fix = `End what listens there (\`ss -ltnp sport = :${port}\` names it), or set ${field}.`;
  if (isOurs === undefined) {
    return warning(check, `${port} is in use, perhaps by the running Roost`, fix);
  }
  return fault(check, `${port} is in use by another process`, fix);
}

/** The limits that bind the node: its own if it runs, else those that a start from here gets. */
export function checkDescriptors(holder: RunningHolder | undefined): Finding {
  const check = "file descriptors";
  const limits = descriptorLimits(holder?.pid);
  if (limits === undefined) return ok(check, "the limits cannot be read on this system");
  const { hard } = limits; // A start raises the soft one to it.
  const found = `at most ${hard} (soft ${limits.soft}), so about ${
    connectionsOf(hard)
  } connections`;
  const fix = "Raise the hard limit: `ulimit -Hn 1048576`, LimitNOFILE= of systemd, or " +
    "--ulimit nofile= of a container.";
  if (hard < DOCTOR_LIMITS.descriptorsMin) return fault(check, found, fix);
  return hard < DOCTOR_LIMITS.descriptorsLow ? warning(check, found, fix) : ok(check, found);
}

/** Connections that so many descriptors carry, beside what the node itself holds. */
export function connectionsOf(descriptors: number): number {
  return Math.max(0, descriptors - DOCTOR_LIMITS.ownDescriptors);
}

export function descriptorLimits(pid?: number): { soft: number; hard: number } | undefined {
  const text = readOrEmpty(`/proc/${pid ?? "self"}/limits`) || readOrEmpty("/proc/self/limits");
  const [, soft, hard] = /^Max open files\s+(\S+)\s+(\S+)/m.exec(text) ?? [];
  if (soft === undefined || hard === undefined) return undefined;
  const numberOf = (word: string) => word === "unlimited" ? Infinity : Number(word);
  return { soft: numberOf(soft), hard: numberOf(hard) };
}

export function checkMemory(): Finding {
  const check = "memory";
  const { available } = Deno.systemMemoryInfo();
  const found = `${Math.floor(available / MIB)} MiB available`;
  if (available >= DOCTOR_LIMITS.memoryLowBytes) return ok(check, found);
  const least = `${DOCTOR_LIMITS.memoryLowBytes / MIB} MiB`;
  return warning(check, found, `Roost idle takes about 150 MiB; have ${least} available.`);
}

export function checkDisk(folder: string): Finding {
  const check = "disk space";
  const free = freeBytes(folder);
  const reserve = LIMITS.diskReserveBytes;
  const found = `${Math.floor(free / MIB)} MiB free where ${folder} is; the reserve is ` +
    `${reserve / MIB} MiB`;
  const fix = "Make room, move data.dir to a larger disk, or set telemetry.retentionDays.";
  if (free <= reserve) return fault(check, `${found}: messages are not accepted`, fix);
  return free < reserve * DOCTOR_LIMITS.reservesFree
    ? warning(check, found, fix)
    : ok(check, found);
}

export function freeBytes(folder: string): number {
  const disk = statfsSync(folder);
  return disk.bavail * disk.bsize;
}

/** How long a small write takes to be durable: each message that is acknowledged waits for one. */
export function checkFsync(folder: string, clock: Clock): Finding {
  const check = "fsync";
  let path: string | undefined;
  const bytes = new Uint8Array(4_096).fill(1);
  const tookMs: number[] = [];
  try {
    // A name of its own: where the folder is everybody's, a known one could be a link elsewhere.
    path = Deno.makeTempFileSync({ dir: folder, prefix: "doctor-fsync-" });
    using file = Deno.openSync(path, { write: true });
    for (let turn = 0; turn < DOCTOR_LIMITS.fsyncs; turn++) {
      const startedMs = clock.monotonicMs();
      file.writeSync(bytes);
      file.syncDataSync();
      tookMs.push(clock.monotonicMs() - startedMs);
    }
  } catch (cause) {
    const fix = "Let the user that runs Roost write there, and have room on that disk.";
    return fault(check, `cannot write to ${folder}: ${messageOf(cause)}`, fix);
  } finally {
    if (path !== undefined) removeQuietly(path);
  }
  tookMs.sort((a, b) => a - b);
  const median = tookMs[tookMs.length >> 1]!;
  const found = `${median.toFixed(2)} ms (median), ${tookMs.at(-1)!.toFixed(2)} ms (slowest)`;
  if (statfsSync(folder).type === TMPFS) {
    return warning(check, `${found}; ${folder} is in memory`, "Set data.dir to a disk.");
  }
  if (median <= DOCTOR_LIMITS.fsyncSlowMs) return ok(check, found);
  return warning(check, found, "Use an SSD for data.dir: latency of all messages follows it.");
}

/** Source: statfs(2), `TMPFS_MAGIC`. */
const TMPFS = 0x01021994;

/** @param lastMs The latest time that the data directory knows of; undefined: it knows none. */
export async function checkClock(clock: Clock, lastMs: number | undefined): Promise<Finding[]> {
  const startMs = clock.nowMs();
  const startMonotonicMs = clock.monotonicMs();
  let isFalling = false;
  let before = startMonotonicMs;
  for (let turn = 0; turn < DOCTOR_LIMITS.clockReads; turn++) {
    if (turn % 100 === 0) await new Promise<void>((resolve) => clock.soon(resolve));
    const now = clock.monotonicMs();
    isFalling ||= now < before;
    before = now;
  }
  const driftMs = (clock.nowMs() - startMs) - (clock.monotonicMs() - startMonotonicMs);
  const sync = "Let chrony or systemd-timesyncd keep the clock, slewing instead of stepping.";
  return [
    isFalling
      ? fault("monotonic clock", "it went back", "Use another clock source of the kernel.")
      : ok("monotonic clock", "it never went back"),
    Math.abs(driftMs) > DOCTOR_LIMITS.clockJumpMs
      ? warning("clock steps", `the wall clock moved by ${Math.round(driftMs)} ms`, sync)
      : ok("clock steps", "the wall clock did not step"),
    checkWall(startMs, lastMs, sync),
  ];
}

function checkWall(nowMs: number, lastMs: number | undefined, sync: string): Finding {
  const check = "clock";
  const shown = new Date(nowMs).toISOString();
  if (nowMs < DOCTOR_LIMITS.sensibleFromMs) {
    return fault(check, `${shown} is before this program was made`, `Set the clock. ${sync}`);
  }
  if (lastMs === undefined) return ok(check, `${shown}; no data yet to compare it with`);
  const behindMs = lastMs - nowMs;
  if (behindMs <= DOCTOR_LIMITS.clockBehindMs) return ok(check, `${shown}, not behind the data`);
  const found = `${shown} is ${Math.round(behindMs / 1_000)} s behind the newest in the data, ` +
    `${new Date(lastMs).toISOString()}: times of messages stand still until then`;
  return fault(check, found, `Set the clock. ${sync}`);
}

/** The folder itself, or what is nearest above it: where it will be made. */
export function nearestFolder(path: string): string {
  let at = path;
  while (!isFolder(at)) {
    const above = dirname(at);
    if (above === at) return at;
    at = above;
  }
  return at;
}

export function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return false;
    throw cause;
  }
}

function removeQuietly(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
  }
}
