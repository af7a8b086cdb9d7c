import assert from "node:assert/strict";
import {
  blankNonCode,
  functionsOf,
  importsOf,
  readSources,
  sourceOf,
} from "./support/source_code.ts";
import { checkTexts } from "./support/console_rules.ts";
import {
  checkCalls,
  checkDirections,
  checkNames,
  checkPackages,
  checkSizes,
  checkTests,
  FILE_LINES_MAX,
  FUNCTION_LINES_MAX,
  type Rule,
} from "./support/tidy_rules.ts";

const ROOT = new URL("../", import.meta.url);

const RULES: readonly (readonly [string, Rule])[] = [
  ["files and functions stay within their sizes", checkSizes],
  ["imports keep to the directions of the layout", checkDirections],
  ["an npm package has one importing folder", checkPackages],
  ["names say what a thing is", checkNames],
  ["clock, timers, randomness, console and environment have one home each", checkCalls],
  ["no test is skipped for good, alone, or asleep", checkTests],
  ["no text of the console stands outside its dictionaries", checkTexts],
];

for (const [name, rule] of RULES) {
  Deno.test(name, async () => {
    const sources = await readSources(ROOT);
    assert(sources.length > 20, "the sources are found");
    const found = rule(sources);
    assert(found.length === 0, `\n${found.join("\n")}\n`);
  });
}

/** What a rule finds in files given as `path: text`. */
function findings(rule: Rule, files: Record<string, string>): string[] {
  return rule(Object.entries(files).map(([path, text]) => sourceOf(path, text)));
}

