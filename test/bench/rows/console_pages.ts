/**
 * The console in a real browser: what its first load weighs, how long a change of the page takes, how
 * smooth a list of 100,000 devices scrolls, and how long a device's page takes until the chart of a
 * million points is drawn. Times are the page's own clock; the browser shares the cores with the node.
 */
import { DatabaseSync } from "node:sqlite";
import { systemClock } from "../../../runtime/clock.ts";
import { type BrowserPage, type Page, TestBrowser } from "../../support/browser.ts";
import { buildConsole } from "../../support/console.ts";
import { requirePeer } from "../../support/peers.ts";
import { post } from "../../support/plant.ts";
import { OWNER_PASSWORD } from "../../support/roost.ts";
import { Fleet, PRODUCT } from "../fleet.ts";
import { POINTS_PER_MESSAGE, TEMPERATURE, VIBRATION } from "../load/payload.ts";
import { type BenchContext, median, percentile, type Row, type RowResult } from "../row.ts";
import { openTelemetry } from "../telemetry_file.ts";
import { writeHistory } from "../telemetry_samples.ts";

const DEVICES = 100_000;
const POINTS = 1_000_000;
const DEVICE = "d-0";
const PAGES = ["devices", "products", "cluster", "settings"] as const;
const FRAME_MS_MAX = 50;
/** Of a frame: at 60 a second, 12,000 px. */
const FRAME_PX = 200;

export const consolePages: Row = {
  name: "console-pages",
  what: "first load, page change, 100,000 rows scrolled, device of 1,000,000 points drawn",
  run: runConsole,
};

async function runConsole(context: BenchContext): Promise<RowResult> {
  if (await requirePeer("chromium") === undefined) {
    return { measures: [], facts: { skipped: "there is no chromium" }, faults: [] };
  }
  await buildConsole();
  const devices = context.isShort ? 2_000 : DEVICES;
  await using fleet = await Fleet.start(context.directory, devices);
  const history = await writePast(fleet, context);
  await using browser = await TestBrowser.start();
  await using own = await browser.open(fleet.roost.urls.http);
  await own.logIn("owner", OWNER_PASSWORD);
  const firstKb = await weighFirstLoad(own.page);
  const changes = await changePages(own.page, context.isShort ? 1 : 5);
  const scroll = await scrollDevices(own.page, devices, context.isShort ? 60 : 600);
  const opens = await openDevice(own, history, context.isShort ? 1 : 5);
  return {
    measures: [
      { name: "first load, compressed", value: firstKb, unit: "KB", target: 400, ...LESS },
      {
        name: "page change p95",
        value: percentile(changes, 0.95),
        unit: "ms",
        target: 200,
        ...LESS,
      },
      { name: "longest frame", value: scroll.longestMs, unit: "ms", target: FRAME_MS_MAX, ...LESS },
      {
        name: "device page to chart, median",
        value: median(opens),
        unit: "ms",
        target: 1_000,
        floor: 3_000,
        ...LESS,
      },
    ],
    facts: {
      devices,
      points: history.points,
      "page changes": changes.length,
      "page change max ms": Math.max(...changes),
      frames: scroll.frames,
      "frames over 50 ms": scroll.late,
      "rows read": scroll.rows,
      "device page max ms": Math.max(...opens),
    },
    faults: own.complaints,
  };
}

const LESS = { isLessBetter: true } as const;

interface Past {
  readonly points: number;
  readonly fromMs: number;
  readonly toMs: number;
}

