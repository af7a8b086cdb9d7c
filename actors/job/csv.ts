/** CSV as RFC 4180 has it, safe to be opened by a spreadsheet. */
import type { Json } from "../../runtime/actor/behaviour.ts";

/** A cell that begins so is taken for a formula by spreadsheets (OWASP, "CSV Injection"). */
const FORMULA = /^'*[=+\-@＝＋－＠\t\r\n]/; // One that has guards already gets another, to be read back.
const GUARDED = /^'+[=+\-@＝＋－＠\t\r\n]/;
const QUOTED = /[",\r\n]|^\s|\s$/;

/** Cells of one line, with its end. Numbers cannot be formulas; texts are guarded by `'`. */
export function csvLine(cells: readonly (string | number)[]): string {
  const texts = cells.map((cell) =>
    typeof cell === "number" ? String(cell) : quoted(guarded(cell))
  );
  return texts.join(",") + "\r\n";
}

/**
 * A value as the text of a cell, never empty: JSON, but for texts that are not JSON, which stand bare.
 * `valueOfCell` gives it back.
 */
export function cellOfValue(value: Json): string | number {
  if (typeof value === "number") return value;
  if (typeof value === "string" && value !== "" && parseJson(value) === undefined) return value;
  return JSON.stringify(value);
}

export function valueOfCell(cell: string): Json {
  const parsed = parseJson(cell);
  return parsed === undefined ? cell : parsed.value;
}

/**
 * The cells of one line without its end, unguarded; undefined: its quotes are wrong. A line that ends
 * inside of quotes goes on in the next one: `isOpen`.
 */
export function cellsOf(
  line: string,
): { readonly cells: string[]; readonly isOpen: boolean } | undefined {
  const cells: string[] = [];
  let at = 0;
  for (;;) {
    if (line[at] !== '"') {
      const comma = line.indexOf(",", at);
      const cell = line.slice(at, comma === -1 ? undefined : comma);
      if (cell.includes('"')) return undefined;
      cells.push(unguarded(cell));
      if (comma === -1) return { cells, isOpen: false };
      at = comma + 1;
      continue;
    }
    let text = "";
    for (at++;;) {
      const quote = line.indexOf('"', at);
      if (quote === -1) return { cells, isOpen: true };
      text += line.slice(at, quote);
      at = quote + 1;
      if (line[at] !== '"') break;
      text += '"';
      at++;
    }
    cells.push(unguarded(text));
    if (at === line.length) return { cells, isOpen: false };
    if (line[at] !== ",") return undefined;
    at++;
  }
}

function guarded(text: string): string {
  return FORMULA.test(text) ? `'${text}` : text;
}

function unguarded(text: string): string {
  return GUARDED.test(text) ? text.slice(1) : text;
}

function quoted(text: string): string {
  return QUOTED.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function parseJson(text: string): { readonly value: Json } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch { // A text that is no JSON is what it says.
    return undefined;
  }
}
