/** What a person does with products and their thing models. */
import assert from "node:assert/strict";
import type { TestConsole } from "../support/console.ts";

/** A product is made; its model is written in a form, then as JSON, and published. */
export async function writesModel(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/products");
  const { page } = own;
  await page.getByRole("button", { name: "New product" }).click();
  const dialog = page.getByRole("dialog", { name: "New product" });
  await dialog.getByLabel("Key").fill("no key");
  await dialog.getByRole("button", { name: "Create" }).click();
  await dialog.getByText("1 to 64 letters, digits or").waitFor();
  assert.deepEqual(await own.axe(), []);
  await dialog.getByLabel("Key").fill("meter");
  await dialog.getByLabel("Name").fill("Meter");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Meter" }).waitFor();
  await page.getByText("No thing model yet").waitFor();
  const publish = page.getByRole("button", { name: "Publish" });
  assert.ok(await publish.isDisabled());
  await page.getByRole("button", { name: "Add a property" }).click();
  await page.getByText("1 to 64 letters, digits or").first().waitFor();
  await page.getByLabel("Identifier").fill("energy");
  await page.getByLabel("Smallest").fill("10");
  await page.getByLabel("Largest").fill("1");
  await page.locator(".issue").getByText("The smallest is above the largest").waitFor();
  assert.deepEqual(await own.axe(), []);
  assert.ok(await publish.isDisabled());
  await page.getByLabel("Smallest").fill("0.5");
  await page.getByLabel("Largest").fill("1000000");
  await page.getByLabel("Unit").fill("kWh");
  await page.getByText("0.5 to 1,000,000 kWh").waitFor();
  await page.getByText("JSON", { exact: true }).click();
  const text = page.getByRole("textbox", { name: "Draft of the thing model" });
  const draft = JSON.parse(await text.inputValue());
  assert.deepEqual(draft.properties[0].dataType.specs, { min: 0.5, max: 1e6, unit: "kWh" });
  const mode = { type: "enum", specs: { "0": "Off", "1": "On" } };
  draft.services = [{ identifier: "reset", inputData: [{ identifier: "mode", dataType: mode }] }];
  await text.fill(JSON.stringify(draft));
  await page.getByText("Form", { exact: true }).click();
  await page.getByRole("button", { name: /^reset/ }).click();
  assert.equal(await page.getByLabel("Value", { exact: true }).nth(1).inputValue(), "1");
  assert.deepEqual(await own.axe(), []);
  await publish.click();
  const asked = page.getByRole("dialog", { name: "Publish the thing model of meter" });
  await asked.getByText("2 harmless changes").waitFor();
  assert.deepEqual(await own.axe(), []);
  await asked.getByRole("button", { name: "Publish" }).click();
  await page.getByText("Published: it counts").waitFor();
  const api = await stage.roost.api();
  const model = await api.request<{ properties: unknown[] }>("GET", "/api/v1/products/meter/model");
  assert.equal(model.properties.length, 1);
  assert.deepEqual(own.complaints, []);
}

/** Breaking changes are named, and typed for; an older version comes back as a draft. */
export async function breaksModel(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/products/meter");
  const { page } = own;
  await page.getByRole("button", { name: /^energy/ }).click();
  await page.getByLabel("Largest").fill("100");
  await page.getByRole("button", { name: "Publish" }).click();
  const asked = page.getByRole("dialog", { name: "Publish the thing model of meter" });
  await asked.getByText("1 breaking change").waitFor();
  await asked.getByText("properties.energy.dataType.specs.max").waitFor();
  const publish = asked.getByRole("button", { name: "Publish" });
  assert.ok(await publish.isDisabled(), "the key is typed first");
  assert.deepEqual(await own.axe(), []);
  await asked.getByRole("textbox").fill("meter");
  await publish.click();
  await page.getByText("Published: it counts").waitFor();
  await page.getByRole("tab", { name: "Versions" }).click();
  await page.getByRole("button", { name: "version 2" }).getByText("Breaking").waitFor();
  assert.deepEqual(await own.axe(), []);
  await page.getByRole("button", { name: "version 1" }).click();
  const sheet = page.getByRole("dialog", { name: "version 1" });
  await sheet.getByRole("button", { name: "Load as a draft" }).click();
  await page.getByRole("button", { name: /^energy/ }).getByText("1,000,000 kWh").waitFor();
  await page.getByRole("button", { name: "Publish" }).click();
  await asked.getByText("1 harmless change").waitFor();
  await publish.click();
  await page.getByText("version 3").waitFor();
  assert.deepEqual(own.complaints, []);
}

/** Unsaved changes are not lost by a click, nor is somebody else's work by a save. */
export async function guardsModel(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/products/meter");
  const { page } = own;
  await page.getByRole("button", { name: "Add an event" }).click();
  await page.getByLabel("Identifier").fill("overload");
  await page.getByRole("link", { name: "Devices" }).first().click();
  const asked = page.getByRole("dialog", { name: "Unsaved changes" });
  await asked.getByText("the thing model of meter").waitFor();
  assert.deepEqual(await own.axe(), []);
  await asked.getByRole("button", { name: "Stay" }).click();
  await page.getByRole("tab", { name: "Settings" }).click();
  await asked.getByRole("button", { name: "Stay" }).click();
  assert.equal(await page.getByLabel("Identifier").inputValue(), "overload");
  const api = await stage.roost.api();
  await api.request("PATCH", "/api/v1/products/meter", { name: "Meter, new" });
  await page.getByRole("button", { name: "Publish" }).click();
  await page.getByText("Somebody changed the product while you wrote").waitFor();
  await page.getByRole("button", { name: "Overwrite" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Publish" }).click();
  await page.getByText("Published: it counts").waitFor();
  await page.getByRole("tab", { name: "Settings" }).click();
  assert.equal(await page.getByLabel("Name").inputValue(), "Meter, new");
  await page.getByLabel("Days that values").fill("0");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("A whole number from 1 to 3,650").waitFor();
  await page.getByLabel("Days that values").fill("7");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Saved").waitFor();
  await page.getByRole("button", { name: "Delete the product" }).click();
  const removal = page.getByRole("dialog", { name: "Delete product meter" });
  await removal.getByRole("textbox").fill("meter");
  await removal.getByRole("button", { name: "Delete the product" }).click();
  await page.getByRole("heading", { name: "Products" }).waitFor();
  await page.getByRole("grid", { name: "Products" }).getByText("pump").first().waitFor();
  assert.deepEqual(own.complaints, []);
}
