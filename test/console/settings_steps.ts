/** What an owner does in the settings. */
import assert from "node:assert/strict";
import { PHONE } from "../support/browser.ts";
import type { TestConsole } from "../support/console.ts";
import { OWNER_PASSWORD } from "../support/roost.ts";

const OWN = "an own long password";

/** A user is made, changes the own password, is given another role, disabled and removed. */
export async function keepsUsers(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/settings?tab=users");
  const { page } = own;
  await page.getByRole("button", { name: "New user" }).click();
  const dialog = page.getByRole("dialog", { name: "New user" });
  await dialog.getByLabel("Name").fill("no name");
  await dialog.getByRole("button", { name: "Create" }).click();
  await dialog.getByText("1 to 64 letters, digits or").waitFor();
  assert.deepEqual(await own.axe(), []);
  await dialog.getByLabel("Name").fill("ann");
  await dialog.getByRole("button", { name: "Create" }).click();
  const made = page.getByRole("dialog", { name: "User ann is made" });
  const password = await made.locator("pre").innerText();
  assert.deepEqual(await own.axe(), []);
  await made.getByRole("button", { name: "Done" }).click();
  await changesPassword(stage, password);
  const row = page.getByRole("row", { name: /ann/ });
  await row.click();
  const sheet = page.getByRole("dialog", { name: "ann" });
  await sheet.locator(".el-select").click();
  await page.getByRole("option", { name: "Operator" }).click();
  await row.getByText("Operator").waitFor();
  assert.deepEqual(await own.axe(), []);
  await sheet.getByRole("button", { name: "Disable" }).click();
  await page.getByRole("dialog", { name: "Disable user ann" })
    .getByRole("button", { name: "Disable" }).click();
  await row.getByText("Disabled").waitFor();
  await sheet.getByRole("button", { name: "Set a new password" }).click();
  await page.getByRole("dialog", { name: "New password of ann" })
    .getByRole("button", { name: "Set a new password" }).click();
  await sheet.getByLabel("New password", { exact: true }).waitFor();
  await sheet.getByRole("button", { name: "Delete" }).click();
  const removal = page.getByRole("dialog", { name: "Delete user ann" });
  await removal.getByRole("textbox").fill("ann");
  await removal.getByRole("button", { name: "Delete" }).click();
  await row.waitFor({ state: "detached" });
  assert.deepEqual(own.complaints, []);
}

/** A viewer has no tab but the own account. */
async function changesPassword(stage: TestConsole, password: string): Promise<void> {
  await using own = await stage.open();
  await own.logIn("ann", password);
  const { page } = own;
  await page.goto("/settings?tab=users");
  await page.getByRole("tab", { name: "Account" }).waitFor();
  assert.equal(await page.getByRole("tab").count(), 1);
  await page.getByLabel("Current password").fill("wrong");
  await page.getByLabel("New password", { exact: true }).fill(OWN);
  await page.getByLabel("New password, again").fill("another");
  await page.getByRole("button", { name: "Change" }).click();
  await page.getByText("This is another one").waitFor();
  await page.getByLabel("New password, again").fill(OWN);
  await page.getByRole("button", { name: "Change" }).click();
  await page.getByText("The current password is wrong").waitFor();
  assert.deepEqual(await own.axe(), []);
  await page.getByLabel("Current password").fill(password);
  await page.getByRole("button", { name: "Change" }).click();
  await page.getByText("The password is changed").waitFor();
  await using again = await stage.open();
  await again.logIn("ann", OWN);
  assert.deepEqual(own.complaints, []);
}

/** A key is shown once, works, and ends at once. */
export async function keepsKeys(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/settings?tab=keys");
  const { page } = own;
  await page.getByRole("button", { name: "New key" }).click();
  const dialog = page.getByRole("dialog", { name: "New key" });
  await dialog.getByLabel("Name").fill("exporter");
  await dialog.getByRole("button", { name: "Create" }).click();
  await dialog.getByText("Choose at least one").waitFor();
  await dialog.getByLabel("devices:read").check();
  assert.deepEqual(await own.axe(), []);
  await dialog.getByRole("button", { name: "Create" }).click();
  const made = page.getByRole("dialog", { name: "Key exporter is made" });
  const key = await made.locator("pre").first().innerText();
  assert.deepEqual(await own.axe(), []);
  await made.getByRole("button", { name: "Done" }).click();
  const url = `${stage.roost.urls.http}/api/v1/devices`;
  const headers = { authorization: `Bearer ${key}` };
  const before = await fetch(url, { headers });
  await before.body?.cancel();
  assert.equal(before.status, 200);
  await page.getByRole("row", { name: /exporter/ }).getByRole("button", { name: "End" }).click();
  await page.getByRole("dialog", { name: "End key exporter" })
    .getByRole("button", { name: "End" }).click();
  await page.getByRole("row", { name: /exporter/ }).waitFor({ state: "detached" });
  const after = await fetch(url, { headers });
  await after.body?.cancel();
  assert.equal(after.status, 401);
  assert.deepEqual(own.complaints, []);
}

/** What was done is found by filters in the address; the chain is verified. */
export async function readsAudit(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/settings?tab=audit");
  const { page } = own;
  const rows = page.getByRole("grid", { name: "Audit" });
  await rows.getByText("session.login").first().waitFor();
  await page.getByLabel("Filter by what").fill("products.create");
  await page.getByLabel("By outcome").fill("ok"); // Another step was refused the same.
  await page.waitForURL(/outcome=ok/);
  await page.reload();
  await rows.getByText("products/pump", { exact: true }).click();
  const sheet = page.getByRole("dialog", { name: "products.create" });
  await sheet.getByText("Hash of the chain").waitFor();
  assert.deepEqual(await own.axe(), []);
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Verify the chain" }).click();
  await page.getByRole("dialog", { name: "Verification" }).getByText("Intact:").first().waitFor();
  assert.deepEqual(await own.axe(), []);
  assert.deepEqual(own.complaints, []);
}

/** The way of a first visitor that needs no new node: `first_run_test.ts` walks all of it. */
export async function skipsSetup(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/setup");
  const { page } = own;
  await page.getByLabel("Current password").fill(OWNER_PASSWORD);
  await page.getByRole("button", { name: "Keep it" }).click();
  await page.getByText("Kept for now").waitFor();
  await page.getByRole("button", { name: "Skip" }).click();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  assert.deepEqual(own.complaints, []);
  await using phone = await stage.openAt("/setup", PHONE);
  const word = phone.page.locator("pre").getByText("--demo", { exact: true });
  const { height } = (await word.boundingBox())!;
  assert.ok(height < 30, `a command breaks between words: ${height} px`);
}
