/** The readers of the simulated log: the product's two, and one that collects own records. */
import { MemoryTelemetryStore } from "../../actors/telemetry/memory_store.ts";
import { startTelemetryReader } from "../../actors/telemetry/reader.ts";
import type { TelemetryStore } from "../../actors/telemetry/store.ts";
import { createMemoryViews, type ViewsStore } from "../../actors/device/views.ts";
import { startViewsReader } from "../../actors/device/views_reader.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { recordsOf } from "../../runtime/log/record.ts";
import type { Plants } from "./plants.ts";
import { SIM_VIEW } from "./sim_behaviour.ts";
import { type Around, SimReader, type StartLoop } from "./sim_reader.ts";
import type { VirtualClock } from "./virtual_clock.ts";
import type { Faults } from "./world.ts";

const DECODER = new TextDecoder();
const PAGE_BYTES = 1024 * 1024;

/** What the readers' stores have, for the checks. */
export interface ReaderDisks {
  readonly points: TelemetryStore;
  readonly views: ViewsStore;
  /** `{from}#{seq}` by identity of the record. */
  readonly notes: Map<string, string>;
}

export const READER_NAMES = ["telemetry", "views", "notes"] as const;

export function createReaders(
  world: VirtualClock,
  faults: Faults,
  plants: Plants,
): { readonly readers: readonly SimReader[]; readonly disks: ReaderDisks } {
  const disks = {
    points: new MemoryTelemetryStore(),
    views: createMemoryViews(),
    notes: new Map<string, string>(),
  };
  const starts: Record<typeof READER_NAMES[number], StartLoop> = {
    telemetry: telemetryLoop(disks.points, plants),
    views: viewsLoop(disks.views, plants, faults),
    notes: notesLoop(disks.notes),
  };
  const plant = plants.source;
  const readers = READER_NAMES.map((name) =>
    new SimReader({ name, world, faults, start: starts[name], plant })
  );
  return { readers, disks };
}

function telemetryLoop(points: MemoryTelemetryStore, plants: Plants): StartLoop {
  let writes = 0;
  return (around) => {
    const store: TelemetryStore = {
      get cursor() {
        return around.cursor();
      },
      write: ({ samples, events = [], cursor }) =>
        around.write(cursor, () =>
          // A cursor of its own: rows are kept whether or not the reader's cursor is.
          points.write({ samples: samples.map(plants.sample), events, cursor: ++writes })),
      importSamples: (samples) => points.importSamples(samples),
      range: (query) => points.range(query),
      buckets: (query) => points.buckets(query),
      thin: (query) => points.thin(query),
      events: (query) => points.events(query),
      latest: (device) => points.latest(device),
      expire: (beforeMs) => points.expire(beforeMs),
      expireProducts: (horizons) => points.expireProducts(horizons),
      compact: () => points.compact(),
      figures: () => points.figures(),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    const { source, clock } = around;
    const reader = startTelemetryReader({ source, store, clock, logger: silentLogger });
    reader.done.then(() => around.failed("it stopped"), around.failed);
    return {
      get cursor() {
        return around.cursor(); // What it has read stands in its figures before it is stored.
      },
    };
  };
}

function viewsLoop(rows: ViewsStore, plants: Plants, faults: Faults): StartLoop {
  let writes = 0;
  const seen = new Map<string, number>();
  /** Whoever looks must never see a row become older. */
  const look = async (keys: readonly string[]) => {
    for (const [key, row] of await rows.rows(SIM_VIEW, keys)) {
      const { count } = row as { count: number };
      const before = seen.get(key) ?? 0;
      if (count < before) faults.violated(`row of ${key} went back from ${before} to ${count}`);
      seen.set(key, count);
    }
  };
  return (around) => {
    const store: ViewsStore = {
      get cursor() {
        return around.cursor();
      },
      write: ({ writes: batch, cursor }) =>
        around.write(cursor, async () => {
          await rows.write({ writes: batch.map(plants.row), cursor: ++writes });
          await look(batch.map(({ key }) => key));
        }),
      repair: (repairs) => rows.repair(repairs),
      keysAfter: (view, after, limit) => rows.keysAfter(view, after, limit),
      rows: (view, keys) => rows.rows(view, keys),
      presence: (keys) => rows.presence(keys),
      calls: (query) => rows.calls(query),
      onlineWithOtherIncarnation: (incarnation, limit, after) =>
        rows.onlineWithOtherIncarnation(incarnation, limit, after),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    const { source, clock } = around;
    return startViewsReader({ source, store, clock, logger: silentLogger });
  };
}

function notesLoop(notes: Map<string, string>): StartLoop {
  return (around) => {
    const loop = { cursor: around.cursor() };
    collectNotes(around, notes, loop).catch(around.failed);
    return loop;
  };
}

async function collectNotes(
  { source, cursor, write }: Around,
  notes: Map<string, string>,
  loop: { cursor: number },
): Promise<void> {
  for (;;) {
    const read = await source.readTicks(loop.cursor, ["record"], PAGE_BYTES);
    if (read.cursor === loop.cursor) {
      await source.waitForMore(loop.cursor);
      continue;
    }
    await write(read.cursor, () => {
      for (const { segments } of read.ticks) {
        for (const segment of segments) {
          let offset = segment.firstOffset;
          for (const record of recordsOf(segment)) {
            const { body } = JSON.parse(DECODER.decode(record.body));
            notes.set(`${segment.partition}/${offset++}`, `${body.from}#${body.seq}`);
          }
        }
      }
      return Promise.resolve();
    });
    await source.saveCursor(cursor());
    loop.cursor = read.cursor;
  }
}
