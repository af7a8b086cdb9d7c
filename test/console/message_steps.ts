/** What a person sees of the last messages of a device. */
import assert from "node:assert/strict";
import { connectAsync } from "mqtt";
import { systemClock } from "../../runtime/clock.ts";
import type { TestConsole } from "../support/console.ts";
import { PHONE } from "../support/browser.ts";

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

/** A message is seen with its times; a refused value with its reason; newer ones wait. */
export async function seesMessages(stage: TestConsole): Promise<void> {
  const api = await stage.roost.api();
  const { product, device, secret } = await api.createDevice("pump", "traced-1");
  await using own = await stage.openAt("/devices/pump/traced-1?tab=messages");
  const { page } = own;
  await page.getByText("has sent no message since this start").waitFor();
  assert.match(await page.locator(".empty pre").innerText(), /ingest\/v1\/pump\/traced-1/);
  assert.deepEqual(await own.axe(), []);
  const client = await connectAsync(stage.roost.urls.mqtt, {
    protocolVersion: 5,
    username: `${product}/${device}`,
    password: secret,
    reconnectPeriod: 0,
  });
  const topic = `v1/${product}/${device}/properties`;
  await client.publishAsync(topic, JSON.stringify({ temperature: 20 }), {
    qos: 1,
    properties: { userProperties: { shift: "night" } },
  });
  const rows = page.getByRole("grid", { name: "Recent messages" }).locator(".rows .row");
  await rows.getByText("Stored", { exact: true }).waitFor();
  const cells = await rows.first().getByRole("gridcell").allInnerTexts();
  assert.deepEqual([cells[1], cells[5]], ["properties", "MQTT"]);
  assert.match(cells[3]!, /^\d[\d,. a-z]* (?:ms|sec)/, "handled after");
  assert.match(cells[4]!, /^\d[\d,. a-z]* (?:ms|sec)/, "stored after");
  await client.publishAsync(topic, JSON.stringify({ temperature: 900, pressure: 2 }), { qos: 1 });
  await page.getByRole("button", { name: "1 new, show" }).click();
  await rows.getByText("Part refused").waitFor();
  await rows.getByText(/temperature/).click();
  const sheet = page.getByRole("dialog", { name: "properties" });
  await sheet.getByText("partially_refused").waitFor();
  await sheet.getByText(/at most 125/).waitFor();
  assert.deepEqual(await own.axe(), []);
  await page.keyboard.press("Escape");
  await sheet.waitFor({ state: "hidden" });
  await rows.nth(1).click();
  await sheet.getByText("night").waitFor();
  await client.endAsync(true);
  assert.deepEqual(own.complaints, []);
  await using phone = await stage.openAt("/devices/pump/traced-1?tab=messages", {
    ...PHONE,
    language: "zh",
  });
  await phone.page.getByText("部分拒绝").waitFor();
  assert.deepEqual(await phone.cutTexts(), []);
  assert.deepEqual(await phone.axe(), []);
  await phone.page.clock.setSystemTime(systemClock.nowMs() + 2 * DAY_MS);
  await phone.page.reload();
  await phone.page.locator("time", { hasText: /^\d+月\d+日$/ }).first().waitFor();
  assert.deepEqual(await phone.cutTexts(), [], "older ones have their day");
}

/** "38 minutes ago" is about the longest that a list says of a time. */
export async function seesLongTimes(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/", PHONE);
  const { page } = own;
  await page.clock.setSystemTime(systemClock.nowMs() + 38 * MINUTE_MS);
  const device = "/devices/pump/p-01";
  for (const path of ["/settings?tab=audit", `${device}?tab=events`, `${device}?tab=calls`]) {
    await page.goto(path);
    await page.locator(".rows time", { hasText: "minutes ago" }).first().waitFor();
    assert.deepEqual(await own.cutTexts(), [], path);
  }
}
