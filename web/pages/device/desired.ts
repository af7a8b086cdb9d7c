/** Desired values as a person writes them, and what changes by that. */

export type ParsedDesired =
  | { readonly ok: true; readonly values: Readonly<Record<string, unknown>> }
  | { readonly ok: false; readonly message: string };

export function parseDesired(text: string): ParsedDesired {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return { ok: true, values: value as Record<string, unknown> };
    }
    return { ok: false, message: text.trim().slice(0, 40) };
  } catch (fault) {
    return { ok: false, message: fault instanceof Error ? fault.message : String(fault) };
  }
}

/** As the API takes them: what is new or other, and null for what is gone. */
export function changesOf(
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const changed = Object.entries(after).filter(([name, value]) =>
    JSON.stringify(before[name]) !== JSON.stringify(value)
  );
  const gone = Object.keys(before).filter((name) => !Object.hasOwn(after, name));
  return Object.fromEntries([...changed, ...gone.map((name) => [name, null])]);
}
