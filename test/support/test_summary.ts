/** Deno's own summary line: `ok | 12 passed (3 steps) | 0 failed | 1 ignored (2s)`. */
export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export const EMPTY_TALLY: Tally = { passed: 0, failed: 0, skipped: 0 };

export function addTally(a: Tally, b: Tally): Tally {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
  };
}

/** Of the last summary line, since a test may itself print one; undefined if there is none. */
export function tallyOf(output: string): Tally | undefined {
  const lines = output.split(/\r?\n/);
  const line = lines.findLast((each) =>
    /^(?:ok|FAILED) \| \d+ passed\b.* \| \d+ failed\b/.test(each)
  );
  if (line === undefined) return undefined;
  const count = (word: string) => Number(new RegExp(`\\| (\\d+) ${word}\\b`).exec(line)?.[1] ?? 0);
  return { passed: count("passed"), failed: count("failed"), skipped: count("ignored") };
}
