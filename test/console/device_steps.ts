/** What a person does with devices. */
import assert from "node:assert/strict";
import type { TestConsole } from "../support/console.ts";
import { post } from "../support/plant.ts";

/** From the dialog to a value on the chart, by what a person types and pastes. */
export async function makesDevice(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/devices");
  const { page } = own;
  await page.getByRole("button", { name: "New device" }).click();
  const dialog = page.getByRole("dialog", { name: "New device" });
  await dialog.getByLabel("Device").fill("not a name");
  await dialog.getByRole("button", { name: "Create" }).click();
  await dialog.getByText("1 to 64 letters, digits or").waitFor();
  assert.deepEqual(await own.axe(), []);
  await dialog.getByLabel("Device").fill("fresh-1");
  await page.keyboard.press("Enter");
  const made = page.getByRole("dialog", { name: "Device fresh-1 is made" });
  const secret = await made.locator("pre").first().innerText();
  await made.getByText("Waiting for the first value").waitFor();
  assert.deepEqual(await own.axe(), []);
  const command = await made.getByLabel("MQTT", { exact: true }).innerText();
  assert.match(command, new RegExp(`-p ${stage.roost.mqttPort} `));
  assert.ok(command.includes(secret));
  await post(stage.roost, { product: "pump", device: "fresh-1", secret }, { temperature: 21.5 });
  await made.getByText("The first value is here: temperature = 21.5").waitFor();
  await made.getByRole("button", { name: "Open device" }).click();
  await page.getByRole("heading", { name: "fresh-1" }).waitFor();
  await page.locator(".values").getByText("21.5").waitFor();
  await page.getByRole("img", { name: /temperature: [1-9]/ }).waitFor();
  await post(stage.roost, { product: "pump", device: "fresh-1", secret }, { temperature: 23.25 });
  await page.locator(".values").getByText("23.25").waitFor();
  await page.getByRole("img", { name: /temperature: 2 points/ }).waitFor();
  assert.deepEqual(own.complaints, []);
}

/** Filters stand in the address and survive a reload; the list works by keyboard. */
export async function findsDevices(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/devices");
  const { page } = own;
  const grid = page.getByRole("grid", { name: "Devices" });
  await grid.getByText("pump/p-02").waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("p-0");
  await page.getByText("9 rows", { exact: true }).waitFor();
  await page.getByLabel("Filter by tag").fill("hall-2");
  await page.getByText("4 rows", { exact: true }).waitFor();
  assert.match(page.url(), /q=p-0&tag=hall-2/);
  await page.reload();
  await page.getByText("4 rows", { exact: true }).waitFor();
  await grid.focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Pump 2" }).waitFor();
  await page.goBack();
  await page.getByText("4 rows", { exact: true }).waitFor();
  const value = page.getByLabel("By value");
  await value.fill("temperature>24,on=true");
  await page.keyboard.press("Enter");
  await page.getByText("2 rows", { exact: true }).waitFor();
  await page.goto("/devices?status=offline&property=temperature%3E24%2Con%3Dtrue");
  await grid.getByText("pump/p-08").waitFor();
  assert.equal(await value.inputValue(), "temperature>24,on=true");
  await page.goto("/devices?status=disabled&q=p-0");
  await page.getByText("No device matches.").waitFor();
  assert.deepEqual(own.complaints, []);
}

/** A wish is edited as JSON; somebody else's change meanwhile is not lost. */
export async function editsShadow(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/devices/pump/p-01?tab=shadow");
  const { page } = own;
  await page.getByText("Waits for the device").first().waitFor();
  await page.getByRole("button", { name: "Change desired values" }).click();
  const text = page.getByRole("dialog").getByRole("textbox");
  await text.fill("{");
  await page.getByText("This is not a JSON object").waitFor();
  const save = page.getByRole("dialog").getByRole("button", { name: "Save" });
  assert.ok(await save.isDisabled());
  assert.deepEqual(await own.axe(), []);
  const api = await stage.roost.api();
  await api.desire("pump", "p-01", { speed: 7 });
  await text.fill('{"on": true, "level": 3}');
  await save.click();
  await page.getByText("Somebody changed the shadow meanwhile").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("cell", { name: "7" }).waitFor();
  await page.getByRole("button", { name: "Change desired values" }).click();
  await text.fill('{"on": true, "level": 3}');
  await save.click();
  await page.getByRole("rowheader", { name: "level" }).waitFor();
  const { desired } = await api.shadow("pump", "p-01");
  assert.deepEqual(Object.keys(desired as object).sort(), ["level", "on"]);
  assert.deepEqual(own.complaints, []);
}

