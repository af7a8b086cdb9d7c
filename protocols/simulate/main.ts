/** `deno task simulate`: a fleet of simulated devices against a running node, and what became of it. */
import { systemClock } from "../../runtime/clock.ts";
import { InvalidError, messageOf } from "../../runtime/errors.ts";
import { systemRandom } from "../../runtime/random.ts";
import { ApiClient } from "./api_client.ts";
import { Fleet } from "./fleet.ts";
import { type FleetSetup, makeFleet, removeFleet } from "./fleet_setup.ts";
import { Interruption } from "./interruption.ts";
import type { LinkTarget } from "./link.ts";
import { parseSimulateArgs, type SimulateOptions, USAGE } from "./options.ts";
import { askPassword } from "./password.ts";
import { runPlant } from "./plant/run_plant.ts";
import { progressLine, renderReport, reportOf, type SimulateReport } from "./report.ts";
import { readLedger, verifyRun } from "./verify.ts";

const ENCODER = new TextEncoder();
const DEFAULT_PORTS: Readonly<Record<string, number>> = { "http:": 80, "mqtt:": 1883 };

const INTERRUPTED = 130;

async function demonstrate(options: SimulateOptions, ending: Interruption): Promise<void> {
  const ended = Promise.withResolvers<void>();
  const clock = systemClock;
  const api = await ApiClient.open(options.url, options.credentials, clock, sayWaiting);
  const target = await targetOf(api, options);
  ending.endsBy(ended.resolve, "The demo plant may be there still.");
  await runPlant(api, { ...options, target, clock, random: systemRandom, ended: ended.promise });
}

async function simulate(
  options: SimulateOptions,
  ending: Interruption,
): Promise<SimulateReport> {
  const clock = systemClock;
  const random = systemRandom;
  const product = options.product ?? `sim-${random.bytes(3).toHex()}`;
  const left = `Product ${product} and its devices may be there still.`;
  const api = await ApiClient.open(options.url, options.credentials, clock, sayWaiting);
  const target = await targetOf(api, options);
  // Before the devices are made: a key that may not verify is told so at once.
  const acceptedBefore = options.isVerified ? (await readLedger(api)).total.accepted : 0;
  ending.endsBy(() => {}, left); // What is being made is removed below.
  const setup = await makeFleet(api, { ...options, product, clock, random });
  say(`Made product ${setup.product} with ${options.devices} devices.`);
  try {
    const startedAtMs = clock.nowMs();
    const fleet: Fleet = new Fleet({
      ...{ clock, random, target, logins: setup.logins },
      ...options,
      onProgress: (elapsedMs) => progress(progressLine(fleet.tally, options.devices, elapsedMs)),
    });
    ending.endsBy(() => fleet.stop(), left); // Also what came while the devices were made.
    const { sendingMs } = await fleet.run();
    const { tally, owed } = fleet;
    say("");
    const run = { product: setup.product, tally, sendingMs, owed };
    if (!options.isVerified) return reportOf(options, run);
    say("Comparing with history and ledger.");
    const claims = setup.logins.map((login, index) => ({
      login,
      outcomes: fleet.devices[index]!.outcomes,
    }));
    const { acknowledged } = tally;
    const claimed = { claims, startedAtMs, acceptedBefore, acknowledged };
    return reportOf(options, { ...run, verification: await verifyRun(api, clock, claimed) });
  } finally {
    await cleanUp(api, setup, options);
  }
}

/** Where devices connect, as the node says; at the host of the API when the node is elsewhere. */
async function targetOf(api: ApiClient, { url, wire }: SimulateOptions): Promise<LinkTarget> {
  const endpoints = await api.request<Record<string, string>>("GET", "/api/v1/endpoints");
  const found = wire === "http" ? url : endpoints["mqtt"];
  if (found === undefined) throw new InvalidError(`Cannot simulate: ${url} names no MQTT endpoint`);
  const { hostname, protocol, port } = new URL(found);
  if (wire === "http" && protocol !== "http:") {
    throw new InvalidError("Cannot simulate over https: give the node's own http:// address");
  }
  const host = wire === "http" ? hostname : new URL(url).hostname;
  return {
    host: host.replace(/^\[|\]$/g, ""),
    port: port === "" ? DEFAULT_PORTS[protocol] ?? 1883 : Number(port),
  };
}

async function cleanUp(
  api: ApiClient,
  setup: FleetSetup,
  { isKept }: SimulateOptions,
): Promise<void> {
  if (isKept) return say(`Product ${setup.product} and its devices stay.`);
  try {
    await removeFleet(api, setup);
    say(`Removed product ${setup.product} and its devices.`);
  } catch (fault) { // What the run found out is not lost with it.
    say(`Cannot remove product ${setup.product} and its devices: ${messageOf(fault)}`);
  }
}

function sayWaiting(url: string): void {
  say(`Waiting for the node at ${url}.`);
}

function interruption(): Interruption {
  const ending = new Interruption({
    leave: (left) => {
      if (left !== undefined) say(`Left at once. ${left}`);
      Deno.exit(INTERRUPTED);
    },
    onEnding: () => say("\nEnding in order; once more leaves at once."),
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => ending.raise());
  }
  return ending;
}

/** Progress goes to standard error: standard output has the report alone. */
function say(line: string): void {
  Deno.stderr.writeSync(ENCODER.encode(line + "\n"));
}

function progress(line: string): void {
  const isTerminal = Deno.stderr.isTerminal();
  Deno.stderr.writeSync(ENCODER.encode(isTerminal ? `\r\x1b[K${line}` : `${line}\n`));
}

if (import.meta.main) {
  try {
    if (Deno.args.includes("--help")) {
      say(USAGE);
      Deno.exit(0);
    }
    const options = parseSimulateArgs(Deno.args, {
      readFile: (path) => Deno.readTextFileSync(path),
      askPassword: (user) =>
        askPassword(user, Deno.stdin, (text) => void Deno.stderr.writeSync(ENCODER.encode(text))),
    });
    const ending = interruption();
    if (options.isDemo) {
      await demonstrate(options, ending);
      Deno.exit(0);
    }
    const report = await simulate(options, ending);
    const text = options.isJson ? JSON.stringify(report) : renderReport(report);
    Deno.stdout.writeSync(ENCODER.encode(text + "\n"));
    Deno.exit(report.verification?.ok === false ? 1 : 0);
  } catch (fault) {
    say(messageOf(fault));
    Deno.exit(2);
  }
}
