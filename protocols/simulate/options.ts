/** What the simulator is asked for on its command line. */
import { InvalidError } from "../../runtime/errors.ts";

export type Credentials =
  | { readonly type: "key"; readonly key: string }
  | { readonly type: "login"; readonly user: string; readonly password: string };

export interface SimulateOptions {
  /** Of the API, without a path. */
  readonly url: string;
  readonly credentials: Credentials;
  readonly wire: "mqtt" | "http";
  readonly devices: number;
  /** Readings of all devices together. */
  readonly ratePerSecond: number;
  readonly durationMs: number;
  /** Key of the product that is made. Undefined: one of the simulator's own making. */
  readonly product: string | undefined;
  /** Mean number of times that a device loses its connection by itself, an hour. */
  readonly dropoutsPerHour: number;
  /** Product and devices stay when it ends. */
  readonly isKept: boolean;
  readonly isVerified: boolean;
  readonly isJson: boolean;
  /** The demo plant instead of a fleet. */
  readonly isDemo: boolean;
}

/** What parsing asks of its surroundings. */
export interface SimulateInput {
  readonly readFile: (path: string) => string;
  /** Asks the person of this name, or reads standard input. */
  readonly askPassword: (user: string) => string;
}

export const USAGE = `deno task simulate --key KEY [options]

  --url URL          API of the node (http://127.0.0.1:8080)
  --key KEY          API key with products:write, devices:read, devices:write, jobs:read and,
                     for --verify, cluster:read; or --key-file FILE
  --user NAME        instead of a key: log in as this person; the password is asked for, or the
                     first line of standard input, or is in --password-file FILE
  --devices N        simulated devices, 1 to 20000 (100)
  --rate R           readings a second of all devices together, 1 to 100000 (one a device)
  --wire mqtt|http   (mqtt)
  --duration TIME    30s, 5m, 2h (60s)
  --product KEY      key of the product that is made (sim- and six digits)
  --dropouts N       times an hour that a device loses its connection, 0 to 3600 (6)
  --keep             product and devices stay
  --verify           compare with history and ledger at the end; exit code 1 if they disagree
  --json             the report as one line of JSON
  --demo             the demo plant instead of a fleet, until Ctrl-C or for --duration; of the
                     others it takes --url, the key or person, and --keep`;

const FLAGS = ["keep", "verify", "json", "demo"] as const;
const VALUES = [
  "url",
  "key",
  "key-file",
  "user",
  "password-file",
  "devices",
  "rate",
  "wire",
  "duration",
  "product",
  "dropouts",
] as const;
const DEMO_REFUSES = ["devices", "rate", "wire", "product", "dropouts", "verify", "json"];
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const DURATION_MS_MAX = 7 * 24 * 3_600_000;

/** @throws {InvalidError} Naming the argument and its bound. */
export function parseSimulateArgs(
  args: readonly string[],
  input: SimulateInput,
): SimulateOptions {
  const { values, flags } = splitArgs(args);
  const isDemo = flags.has("demo");
  const idle = DEMO_REFUSES.find((name) => isDemo && (values.has(name) || flags.has(name)));
  if (idle !== undefined) throw new InvalidError(`Cannot accept --${idle} together with --demo`);
  const devices = wholeOf(values, "devices", 1, 20_000) ?? 100;
  const wire = values.get("wire") ?? "mqtt";
  if (wire !== "mqtt" && wire !== "http") {
    throw new InvalidError(`Cannot accept --wire ${wire}: it is mqtt or http`);
  }
  return {
    url: urlOf(values.get("url") ?? "http://127.0.0.1:8080"),
    credentials: credentialsOf(values, input),
    wire,
    devices,
    ratePerSecond: wholeOf(values, "rate", 1, 100_000) ?? devices,
    durationMs: durationOf(values.get("duration") ?? (isDemo ? "168h" : "60s")),
    product: values.get("product"),
    dropoutsPerHour: wholeOf(values, "dropouts", 0, 3_600) ?? 6,
    isKept: flags.has("keep"),
    isVerified: flags.has("verify"),
    isJson: flags.has("json"),
    isDemo,
  };
}

function splitArgs(args: readonly string[]) {
  const values = new Map<string, string>();
  const flags = new Set<string>();
  for (let at = 0; at < args.length; at++) {
    const [, name = "", given] = /^--([a-z-]+)(?:=(.*))?$/s.exec(args[at]!) ?? [];
    if ((FLAGS as readonly string[]).includes(name) && given === undefined) flags.add(name);
    else if ((VALUES as readonly string[]).includes(name)) {
      const value = given ?? args[++at];
      if (value === undefined) throw new InvalidError(`Cannot accept --${name}: it takes a value`);
      values.set(name, value);
    } else throw new InvalidError(`Unknown argument ${args[at]}\n\n${USAGE}`);
  }
  return { values, flags };
}

function credentialsOf(
  values: ReadonlyMap<string, string>,
  { readFile, askPassword }: SimulateInput,
): Credentials {
  const fileOf = (name: string) => {
    const path = values.get(name);
    return path === undefined ? undefined : readFile(path).trim();
  };
  const key = values.get("key") ?? fileOf("key-file");
  if (key !== undefined) return { type: "key", key };
  const user = values.get("user");
  if (user === undefined) {
    throw new InvalidError(`Cannot start without --key or --user\n\n${USAGE}`);
  }
  return { type: "login", user, password: fileOf("password-file") ?? askPassword(user) };
}

function urlOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new InvalidError(`Cannot accept --url ${text}: it must be http:// or https://`);
  }
  return url.origin;
}

function wholeOf(
  values: ReadonlyMap<string, string>,
  name: string,
  min: number,
  max: number,
): number | undefined {
  const text = values.get(name);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new InvalidError(`Cannot accept --${name} ${text}: it must be ${min} to ${max}`);
}

function durationOf(text: string): number {
  const [, count = "", unit = ""] = /^(\d{1,9})(ms|s|m|h)$/.exec(text) ?? [];
  const durationMs = Number(count) * (UNIT_MS[unit] ?? 0);
  if (durationMs > 0 && durationMs <= DURATION_MS_MAX) return durationMs;
  throw new InvalidError(`Cannot accept --duration ${text}: 30s, 5m, 2h, seven days at most`);
}
