import assert from "node:assert/strict";
import { PHONE } from "../support/browser.ts";
import { TestConsole } from "../support/console.ts";
import { requirePeer } from "../support/peers.ts";
import { OWNER_PASSWORD } from "../support/roost.ts";
import { buildPlant, PLANT_ENTRY } from "../support/plant.ts";
import { callsService, seesEvents } from "./call_steps.ts";
import { killsChild, worksOffDeadLetters } from "./cluster_steps.ts";
import {
  actsInBulk,
  editsShadow,
  findsDevices,
  makesDevice,
  readsCharts,
  rotatesSecret,
  staysInProject,
} from "./device_steps.ts";
import { beginsAnew, copiesByHand, retriesDevice } from "./dialog_steps.ts";
import { keepsGroups, viewsGroups } from "./group_steps.ts";
import { sharesFeed } from "./live_steps.ts";
import { seesLongTimes, seesMessages } from "./message_steps.ts";
import { survivesNaughtyStrings } from "./naughty_steps.ts";
import { readsModelFaults, readsRefusals } from "./problem_steps.ts";
import { breaksModel, guardsModel, writesModel } from "./product_steps.ts";
import { fitsRanges, seesStillness } from "./quiet_steps.ts";
import { keepsKeys, keepsUsers, readsAudit, skipsSetup } from "./settings_steps.ts";
import { PAGES } from "./visits.ts";

const ignore = await requirePeer("chromium") === undefined;

async function logsIn(stage: TestConsole): Promise<void> {
  await using own = await stage.open();
  const { page } = own;
  await page.goto("/");
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  assert.deepEqual(await own.axe(), []);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByText("Enter your password").waitFor();
  await page.getByLabel("Password").fill("wrong");
  await page.keyboard.press("Enter");
  await page.getByText("Name or password is wrong.").waitFor();
  await page.getByLabel("Password").fill(OWNER_PASSWORD);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await own.context.clearCookies();
  await page.getByText("Your session has ended").waitFor();
  await page.getByLabel("Password").fill(OWNER_PASSWORD);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await page.getByRole("button", { name: "Account" }).click();
  await page.getByText("Log out").click();
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  assert.deepEqual(own.complaints, []);
}

async function isClean(stage: TestConsole): Promise<void> {
  for (const view of [{}, { ...PHONE, theme: "dark", language: "zh" }] as const) {
    await using own = await stage.openAt("/", view);
    for (const { path, ready } of PAGES) {
      await own.page.goto(path);
      await own.page.locator(ready).first().waitFor();
      assert.deepEqual(await own.axe(), [], path);
      assert.deepEqual(await own.cutTexts(), [], path);
      const overflow = await own.page.evaluate(
        "document.documentElement.scrollWidth - innerWidth",
      );
      assert.ok(Number(overflow) <= 0, `${path} is ${overflow} px too wide`);
    }
    assert.deepEqual(own.complaints, []);
  }
}

/** Bar and title stay in sight, one below the other, wherever a long page is scrolled to. */
async function keepsItsHead(stage: TestConsole): Promise<void> {
  for (const view of [{}, PHONE]) {
    await using own = await stage.openAt("/cluster", view);
    const { page } = own;
    await page.locator(".partitions").waitFor();
    await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)");
    await page.waitForFunction("scrollY > 200");
    const bar = (await page.getByRole("region", { name: "Tools" }).boundingBox())!;
    const head = (await page.locator(".page > .head").boundingBox())!;
    assert.deepEqual([bar.y, head.y], [0, bar.height], JSON.stringify(view));
  }
}

async function loadsFast(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/");
  await own.page.goto("/");
  await own.page.locator(".ledger").waitFor();
  const bytes = Number(
    await own.page.evaluate(
      "performance.getEntriesByType('resource').filter((each) => !each.name.includes('/api/'))" +
        ".reduce((sum, each) => sum + each.encodedBodySize, 0)",
    ),
  );
  assert.ok(bytes > 50_000 && bytes < 400 * 1_024, `${bytes} B`);
}

async function findsByKeyboard(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/");
  const { page } = own;
  await page.locator("kbd").first().waitFor();
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox").fill("theme");
  assert.deepEqual(await own.axe(), []);
  await page.keyboard.press("Enter");
  await page.locator("html.dark").waitFor();
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox").fill("language");
  await page.keyboard.press("Enter");
  await page.locator("html[lang=zh]").waitFor();
  await page.reload();
  await page.locator("html.dark[lang=zh]").waitFor();
  await page.locator("kbd").first().waitFor(); // Before the frame is there nothing hears keys.
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("combobox").waitFor({ state: "hidden" });
  assert.deepEqual(own.complaints, []);
}

