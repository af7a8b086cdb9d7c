/** What a person does with service calls and events of a device. */
import assert from "node:assert/strict";
import { connectAsync, type MqttClient } from "mqtt";
import type { DeviceLogin } from "../bench/load/options.ts";
import type { BrowserPage } from "../support/browser.ts";
import type { TestConsole } from "../support/console.ts";
import { raise } from "../support/plant.ts";
import { waitFor } from "../support/wait.ts";

/** A pump that keeps the topics of its calls until it is told to answer. */
class Pump implements AsyncDisposable {
  readonly topics: string[] = [];
  readonly #client: MqttClient;

  private constructor(client: MqttClient) {
    this.#client = client;
    client.on("message", (topic) => this.topics.push(topic));
  }

  static async connect(stage: TestConsole, login: DeviceLogin): Promise<Pump> {
    const { product, device, secret } = login;
    const client = await connectAsync(stage.roost.urls.mqtt, {
      protocolVersion: 5,
      username: `${product}/${device}`,
      password: secret,
      reconnectPeriod: 0,
    });
    const pump = new Pump(client);
    await client.subscribeAsync(`v1/${product}/${device}/services/+/+`, {
      qos: 1,
    });
    return pump;
  }

  async answer(body: unknown): Promise<void> {
    const topic = await waitFor(() => this.topics.shift(), {
      what: "a call",
      withinMs: 10_000,
    });
    await this.#client.publishAsync(`${topic}/reply`, JSON.stringify(body), {
      qos: 1,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.endAsync(true);
  }
}

async function device(stage: TestConsole, name: string): Promise<DeviceLogin> {
  const api = await stage.roost.api();
  return await api.createDevice("pump", name);
}

async function call(
  own: BrowserPage,
  delay: string,
  how?: string,
): Promise<void> {
  const { page } = own;
  if (how !== undefined) await page.getByText(how).click();
  await page.getByLabel("Delay").fill(delay);
  await page.getByRole("button", { name: "Call", exact: true }).click();
}

/** A form of the model says its bounds; each state of a call is seen as it comes. */
export async function callsService(stage: TestConsole): Promise<void> {
  const login = await device(stage, "called-1");
  await using own = await stage.openAt("/devices/pump/called-1?tab=calls");
  const { page } = own;
  await page.getByText("No calls yet").waitFor();
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await page.getByText("This is needed").waitFor();
  await call(own, "61");
  await page.getByText("At most 60").waitFor();
  assert.deepEqual(await own.axe(), []);
  const rows = page.getByRole("grid", { name: "Calls" });
  await call(own, "3", "Queue until the device is there");
  await page.getByText("The call is queued").waitFor();
  await rows.getByText("Queued").waitFor();
  {
    await using pump = await Pump.connect(stage, login);
    await rows.getByText("Sent").waitFor();
    await pump.answer({ ok: true, output: { at: 1 } });
    await rows.getByText("Answered").waitFor();
    await call(own, "4", "Wait for the answer");
    await pump.answer({ ok: true, output: { at: 42 } });
    await page.getByText("The device answered after").waitFor();
    await page.getByLabel("Output").getByText("42").waitFor();
    await call(own, "5");
    await pump.answer({ ok: false, error: "jammed" });
    await page.getByText("answered with an error: jammed").waitFor();
    await rows.getByText("Failed").waitFor();
  }
  await page.locator(".el-select", { has: page.getByRole("combobox", { name: "Wait for" }) })
    .click();
  await page.getByRole("option", { name: "2 s" }).click();
  await call(own, "6");
  await page.getByText("No answer within 2").waitFor();
  await rows.getByText("Expired").waitFor();
  await cancelsCall(own);
  assert.deepEqual(own.complaints, []);
}

async function cancelsCall(own: BrowserPage): Promise<void> {
  const { page } = own;
  const rows = page.getByRole("grid", { name: "Calls" });
  await page.getByText("JSON", { exact: true }).click();
  const text = page.getByRole("textbox", { name: "Input" });
  await text.fill("{");
  await page.getByText("This is not JSON yet").waitFor();
  await text.fill('{"delay": 7, "mode": "soft"}');
  await page.getByText("Form", { exact: true }).click();
  assert.equal(await page.getByLabel("Delay").inputValue(), "7");
  await call(own, "7", "Queue until the device is there");
  await rows.getByText("Queued").click();
  const sheet = page.getByRole("dialog", { name: "restart" });
  await sheet.getByText('"mode": "soft"').waitFor();
  assert.deepEqual(await own.axe(), []);
  await sheet.getByRole("button", { name: "Cancel the call" }).click();
  await rows.getByText("Cancelled").waitFor();
}

/** Events that come while one reads wait to be shown. */
export async function seesEvents(stage: TestConsole): Promise<void> {
  const login = await device(stage, "raising-1");
  await using own = await stage.openAt("/devices/pump/raising-1?tab=events");
  const { page } = own;
  await page.getByText("The device has raised no event yet").waitFor();
  await raise(stage.roost, login, "overheated", { celsius: 126 });
  const rows = page.getByRole("grid", { name: "Events" });
  await rows.getByText('{"celsius":126}').waitFor();
  await rows.getByText("Alert").waitFor();
  await raise(stage.roost, login, "overheated", { celsius: 127 });
  await raise(stage.roost, login, "strange", { a: 1 });
  await page.getByRole("button", { name: "2 new, show" }).click();
  await rows.getByText('{"celsius":127}').waitFor();
  await rows.getByText("not in the thing model").waitFor();
  await rows.getByText('{"celsius":127}').click();
  await page.getByRole("dialog", { name: "overheated" }).getByText(
    '"celsius": 127',
  ).waitFor();
  assert.deepEqual(await own.axe(), []);
  assert.deepEqual(own.complaints, []);
}
