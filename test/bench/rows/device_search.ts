/**
 * Searches over 100,000 devices, each with last values: by name, tag, status, value, in each order, with
 * counts and second pages, while messages arrive. One caller asks one thing after the other; the request is
 * part of the time.
 */
import { systemClock } from "../../../runtime/clock.ts";
import { waitFor } from "../../support/wait.ts";
import { Fleet, PRODUCT } from "../fleet.ts";
import { TEMPERATURE, VIBRATION } from "../load/payload.ts";
import { startLoad } from "../load/start_load.ts";
import { type BenchContext, percentile, type Row, type RowResult } from "../row.ts";

const DEVICES = 100_000;
const POSTS_IN_FLIGHT = 32;
const ROUNDS = 25;
/** Devices of a page by default. */
const PAGE = 50;
const INDEXED_MS_MAX = 600_000;
/** Of the load beside the searches. */
const SENDERS = 200;
const MESSAGES_PER_SECOND = 1_000;
const LOAD_MS_MAX = 1_800_000;

export const deviceSearch: Row = {
  name: "device-search",
  what: "100,000 devices with values, 1,000 messages/s: searches by name, tag, status and value",
  run: runSearch,
};

/** The filters of the mix; `%s` is another number in each round. */
const MIX = [
  "q=d-9%s",
  "q=nothing-at-all",
  "q=hall+%s&sort=-name",
  "tag=line-%s",
  "tag=line-%s&sort=-createdAt",
  "tag=plant",
  "status=online",
  "status=online&sort=-name",
  "status=offline&sort=-lastSeenAt",
  "status=never",
  "status=disabled",
  `property=${TEMPERATURE}>65`,
  `property=${TEMPERATURE}>65&sort=-name`,
  `property=${TEMPERATURE}<40.5&sort=-lastSeenAt`,
  `property=${TEMPERATURE}>50,${VIBRATION}<12.1`,
  `property=${TEMPERATURE}>60&tag=line-%s`,
  `property=${TEMPERATURE}>60&q=77&status=offline`,
  `property=${TEMPERATURE}=41.%s`,
];
const COUNTED = [
  "count=true&tag=line-%s",
  `count=true&property=${TEMPERATURE}>69.8`,
  "count=true&q=d-9%s",
  `count=true&property=${TEMPERATURE}>65`,
];

async function runSearch(context: BenchContext): Promise<RowResult> {
  const count = context.isShort ? 500 : DEVICES;
  const describe = (at: number) => ({
    name: `Pump of hall ${at % 5_000}`,
    tags: at % 2 === 0 ? ["plant", `line-${at % 1_000}`] : [`line-${at % 1_000}`],
  });
  await using fleet = await Fleet.start(context.directory, count, { describe });
  const postedMs = await postAll(fleet);
  const indexedMs = await untilIndexed(fleet, count);
  await using load = startLoad({
    ...fleet.target("mqtt"),
    devicesMax: context.isShort ? 20 : SENDERS,
    inFlight: 8,
    durationMs: LOAD_MS_MAX,
    ratePerSecond: context.isShort ? 100 : MESSAGES_PER_SECOND,
  });
  await load.connected;
  const all = { list: [] as number[], count: [] as number[] };
  const slowest = new Map<string, number>();
  const faults: string[] = [];
  const asked = { cut: 0 };
  for (let round = 0; round < (context.isShort ? 2 : ROUNDS); round++) {
    for (const query of [...MIX, ...COUNTED]) {
      const times = COUNTED.includes(query) ? all.count : all.list;
      const pages = await ask(fleet, query.replace("%s", String(10 + round)), faults, asked);
      times.push(...pages);
      slowest.set(query, Math.max(slowest.get(query) ?? 0, ...pages));
    }
  }
  load.stop();
  const { acknowledged, ratePerSecond } = await load.report;
  if (acknowledged === 0) faults.push("no message was acknowledged");
  const worst = [...slowest].sort(([, one], [, other]) => other - one).slice(0, 3)
    .map(([query, ms]) => `${query} ${ms.toFixed(0)} ms`).join("; ");
  const bounds = { unit: "ms", target: 100, floor: 400, isLessBetter: true };
  return {
    measures: [
      { name: "list p50", value: percentile(all.list, 0.5), unit: "ms", isLessBetter: true },
      { name: "list p99", value: percentile(all.list, 0.99), ...bounds },
      { name: "list with count p99", value: percentile(all.count, 0.99), ...bounds },
    ],
    facts: {
      devices: count,
      "messages/s": ratePerSecond,
      "posts s": postedMs / 1_000,
      "indexed s": indexedMs / 1_000,
      pages: all.list.length + all.count.length,
      "pages cut short": asked.cut,
      worst,
    },
    faults,
  };
}

/** A value of each device but every hundredth, so that some were never heard of. */
async function postAll(fleet: Fleet): Promise<number> {
  const startedMs = systemClock.monotonicMs();
  let next = 0;
  const some = async () => {
    for (let at = next++; at < fleet.devices.length; at = next++) {
      if (at % 100 === 99) continue;
      const { product, device, secret } = fleet.devices[at]!;
      const spread = (at * 7_919) % 30_000;
      const values = { [TEMPERATURE]: 40 + spread / 1_000, [VIBRATION]: 12 + (at % 700) / 100 };
      const answer = await fetch(
        `${fleet.roost.urls.http}/ingest/v1/${product}/${device}/properties`,
        {
          method: "POST",
          headers: {
            "Authorization": `Basic ${btoa(`${product}/${device}:${secret}`)}`,
            "Content-Type": "application/json",
          },
          body: JSON.stringify(values),
        },
      );
      await answer.body?.cancel();
      if (answer.status !== 202) throw new Error(`ingest answered ${answer.status}`);
    }
  };
  await Promise.all(Array.from({ length: POSTS_IN_FLIGHT }, some));
  await fleet.untilHandled();
  return systemClock.monotonicMs() - startedMs;
}

async function untilIndexed(fleet: Fleet, count: number): Promise<number> {
  const startedMs = systemClock.monotonicMs();
  const expected = count - Math.floor(count / 100);
  let actual = 0;
  await waitFor(async () => {
    const query = `count=true&limit=1&property=${encodeURIComponent(`${TEMPERATURE}>0`)}`;
    const answer = await fleet.api.fetch("GET", `/api/v1/devices?${query}`);
    return (actual = (await answer.json()).count) === expected;
  }, {
    what: "all values to be found",
    withinMs: INDEXED_MS_MAX,
    actual: () => actual,
    everyMs: 500,
  });
  return systemClock.monotonicMs() - startedMs;
}

/** Times of the first page and of the one after it. */
async function ask(
  fleet: Fleet,
  query: string,
  faults: string[],
  asked: { cut: number },
): Promise<number[]> {
  const times: number[] = [];
  const path = `/api/v1/devices?product=${PRODUCT}&${encodeURI(query)}`;
  let cursor = "";
  for (let page = 0; page < 2; page++) {
    const startedMs = systemClock.monotonicMs();
    const answer = await fleet.api.fetch("GET", path + cursor);
    const body = await answer.json();
    times.push(systemClock.monotonicMs() - startedMs);
    if (answer.status !== 200) faults.push(`${query} answered ${answer.status}`);
    if (typeof body.nextCursor !== "string") break;
    if (body.items.length < PAGE) asked.cut++;
    cursor = `&cursor=${body.nextCursor}`;
  }
  return times;
}