/** The old secret ends at once, the new one is shown once. */
export async function rotatesSecret(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/devices/pump/p-11?tab=credentials");
  const { page } = own;
  await page.getByRole("button", { name: "Rotate the secret" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Rotate the secret" }).click();
  const secret = await page.getByLabel("New secret", { exact: true }).innerText();
  await post(stage.roost, { product: "pump", device: "p-11", secret }, { temperature: 20 });
  assert.deepEqual(await own.axe(), []);
  assert.deepEqual(own.complaints, []);
}

/** Many at once: a tag, and the end, which is typed. */
export async function actsInBulk(stage: TestConsole): Promise<void> {
  const api = await stage.roost.api();
  for (const name of ["bulk-1", "bulk-2", "bulk-3"]) await api.createDevice("pump", name);
  await using own = await stage.openAt("/devices?q=bulk-");
  const { page } = own;
  await page.getByText("3 rows", { exact: true }).waitFor();
  for (const name of ["bulk-1", "bulk-2"]) {
    await page.getByLabel(`Select row pump/${name}`).check();
  }
  await page.getByText("2 rows selected").first().waitFor();
  await page.getByRole("button", { name: "Tags" }).click();
  const tags = page.getByRole("dialog", { name: "Tags of 2 devices" });
  await tags.getByLabel("Tag").fill("hall-9");
  assert.deepEqual(await own.axe(), []);
  await tags.getByRole("button", { name: "Add the tag" }).click();
  await tags.waitFor({ state: "hidden" });
  await page.getByText("hall-9", { exact: true }).nth(1).waitFor();
  for (const name of ["bulk-2", "bulk-3"]) {
    await page.getByLabel(`Select row pump/${name}`).check();
  }
  await page.getByRole("button", { name: "Delete 2" }).click();
  const removal = page.getByRole("dialog", { name: "Delete 2 devices" });
  await removal.getByRole("textbox").fill("delete 2");
  assert.deepEqual(await own.axe(), []);
  await removal.getByRole("button", { name: "Delete" }).click();
  await page.getByText("1 row", { exact: true }).waitFor();
  await api.fetch("DELETE", "/api/v1/devices/pump/bulk-1").then((answer) => answer.body?.cancel());
  await page.getByText("No device matches.").waitFor();
  assert.deepEqual(own.complaints, []);
}

/** People of another project see what is refused to them, and who can grant it; their own works. */
export async function staysInProject(stage: TestConsole): Promise<void> {
  const api = await stage.roost.api();
  const password = "a long password";
  await api.request("POST", "/api/v1/projects", { id: "other", name: "Other" });
  await api.request("POST", "/api/v1/projects/other/owners", { name: "olga", password });
  await using own = await stage.open();
  await own.logIn("olga", password);
  const { page } = own;
  await page.goto("/");
  await page.getByText("of project “default”").first().waitFor();
  assert.deepEqual(await own.axe(), []);
  await page.goto("/devices");
  await page.getByText("No devices yet").waitFor();
  await page.goto("/devices/pump/p-01");
  await page.getByText("Cannot find").first().waitFor();
  assert.deepEqual(own.complaints, []);
}

/** A chart alone, as a table for those who cannot see it, as a picture; a list as CSV. */
export async function readsCharts(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/devices/pump/p-01");
  const { page } = own;
  const charts = page.locator(".chart");
  await page.getByRole("img", { name: /temperature: [1-9]/ }).waitFor();
  assert.equal(await charts.count(), 3);
  await page.getByRole("button", { name: "Temperature", exact: true }).click();
  await charts.nth(1).waitFor({ state: "detached" });
  const picture = page.waitForEvent("download");
  await charts.getByRole("button", { name: "Save as a picture" }).click();
  assert.equal((await picture).suggestedFilename(), "temperature.png");
  await charts.getByRole("button", { name: "Show as a table" }).click();
  await charts.getByRole("cell", { name: "21.91 °C" }).first().waitFor();
  assert.deepEqual(await own.axe(), []);
  await page.getByRole("button", { name: "Temperature", exact: true }).click();
  await charts.nth(2).waitFor();
  await page.goto("/devices?q=p-0");
  await page.getByText("9 rows", { exact: true }).waitFor();
  const list = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save the shown rows as CSV" }).click();
  assert.equal((await list).suggestedFilename(), "devices.csv");
  assert.deepEqual(own.complaints, []);
}
