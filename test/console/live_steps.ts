/** The live feed as people have it: many tabs, one of them refused something. */
import assert from "node:assert/strict";
import type { TestConsole } from "../support/console.ts";
import { post } from "../support/plant.ts";

/** More than the connections that a browser has to a host. */
const TABS = 9;

/** Each of many tabs is live, and requests still go through: they share one connection. */
export async function sharesFeed(stage: TestConsole): Promise<void> {
  const api = await stage.roost.api();
  const login = await api.createDevice("pump", "shared-1");
  await post(stage.roost, login, { temperature: 1 });
  await using own = await stage.openAt("/devices/pump/shared-1");
  const tabs = [own.page];
  for (let at = 1; at < TABS; at++) {
    const page = await own.context.newPage();
    await page.goto(at % 2 === 0 ? "/" : "/devices/pump/shared-1");
    tabs.push(page);
  }
  for (const page of tabs) await page.getByText("Live", { exact: true }).waitFor();
  await post(stage.roost, login, { temperature: 77.25 });
  for (const [at, page] of tabs.entries()) {
    if (at % 2 === 1) await page.locator(".values").getByText("77.25").waitFor();
  }
  assert.deepEqual(own.complaints, []);
}
