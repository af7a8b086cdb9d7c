/** What a thing of the demo plant is: what it measures, raises, answers and takes. */
import type { Random } from "../../../runtime/random.ts";

export type Values = Readonly<Record<string, number | boolean | string>>;

export interface RaisedEvent {
  readonly event: string;
  readonly output: Values;
}

export type CallResult =
  | { readonly ok: true; readonly output: Values }
  | { readonly ok: false; readonly error: string };

export interface Thing {
  /** A step of so many seconds. Events since the step before are told once. */
  step(atMs: number, seconds: number): { values: Values; events: readonly RaisedEvent[] };
  call(service: string, input: Readonly<Record<string, unknown>>): CallResult;
  /** Desired properties; what it does not know it leaves alone. */
  desire(values: Readonly<Record<string, unknown>>): void;
}

export interface ThingProduct {
  readonly key: string;
  readonly name: string;
  readonly model: unknown;
  readonly devices: readonly {
    readonly device: string;
    readonly name: string;
    readonly tags: readonly string[];
  }[];
  readonly create: (random: Random) => Thing;
}

export function numberProperty(
  identifier: string,
  name: string,
  specs: { readonly min: number; readonly max: number; readonly unit: string },
  accessMode: "r" | "rw" = "r",
) {
  return { identifier, name, accessMode, dataType: { type: "double", specs } };
}

export function boolProperty(
  identifier: string,
  name: string,
  specs: { readonly 0: string; readonly 1: string },
  accessMode: "r" | "rw" = "r",
) {
  return { identifier, name, accessMode, dataType: { type: "bool", specs } };
}

export function numberField(identifier: string, min: number, max: number, unit: string) {
  return { identifier, dataType: { type: "double", specs: { min, max, unit } } };
}

/** -1 in the night to 1 in the afternoon, UTC. */
export function dayCurve(atMs: number): number {
  return Math.sin(2 * Math.PI * (atMs % 86_400_000) / 86_400_000 - Math.PI * 0.6);
}

/** Nearly normal, of this standard deviation. */
export function noise(random: Random, deviation: number): number {
  return (random.fraction() + random.fraction() + random.fraction() - 1.5) * 2 * deviation;
}

export function rounded(value: number, digits: number): number {
  const scale = 10 ** digits;
  return Math.round(value * scale) / scale;
}

export function within(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}

export function unknownService(service: string): CallResult {
  return { ok: false, error: `there is no service ${service}` };
}
