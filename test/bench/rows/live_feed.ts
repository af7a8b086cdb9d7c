/**
 * The live feed under load: from the acceptance of a message to the moment at which a reader has its
 * event, by the one clock of the machine, to the millisecond that events carry.
 */
import { EventReader } from "../../support/event_reader.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { faultsOf, Fleet, PRODUCT } from "../fleet.ts";
import { Histogram } from "../../../protocols/simulate/histogram.ts";
import { SEQUENCE } from "../load/payload.ts";
import type { BenchContext, Row, RowResult } from "../row.ts";

const CONNECTIONS = 500;
const RATE = 5_000;
const RUN_MS = 15_000;
const WARM_UP_MS = 2_000;
const FEEDS = 10;
const DEVICES_PER_FEED = 10;

export const liveFeed: Row = {
  name: "live-feed",
  what: "accepted to read by a live feed, at 5,000 messages/s; 10 feeds of 10 devices",
  run: runLiveFeed,
};

interface Watch {
  readonly latency: Histogram;
  readonly faults: Set<string>;
  events: number;
}

async function runLiveFeed(context: BenchContext): Promise<RowResult> {
  await using fleet = await Fleet.start(context.directory, context.isShort ? 100 : CONNECTIONS);
  const watch: Watch = { latency: new Histogram(), faults: new Set(), events: 0 };
  const countFromMs = systemClock.nowMs() + (context.isShort ? 0 : WARM_UP_MS);
  const feeds: EventReader[] = [];
  const reading: Promise<void>[] = [];
  for (let i = 0; i < FEEDS; i++) {
    const feed = await openFeed(fleet, i);
    feeds.push(feed);
    reading.push(readAll(feed, watch, countFromMs));
  }
  const report = await fleet.load("mqtt", {
    inFlight: 20,
    ratePerSecond: context.isShort ? 500 : RATE,
    durationMs: context.isShort ? 1_500 : RUN_MS,
  });
  const stored = await fleet.countStored(report);
  for (const feed of feeds) await feed[Symbol.asyncDispose]();
  await Promise.all(reading);
  if (watch.events === 0) watch.faults.add("no event was read");
  const { latency } = watch;
  return {
    measures: [
      { name: "p50", value: latency.percentileMs(0.5), unit: "ms", isLessBetter: true },
      {
        name: "p99",
        value: latency.percentileMs(0.99),
        unit: "ms",
        target: 100,
        floor: 1_000,
        isLessBetter: true,
      },
    ],
    facts: {
      "messages/s": report.ratePerSecond,
      events: watch.events,
      "max ms": latency.maxMs,
      "PUBACK p99 ms": report.latencyMs.p99,
    },
    faults: [...watch.faults, ...faultsOf(report, stored.points)],
  };
}

async function openFeed(fleet: Fleet, index: number): Promise<EventReader> {
  const topics = Array.from(
    { length: DEVICES_PER_FEED },
    (_, i) => `device/${PRODUCT}/d-${index * DEVICES_PER_FEED + i}`,
  );
  const answer = await fleet.api.fetch("GET", `/api/v1/live?topics=ledger,${topics.join()}`);
  if (answer.status !== 200) throw new Error(`live answered ${answer.status}`);
  const feed = new EventReader(answer.body!);
  await feed.nextOf("hello");
  return feed;
}

/** Every message of a device has the next sequence number: one that is missing was not told. */
async function readAll(feed: EventReader, watch: Watch, countFromMs: number): Promise<void> {
  const last = new Map<string, number>();
  for (;;) {
    const event = await feed.next();
    if (event === undefined) return;
    const nowMs = systemClock.nowMs();
    if (event.event === "gap") watch.faults.add(`a gap: ${JSON.stringify(event.data)}`);
    const { topic, at, value } = event.data;
    if (value?.type !== "properties") continue;
    const sequence: number = value.samples[0].values[SEQUENCE];
    const before = last.get(topic);
    if (before !== undefined && sequence !== before + 1) {
      watch.faults.add(`${topic}: ${sequence} came after ${before}`);
    }
    last.set(topic, sequence);
    watch.events++;
    if (at >= countFromMs) watch.latency.add(nowMs - at);
  }
}
