/** The rules of the repository's layout (design section 8) and style, as functions on sources. */
import { posix } from "node:path";
import { functionsOf, type FunctionSpan, importsOf, type SourceFile } from "./source_code.ts";

/** The composition roots: they may import from everywhere but tests. */
const ROOTS: ReadonlySet<string> = new Set([
  "runtime/main.ts",
  "runtime/node.ts",
  "runtime/engine_main.ts",
  "runtime/log_worker_main.ts",
  "runtime/telemetry_worker_main.ts",
  "runtime/views_worker_main.ts",
]);

/** Folders that the files of a folder may import from. */
const DIRECTIONS: Readonly<Record<string, readonly string[]>> = {
  runtime: ["runtime"],
  actors: ["actors", "runtime"],
  protocols: ["protocols", "actors", "runtime"],
  web: ["web"],
  // Runs on the server's side: it makes what `protocols/http/console` serves.
  "web/build": ["web", "protocols"],
};
const PRODUCT = Object.keys(DIRECTIONS);

export const FILE_LINES_MAX = 500;
export const FUNCTION_LINES_MAX = 70;

const BANNED_WORDS: ReadonlySet<string> = new Set(
  "manager helper util utils common misc base impl processor data info".split(" ")
    .flatMap((word) => [word, `${word}s`]),
);

/** Terms of the field in which a banned word is the exact one: the design's and the TSL's. */
const TERMS = /data_directory|DataDirectory|DataType/g;