async function survivesItsNode(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/");
  const { page } = own;
  await page.getByText("Balanced").waitFor();
  await using phone = await stage.openAt("/devices", PHONE);
  await phone.page.locator(".rows .row").first().waitFor();
  await using device = await stage.openAt("/devices/pump/p-02", PHONE);
  await device.page.getByRole("img", { name: /temperature: [1-9]/ }).waitFor();
  const lost = phone.page.locator("#content.lost .rows");
  assert.equal(await lost.count(), 0);
  await stage.roost.kill();
  await page.locator(".stale").getByText("As of").waitFor();
  await phone.page.getByRole("status").getByText(/^As of \d\d:\d\d:\d\d$/).waitFor();
  await lost.waitFor();
  const look = "getComputedStyle(document.querySelector('#content .rows')).filter";
  assert.match(await phone.page.evaluate<string>(look), /grayscale/);
  assert.deepEqual(await phone.cutTexts(), []);
  const icon = "getComputedStyle(document.querySelector('.feed .icon')).color";
  const text = "getComputedStyle(document.querySelector('.feed .text')).color";
  assert.equal(await phone.page.evaluate(icon), await phone.page.evaluate(text), "not as if live");
  await device.page.locator(".stale .canvas canvas").first().waitFor();
  assert.equal(await device.page.locator(".since:visible").count(), 1, "said once");
  await device.page.getByRole("tab", { name: "Events" }).click();
  await device.page.getByText("Check that Roost runs").waitFor();
  await stage.roost.start();
  await device.page.getByRole("grid", { name: "Events" }).waitFor();
  await page.locator(".stale").waitFor({ state: "detached" });
  await lost.waitFor({ state: "detached" });
}

const STEPS = [
  ["a person logs in, sees why not, and is led back after the session has ended", logsIn],
  ["no page has a finding of axe, a complaint of the browser, or text that is cut", isClean],
  ["bar and title stay in sight on a long page", keepsItsHead],
  ["the first load stays under 400 KB", loadsFast],
  ["the palette finds pages and acts by keyboard alone", findsByKeyboard],
  ["devices are found by filters that stand in the address", findsDevices],
  ["a device is made, and its first values move the chart", makesDevice],
  ["a chart begins near the first value, unless a person chose a range", fitsRanges],
  ["no traffic is a line of zeros, which says so", seesStillness],
  ["charts are isolated, read as tables, and saved", readsCharts],
  ["desired values are edited, and nobody's change is lost", editsShadow],
  ["a secret is rotated and shown once", rotatesSecret],
  ["many devices get a tag, and many are removed by a typed word", actsInBulk],
  ["people of another project see what is refused to them, and by whom", staysInProject],
  ["groups are made, moved, filled and removed; their devices stay", keepsGroups],
  ["a viewer sees groups and their devices, and no act", viewsGroups],
  ["each of nine tabs is live, over one connection", sharesFeed],
  [
    "a service is called from a form, and each state is seen as it comes",
    callsService,
  ],
  ["events that come while one reads wait to be shown", seesEvents],
  ["messages are seen with their times, refused values with their reason", seesMessages],
  ["times of lists are whole on a phone, however long", seesLongTimes],
  ["a product is made, and its model written in a form and as JSON", writesModel],
  ["breaking changes of a model are named, and an older one comes back", breaksModel],
  ["unsaved changes of a model, and those of others, are not lost by a click", guardsModel],
  ["refusals are read in Chinese, with the words of the server below", readsRefusals],
  ["faults of a model are read in Chinese, whoever finds them", readsModelFaults],
  ["a dialog that is opened again begins anew, and is sent once", beginsAnew],
  ["a new device whose first try failed is made by the second", retriesDevice],
  ["a secret is copied where browsers have no clipboard for pages", copiesByHand],
  ["users are made, changed and removed; each has the own password", keepsUsers],
  ["an API key is shown once, works, and ends at once", keepsKeys],
  ["the audit is found by filters, and its chain verified", readsAudit],
  ["the first steps may be skipped", skipsSetup],
  ["naughty strings break no page, and run no script", survivesNaughtyStrings],
  ["a child that is ended comes back before one's eyes", killsChild],
  ["a gap of the ledger leads to its messages, which are worked off", worksOffDeadLetters],
  [
    "a console whose node is killed says so, greys its values, and comes back by itself",
    survivesItsNode,
  ],
] as const;

Deno.test({
  name: "the console",
  ignore,
  fn: async (test) => {
    await using stage = await TestConsole.start({ entry: PLANT_ENTRY });
    await buildPlant(stage.roost);
    for (const [name, step] of STEPS) await test.step(name, () => step(stage));
  },
});
