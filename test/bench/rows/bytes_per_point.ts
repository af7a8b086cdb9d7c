/** What a point takes on disk once it is compacted: three sensors with three decimals, no counter. */
import { systemClock } from "../../../runtime/clock.ts";
import { seededRandom } from "../../../runtime/random.ts";
import { type BenchContext, type Row, type RowResult } from "../row.ts";
import { openTelemetry } from "../telemetry_file.ts";
import { writeHistory } from "../telemetry_samples.ts";

const DEVICES = 50;
const SAMPLES = 10_000;

export const bytesPerPoint: Row = {
  name: "bytes-per-point",
  what: "stored bytes per point after compaction, times and values, 1 Hz, 3 decimals",
  run: runBytes,
};

async function runBytes(context: BenchContext): Promise<RowResult> {
  const samplesPerDevice = context.isShort ? 2_000 : SAMPLES;
  const devices = context.isShort ? 5 : DEVICES;
  const path = `${context.directory}/telemetry.db`;
  const startedMs = systemClock.monotonicMs();
  let points = 0;
  let figures;
  {
    await using store = openTelemetry(path);
    points = await writeHistory(store, {
      devices,
      samplesPerDevice,
      fromMs: systemClock.nowMs() - (samplesPerDevice + 60) * 1_000,
      nameOf: (device) => `pump/d-${device}`,
      bodyOf: sensors(devices),
    });
    figures = store.figures();
  }
  const seconds = (systemClock.monotonicMs() - startedMs) / 1_000;
  const fileBytes = Deno.statSync(path).size;
  const faults = figures.chunkPoints === points
    ? []
    : [`wrote ${points} points, compacted ${figures.chunkPoints}`];
  return {
    measures: [
      {
        name: "chunk bytes",
        value: figures.chunkBytes / figures.chunkPoints,
        unit: "B/point",
        target: 4,
        isLessBetter: true,
      },
      { name: "written and compacted", value: points / seconds, unit: "points/s" },
    ],
    facts: {
      points,
      chunks: figures.chunks,
      "file B/point (with free pages)": Math.round(fileBytes / points * 100) / 100,
    },
    faults,
  };
}

/** A daily swing, a slow walk and noise of the sensor: temperature, pressure, humidity. */
function sensors(devices: number): (device: number, second: number) => Uint8Array {
  const random = seededRandom(7);
  const walks = new Float64Array(devices * 3);
  const encoder = new TextEncoder();
  return (device, second) => {
    const values = [20, 1.5, 55].map((level, i) => {
      walks[device * 3 + i]! += (random.fraction() - 0.5) * 0.02;
      const swing = 3 * Math.sin((second + device * 600) * 2 * Math.PI / 86_400);
      const noise = (random.fraction() - 0.5) * 0.05;
      return Math.round((level + swing + walks[device * 3 + i]! + noise) * 1_000) / 1_000;
    });
    const [temperature, pressure, humidity] = values;
    return encoder.encode(JSON.stringify({ temperature, pressure, humidity }));
  };
}
