/** Realistic history written straight into a telemetry store, without the product around it. */
import type { StoredSample, TelemetryStore } from "../../actors/telemetry/store.ts";
import { seededRandom } from "../../runtime/random.ts";
import { bodyTemplate, POINTS_PER_MESSAGE, SEQUENCE_MIN, Signals } from "./load/payload.ts";

const SAMPLES_PER_BATCH = 2_000;
/** A partition of no device: identities must not meet those of the product's own messages. */
const PARTITION = 47;

export interface History {
  readonly devices: number;
  readonly samplesPerDevice: number;
  /** Time of the first sample; one a second follows, with the jitter of an acceptance. */
  readonly fromMs: number;
  /** `{product}/{device}` of a device. */
  readonly nameOf: (device: number) => string;
  /** Body of a message. Default: that of the generator. */
  readonly bodyOf?: (device: number, second: number) => Uint8Array;
}

const JITTER_MS = 16;

/**
 * Writes all samples of one second of all devices after the other, as they would arrive, and
 * compacts whenever there is something to compact. Returns how many points there are.
 */
export async function writeHistory(store: TelemetryStore, history: History): Promise<number> {
  const signals = Array.from({ length: history.devices }, (_, i) => new Signals(i));
  const bodyOf = history.bodyOf ?? ((device: number, second: number) => {
    const body = bodyTemplate();
    signals[device]!.write(body, 0, SEQUENCE_MIN + second);
    return body;
  });
  const random = seededRandom(1);
  const names = signals.map((_, i) => history.nameOf(i));
  let samples: StoredSample[] = [];
  let offset = 0;
  let cursor = store.cursor;
  const flush = async () => {
    if (samples.length === 0) return;
    await store.write({ samples, cursor: ++cursor });
    samples = [];
    await store.compact();
  };
  for (let second = 0; second < history.samplesPerDevice; second++) {
    for (let device = 0; device < history.devices; device++) {
      const values = bodyOf(device, second);
      const jitterMs = Math.floor(random.fraction() * JITTER_MS);
      const atMs = history.fromMs + second * 1_000 + device % 900 + jitterMs;
      const place = { partition: PARTITION, offset: offset++, position: 0 };
      samples.push({ device: names[device]!, atMs, ...place, values });
      if (samples.length === SAMPLES_PER_BATCH) await flush();
    }
  }
  await flush();
  while (await store.compact(true));
  return history.devices * history.samplesPerDevice * POINTS_PER_MESSAGE;
}
