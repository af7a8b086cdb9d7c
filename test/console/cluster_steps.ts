/** What a person does on the pages of group System. */
import assert from "node:assert/strict";
import type { TestConsole } from "../support/console.ts";
import { waitFor } from "../support/wait.ts";

/** A killed child comes back before one's eyes. */
export async function killsChild(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/cluster");
  const { page } = own;
  await page.getByRole("button", { name: "End gateways/mqtt" }).click();
  await page.getByText("gateways/mqtt and all below it end").waitFor();
  assert.deepEqual(await own.axe(), []);
  await page.getByRole("dialog").getByRole("button", { name: "End", exact: true }).click();
  const node = page.locator(".node", { has: page.getByText("mqtt", { exact: true }) });
  await node.getByText("1 restart").waitFor();
  await node.getByText("Running").waitFor();
  assert.deepEqual(own.complaints, []);
}

/** One click from the gap in the ledger to its messages, and each of the two ways on. */
export async function worksOffDeadLetters(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/");
  const { page } = own;
  await page.locator("a.term", { hasText: "Dead letters" }).click();
  const table = page.getByRole("grid", { name: "Dead letters" });
  await table.getByText("device/pump/p-09").first().waitFor();
  await page.getByPlaceholder("Filter by target").fill("device/pump/p-10");
  await page.getByText("1 row", { exact: true }).waitFor();
  await table.focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  const sheet = page.getByRole("dialog", { name: "device/pump/p-10" });
  await sheet.getByText("planted fault").first().waitFor();
  assert.deepEqual(await own.axe(), []);
  await sheet.getByRole("button", { name: "Discard" }).click();
  const asked = page.getByRole("dialog", { name: "Discard 1 dead letter" });
  const button = asked.getByRole("button", { name: "Discard" });
  assert.ok(await button.isDisabled(), "it cannot be undone, so a word is typed");
  await asked.getByRole("textbox").fill("discard");
  await button.click();
  await page.getByText("No dead letter matches.").waitFor();
  await page.getByPlaceholder("Filter by target").fill("");
  await table.getByText("device/pump/p-09").first().waitFor();
  await table.focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Space");
  await page.getByRole("button", { name: "Replay 1" }).click();
  await page.getByText("1 dead letter is pending again.").waitFor();
  const api = await stage.roost.api();
  await waitFor(async () => {
    const { total } = await api.ledger();
    return total.deadLettered === 2 && total.pending === 0; // The replayed one is parked again.
  }, {
    what: "the replayed letter to be parked again",
    withinMs: 20_000,
    actual: () => api.ledger(),
  });
  assert.deepEqual(own.complaints, []);
}
