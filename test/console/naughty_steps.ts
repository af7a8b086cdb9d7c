/**
 * Strings that break things elsewhere (the Big List of Naughty Strings, see
 * `blns_license.txt`), through names and filters of the console: no 500, no script runs, every page
 * shows them. All routes: `protocols/http/naughty_test.ts`.
 */
import assert from "node:assert/strict";
import type { BrowserPage, Page } from "../support/browser.ts";
import type { TestConsole } from "../support/console.ts";
import STRINGS from "./blns.json" with { type: "json" };
import { post, raise } from "../support/plant.ts";
import type { RoostApi } from "../support/roost_api.ts";

const PRODUCT = "naughty";
const KEYS = 8;
/** Values of one device; a message has at most 1,000 points. */
const VALUES = 200;
/** Typed into each filter; all of them go through the API. */
const TYPED_EVERY = 12;
const PAGES = ["/devices", "/products", "/settings?tab=keys", "/settings?tab=audit"] as const;
/** Unlike anything else, and what a script of theirs would be seen by. */
const SCRIPT = "<script>alert(123)</script>";

function isTyped(_text: string, at: number): boolean {
  return at % TYPED_EVERY === 0;
}

/** Refused is fine; failed is not. */
async function sends(api: RoostApi, method: string, path: string, body?: unknown): Promise<number> {
  for (let tries = 0;; tries++) {
    const answer = await api.fetch(method, path, body);
    const text = await answer.text();
    if (answer.status === 429 && tries < 50) continue;
    const what = `${method} ${path} ${JSON.stringify(body)?.slice(0, 200)}`;
    assert.ok(answer.status < 500, `${what}: ${answer.status} ${text}`);
    return answer.status;
  }
}

async function sendAll(api: RoostApi): Promise<number> {
  let accepted = 0;
  for (const [at, text] of STRINGS.entries()) {
    const q = encodeURIComponent(text);
    const device = { product: PRODUCT, device: `n-${at}`, name: text, tags: [text] };
    if (await sends(api, "POST", "/api/v1/devices", device) === 201) accepted++;
    await sends(api, "POST", "/api/v1/groups", { name: text });
    await sends(api, "GET", `/api/v1/devices?q=${q}&tag=${q}`);
    await sends(api, "GET", `/api/v1/products?q=${q}`);
  }
  return accepted;
}

/** Names that a model takes: texts without control characters, up to 128 characters. */
function modelOf(texts: readonly string[]): unknown {
  const named = texts.slice(0, 250);
  return {
    properties: named.map((name, at) => ({
      identifier: `p-${at}`,
      name,
      dataType: { type: "enum", specs: { "0": name, "1": "b" } },
    })),
    events: named.slice(0, 20).map((name, at) => ({ identifier: `e-${at}`, name })),
    services: named.slice(0, 20).map((name, at) => ({ identifier: `s-${at}`, name })),
  };
}

/** Row elements that come and go while the middle of a list is scrolled. */
async function rowsMade(page: Page): Promise<number> {
  return Number(
    await page.evaluate(`(async () => {
    const frame = () => new Promise(requestAnimationFrame);
    const scroller = document.querySelector(".scroller");
    scroller.scrollTop = 2_000;
    await frame();
    await frame();
    let made = 0;
    const observer = new MutationObserver((all) => made += all.length);
    observer.observe(document.querySelector(".rows"), { childList: true });
    for (let at = 0; at < 20; at++) {
      scroller.scrollTop += 50;
      await frame();
    }
    await frame();
    observer.disconnect();
    return made;
  })()`),
  );
}

async function showsAll({ page }: BrowserPage): Promise<void> {
  await page.goto(`/devices?product=${PRODUCT}`);
  await page.locator(".rows .row").first().waitFor();
  await page.evaluate(`(async () => {
    const scroller = document.querySelector(".scroller");
    for (let at = 0; at < 60; at++) {
      scroller.scrollTop += 400;
      await new Promise(requestAnimationFrame);
    }
  })()`);
  assert.equal(await rowsMade(page), 0, "rows of a long list are drawn anew, not made");
  await page.getByPlaceholder("Search by name").fill(`n-${STRINGS.indexOf(SCRIPT)}`);
  await page.getByText(SCRIPT, { exact: true }).first().waitFor();
  await page.goto(`/devices/${PRODUCT}/n-${STRINGS.indexOf(SCRIPT)}`);
  await page.getByRole("heading", { name: SCRIPT }).waitFor();
  await page.locator(".values li").nth(VALUES - 1).waitFor();
  for (const tab of ["Shadow", "Events", "Calls"]) {
    await page.getByRole("tab", { name: tab }).click();
    await page.getByRole("tabpanel").waitFor();
  }
  await page.goto(`/products/${PRODUCT}`);
  await page.locator(".feature").first().waitFor();
  await page.locator(".feature .open").first().click();
  await page.getByText("JSON", { exact: true }).click();
  await page.getByRole("textbox", { name: "Draft of the thing model" }).waitFor();
}

async function typesAll({ page }: BrowserPage): Promise<void> {
  const typed = STRINGS.filter(isTyped);
  for (const path of PAGES) {
    await page.goto(path);
    await page.locator(".table").waitFor();
    const field = page.locator("main input[type=text]").first();
    for (const text of typed) await field.fill(text);
    await field.fill("");
    await page.locator(".table").waitFor();
  }
  await page.keyboard.press("Control+k");
  for (const text of typed) await page.getByRole("combobox").last().fill(text);
}

export async function survivesNaughtyStrings(stage: TestConsole): Promise<void> {
  const owner = await stage.roost.api();
  await owner.createProduct({ key: PRODUCT, name: SCRIPT, mode: "open" });
  const api = await owner.asProgram(KEYS);
  assert.ok(await sendAll(api) > STRINGS.length / 2, "most of them are texts as any");
  // deno-lint-ignore no-control-regex -- they are what the API refuses
  const texts = STRINGS.filter((text) => text.length <= 128 && !/[\u0000-\u001f\u007f]/.test(text));
  await owner.request("PATCH", `/api/v1/products/${PRODUCT}`, { model: modelOf(texts) });
  for (const text of STRINGS.filter(isTyped)) {
    await sends(owner, "POST", "/api/v1/keys", { name: text, scopes: ["devices:read"] });
    await sends(owner, "POST", "/api/v1/users", { name: text, role: "viewer", password: text });
  }
  const name = `n-${STRINGS.indexOf(SCRIPT)}`;
  const { secret } = await owner.request<{ secret: string }>(
    "POST",
    `/api/v1/devices/${PRODUCT}/${name}/credentials/rotate`,
    {},
  );
  const login = { product: PRODUCT, device: name, secret };
  const values = texts.slice(0, VALUES).map((text, at) => [`v-${at}`, text] as const);
  await post(stage.roost, login, Object.fromEntries(values));
  for (const text of texts.slice(0, 20)) await raise(stage.roost, login, "odd", { text });
  await using own = await stage.openAt("/");
  own.page.on("dialog", (dialog) => {
    own.complaints.push(`a script has run: ${dialog.message()}`);
    void dialog.dismiss();
  });
  await showsAll(own);
  await typesAll(own);
  assert.deepEqual(own.complaints, []);
}
