/** Code of pages before it is asked for, so that a change of the page waits for its values only. */
import { after } from "../clock.ts";
import { navigation } from "./navigation.ts";

/** For browsers that do not tell of idle time. */
const REST_MS = 200;

/** Loads the pages of the navigation, one after the other, while there is nothing else to do. */
export async function prefetchPages(): Promise<void> {
  for (const { pages } of navigation.value) {
    for (const page of pages) {
      await idle();
      await page.load().then(undefined, giveUp);
    }
  }
}

function idle(): Promise<void> {
  return new Promise((resolve) => {
    if ("requestIdleCallback" in globalThis) requestIdleCallback(() => resolve());
    else after(REST_MS, resolve);
  });
}

/** Who goes to that page loads it again, and is told if that fails. */
function giveUp(): void {}
