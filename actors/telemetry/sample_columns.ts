/** Bodies of samples (JSON objects of values), turned into one column for each metric. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import { jsonText } from "./json_text.ts";

export interface MetricColumn {
  readonly ats: number[];
  readonly values: Json[];
}

export interface SampleColumns {
  readonly metrics: ReadonlyMap<string, MetricColumn>;
  /** Bodies that are no JSON object, or hold a value that cannot be stored. */
  readonly unreadable: number;
}

export type Values = { readonly [metric: string]: Json };

/** Undefined for a body that is no JSON object. */
export function parseValues(text: string): Values | undefined {
  try {
    return objectOrUndefined(JSON.parse(text));
  } catch { // What is no JSON at all is counted by the caller, like JSON of another shape.
    return undefined;
  }
}

/** The same for many bodies: parsed in one go, one by one only if that fails. */
export function parseAll(texts: readonly string[]): (Values | undefined)[] {
  try {
    const parsed = JSON.parse(`[${texts.join(",")}]`) as unknown[];
    if (parsed.length === texts.length) return parsed.map(objectOrUndefined);
  } catch { // At least one of them is broken: find out which.
  }
  return texts.map(parseValues);
}

/** Columns in order of acceptance. */
export function columnsOf(ats: readonly number[], texts: readonly string[]): SampleColumns {
  const metrics = new Map<string, MetricColumn>();
  let unreadable = 0;
  const rows = parseAll(texts);
  for (let i = 0; i < rows.length; i++) {
    const values = rows[i];
    if (values === undefined) {
      unreadable++;
      continue;
    }
    let isStored = true;
    for (const metric in values) {
      const value = values[metric]!;
      if (typeof value === "object" && value !== null && !isStorable(value)) {
        isStored = false;
        continue;
      }
      let column = metrics.get(metric);
      if (column === undefined) metrics.set(metric, column = { ats: [], values: [] });
      column.ats.push(ats[i]!);
      column.values.push(value);
    }
    if (!isStored) unreadable++;
  }
  return { metrics, unreadable };
}

function objectOrUndefined(value: unknown): Values | undefined {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? value as Values : undefined;
}

function isStorable(value: Json): boolean {
  try {
    jsonText(value);
    return true;
  } catch { // Too deep for a chunk; no gateway lets it through.
    return false;
  }
}
