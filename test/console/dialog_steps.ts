/** What dialogs do when things go wrong in them. */
import assert from "node:assert/strict";
import type { Page } from "../support/browser.ts";
import type { TestConsole } from "../support/console.ts";

/** A new product is there although its first device was refused: the second try makes the device only. */
export async function retriesDevice(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/devices");
  const { page } = own;
  await page.getByRole("button", { name: "New device" }).click();
  const dialog = page.getByRole("dialog", { name: "New device" });
  await dialog.getByRole("combobox").pressSequentially("valve");
  await dialog.getByLabel("Device").fill("v-1");
  await page.route("**/api/v1/devices", (route) => route.abort(), { times: 1 });
  const create = dialog.getByRole("button", { name: "Create" });
  await create.click();
  await dialog.getByText("No answer came from the server.").waitFor();
  assert.equal(await dialog.getByLabel("Device").inputValue(), "v-1", "what was typed stays");
  await create.click();
  await page.getByRole("dialog", { name: "Device v-1 is made" }).waitFor();
  const api = await stage.roost.api();
  await api.request("GET", "/api/v1/devices/valve/v-1");
  assert.deepEqual(own.complaints, []);
}

/** Over plain HTTP browsers have no clipboard for pages; a secret is copied all the same. */
export async function copiesByHand(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/");
  const { page } = own;
  await page.addInitScript(
    "Object.defineProperty(navigator, 'clipboard', { value: undefined });",
  );
  await page.goto("/settings?tab=keys");
  await page.getByRole("button", { name: "New key" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("pasted");
  await dialog.getByLabel("devices:read").check();
  await dialog.getByRole("button", { name: "Create" }).click();
  const key = await dialog.locator("pre").first().innerText();
  assert.match(key, /^roost_/);
  await dialog.getByRole("button", { name: /^Copy: / }).first().click();
  await dialog.getByText("Copied").first().waitFor({ state: "attached" });
  await dialog.getByRole("button", { name: "Done" }).click();
  await dialog.waitFor({ state: "hidden" });
  await page.getByLabel("Search by name").focus();
  await page.keyboard.press("Control+v");
  assert.equal(await page.getByLabel("Search by name").inputValue(), key);
  assert.deepEqual(own.complaints, []);
}

/** A dialog that is opened again begins anew, and a form is sent once, however often one presses. */
/** With each frame, as long as its form is there. */
async function sendsAgain(page: Page): Promise<void> {
  await page.evaluate(`new Promise((resolve) => {
    const again = () => {
      const form = document.querySelector(".el-dialog form");
      if (form === null) return resolve();
      form.requestSubmit();
      requestAnimationFrame(again);
    };
    again();
  })`);
}

export async function beginsAnew(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/products");
  const { page } = own;
  const open = page.getByRole("button", { name: "New product" });
  const dialog = page.getByRole("dialog", { name: "New product" });
  await open.click();
  await dialog.getByRole("button", { name: "Create" }).click();
  await dialog.getByText("This is needed").waitFor();
  await dialog.getByLabel("Key").fill("pump");
  await dialog.getByRole("button", { name: "Create" }).click();
  await dialog.getByRole("alert").filter({ hasText: "pump" }).waitFor();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await dialog.waitFor({ state: "hidden" });
  await open.click();
  await dialog.waitFor();
  // What was refused is forgotten; a fault of a field takes a moment to fade.
  await dialog.getByRole("alert").waitFor({ state: "detached" });
  assert.equal(await dialog.getByLabel("Key").inputValue(), "");
  await dialog.getByLabel("Key").fill("once");
  let sent = 0;
  await page.route("**/api/v1/products", async (route) => {
    if (route.request().method() === "POST") sent++;
    await route.continue();
  });
  await dialog.getByLabel("Key").press("Enter");
  await page.keyboard.press("Enter");
  await sendsAgain(page);
  await page.getByRole("heading", { name: "once" }).waitFor();
  assert.equal(sent, 1);
  const api = await stage.roost.api();
  await api.fetch("DELETE", "/api/v1/products/once").then((answer) => answer.body?.cancel());
  assert.deepEqual(own.complaints, []);
}
