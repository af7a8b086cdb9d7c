/**
 * `deno task doctor [--json] [--quick] [--config FILE]`: what is wrong with this host, this
 * configuration and this data, each with the fix. Exit code 0: fine, 1: warnings, 2: faults.
 */
import { readTlsFiles, tlsListenerOf } from "../../protocols/mqtt/tls_files.ts";
import { type Clock, systemClock } from "../../runtime/clock.ts";
import { type Config, readProcessConfig } from "../../runtime/config.ts";
import { messageOf } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import {
  checkDatabases,
  checkLeftovers,
  checkMasterKey,
  checkOwner,
  lastTimeMs,
} from "./store_checks.ts";
import { DOCTOR_LIMITS } from "./doctor_limits.ts";
import {
  exitCodeOf,
  fault,
  type Finding,
  ok,
  renderJson,
  renderText,
  type Report,
} from "./finding.ts";
import { findHolder, type RunningHolder } from "./holder.ts";
import {
  checkClock,
  checkDescriptors,
  checkDisk,
  checkFsync,
  checkMemory,
  checkPorts,
  freeBytes,
  isFolder,
  nearestFolder,
} from "./host_checks.ts";
import { measureHost } from "./measures.ts";

const USE = "Use: deno task doctor [--json] [--quick] [--config FILE]";

/** @param args Of the process, without the doctor's own. */
async function examine(args: readonly string[], isQuick: boolean, clock: Clock): Promise<Report> {
  const findings: Finding[] = [];
  let config: Config;
  try {
    config = readProcessConfig(args).config;
  } catch (cause) {
    const fix = "Correct it; deploy/roost.sample.jsonc has every setting with its bounds.";
    return {
      findings: [
        fault("configuration", messageOf(cause), fix),
        checkDescriptors(undefined),
        checkMemory(),
        ...await checkClock(clock, undefined),
      ],
    };
  }
  findings.push(ok("configuration", "accepted"), ...await checkTls(config));
  const dir = config.data.dir;
  const hasData = isFolder(dir);
  const folder = nearestFolder(dir);
  const owner = checkOwner(dir);
  const isReadable = hasData && owner.level !== "fault";
  const holder = isReadable ? findHolder(dir) : undefined;
  const running = holder === undefined ? "nobody" : `the running Roost, ${holder.pid}`;
  findings.push(owner);
  if (isReadable) findings.push(ok("lock of the data", `held by ${running}`));
  findings.push(...checkPorts(config, holder), checkDescriptors(holder), checkMemory());
  findings.push(...await checkClock(clock, isReadable ? lastTimeMs(dir) : undefined));
  findings.push(checkDisk(folder), checkFsync(folder, clock));
  if (isReadable) {
    findings.push(...checkDatabases(dir, isQuick), checkMasterKey(config), checkLeftovers(dir));
  }
  return isQuick ? { findings } : await withMeasures(findings, folder, holder, clock);
}

async function withMeasures(
  findings: Finding[],
  folder: string,
  holder: RunningHolder | undefined,
  clock: Clock,
): Promise<Report> {
  const needed = LIMITS.diskReserveBytes + DOCTOR_LIMITS.measureBytes;
  if (freeBytes(folder) < needed) {
    findings.push(ok("measures", "left out: there is no room for them"));
    return { findings };
  }
  try {
    return { findings, measures: await measureHost(folder, holder, clock) };
  } catch (cause) {
    const fix = "Look at the findings above; the measures write beside the data.";
    findings.push(fault("measures", `they failed: ${messageOf(cause)}`, fix));
    return { findings };
  }
}

async function checkTls(config: Config): Promise<Finding[]> {
  const files = tlsListenerOf(config.mqtt);
  if (files === undefined) return [];
  const check = "TLS files";
  try {
    await readTlsFiles(files);
    return [ok(check, "certificate and key belong together")];
  } catch (cause) {
    return [fault(check, messageOf(cause), "Put files there that the user of Roost can read.")];
  }
}

if (import.meta.main) {
  const own = new Set(["--json", "--quick"]);
  const rest = Deno.args.filter((arg) => !own.has(arg));
  if (rest.some((arg, at) => !/^--config(?:=|$)/.test(arg) && rest[at - 1] !== "--config")) {
    Deno.stderr.writeSync(new TextEncoder().encode(`${USE}\n`));
    Deno.exit(2);
  }
  const report = await examine(rest, Deno.args.includes("--quick"), systemClock)
    .catch((cause): Report => ({
      findings: [fault("doctor", messageOf(cause), "Correct that, and run the doctor again.")],
    }));
  const text = Deno.args.includes("--json") ? renderJson(report) : renderText(report);
  Deno.stdout.writeSync(new TextEncoder().encode(text));
  Deno.exit(exitCodeOf(report));
}
