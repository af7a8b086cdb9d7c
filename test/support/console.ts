/** The console as a person has it: built, served by a real node, in a real browser. */
import { BrowserPage, type Cookie, DESK, TestBrowser, type View } from "./browser.ts";
import { OWNER_PASSWORD, type RoostOptions, startRoost, type TestRoost } from "./roost.ts";
import { fileURLToPath } from "node:url";
import { buildArguments } from "../../protocols/http/console/site_build.ts";

const ROOT = new URL("../../", import.meta.url);

/** Builds the console of the current sources, unless that was done. Throws with the cause. */
export async function buildConsole(): Promise<void> {
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: buildArguments(ROOT, Deno.execPath()),
    cwd: fileURLToPath(ROOT),
    stdin: "null",
    stderr: "inherit",
  }).output();
  const said = new TextDecoder().decode(stdout).trim().split("\n").at(-1);
  if (!success) throw new Error(`The console was not built: ${said}`);
}

export class TestConsole implements AsyncDisposable {
  readonly roost: TestRoost;
  readonly #browser: TestBrowser;
  /** Of the owner's one session: a person has few at a time, and tests many pages. */
  #cookies: Cookie[] | undefined;

  private constructor(roost: TestRoost, browser: TestBrowser) {
    this.roost = roost;
    this.#browser = browser;
  }

  static async start(options: RoostOptions = {}): Promise<TestConsole> {
    await buildConsole();
    await using stack = new AsyncDisposableStack();
    const roost = stack.use(await startRoost(options));
    const browser = stack.use(await TestBrowser.start());
    stack.move();
    return new TestConsole(roost, browser);
  }

  /** A page of a person who is not logged in. */
  async open(view: Partial<View> = {}): Promise<BrowserPage> {
    return await this.#browser.open(this.roost.urls.http, { ...DESK, ...view });
  }

  /** A page of the owner, at this path. */
  async openAt(path: string, view: Partial<View> = {}): Promise<BrowserPage> {
    const page = await this.open(view);
    if (this.#cookies === undefined) {
      await page.logIn("owner", OWNER_PASSWORD);
      this.#cookies = await page.context.cookies();
      if (path === "/") return page;
    } else await page.context.addCookies(this.#cookies);
    await page.page.goto(path);
    await page.page.locator("#content").waitFor();
    return page;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser[Symbol.asyncDispose]();
    await this.roost[Symbol.asyncDispose]();
  }
}
