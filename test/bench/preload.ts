/** A data directory whose telemetry store is not empty: what the sustained rows must run on. */
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { systemClock } from "../../runtime/clock.ts";
import { POINTS_PER_MESSAGE } from "./load/payload.ts";
import type { BenchContext } from "./row.ts";
import { openTelemetry } from "./telemetry_file.ts";
import { writeHistory } from "./telemetry_samples.ts";

const DEVICES = 2_000;
const MARGIN_S = 3_600;

/**
 * Puts `context.preloadPoints` (rounded up to whole seconds of 2,000 devices) into `telemetry.db` of
 * `dataDir`, which must not exist yet; made once a bench, copied after. Returns the points.
 */
export async function preload(dataDir: string, context: BenchContext): Promise<number> {
  if (context.preloadPoints === 0) return 0;
  const kept = `${dirname(context.directory)}/preloaded-telemetry.db`;
  const devices = context.isShort ? 50 : DEVICES;
  const samplesPerDevice = Math.ceil(context.preloadPoints / POINTS_PER_MESSAGE / devices);
  if (!exists(kept)) {
    const startedMs = systemClock.monotonicMs();
    await make(kept, devices, samplesPerDevice);
    const seconds = (systemClock.monotonicMs() - startedMs) / 1_000;
    context.say(
      `preloaded ${devices * samplesPerDevice * POINTS_PER_MESSAGE} points in ${seconds} s`,
    );
  }
  Deno.mkdirSync(dataDir, { recursive: true });
  Deno.copyFileSync(kept, `${dataDir}/telemetry.db`);
  return devices * samplesPerDevice * POINTS_PER_MESSAGE;
}

async function make(path: string, devices: number, samplesPerDevice: number): Promise<void> {
  {
    await using store = openTelemetry(path);
    await writeHistory(store, {
      devices,
      samplesPerDevice,
      fromMs: systemClock.nowMs() - (samplesPerDevice + MARGIN_S) * 1_000,
      nameOf: (device) => `preloaded/p-${device}`,
    });
  }
  // The product's reader starts at the begin of its own log, not where these batches ended.
  const db = new DatabaseSync(path);
  db.exec("UPDATE progress SET cursor = 0, marks = x''; PRAGMA wal_checkpoint(TRUNCATE)");
  db.close();
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return false;
    throw fault;
  }
}
