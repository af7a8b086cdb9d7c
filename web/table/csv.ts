/** Rows as CSV (RFC 4180), for spreadsheets: no cell of it is a formula. */

export interface CsvColumn<Row> {
  readonly title: string;
  readonly text: (row: Row) => string;
}

export function csvOf<Row>(
  columns: readonly CsvColumn<Row>[],
  rows: readonly Row[],
): string {
  const lines = [
    columns.map(({ title }) => cellOf(title)),
    ...rows.map((row) => columns.map(({ text }) => cellOf(text(row)))),
  ];
  return lines.map((line) => line.join(",")).join("\r\n") + "\r\n";
}

/** A text that a spreadsheet would run gets an apostrophe in front; a number stays one. */
function cellOf(text: string): string {
  const isFormula = /^[=+\-@\t\r]/.test(text) && !/^[+-]?\d+(?:[.,]\d+)*$/.test(text);
  const safe = isFormula ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
