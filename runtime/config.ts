/**
 * Configuration: defaults < file < environment, read once, frozen, passed on in slices.
 * The only module that reads the environment and the arguments of the process.
 */
import { InvalidError, type Issue, messageOf } from "./errors.ts";
import { type Config, CONFIG_FIELDS, CONFIG_SCHEMA, type ConfigField } from "./config_schema.ts";
import type { z } from "./schema.ts";

export type { Config, NodeRole } from "./config_schema.ts";

export interface ConfigInput {
  /** Variables that do not begin with `ROOST__` are not looked at. An empty one counts as unset. */
  readonly env: Readonly<Record<string, string>>;
  /** `--config FILE`, `--print-config`, `--demo`, `--demo=remove`; all else is refused. */
  readonly args: readonly string[];
  /** Throws if there is no such file. */
  readonly readFile: (path: string) => string;
}

export interface ConfigRequest {
  readonly config: Config;
  /** The caller prints `printConfig(config)` and ends. */
  readonly isPrintRequested: boolean;
}

/** The one variable that is no field. */
const FILE_VARIABLE = "ROOST__CONFIG";
const PREFIX = "ROOST__";

/** Where a value came from, by dotted path: the words that an error uses. */
type Origins = Map<string, string>;
type Tree = { [key: string]: unknown };

/** @throws {InvalidError} Naming each field that is wrong, as it was given, and its bound. */
export function readConfig(input: ConfigInput): ConfigRequest {
  const { file, isPrintRequested, plant } = parseArgs(input.args);
  const origins: Origins = new Map();
  const path = file ?? (input.env[FILE_VARIABLE] || undefined);
  const tree = path === undefined ? {} : readTree(path, input.readFile);
  if (path !== undefined) origins.set("", path);
  const issues = applyEnvironment(tree, input.env, origins);
  if (plant !== undefined) put(tree, ["demo", "plant"], plant);
  const parsed = CONFIG_SCHEMA.safeParse(tree);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) issues.push(...explain(issue, tree, origins));
  }
  if (issues.length > 0) {
    const lines = issues.map((issue) => issue.message);
    throw new InvalidError(`The configuration is refused.\n${lines.join("\n")}`, issues);
  }
  return { config: freeze(parsed.data as Config), isPrintRequested };
}

/**
 * What this process was started with. Needs `--allow-env`, or `--allow-env=ROOST__* --ignore-env`,
 * which hides all other variables: it lists the names, so that a mistyped one is refused.
 * @param args Of a program with arguments of its own: those that are left.
 */
export function readProcessConfig(args: readonly string[] = Deno.args): ConfigRequest {
  return readConfig({
    env: Deno.env.toObject(),
    args,
    readFile: (path) => Deno.readTextFileSync(path),
  });
}

/** The effective values as JSON, secrets redacted. */
export function printConfig(config: Config): string {
  const tree: Tree = {};
  for (const field of CONFIG_FIELDS) {
    const value = valueAt(config as Tree, field.path);
    put(tree, field.path, field.isSecret && value !== undefined ? "(redacted)" : value);
  }
  return JSON.stringify(tree, null, 2);
}

/** JSON with `//` comments: the text of `deploy/roost.sample.jsonc`. */
export function renderSample(): string {
  const lines = [
    "// Every setting of Roost with its default. Use: deno task start --config FILE, or",
    "// ROOST__CONFIG=FILE. The environment variable named with a field overrides it.",
    "// Generated from runtime/config_schema.ts by `deno task sample`.",
    "{",
  ];
  const sections = Map.groupBy(CONFIG_FIELDS, (field) => field.path[0] ?? "");
  const last = [...sections.keys()].at(-1);
  for (const [section, fields] of sections) {
    const comma = section === last ? "" : ",";
    if (fields[0]?.path.length === 1) {
      lines.push(...sampleOf(fields[0], "  ", comma));
      continue;
    }
    lines.push(`  ${JSON.stringify(section)}: {`);
    fields.forEach((field, index) =>
      lines.push(...sampleOf(field, "    ", index === fields.length - 1 ? "" : ","))
    );
    lines.push(`  }${comma}`);
  }
  return [...lines, "}", ""].join("\n");
}

function sampleOf(field: ConfigField, indent: string, comma: string): string[] {
  const about = `${field.unit}, ${field.bounds}. ${field.variable}`;
  const isSet = field.fallback !== undefined;
  const value = JSON.stringify(field.fallback ?? "").replaceAll(",", ", ");
  const entry = `${JSON.stringify(field.path.at(-1))}: ${value}${comma}`;
  return [`// ${field.description}`, `// ${about}`, isSet ? entry : `// ${entry}`]
    .map((line) => indent + line);
}

