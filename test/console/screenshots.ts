/**
 * `deno task screenshots [FOLDER [PAGE]…]`: takes every page, or these, in 1440 and 360 px, dark and
 * light, zh and en, of a node of its own, into a folder outside git.
 */
import { DESK, PHONE, type View } from "../support/browser.ts";
import { TestConsole } from "../support/console.ts";
import { buildPlant, PLANT_ENTRY } from "../support/plant.ts";
import { PAGES } from "./visits.ts";

const [folder = ".cache/screenshots", ...names] = Deno.args;
const wanted = (name: string) => names.length === 0 || names.includes(name);

async function take(stage: TestConsole, view: View): Promise<void> {
  const suffix = `${view.width}-${view.theme}-${view.language}`;
  if (wanted("login")) {
    await using stranger = await stage.open(view);
    await stranger.page.goto("/login");
    await stranger.page.locator("form").waitFor();
    await stranger.page.screenshot({ path: `${folder}/login-${suffix}.png` });
  }
  await using own = await stage.openAt("/", view);
  for (const { name, path, ready } of PAGES.filter((page) => wanted(page.name))) {
    await own.page.goto(path);
    await own.page.locator(ready).first().waitFor();
    await own.page.evaluate("document.fonts.ready.then(() => true)");
    await own.page.screenshot({ path: `${folder}/${name}-${suffix}.png`, fullPage: true });
  }
}

await Deno.mkdir(folder, { recursive: true });
await using stage = await TestConsole.start({ entry: PLANT_ENTRY });
await buildPlant(stage.roost);
for (const size of [DESK, PHONE]) {
  for (const theme of ["light", "dark"] as const) {
    for (const language of ["zh", "en"] as const) await take(stage, { ...size, theme, language });
  }
}
Deno.stdout.writeSync(new TextEncoder().encode(`screenshots are in ${folder}\n`));
