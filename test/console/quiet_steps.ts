/** What a person sees where little has happened yet. */
import assert from "node:assert/strict";
import type { TestConsole } from "../support/console.ts";
import { post } from "../support/plant.ts";

/** No traffic is a line of zeros that says so; it moves as a message comes. */
export async function seesStillness(stage: TestConsole): Promise<void> {
  const api = await stage.roost.api();
  const login = await api.createDevice("pump", "quiet-1");
  await using own = await stage.openAt("/");
  const { page } = own;
  const rates = page.getByRole("region", { name: "Throughput" });
  await rates.getByText("No messages in the last 90 seconds").waitFor();
  await rates.locator("path.line[d*=L]").first().waitFor({ state: "attached" });
  assert.deepEqual(await own.axe(), []);
  await post(stage.roost, login, { temperature: 20 });
  await rates.getByText("No messages in the last 90 seconds").waitFor({ state: "detached" });
  assert.deepEqual(own.complaints, []);
}

/** A new device's chart begins near its first value; a chosen range stays. */
export async function fitsRanges(stage: TestConsole): Promise<void> {
  const api = await stage.roost.api();
  const login = await api.createDevice("pump", "young-1");
  await using own = await stage.openAt("/devices/pump/young-1");
  const { page } = own;
  await page.getByText("No values yet").waitFor();
  await post(stage.roost, login, { temperature: 20 });
  const chosen = page.locator(".charts .range");
  await chosen.getByText("5 min", { exact: true }).waitFor();
  await page.getByRole("img", { name: /temperature: 1 point/ }).waitFor();
  await chosen.click();
  await page.getByRole("option", { name: "1 h", exact: true }).click();
  await page.waitForURL(/range=1h/);
  await chosen.getByText("1 h", { exact: true }).waitFor();
  await page.goto("/devices/pump/p-01");
  await chosen.getByText("1 h", { exact: true }).waitFor();
  await page.getByRole("img", { name: /temperature: [1-9]/ }).waitFor();
  assert.deepEqual(own.complaints, []);
}
