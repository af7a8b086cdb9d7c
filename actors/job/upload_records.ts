/**
 * Records of an upload: JSON objects, one a line, or the rows of a CSV table whose first line names
 * its columns. A row may go on in the next lines inside of quotes.
 */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Issue } from "../../runtime/errors.ts";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import { quote } from "../registry/names.ts";
import { cellsOf } from "./csv.ts";
import { JobError } from "./job.ts";
import { type UploadLine, UploadLines, type UploadPlace } from "./upload_lines.ts";

export type TableFormat = "csv" | "ndjson";

export interface UploadRecord {
  /** Number of its first line, from 1. */
  readonly line: number;
  /** Its fields; cells of a table are texts, and absent where they are empty. */
  readonly fields: { readonly [name: string]: Json };
}

export type UploadedRecord =
  | (UploadRecord & { readonly ok: true })
  | {
    readonly ok: false;
    readonly line: number;
    readonly issue: Issue;
  };

export interface RecordColumns {
  readonly required: readonly string[];
  readonly optional: readonly string[];
}

export class UploadRecords {
  readonly #lines: UploadLines;
  /** Of a table. */
  readonly #columns: readonly string[] | undefined;

  private constructor(lines: UploadLines, columns: readonly string[] | undefined) {
    this.#lines = lines;
    this.#columns = columns;
  }

  /**
   * @param place As it was left; null: at the first record.
   * @throws {JobError} `invalid`: the columns of a table are not such.
   */
  static async open(
    file: Pick<Deno.FsFile, "read" | "seek">,
    format: TableFormat,
    columns: RecordColumns,
    place: UploadPlace | null,
  ): Promise<UploadRecords> {
    if (format === "ndjson") {
      return new UploadRecords(await UploadLines.at(file, place ?? undefined), undefined);
    }
    const lines = await UploadLines.at(file);
    const names = columnsOf(await lines.next(), columns);
    return new UploadRecords(place === null ? lines : await UploadLines.at(file, place), names);
  }

  /** Everything before is handed out. */
  get place(): UploadPlace {
    return this.#lines.place;
  }

  /** The next records, of `linesMax` lines and `jobSliceBytes` or a little more; none: the end. */
  async slice(linesMax: number): Promise<readonly UploadedRecord[]> {
    const { bytes, lines } = this.place;
    const records: UploadedRecord[] = [];
    while (
      this.place.lines - lines < linesMax && this.place.bytes - bytes < JOB_LIMITS.jobSliceBytes
    ) {
      const record = await this.next();
      if (record === undefined) break;
      records.push(record);
    }
    return records;
  }

  /**
   * Passes over empty lines; too many of them are a record that is refused, so that who reads can
   * pause and stop. Undefined: there is none any more.
   */
  async next(): Promise<UploadedRecord | undefined> {
    for (let empty = 1;; empty++) {
      const line = await this.#lines.next();
      if (line === undefined) return undefined;
      const isEmpty = line.fault === undefined && line.text.trim() === "";
      if (isEmpty && empty < JOB_LIMITS.jobEmptyLinesMax) continue;
      if (isEmpty) {
        const message = `Cannot read so many empty lines: jobEmptyLinesMax is ${empty}`;
        return { ok: false, line: line.number, issue: { path: "", rule: "empty", message } };
      }
      const parsed = this.#columns === undefined
        ? parseObject(line)
        : await this.#parseRow(this.#columns, line);
      return "issue" in parsed
        ? { ok: false, line: line.number, issue: parsed.issue }
        : { ok: true, line: line.number, fields: parsed.fields };
    }
  }

  async #parseRow(columns: readonly string[], first: UploadLine): Promise<Parsed> {
    const { jobRowLinesMax, jobLineBytesMax } = JOB_LIMITS;
    let { text, fault, isCrLf } = first;
    // By RFC 4180 a row ends where as many quotes were closed as were opened.
    for (let quotes = quotesOf(text); fault === undefined && quotes % 2 === 1;) {
      const line = await this.#lines.next();
      const fits = line !== undefined && line.number - first.number < jobRowLinesMax &&
        text.length + line.text.length <= jobLineBytesMax;
      if (!fits) {
        const message = `Cannot read the row that begins in line ${first.number}: a quote is not ` +
          `closed within jobRowLinesMax ${jobRowLinesMax} and jobLineBytesMax ${jobLineBytesMax}; ` +
          "all up to there is passed over";
        return { issue: { path: "", rule: "quotes", message } };
      }
      text += (isCrLf ? "\r\n" : "\n") + line.text;
      quotes += quotesOf(line.text);
      ({ fault, isCrLf } = line);
    }
    if (fault !== undefined) return { issue: { path: "", ...fault } };
    const cells = cellsOf(text)?.cells;
    if (cells === undefined) {
      const message = "Cannot read the row: a quote stands where none may";
      return { issue: { path: "", rule: "quotes", message } };
    }
    if (cells.length !== columns.length) {
      const message = `Cannot read a row of ${cells.length} cells: the table has ${columns.length}`;
      return { issue: { path: "", rule: "count", message } };
    }
    const filled = columns.map((name, index) => [name, cells[index]!] as const)
      .filter(([, cell]) => cell !== "");
    return { fields: Object.fromEntries(filled) };
  }
}

type Parsed = { readonly fields: UploadRecord["fields"] } | { readonly issue: Issue };

function parseObject({ text, fault }: UploadLine): Parsed {
  if (fault !== undefined) return { issue: { path: "", ...fault } };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { issue: { path: "", rule: "json", message: "Cannot read the line: it is not JSON" } };
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return { fields: value as UploadRecord["fields"] };
  }
  return { issue: { path: "", rule: "type", message: "Cannot read the line: it is no object" } };
}

function quotesOf(text: string): number {
  let count = 0;
  for (let at = text.indexOf('"'); at !== -1; at = text.indexOf('"', at + 1)) count++;
  return count;
}

function columnsOf(
  line: UploadLine | undefined,
  { required, optional }: RecordColumns,
): readonly string[] {
  const known = [...required, ...optional];
  const cells = line?.fault === undefined ? cellsOf(line?.text ?? "") : undefined;
  const names = cells?.isOpen === false ? cells.cells.map((cell) => cell.trim()) : [];
  const unknown = names.find((name) => !known.includes(name));
  const missing = required.find((name) => !names.includes(name));
  const isTwice = new Set(names).size < names.length;
  if (unknown === undefined && missing === undefined && !isTwice) return names;
  const fault = isTwice
    ? "a column stands twice"
    : missing === undefined
    ? `there is no column ${quote(unknown!)}`
    : `column "${missing}" is missing`;
  const detail = `Cannot read the table: ${fault}. Its first line names its columns: ` +
    `${required.join(", ")}, and it may have ${optional.join(", ")}`;
  throw new JobError("invalid", detail);
}
