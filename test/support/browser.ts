/** A real browser for tests of the console: Debian's Chromium, driven over its own protocol. */
import axe from "axe-core";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { requirePeer } from "./peers.ts";
import { type RunningProcess, startProcess } from "./process.ts";
import { waitFor } from "./wait.ts";

export type { Browser, BrowserContext, Cookie, Page } from "playwright-core";

const START_MS = 30_000;
/** A fault in a row of a list is one in each of them. */
const FINDINGS_SHOWN = 10;
const FLAGS = [
  "--headless",
  "--no-sandbox", // Its sandbox refuses root.
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
  "--hide-scrollbars",
  "--force-color-profile=srgb",
  "--remote-debugging-port=0",
];

/** Runs in the page. A box that hides what does not fit cuts the texts in it; names may be long. */
const CUT_TEXTS = `() => {
  const whole = "time, .tag, .number, [role=columnheader], [role=tab], [role=status], button, " +
    "label, h1, h2, h3";
  const cut = new Set();
  for (const element of document.querySelectorAll(whole)) {
    if (element.closest(".unseen") || !element.checkVisibility() || !element.innerText) continue;
    for (let box = element, level = 0; box && level < 4; box = box.parentElement, level++) {
      const { overflowX } = getComputedStyle(box);
      if (overflowX === "visible") continue;
      const isCut = overflowX === "hidden" || overflowX === "clip";
      const { scrollWidth, clientWidth } = box;
      if (isCut && scrollWidth > clientWidth) {
        cut.add(element.innerText.trim() + ": " + scrollWidth + " px in " + clientWidth);
      }
      break;
    }
  }
  return [...cut];
}`;

export interface View {
  readonly width: number;
  readonly height: number;
  readonly theme: "light" | "dark";
  readonly language: "zh" | "en";
}

export const DESK: View = {
  width: 1_440,
  height: 900,
  theme: "light",
  language: "en",
};
export const PHONE: View = { ...DESK, width: 360, height: 740 };

export class TestBrowser implements AsyncDisposable {
  readonly #process: RunningProcess;
  readonly #browser: Browser;
  readonly #profile: string;

  private constructor(
    process: RunningProcess,
    browser: Browser,
    profile: string,
  ) {
    this.#process = process;
    this.#browser = browser;
    this.#profile = profile;
  }

  /** Throws if there is none: ask `requirePeer("chromium")` first. */
  static async start(): Promise<TestBrowser> {
    const command = await requirePeer("chromium");
    if (command === undefined) throw new Error("chromium is missing");
    const profile = await Deno.makeTempDir({ prefix: "roost-chromium-" });
    const process = startProcess(command, [
      ...FLAGS,
      `--user-data-dir=${profile}`,
      "about:blank",
    ]);
    void process.stdout.cancel();
    const endpoint = () => /DevTools listening on (ws:\S+)/.exec(process.stderrText())?.[1];
    try {
      await waitFor(() => process.hasEnded || endpoint() !== undefined, {
        what: "Chromium to listen",
        withinMs: START_MS,
        actual: () => process.stderrText(),
      });
      const browser = await chromium.connectOverCDP(endpoint()!);
      return new TestBrowser(process, browser, profile);
    } catch (fault) {
      await process[Symbol.asyncDispose]();
      throw fault;
    }
  }

  /** A page of a new context, as a person with nothing stored opens it. */
  async open(url: string, view: View = DESK): Promise<BrowserPage> {
    const context = await this.#browser.newContext({
      baseURL: url,
      viewport: { width: view.width, height: view.height },
      colorScheme: view.theme,
      locale: view.language === "zh" ? "zh-CN" : "en-GB",
      timezoneId: "UTC",
      reducedMotion: "reduce",
    });
    return new BrowserPage(context, await context.newPage());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
    await this.#process[Symbol.asyncDispose]();
    await Deno.remove(this.#profile, { recursive: true });
  }
}

export class BrowserPage implements AsyncDisposable {
  readonly page: Page;
  /** Faults of scripts, what the policy of the page refused, and texts without a translation. */
  readonly complaints: string[] = [];
  readonly #context: BrowserContext;

  constructor(context: BrowserContext, page: Page) {
    this.#context = context;
    this.page = page;
    page.on("pageerror", (fault) => this.complaints.push(String(fault)));
    page.on("console", (message) => {
      const isRefusal = /Failed to load resource/.test(message.text());
      if (["error", "warning"].includes(message.type()) && !isRefusal) {
        this.complaints.push(message.text());
      }
    });
  }

  get context(): BrowserContext {
    return this.#context;
  }

  async logIn(name: string, password: string): Promise<void> {
    const { page } = this;
    await page.goto("/login");
    await page.locator("input[autocomplete=username]").fill(name);
    await page.locator("input[type=password]").fill(password);
    await page.locator("button[type=submit]").click();
    await page.locator("#content").waitFor();
  }

  /** What axe finds in the page as it is now, one text a finding. */
  async axe(): Promise<string[]> {
    await this.page.evaluate(axe.source);
    const results = await this.page.evaluate(() =>
      (globalThis as unknown as { axe: typeof axe }).axe.run({ resultTypes: ["violations"] })
    );
    const found = results.violations.flatMap(({ id, help, nodes }) =>
      nodes.map((node) => `${id}: ${help}: ${node.html.slice(0, 200)} ${node.failureSummary}`)
    );
    return [...new Set(found)].slice(0, FINDINGS_SHOWN);
  }

  /** What must be whole and is cut: times, states, numbers, titles, tabs, buttons, labels. */
  async cutTexts(): Promise<string[]> {
    return await this.page.evaluate<string[]>(`(${CUT_TEXTS})()`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#context.close();
  }
}