Deno.test("comments, strings, templates and regular expressions are not code", () => {
  const text = 'a("x // y"); // Date.now\nb(`${c("`")} Date.now`, /["\'/]Date.now/); /* d\n*/ e';
  const code = blankNonCode(text);
  assert.equal(code.split("\n").length, 3);
  assert.equal(code.length, text.length);
  assert.doesNotMatch(code, /Date|x|y|d/);
  assert.match(code, /a\(.*b\(.*c\(.*e$/s);
});

Deno.test("imports are read from code only", () => {
  const file = sourceOf("a.ts", 'import { a } from "./b.ts";\n// from "c"\nawait import("d");\n');
  assert.deepEqual(importsOf(file), ["./b.ts", "d"]);
});

Deno.test("tidy finds long functions of each form, and long files", () => {
  const body = "  x;\n".repeat(FUNCTION_LINES_MAX);
  for (
    const open of [
      "function f() {",
      "export async function f<T>(a: T): Promise<void> {",
      "const f = (a) => {",
      "): Promise<void> {",
      "Deno.test('', async () => {",
    ]
  ) {
    assert.equal(findings(checkSizes, { "a.ts": `${open}\n${body}}\n` }).length, 1, open);
  }
  const method = `class A {\n  async #f(a: number): void {\n${
    body.replaceAll("  ", "    ")
  }  }\n}\n`;
  assert.equal(findings(checkSizes, { "a.ts": method }).length, 1);
  assert.equal(
    findings(checkSizes, { "a.ts": `if (a) {\n${body}}\nclass B {\n${body}}\n` }).length,
    0,
  );
  assert.deepEqual(functionsOf(sourceOf("a.ts", "function f() {\n  x;\n}\n")), [
    { line: 1, lines: 3 },
  ]);
  assert.equal(findings(checkSizes, { "a.ts": "x;\n".repeat(FILE_LINES_MAX + 1) }).length, 1);
});

Deno.test("tidy finds imports against the directions", () => {
  const refused = {
    "runtime/a.ts": 'import "../actors/b.ts";',
    "actors/a.ts": 'import "../protocols/b.ts";',
    "protocols/a.ts": 'export * from "../test/support/b.ts";',
    "actors/c.ts": 'await import("./d_test.ts");',
    "runtime/main.ts": 'import "../test/support/b.ts";',
    "actors/e.ts": 'import "../runtime/main.ts";',
  };
  assert.equal(findings(checkDirections, refused).length, 6);
  const allowed = {
    "runtime/main.ts": 'import "../protocols/http/app.ts";',
    "protocols/http/app.ts": 'import "../../actors/device/device.ts";',
    "actors/device/device_test.ts": 'import "../../protocols/mqtt/a.ts";',
  };
  assert.deepEqual(findings(checkDirections, allowed), []);
});

Deno.test("tidy finds a package with two importing folders", () => {
  const files = {
    "runtime/store/a.ts": 'import "kysely";',
    "runtime/store/b/c.ts": 'import "kysely/helpers";',
    "test/x.ts": 'import "kysely";',
    "protocols/mqtt/a.ts": 'import "npm:@a/b@1.0.0/c";',
    "protocols/http/a.ts": 'import "@a/b";',
  };
  assert.deepEqual(findings(checkPackages, files), [
    "@a/b is imported by protocols/mqtt/ and protocols/http/",
  ]);
});

Deno.test("tidy finds banned names in paths and types", () => {
  const files = {
    "runtime/utils/a.ts": "",
    "runtime/user_manager.ts": "",
    "runtime/Clock.ts": "",
    "runtime/a.ts": "interface DeviceInfo {}\n// class BaseThing\nclass Database {}",
  };
  assert.equal(findings(checkNames, files).length, 4);
});

Deno.test("tidy finds banned calls outside their home", () => {
  const calls = [
    "Date.now()",
    "performance.now()",
    "Math.random()",
    "setTimeout(a)",
    "console.log",
  ];
  for (
    const call of [...calls, "setInterval(a)", "setImmediate(a)", "Deno.env.get", "new Date()"]
  ) {
    assert.equal(findings(checkCalls, { "actors/a.ts": `x(${call})` }).length, 1, call);
    assert.equal(findings(checkCalls, { "actors/a.ts": `// ${call}\n"${call}"` }).length, 0, call);
  }
  assert.deepEqual(findings(checkCalls, { "runtime/clock.ts": "Date.now(); setTimeout(a)" }), []);
});

Deno.test("tidy finds tests that are alone, skipped or asleep", () => {
  const bad = "Deno.test.only(a)\nDeno.test.ignore(a)\n({ ignore: true })\nwaitMs(systemClock, 1)";
  assert.equal(findings(checkTests, { "actors/a_test.ts": bad }).length, 4);
  assert.deepEqual(
    findings(checkTests, { "actors/a_test.ts": "({ ignore: peer === undefined })" }),
    [],
  );
});

Deno.test("tidy finds text outside the dictionaries", () => {
  const bad = {
    "web/a.vue": '<template>\n  <p>Hello</p>\n  <p title="Name">{{ t("a") }}</p>\n</template>',
    "web/b.ts": 'const name = "\u8bbe\u5907";',
    "web/c.vue": '<template><b :class="x > 1 ? 1 : 2">{{ a }} items</b></template>',
  };
  assert.deepEqual(findings(checkTexts, bad), [
    'web/a.vue:3: title="Name" is not from a dictionary',
    'web/a.vue:2: "Hello" is not from a dictionary',
    "web/b.ts:1: Chinese text outside a dictionary",
    'web/c.vue:1: "items" is not from a dictionary',
  ]);
  const good = {
    "web/pages/a/text.ts": 'const zh = { name: "\u8bbe\u5907" };',
    "web/a.vue": '<template><p :title="t(\'a\')">{{ t("b") }} · <!-- why --></p></template>',
  };
  assert.deepEqual(findings(checkTexts, good), []);
});

Deno.test("tidy looks at the script of a component only", () => {
  const file = sourceOf("web/a.vue", "<template>a</template>\n<script>\nDate.now()\n</script>\n");
  assert.match(file.code, /^\s+Date\.now\(\)\s+$/);
  assert.equal(file.code.length, file.text.length);
  assert.equal(checkCalls([file]).length, 1);
});
