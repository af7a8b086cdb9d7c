/**
 * A new user, as one types it: `task start`, log in with the printed password, make a device in the
 * dialog, paste the shown command into a shell, see the chart move: within a minute.
 */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { type BrowserPage, TestBrowser } from "../support/browser.ts";
import { buildConsole } from "../support/console.ts";
import { freePort } from "../support/free_port.ts";
import { requirePeer } from "../support/peers.ts";
import { linesOf, type RunningProcess, startProcess } from "../support/process.ts";
import { isAlive, treeOf } from "../support/process_tree.ts";
import { waitFor, within } from "../support/wait.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const MINUTE_MS = 60_000;
const OWN_PASSWORD = "an own long password";
const PUB = await requirePeer("mosquitto_pub");
const ignore = await requirePeer("chromium") === undefined || PUB === undefined;

interface Started {
  readonly url: string;
  readonly password: string;
}

/** What a person reads on the terminal. */
async function readTerminal(process: RunningProcess): Promise<Started> {
  let password = "";
  for await (const line of linesOf(process.stdout)) {
    password ||= /its password, shown once: (\S+)$/.exec(line)?.[1] ?? "";
    if (!line.startsWith("ready {")) continue;
    return { url: JSON.parse(line.slice("ready ".length)).http, password };
  }
  throw new Error(`It ended before it was ready: ${process.stderrText()}`);
}

/** As it is pasted: whatever stands in the dialog, by a shell. */
async function paste(command: string): Promise<void> {
  const path = `${dirname(PUB!)}:${Deno.env.get("PATH")}`; // Where the peer is installed.
  const shell = new Deno.Command("bash", {
    args: ["-c", command],
    stdin: "null",
    env: { PATH: path },
  });
  const { success, stderr } = await shell.output();
  assert.ok(success, new TextDecoder().decode(stderr));
}

async function walk({ page, ...own }: BrowserPage, { password }: Started): Promise<void> {
  await page.goto("/");
  await page.getByLabel("Password").fill(password);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Get started" }).waitFor();
  await page.getByLabel("Current password").fill(password);
  await page.getByLabel("New password", { exact: true }).fill(OWN_PASSWORD);
  await page.getByLabel("New password, again").fill(OWN_PASSWORD);
  await page.getByRole("button", { name: "Change" }).click();
  await page.getByText("Your password is set").waitFor();
  await page.getByRole("button", { name: "New device" }).click();
  const dialog = page.getByRole("dialog", { name: "New device" });
  await dialog.getByRole("combobox").fill("pump");
  await page.keyboard.press("Tab");
  await dialog.getByLabel("Device").fill("p-1");
  await dialog.getByRole("button", { name: "Create" }).click();
  const made = page.getByRole("dialog", { name: "Device p-1 is made" });
  const mqtt = await made.getByLabel("MQTT", { exact: true }).innerText();
  const http = await made.getByLabel("HTTP", { exact: true }).innerText();
  await paste(mqtt);
  await made.getByText("The first value is here: temperature = 21.5").waitFor();
  await made.getByRole("button", { name: "Open device" }).click();
  await page.getByRole("img", { name: /temperature: 1 point / }).waitFor();
  await paste(http);
  await page.getByRole("img", { name: /temperature: 2 points / }).waitFor();
  await page.locator(".values").getByText("21.6").waitFor();
  assert.deepEqual(own.complaints, []);
}

/** The task is a shell and what it runs; the node drains. */
async function end(process: RunningProcess): Promise<void> {
  const pids = treeOf(process.pid);
  for (const pid of pids.toReversed()) {
    try {
      Deno.kill(pid, "SIGTERM");
    } catch (fault) {
      if (!(fault instanceof Deno.errors.NotFound || fault instanceof TypeError)) throw fault;
    }
  }
  await waitFor(() => !pids.some(isAlive), { what: "the node to end", withinMs: 20_000 });
}

Deno.test({
  name: "a new user sees the chart move within a minute of task start",
  ignore,
  async fn() {
    await buildConsole();
    await using browser = await TestBrowser.start();
    const directory = await Deno.makeTempDir({ prefix: "roost-first-" });
    await using cleanup = new AsyncDisposableStack();
    cleanup.defer(() => Deno.remove(directory, { recursive: true }));
    const walked = async () => {
      await using node = startProcess(Deno.execPath(), ["task", "start"], {
        cwd: ROOT,
        env: {
          ROOST__DATA__DIR: directory,
          ROOST__HTTP__PORT: String(freePort()),
          ROOST__MQTT__PORT: String(freePort()),
        },
      });
      await using _ended = { [Symbol.asyncDispose]: () => end(node) };
      const started = await readTerminal(node);
      await using own = await browser.open(started.url);
      await walk(own, started);
    };
    await within(walked(), "the chart to move", MINUTE_MS);
  },
});
