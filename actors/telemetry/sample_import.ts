/**
 * History that came by no message of a device. It has no identity by which a repeat is recognised, so
 * what is stored is looked at: a point is a repeat if its device and metric have one of the same time
 * and value.
 */
import type { Json } from "../../runtime/actor/behaviour.ts";
import { InvalidError } from "../../runtime/errors.ts";
import { DAY_MS, dayOf, isTime } from "./bounds.ts";
import { jsonText } from "./json_text.ts";
import type { ImportedSample, ImportOutcome } from "./store.ts";

/** Points of one device and UTC day, which are looked up together. */
interface DayGroup {
  readonly device: string;
  readonly day: number;
  fromMs: number;
  toMs: number;
  readonly metrics: Set<string>;
}

/** Points of a device that are stored; read in one synchronous turn. */
export type ReadStored = (
  group: { readonly device: string; readonly fromMs: number; readonly toMs: number },
  metrics: readonly string[],
) => readonly { readonly ats: ArrayLike<number>; readonly values: ArrayLike<Json> }[];

/** @throws {InvalidError} A time is none. */
export function checkImport(samples: readonly ImportedSample[]): void {
  for (const { atMs } of samples) {
    if (!isTime(atMs)) throw new InvalidError(`Cannot import a sample at ${atMs}: not a time`);
  }
}

/**
 * What is not stored yet, the values of one device and moment together, in the order they came.
 * @param horizonOf What is older of a device is gone.
 * @param readStored Asked for spans of one day at most.
 * @param pause Lets others have their turn.
 */
export async function newSamples(
  samples: readonly ImportedSample[],
  horizonOf: (device: string) => number,
  readStored: ReadStored,
  pause: () => Promise<void>,
): Promise<{ readonly samples: ImportedSample[]; readonly outcome: ImportOutcome }> {
  const kept = samples.filter(({ device, atMs }) => atMs >= horizonOf(device));
  const known = new Set<string>();
  for (const group of groupsOf(kept)) {
    const { device, metrics } = group;
    const names = [...metrics];
    readStored(group, names).forEach(({ ats, values }, index) => {
      for (let i = 0; i < ats.length; i++) {
        known.add(identityOf(device, names[index]!, ats[i]!, values[i]!));
      }
    });
    await pause();
  }
  const fresh = new Map<string, { device: string; atMs: number; values: Record<string, Json> }[]>();
  let stored = 0;
  for (const { device, atMs, values } of kept) {
    for (const metric of Object.keys(values)) {
      const value = values[metric]!;
      const identity = identityOf(device, metric, atMs, value);
      if (known.has(identity)) continue;
      known.add(identity);
      stored++;
      const moment = `${device} ${atMs}`;
      const rows = fresh.get(moment) ?? [];
      fresh.set(moment, rows);
      let row = rows.find((each) => !Object.hasOwn(each.values, metric));
      if (row === undefined) rows.push(row = { device, atMs, values: Object.create(null) });
      row.values[metric] = value;
    }
  }
  const points = pointsOf(kept);
  const expired = pointsOf(samples) - points;
  return {
    samples: [...fresh.values()].flat(),
    outcome: { stored, repeats: points - stored, expired },
  };
}

function groupsOf(samples: readonly ImportedSample[]): DayGroup[] {
  const groups = new Map<string, DayGroup>();
  for (const { device, atMs, values } of samples) {
    const day = dayOf(atMs);
    const key = `${device} ${day}`;
    let group = groups.get(key);
    if (group === undefined) {
      group = { device, day, fromMs: atMs, toMs: atMs + 1, metrics: new Set() };
      groups.set(key, group);
    }
    group.fromMs = Math.min(group.fromMs, atMs);
    group.toMs = Math.min(Math.max(group.toMs, atMs + 1), (day + 1) * DAY_MS);
    for (const metric of Object.keys(values)) group.metrics.add(metric);
  }
  return [...groups.values()];
}

function identityOf(device: string, metric: string, atMs: number, value: Json): string {
  return `${device} ${metric} ${atMs} ${jsonText(value)}`;
}

function pointsOf(samples: readonly ImportedSample[]): number {
  return samples.reduce((sum, { values }) => sum + Object.keys(values).length, 0);
}
