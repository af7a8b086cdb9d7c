/** Times as the browser's own field for them writes them: `2026-01-31T23:59:59`, local. */

export function localTime(atMs: number): string {
  const at = new Date(atMs);
  if (Number.isNaN(at.getTime())) return "";
  return new Date(atMs - at.getTimezoneOffset() * 60_000).toISOString().slice(
    0,
    19,
  );
}

/** Epoch milliseconds; the text itself if it is none. */
export function parseLocalTime(text: string): number | string {
  const at = new Date(text).getTime();
  return Number.isNaN(at) ? text : at;
}