interface Arguments {
  readonly file: string | undefined;
  readonly isPrintRequested: boolean;
  /** Field `demo.plant`. */
  readonly plant: "run" | "remove" | undefined;
}

function parseArgs(args: readonly string[]): Arguments {
  let file: string | undefined;
  let plant: "run" | "remove" | undefined;
  let isPrintRequested = false;
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? "";
    const next = args[at + 1];
    if (arg === "--print-config") isPrintRequested = true;
    else if (arg === "--demo") plant = "run";
    else if (arg === "--demo=remove") plant = "remove";
    else if (arg.startsWith("--config=")) file = arg.slice("--config=".length);
    else if (arg === "--config" && next !== undefined) {
      file = next;
      at++;
    } else {
      const known = "--config FILE, --print-config, --demo, --demo=remove";
      throw new InvalidError(`Unknown argument ${arg}: known are ${known}`);
    }
  }
  return { file, isPrintRequested, plant };
}

function readTree(path: string, readFile: (path: string) => string): Tree {
  try {
    const tree: unknown = JSON.parse(withoutComments(readFile(path)));
    if (isTree(tree)) return tree;
    throw new InvalidError("it is not a JSON object");
  } catch (fault) {
    throw new InvalidError(`Cannot read the configuration file ${path}: ${messageOf(fault)}`);
  }
}

/** `//` to the end of the line, outside strings, gives way to spaces: positions in errors hold. */
function withoutComments(text: string): string {
  const stringOrComment = /"(?:[^"\\\n]|\\.)*"|\/\/[^\n]*/g;
  return text.replace(stringOrComment, (part) => part[0] === '"' ? part : " ".repeat(part.length));
}

function applyEnvironment(tree: Tree, env: ConfigInput["env"], origins: Origins): Issue[] {
  const fields = new Map(CONFIG_FIELDS.map((field) => [field.variable, field]));
  const issues: Issue[] = [];
  for (const name of Object.keys(env).sort()) {
    if (!name.startsWith(PREFIX) || name === FILE_VARIABLE) continue;
    const field = fields.get(name);
    if (field === undefined) issues.push(unknownVariable(name));
    else if (env[name]) {
      put(tree, field.path, coerce(env[name], field));
      origins.set(field.path.join("."), name);
    }
  }
  return issues;
}

function unknownVariable(name: string): Issue {
  const section = name.split("__").slice(0, 2).join("__");
  const all = CONFIG_FIELDS.map((field) => field.variable);
  const near = all.filter((known) => known === section || known.startsWith(`${section}__`));
  const known = (near.length > 0 ? near : all).join(", ");
  return { path: name, rule: "unknown", message: `Unknown setting ${name}: known are ${known}` };
}

function coerce(text: string, field: ConfigField): unknown {
  if (field.type === "list") return text.split(",").map((item) => item.trim());
  return field.type === "number" && /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}

/** In the words of the person who set it: variable or file, value unless secret, and bound. */
function explain(issue: z.core.$ZodIssue, tree: Tree, origins: Origins): Issue[] {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => {
      const dotted = [...path, key].join(".");
      const message = `Unknown setting ${dotted} in ${origins.get("")}`;
      return { path: dotted, rule: "unknown", message };
    });
  }
  const field = CONFIG_FIELDS.find((each) => each.path.every((key, at) => key === path[at]));
  const fieldPath = field?.path ?? path;
  const dotted = fieldPath.join(".");
  const origin = origins.get(dotted) ?? `${dotted} in ${origins.get("") ?? "the defaults"}`;
  const value = field === undefined || field.isSecret
    ? ""
    : ` ${JSON.stringify(valueAt(tree, fieldPath))}`;
  const must = issue.code === "custom" && issue.message !== "Invalid input"
    ? issue.message
    : `it must be ${field?.bounds ?? "an object"}`;
  return [{ path: dotted, rule: issue.code, message: `Cannot accept ${origin}${value}: ${must}` }];
}

function valueAt(tree: Tree, path: readonly string[]): unknown {
  return path.reduce<unknown>((at, key) => isTree(at) ? at[key] : undefined, tree);
}

function put(tree: Tree, path: readonly string[], value: unknown): void {
  let at = tree;
  for (const key of path.slice(0, -1)) {
    const next = at[key];
    // Something else than an object in the file stays, so that the schema refuses it.
    if (next !== undefined && !isTree(next)) return;
    at = at[key] = next ?? {};
  }
  at[path.at(-1) ?? ""] = value;
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function freeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) Object.values(value).forEach(freeze);
  return Object.freeze(value);
}
