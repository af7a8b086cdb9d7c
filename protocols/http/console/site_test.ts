import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";
import { createManualClock } from "../../../test/support/manual_clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { compressFolder } from "../../../web/build/compress.ts";
import { hashSources } from "./build_folder.ts";
import { ConsoleSite } from "./site.ts";

const HTML = { accept: "text/html,*/*" };
const SCRIPT = "export const a = 1;\n".repeat(100);

async function build(): Promise<{ folder: URL } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "roost-site-" });
  const folder = pathToFileURL(`${path}/`);
  await Deno.mkdir(new URL("assets/", folder));
  await Deno.writeTextFile(new URL("index.html", folder), "<!doctype html><title>Roost</title>");
  await Deno.writeTextFile(new URL("assets/main-x1.js", folder), SCRIPT);
  await compressFolder(folder, () => {});
  return { folder, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

function newSite() {
  const clock = createManualClock(1_700_000_000_000);
  return { clock, site: new ConsoleSite({ clock, logger: silentLogger }) };
}

function ask(site: ConsoleSite, path: string, headers: Record<string, string> = {}) {
  return site.respond(new Request(`http://roost${path}`, { headers }), path);
}

Deno.test("assets are immutable and go out compressed as the browser takes them", async () => {
  await using built = await build();
  const { site } = newSite();
  assert.equal(await site.open(built.folder), true);
  const path = "/assets/main-x1.js";
  const brotli = await ask(site, path, { "accept-encoding": "gzip, deflate, br" });
  assert.equal(brotli?.headers.get("content-encoding"), "br");
  assert.match(brotli?.headers.get("cache-control") ?? "", /immutable/);
  assert.equal(brotli?.headers.get("vary"), "accept-encoding");
  const gzip = await ask(site, path, { "accept-encoding": "gzip, br;q=0" });
  assert.equal(gzip?.headers.get("content-encoding"), "gzip");
  const bytes = new Uint8Array(await gzip!.arrayBuffer());
  assert.equal(new TextDecoder().decode(gunzipSync(bytes)), SCRIPT);
  const plain = await ask(site, path);
  assert.equal(plain?.headers.get("content-encoding"), null);
  assert.equal(await plain?.text(), SCRIPT);
  const etag = plain!.headers.get("etag")!;
  const known = await ask(site, path, { "if-none-match": etag });
  assert.equal(known?.status, 304);
  assert.equal(known?.body, null);
});

Deno.test("every page of the console answers with its document, which is asked for again", async () => {
  await using built = await build();
  const { site } = newSite();
  await site.open(built.folder);
  for (const path of ["/", "/devices/pump/p-1.2", "/cluster"]) {
    const page = await ask(site, path, HTML);
    assert.equal(page?.status, 200, path);
    assert.equal(page?.headers.get("cache-control"), "no-cache");
    assert.match(await page!.text(), /<title>Roost/);
  }
  for (const path of ["/api/v1/nothing", "/assets/gone-x2.js", "/ingest/v1/x", "/index.html/x"]) {
    const isPage = path === "/index.html/x";
    assert.equal((await ask(site, path, HTML)) !== undefined, isPage, path);
  }
  assert.equal(await ask(site, "/devices"), undefined, "a program gets no page");
  const post = new Request("http://roost/devices", { method: "POST", headers: HTML });
  assert.equal(await site.respond(post, "/devices"), undefined);
});

Deno.test("the policy of the console lets nothing inline and nothing from elsewhere run", async () => {
  await using built = await build();
  const { site } = newSite();
  for (const isBuilt of [false, true]) {
    if (isBuilt) await site.open(built.folder);
    const policy = (await ask(site, "/", HTML))!.headers.get("content-security-policy")!;
    assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'/);
    assert.doesNotMatch(policy, /unsafe|\*|https?:/);
  }
});

Deno.test("until it is built a page says what goes on, in the reader's language", async () => {
  const { site } = newSite();
  site.progress = { phase: "installing", progress: 0.5 };
  const page = await (await ask(site, "/devices", { ...HTML, "accept-language": "en" }))!.text();
  assert.match(page, /Installing packages/);
  assert.match(page, /href="\/docs"/);
  assert.doesNotMatch(page, /<script>|<style|style=/);
  const view = async () =>
    await (await ask(site, "/console-build.json", { "accept-language": "zh-CN,zh" }))!.json();
  assert.deepEqual([(await view()).progress, (await view()).isReady], [0.26, false]);
  site.progress = { phase: "failed", cause: "<b>dns error</b>", fix: "network" };
  const failed = await view();
  assert.ok(failed.isFailed && failed.cause.includes("dns error"));
  assert.match(failed.command, /task build/);
  const said = await (await ask(site, "/", { "accept-language": "zh" }))!.text();
  assert.match(said, /lang="zh"[\s\S]*&lt;b&gt;dns error/);
  assert.equal(await ask(site, "/nothing"), undefined, "a program gets no page");
});

Deno.test("a build that somebody else made is found without a restart", async () => {
  await using built = await build();
  const { clock, site } = newSite();
  assert.equal(await site.open(new URL("later/", built.folder)), false);
  site.progress = { phase: "failed", cause: "no network", fix: "network" };
  assert.match(await (await ask(site, "/", HTML))!.text(), /no network/);
  await Deno.mkdir(new URL("later/", built.folder));
  await Deno.writeTextFile(new URL("later/index.html", built.folder), "<title>Roost</title>");
  await compressFolder(new URL("later/", built.folder), () => {});
  await clock.advance(2_000);
  assert.match(await (await ask(site, "/", HTML))!.text(), /<title>Roost<\/title>/);
  assert.equal((await (await ask(site, "/console-build.json"))!.json()).isReady, true);
});

Deno.test("the hash of the sources changes with each of them, and not with their tests", async () => {
  await using built = await build();
  const first = await hashSources(built.folder);
  await Deno.writeTextFile(new URL("a_test.ts", built.folder), "1");
  await Deno.mkdir(new URL("node_modules/", built.folder));
  await Deno.writeTextFile(new URL("node_modules/x.js", built.folder), "1");
  assert.equal(await hashSources(built.folder), first);
  await Deno.writeTextFile(new URL("assets/a.ts", built.folder), "1");
  assert.notEqual(await hashSources(built.folder), first);
});
