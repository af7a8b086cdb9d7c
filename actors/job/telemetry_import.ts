/**
 * Imports history with the devices' own times, as the export writes it or line by line: `device`,
 * `key`, `at`, `value`. A slice is checked, then stored in one step that leaves out what is stored
 * already: importing the same again, or going on after a crash, changes nothing twice. The current
 * values of devices stay as they are, and no rule is told.
 */
import type { Json } from "../../runtime/actor/behaviour.ts";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { RegistryDirectory } from "../device/device_directory.ts";
import type { DeviceRegistry } from "../device/registry.ts";
import type { ImportedSample } from "../telemetry/store.ts";
import type { TelemetryImports } from "../telemetry/worker.ts";
import { quote } from "../registry/names.ts";
import { sampleOf, type SampleRules } from "./imported_sample.ts";
import { type ImportFiles, openImport, type TableInput } from "./import_files.ts";
import { type JobKind, type JobStep, type JobWork, type StoredJob } from "./job.ts";
import type { JobFiles } from "./job_files.ts";
import {
  EMPTY_REPORT,
  type Refused,
  reportFile,
  type ReportPlace,
  reportResult,
  withRefused,
} from "./refusal_report.ts";
import type { UploadPlace } from "./upload_lines.ts";

export interface TelemetryImportOptions {
  readonly files: JobFiles;
  readonly devices: Pick<DeviceRegistry, "find">;
  readonly directory: Pick<RegistryDirectory, "projectOf" | "validate">;
  readonly telemetry: () => TelemetryImports;
  readonly clock: Clock;
}

interface Place {
  readonly upload: UploadPlace | null;
  readonly report: ReportPlace;
  readonly points: number;
  readonly repeats: number;
  readonly expired: number;
}

interface Found {
  readonly line: number;
  readonly sample: ImportedSample;
}

const COLUMNS = { required: ["device", "key", "at", "value"], optional: ["product"] };
const START: Place = { upload: null, report: EMPTY_REPORT, points: 0, repeats: 0, expired: 0 };

export function telemetryImport(options: TelemetryImportOptions): JobKind {
  return {
    kind: "telemetryImport",
    async open(job) {
      const place = job.checkpoint as unknown as Place | null ?? START;
      const { upload, report } = place;
      const files = await openImport(options.files, job, COLUMNS, upload, report.bytes);
      return new ImportWork(job, options, place, files);
    },
  };
}

class ImportWork implements JobWork {
  readonly #job: StoredJob;
  readonly #options: TelemetryImportOptions;
  readonly #files: ImportFiles;
  #place: Place;
  /** What was read and could not be stored: its slice is tried again. */
  #slice: { readonly found: readonly Found[]; readonly refused: readonly Refused[] } | undefined;

  constructor(
    job: StoredJob,
    options: TelemetryImportOptions,
    place: Place,
    files: ImportFiles,
  ) {
    this.#job = job;
    this.#options = options;
    this.#place = place;
    this.#files = files;
  }

  async step(): Promise<JobStep> {
    this.#slice ??= await this.#read();
    const { found, refused } = this.#slice;
    if (found.length === 0 && refused.length === 0) return await this.#finish();
    const [known, unknown] = await this.#known(found);
    const samples = known.map(({ sample }) => sample);
    const outcome = samples.length === 0
      ? { stored: 0, repeats: 0, expired: 0 }
      : await this.#options.telemetry().importSamples(samples);
    const all = [...refused, ...unknown].sort((one, other) => one.line - other.line);
    const { points, repeats, expired } = this.#place;
    this.#place = {
      upload: this.#files.records.place,
      report: await withRefused(this.#place.report, all, this.#files.writer),
      points: points + outcome.stored,
      repeats: repeats + outcome.repeats,
      expired: expired + outcome.expired,
    };
    this.#slice = undefined;
    return this.#told();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#files[Symbol.asyncDispose]();
  }

  async #read(): Promise<{ found: Found[]; refused: Refused[] }> {
    const { directory, clock } = this.#options;
    const { format, product } = this.#job.input as unknown as TableInput;
    const rules: SampleRules = {
      format,
      directory,
      project: this.#job.project,
      nowMs: clock.nowMs(),
      ...(product === undefined ? undefined : { product }),
    };
    const found: Found[] = [];
    const refused: Refused[] = [];
    for (const record of await this.#files.records.slice(JOB_LIMITS.jobSliceLines)) {
      const { line } = record;
      if (!record.ok) refused.push({ line, issue: record.issue });
      else {
        const read = sampleOf(record.fields, rules);
        refused.push(...read.refused.map((issue) => ({ line, issue })));
        if (read.sample !== undefined) found.push({ line, sample: read.sample });
      }
    }
    return { found, refused };
  }

  /** Those whose devices exist, and the others. */
  async #known(found: readonly Found[]): Promise<[readonly Found[], readonly Refused[]]> {
    const names = [...new Set(found.map(({ sample }) => sample.device))];
    if (names.length === 0) return [[], []];
    const devices = await this.#options.devices.find(names, { project: this.#job.project });
    const own = new Set(devices.map(({ product, device }) => `${product}/${device}`));
    const known = found.filter(({ sample }) => own.has(sample.device));
    const unknown = found.filter(({ sample }) => !own.has(sample.device)).map((each) => {
      const message = `Cannot find device ${quote(each.sample.device)}`;
      return { line: each.line, issue: { path: "device", rule: "unknown", message } };
    });
    return [known, unknown];
  }

  #told(): JobStep {
    const { upload, report, points, repeats } = this.#place;
    const repeated = repeats === 0 ? "" : `, ${repeats} were there`;
    return {
      progress: this.#files.progressAt(upload),
      checkpoint: { ...this.#place } as unknown as Json,
      detail: `${upload?.lines ?? 0} lines, ${points} points${repeated}, ${report.refused} refused`,
    };
  }

  async #finish(): Promise<JobStep> {
    const { report, points, repeats, expired } = this.#place;
    await this.#files.writer.sync();
    const { lines } = this.#files.records.place;
    const file = reportFile(`telemetry-import-${this.#job.id}.ndjson`, report);
    return {
      progress: 1,
      checkpoint: null,
      result: { lines, points, repeats, expired, ...reportResult(report) },
      ...(file === undefined ? undefined : { file }),
    };
  }
}
