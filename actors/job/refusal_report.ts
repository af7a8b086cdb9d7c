/** What an import refused: counted, and listed line by line in a file, up to a bound. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Issue } from "../../runtime/errors.ts";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import type { JobFile } from "./job.ts";
import type { JobFileWriter } from "./job_files.ts";

export interface Refused {
  readonly line: number;
  readonly issue: Issue;
}

/** What of the report is done; part of a checkpoint. */
export interface ReportPlace {
  readonly refused: number;
  readonly listed: number;
  /** Of its file. */
  readonly bytes: number;
  /** The first few, for the job's result. */
  readonly first: readonly RefusalEntry[];
}

interface RefusalEntry {
  readonly line: number;
  readonly path: string;
  readonly rule: string;
  readonly message: string;
}

export const EMPTY_REPORT: ReportPlace = { refused: 0, listed: 0, bytes: 0, first: [] };
const FIRST_MAX = 20;
const MESSAGE_CHARACTERS_MAX = 300;
const ENCODER = new TextEncoder();

/** @returns The report with these too, of which the file's part is written. */
export async function withRefused(
  report: ReportPlace,
  refused: readonly Refused[],
  writer: JobFileWriter,
): Promise<ReportPlace> {
  if (refused.length === 0) return report;
  const room = JOB_LIMITS.jobRefusalsMax - report.listed;
  const entries = refused.slice(0, room).map(entryOf);
  const text = entries.map((entry) => JSON.stringify(entry) + "\n").join("");
  await writer.write(ENCODER.encode(text));
  return {
    refused: report.refused + refused.length,
    listed: report.listed + entries.length,
    bytes: writer.offset,
    first: [...report.first, ...entries].slice(0, FIRST_MAX),
  };
}

/** For the result of a job. */
export function reportResult({ refused, listed, first }: ReportPlace): { [key: string]: Json } {
  if (refused === 0) return { refused };
  return { refused, refusalsListed: listed, firstRefusals: first.map((entry) => ({ ...entry })) };
}

/** The report as the file of its job; undefined: there is nothing in it. */
export function reportFile(name: string, { listed }: ReportPlace): JobFile | undefined {
  if (listed === 0) return undefined;
  return { mediaType: "application/x-ndjson", name, keptMs: JOB_LIMITS.jobResultMs };
}

function entryOf({ line, issue: { path, rule, message } }: Refused): RefusalEntry {
  return {
    line,
    path: path.slice(0, 128),
    rule,
    message: message.slice(0, MESSAGE_CHARACTERS_MAX),
  };
}
