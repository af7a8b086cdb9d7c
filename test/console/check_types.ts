/**
 * Checks the types of the console against the API's own document: makes the document from the
 * routes, types from it into `.cache/console`, and runs vue-tsc. What passed once is not checked again.
 */
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { hashSources } from "../../protocols/http/console/build_folder.ts";
import { HttpHarness } from "../support/http_harness.ts";

const ROOT = new URL("../../", import.meta.url);
const WEB = new URL("web/", ROOT);
const CACHE = new URL(".cache/console/", ROOT);
const DOCUMENT = new URL("openapi.json", CACHE);
const TYPES = new URL("api.d.ts", CACHE);
const PASSED = new URL("types_passed", CACHE);

async function openApi(): Promise<string> {
  await using harness = await HttpHarness.start();
  const answer = await harness.send("GET", "/openapi.json");
  return await answer.text();
}

async function run(args: readonly string[]): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: WEB,
    stdin: "null",
  }).spawn().status;
  if (!success) Deno.exit(1);
}

async function readPassed(): Promise<string> {
  try {
    return await Deno.readTextFile(PASSED);
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return "";
    throw fault;
  }
}

await Deno.mkdir(CACHE, { recursive: true });
const document = await openApi();
const state = createHash("sha256").update(document).update(await hashSources(WEB)).digest("hex");
if (await readPassed() === state) {
  Deno.stdout.writeSync(new TextEncoder().encode("unchanged since it passed\n"));
} else {
  await Deno.writeTextFile(DOCUMENT, document);
  await run(["install", "--frozen", "--quiet"]);
  const tool = (path: string) => ["run", "--quiet", "-A", `node_modules/${path}`];
  const [from, to] = [fileURLToPath(DOCUMENT), fileURLToPath(TYPES)];
  await run([...tool("openapi-typescript/bin/cli.js"), from, "-o", to, "--immutable"]);
  await run([...tool("vue-tsc/bin/vue-tsc.js"), "--noEmit", "--project", "tsconfig.json"]);
  await Deno.writeTextFile(PASSED, state);
}
