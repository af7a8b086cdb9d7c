/** Which rows of a long list are to be drawn: those in view, and some around them. */

export interface RowWindow {
  /** Index of the first row drawn. */
  readonly first: number;
  /** Index behind the last. */
  readonly end: number;
}

/** Rows drawn beyond the view, so that a fast scroll shows no blank. */
const OVERSCAN = 12;

/** @param rowPx Height of each row. @param scrollPx Of the list's own start. */
export function windowOf(
  count: number,
  rowPx: number,
  scrollPx: number,
  viewPx: number,
): RowWindow {
  const seen = Math.floor(Math.max(0, scrollPx) / rowPx);
  const first = Math.max(0, Math.min(seen - OVERSCAN, count));
  const end = Math.min(count, seen + Math.ceil(viewPx / rowPx) + OVERSCAN);
  return { first, end: Math.max(first, end) };
}

/** Rows of a window at most: of a long list it has as many, so that none is made while one scrolls. */
export function slotsOf(rowPx: number, viewPx: number): number {
  return Math.ceil(viewPx / rowPx) + 2 * OVERSCAN;
}

/** Scroll position that brings a row wholly into view; the same if it is. */
export function scrollTo(index: number, rowPx: number, scrollPx: number, viewPx: number): number {
  const top = index * rowPx;
  if (top < scrollPx) return top;
  return top + rowPx > scrollPx + viewPx ? top + rowPx - viewPx : scrollPx;
}