/** Calls with one home each. */
const HOMES: readonly { readonly call: RegExp; readonly homes: readonly string[] }[] = [
  { call: /\bDate\.now\b|\bperformance\.now\b/, homes: ["runtime/clock.ts", "web/clock.ts"] },
  { call: /\bset(?:Timeout|Interval|Immediate)\(/, homes: ["runtime/clock.ts", "web/clock.ts"] },
  { call: /\bnew Date\(\)/, homes: [] },
  { call: /\bMath\.random\b/, homes: ["runtime/random.ts"] },
  // Not a property of that name, such as `config.console`.
  { call: /(?<!\.)\bconsole\./, homes: ["runtime/logger.ts"] },
  // Tests start processes and read seeds.
  { call: /\bDeno\.env\b/, homes: ["runtime/config.ts", "test/"] },
];

const TEST_BANS: readonly { readonly call: RegExp; readonly rule: string }[] = [
  { call: /\bDeno\.test\.(?:only|ignore)\b/, rule: "no Deno.test.only and Deno.test.ignore" },
  { call: /\b(?:only|ignore): true\b/, rule: "no test that is always skipped or alone" },
  { call: /\bwaitMs\(\s*systemClock\b/, rule: "no sleeps: wait for a condition (support/wait.ts)" },
];

export type Rule = (files: readonly SourceFile[]) => string[];

export function isTest(path: string): boolean {
  return path.startsWith("test/") || path.endsWith("_test.ts") || path.endsWith("_bench.ts");
}

export const checkSizes: Rule = (files) =>
  files.flatMap((file) => {
    const lines = file.text.split("\n").length - 1;
    const long = functionsOf(file)
      .filter((span) => span.lines > FUNCTION_LINES_MAX && !registersTests(file, span))
      .map((span) => `${file.path}:${span.line}: a function of ${span.lines} lines`);
    return lines > FILE_LINES_MAX ? [`${file.path}: ${lines} lines`, ...long] : long;
  });

/** A contract suite is a list of tests, whose own bodies are measured. */
function registersTests(file: SourceFile, { line, lines }: FunctionSpan): boolean {
  const body = file.code.split("\n").slice(line - 1, line - 1 + lines);
  return isTest(file.path) && body.some((text, at) => at > 0 && /^\s*(?:Deno\.)?test\(/.test(text));
}

export const checkDirections: Rule = (files) =>
  files.filter((file) => !isTest(file.path)).flatMap((file) =>
    importsOf(file).filter((specifier) => specifier.startsWith(".")).flatMap((specifier) => {
      const target = posix.join(posix.dirname(file.path), specifier);
      const folder = target.split("/")[0] ?? "";
      const allowed = ROOTS.has(file.path)
        ? PRODUCT
        : DIRECTIONS[layerOf(file.path)] ?? [...PRODUCT, "deploy"];
      const isForeignRoot = ROOTS.has(target) && file.path.startsWith("runtime/") === false;
      return allowed.includes(folder) && !isTest(target) && !isForeignRoot
        ? []
        : [`${file.path} must not import ${target}`];
    })
  );

function layerOf(path: string): string {
  return path.startsWith("web/build/") ? "web/build" : path.split("/")[0] ?? "";
}

/** One folder imports an npm package; folders inside of it may, too. The console counts as one. */
export const checkPackages: Rule = (files) => {
  const foldersOf = new Map<string, Set<string>>();
  for (const file of files) {
    if (isTest(file.path)) continue;
    for (const specifier of importsOf(file)) {
      if (/^(?:\.|node:|file:)/.test(specifier)) continue;
      const name = packageOf(specifier);
      const folder = file.path.startsWith("web/") ? "web" : posix.dirname(file.path);
      foldersOf.set(name, (foldersOf.get(name) ?? new Set()).add(folder));
    }
  }
  return [...foldersOf].flatMap(([name, folders]) => {
    const [outer = "", ...others] = [...folders].sort((a, b) => a.length - b.length);
    const strangers = others.filter((folder) => !folder.startsWith(`${outer}/`));
    return strangers.map((folder) => `${name} is imported by ${outer}/ and ${folder}/`);
  });
};

/** `npm:zod@4/v4`, `zod/v4` → `zod`; scopes stay. */
function packageOf(specifier: string): string {
  const path = specifier.replace(/^npm:/, "");
  const name = path.split("/").slice(0, path.startsWith("@") ? 2 : 1).join("/");
  return name.replace(/(.)@.*$/, "$1");
}

export const checkNames: Rule = (files) =>
  files.flatMap((file) => {
    const words = file.path.replace(TERMS, "").replace(/\.(?:ts|vue)$/, "").split(/[/_.]/);
    const found = words.filter((word) => BANNED_WORDS.has(word))
      .map((word) => `${file.path}: "${word}" in its name`);
    if (!/^(?:[a-z0-9_]+\/)*[a-z0-9_]+(?:\.d)?\.(?:ts|vue)$/.test(file.path)) {
      found.push(`${file.path}: the path is not snake_case`);
    }
    for (const [, name = ""] of file.code.matchAll(/\b(?:class|interface|type|enum) ([A-Z]\w*)/g)) {
      const parts = name.replace(TERMS, "").split(/(?=[A-Z])/).map((part) => part.toLowerCase());
      const banned = parts.find((part) => BANNED_WORDS.has(part));
      if (banned !== undefined) found.push(`${file.path}: "${banned}" in type ${name}`);
    }
    return found;
  });

export const checkCalls: Rule = (files) =>
  files.flatMap((file) => {
    const homeless = HOMES
      .filter(({ homes }) => !homes.some((home) => file.path === home || isUnder(file, home)))
      .flatMap(({ call }) => linesWith(file, call));
    return homeless.map(({ line, found }) => `${file.path}:${line}: ${found} outside its home`);
  });

/** A home that is a folder holds the tests that stand beside the code, too. */
function isUnder(file: SourceFile, home: string): boolean {
  return home.endsWith("/") && (file.path.startsWith(home) || isTest(file.path));
}

export const checkTests: Rule = (files) =>
  files.filter((file) => file.path.endsWith("_test.ts")).flatMap((file) =>
    TEST_BANS.flatMap(({ call, rule }) =>
      linesWith(file, call).map(({ line }) => `${file.path}:${line}: ${rule}`)
    )
  );

function linesWith(file: SourceFile, call: RegExp): { line: number; found: string }[] {
  return file.code.split("\n").flatMap((text, at) => {
    const found = call.exec(text)?.[0];
    return found === undefined ? [] : [{ line: at + 1, found }];
  });
}