/** History straight into the store, while the node is down; then one value by the device itself. */
async function writePast(fleet: Fleet, context: BenchContext): Promise<Past> {
  const { roost } = fleet;
  await roost.kill("SIGTERM");
  const seconds = Math.ceil((context.isShort ? 20_000 : POINTS) / POINTS_PER_MESSAGE);
  const toMs = systemClock.nowMs() - 60_000;
  const fromMs = toMs - seconds * 1_000;
  const path = `${roost.dataDir}/telemetry.db`;
  let points = 0;
  {
    await using store = openTelemetry(path);
    const nameOf = () => `${PRODUCT}/${DEVICE}`;
    points = await writeHistory(store, { devices: 1, samplesPerDevice: seconds, fromMs, nameOf });
  }
  // The node's reader starts at the begin of its own log, not where these batches ended.
  const db = new DatabaseSync(path);
  db.exec("UPDATE progress SET cursor = 0, marks = x''; PRAGMA wal_checkpoint(TRUNCATE)");
  db.close();
  await roost.start({ env: { ROOST__CONSOLE__BUILD: "never" } });
  await post(roost, fleet.devices[0]!, { [TEMPERATURE]: 21.5, [VIBRATION]: 0.5 });
  return { points, fromMs, toMs };
}

async function weighFirstLoad(page: Page): Promise<number> {
  await page.goto("/");
  await page.locator(".ledger").waitFor();
  const bytes = await page.evaluate(
    "[...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]" +
      ".filter((each) => !each.name.includes('/api/'))" +
      ".reduce((sum, each) => sum + each.encodedBodySize, 0)",
  );
  return Number(bytes) / 1_024;
}

/** From the click to the frame in which the other page stands, its first values read. */
async function changePages(page: Page, rounds: number): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const name of PAGES) {
      const took = await page.evaluate(`new Promise((resolve, reject) => {
        const path = ${JSON.stringify(`/${name}`)};
        const startedMs = performance.now();
        document.querySelector(".nav a[href='" + path + "']").click();
        const look = () => {
          const isThere = location.pathname === path && document.querySelector(".page h1") &&
            document.querySelector(".page .table, .page .tree, .page .account, .page .node");
          if (isThere) return resolve(performance.now() - startedMs);
          if (performance.now() - startedMs > 10000) return reject(new Error("no " + path));
          requestAnimationFrame(look);
        };
        look();
      })`);
      times.push(Number(took));
    }
  }
  return times;
}

interface Scroll {
  readonly frames: number;
  readonly late: number;
  readonly longestMs: number;
  readonly rows: number;
}

/** All rows are read first, then a good stretch of them is scrolled, faster than a person does. */
async function scrollDevices(page: Page, devices: number, framesMax: number): Promise<Scroll> {
  await page.goto("/devices");
  await page.locator(".rows .row").first().waitFor();
  await page.evaluate(`new Promise((resolve) => {
    const scroller = document.querySelector(".scroller");
    const step = () => {
      scroller.scrollTop = scroller.scrollHeight;
      const isAll = scroller.scrollHeight > 36 * ${devices};
      if (isAll && !document.querySelector(".foot").textContent.includes("Loading")) resolve();
      else setTimeout(step, 5);
    };
    step();
  })`);
  return await page.evaluate(`new Promise((resolve) => {
    const scroller = document.querySelector(".scroller");
    scroller.scrollTop = scroller.scrollHeight / 2;
    let last = performance.now();
    const rows = Math.round(scroller.scrollHeight / 36);
    const found = { frames: 0, late: 0, longestMs: 0, rows };
    const step = (now) => {
      const tookMs = now - last;
      last = now;
      if (++found.frames > 1) { // The first begins with the wait for it.
        found.longestMs = Math.max(found.longestMs, tookMs);
        if (tookMs > ${FRAME_MS_MAX}) found.late++;
      }
      scroller.scrollTop += ${FRAME_PX};
      if (found.frames >= ${framesMax}) resolve(found);
      else requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  })`) as Scroll;
}

/** From the navigation to a chart that has its points, by the page's own clock. */
async function openDevice(own: BrowserPage, past: Past, runs: number): Promise<number[]> {
  const times: number[] = [];
  for (let run = 0; run < runs; run++) {
    const range = `${past.fromMs}-${past.toMs}`;
    await own.page.goto(`/devices/${PRODUCT}/${DEVICE}?range=${range}`, { waitUntil: "commit" });
    await own.page.getByRole("img", { name: new RegExp(`${TEMPERATURE}: [1-9]`) }).waitFor();
    times.push(Number(await own.page.evaluate("performance.now()")));
  }
  return times;
}
