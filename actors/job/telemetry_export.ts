/**
 * Exports history: the points of devices in a span of time, device by device, as CSV
 * (`product,device,key,at,value`) or NDJSON (`{"product","device","at","values"}`), which the import
 * takes back; or their events.
 */
import type { Json } from "../../runtime/actor/behaviour.ts";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import type { FinderQuery } from "../device/device_finder.ts";
import type { Outcome, Page } from "../registry/outcome.ts";
import type { TelemetryQueries } from "../telemetry/worker.ts";
import { type ExportedKind, type ExportSource, exportSource } from "./export_sources.ts";
import { JobError, type JobKind, type JobStep, type JobWork, type StoredJob } from "./job.ts";
import type { JobFiles, JobFileWriter } from "./job_files.ts";
import type { TableFormat } from "./upload_records.ts";

export interface TelemetryExportInput {
  readonly format: TableFormat;
  /** Default: `points`. */
  readonly kind?: ExportedKind;
  /** Of this product; default: of all of the project. */
  readonly product?: string;
  /** `{product}/{device}`; default: all. */
  readonly devices?: readonly string[];
  /** Properties, or names of events. Default: all that a device has. */
  readonly keys?: readonly string[];
  /** Inclusive, epoch milliseconds. */
  readonly fromMs: number;
  /** Exclusive. */
  readonly toMs: number;
}

export interface DeviceNames {
  list(
    query: FinderQuery,
  ): Promise<Outcome<Page<{ readonly product: string; readonly device: string }>>>;
  count(filter: { readonly project: string; readonly product?: string }): Promise<number | null>;
}

export interface TelemetryExportOptions {
  readonly files: JobFiles;
  readonly devices: DeviceNames;
  /** Project of a product; undefined: there is no such product. */
  readonly projectOf: (product: string) => string | undefined;
  readonly telemetry: () => Pick<TelemetryQueries, "range" | "latest" | "events">;
}

/** Where an export stands: everything before is in the file. */
interface Place {
  /** Devices that are done. */
  readonly done: number;
  readonly total: number;
  /** Cursor of the list of devices, for the page that `names` came from. */
  readonly listed: string | null;
  /** Devices of that page that are left; the first is under way. */
  readonly names: readonly string[];
  readonly isListEnd: boolean;
  /** Keys of the first device that are left; null: not looked up yet. */
  readonly keys: readonly string[] | null;
  readonly cursor: string | null;
  readonly bytes: number;
  /** Points, or events. */
  readonly points: number;
}

const ENCODER = new TextEncoder();
const DEVICES_PER_PAGE = 100;
export const MEDIA_TYPES: Readonly<Record<TableFormat, string>> = {
  csv: "text/csv; charset=utf-8",
  ndjson: "application/x-ndjson",
};

export function telemetryExport(options: TelemetryExportOptions): JobKind {
  return {
    kind: "telemetryExport",
    open: async (job) => {
      const input = job.input as unknown as TelemetryExportInput;
      const place = job.checkpoint as unknown as Place | null ??
        await firstPlace(job, input, options);
      const writer = await options.files.write(job.id, "out", place.bytes);
      return new ExportWork(job, input, place, writer, options);
    },
  };
}

async function firstPlace(
  { project }: StoredJob,
  { devices, product }: TelemetryExportInput,
  options: TelemetryExportOptions,
): Promise<Place> {
  const filter = { project, ...(product === undefined ? undefined : { product }) };
  const total = devices?.length ?? await options.devices.count(filter) ?? 0;
  return {
    done: 0,
    total,
    listed: null,
    names: devices ?? [],
    isListEnd: devices !== undefined,
    keys: null,
    cursor: null,
    bytes: 0,
    points: 0,
  };
}

class ExportWork implements JobWork {
  readonly #job: StoredJob;
  readonly #input: TelemetryExportInput;
  readonly #options: TelemetryExportOptions;
  readonly #writer: JobFileWriter;
  readonly #source: ExportSource;
  #place: Place;

  constructor(
    job: StoredJob,
    input: TelemetryExportInput,
    place: Place,
    writer: JobFileWriter,
    options: TelemetryExportOptions,
  ) {
    this.#job = job;
    this.#input = input;
    this.#place = place;
    this.#writer = writer;
    this.#options = options;
    this.#source = exportSource(this.#kind, input, options.telemetry);
  }

  get #kind(): ExportedKind {
    return this.#input.kind ?? "points";
  }

  async step(): Promise<JobStep> {
    const { format } = this.#input;
    if (this.#writer.offset === 0 && format === "csv") {
      await this.#writer.write(ENCODER.encode(this.#source.header));
      this.#place = { ...this.#place, bytes: this.#writer.offset };
    }
    if (this.#place.names.length === 0) {
      if (this.#place.isListEnd) return await this.#finish();
      await this.#list();
    } else if (this.#place.keys === null) await this.#lookUp();
    else if (this.#place.keys.length === 0) this.#leaveDevice();
    else await this.#copy(this.#place.keys);
    const { done, total, points } = this.#place;
    return {
      progress: total === 0 ? 0 : Math.min(0.999, done / total),
      checkpoint: { ...this.#place } as unknown as Json,
      detail: `${done} of ${total} devices, ${points} ${this.#kind}`,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer[Symbol.asyncDispose]();
  }

  async #list(): Promise<void> {
    const { project } = this.#job;
    const { product } = this.#input;
    const page = await this.#options.devices.list({
      project,
      limit: DEVICES_PER_PAGE,
      ...(product === undefined ? undefined : { product }),
      ...(this.#place.listed === null ? undefined : { cursor: this.#place.listed }),
    });
    if (!page.ok) throw new JobError("invalid", page.message);
    const { items, nextCursor } = page.value;
    this.#place = {
      ...this.#place,
      listed: nextCursor,
      names: items.map(({ product, device }) => `${product}/${device}`),
      isListEnd: nextCursor === null,
    };
  }

  /** Which keys the device under way has: one that lost its project meanwhile has none. */
  async #lookUp(): Promise<void> {
    const name = this.#place.names[0]!;
    const isOwn = this.#options.projectOf(name.split("/")[0]!) === this.#job.project;
    const wanted = this.#input.keys;
    const keys = !isOwn ? [] : wanted ?? await this.#source.namesOf(name);
    this.#place = { ...this.#place, keys, cursor: null };
  }

  #leaveDevice(): void {
    const { names, done } = this.#place;
    this.#place = { ...this.#place, names: names.slice(1), done: done + 1, keys: null };
  }

  async #copy(keys: readonly string[]): Promise<void> {
    const device = this.#place.names[0]!;
    const { text, count, names, nextCursor } = await this.#source.page(
      device,
      keys,
      this.#place.cursor,
    );
    await this.#writer.write(ENCODER.encode(text));
    this.#place = {
      ...this.#place,
      keys: nextCursor === null ? keys.slice(names) : keys,
      cursor: nextCursor,
      bytes: this.#writer.offset,
      points: this.#place.points + count,
    };
  }

  async #finish(): Promise<JobStep> {
    await this.#writer.sync();
    const { done: devices, points, bytes } = this.#place;
    const { format } = this.#input;
    return {
      progress: 1,
      checkpoint: null,
      result: { devices, [this.#kind]: points, bytes },
      file: {
        mediaType: MEDIA_TYPES[format],
        name: `${this.#kind === "events" ? "events" : "telemetry"}-${this.#job.id}.${format}`,
        keptMs: JOB_LIMITS.jobResultMs,
      },
    };
  }
}
