/**
 * Creates many devices. A slice is one transaction of the registry, with the job's checkpoint in it; the
 * secrets that were made for it are on disk before it is committed. So after a crash no device is made
 * twice, and none is there whose secret is lost. Devices that exist stay as they are.
 */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Issue } from "../../runtime/errors.ts";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import type { Random } from "../../runtime/random.ts";
import type { DeviceRegistry } from "../device/registry.ts";
import { deviceIssues, type NewDevice } from "../device/device_row.ts";
import type { ManyCreated } from "../device/device_import.ts";
import { createSecret } from "../device/secret.ts";
import { quote } from "../registry/names.ts";
import { csvLine } from "./csv.ts";
import { newDeviceOf } from "./imported_device.ts";
import { type ImportFiles, openImport, type TableInput } from "./import_files.ts";
import { JobError, type JobKind, type JobStep, type JobWork, type StoredJob } from "./job.ts";
import type { JobFiles } from "./job_files.ts";
import type { Jobs } from "./jobs.ts";
import type { Refused } from "./refusal_report.ts";
import type { UploadPlace } from "./upload_lines.ts";

export interface DeviceImportOptions {
  readonly jobs: Pick<Jobs, "advanceIn">;
  readonly files: JobFiles;
  readonly devices: Pick<DeviceRegistry, "createMany">;
  readonly random: Random;
}

interface Place {
  readonly upload: UploadPlace | null;
  /** Of the file of results. */
  readonly bytes: number;
  readonly created: number;
  readonly existing: number;
  readonly refused: number;
}

interface Asked {
  readonly line: number;
  readonly input: NewDevice;
  readonly isSecretMade: boolean;
}

interface Slice {
  readonly asked: ReadonlyMap<string, Asked>;
  /** Names that came before in the same slice. */
  readonly twice: number;
  readonly refused: readonly Refused[];
}

const COLUMNS = {
  required: ["device"],
  optional: ["product", "name", "tags", "enabled", "secret"],
};
const START: Place = { upload: null, bytes: 0, created: 0, existing: 0, refused: 0 };
const ENCODER = new TextEncoder();
const HEADER = ["line", "product", "device", "status", "secret", "path", "rule", "message"];
const MESSAGE_CHARACTERS_MAX = 300;

export function deviceImport(options: DeviceImportOptions): JobKind {
  return {
    kind: "deviceImport",
    async open(job) {
      const place = job.checkpoint as unknown as Place | null ?? START;
      const { upload, bytes } = place;
      const files = await openImport(options.files, job, COLUMNS, upload, bytes);
      return new ImportWork(job, options, place, files);
    },
  };
}

class ImportWork implements JobWork {
  readonly #job: StoredJob;
  readonly #input: TableInput;
  readonly #options: DeviceImportOptions;
  readonly #files: ImportFiles;
  #place: Place;
  /** What was read and could not be made: it is tried again. */
  #slice: Slice | undefined;

  constructor(
    job: StoredJob,
    options: DeviceImportOptions,
    place: Place,
    files: ImportFiles,
  ) {
    this.#job = job;
    this.#input = job.input as unknown as TableInput;
    this.#options = options;
    this.#place = place;
    this.#files = files;
  }

  async step(): Promise<JobStep> {
    this.#slice ??= await this.#read();
    if (this.#slice.asked.size === 0 && this.#slice.refused.length === 0) return this.#finish();
    try {
      await this.#create(this.#slice);
    } catch (fault) {
      await this.#files.writer.cut(this.#place.bytes);
      // Devices were made: their secrets must not go with a job that has failed.
      if (fault instanceof JobError && this.#place.created > 0) return this.#finish(fault.message);
      throw fault;
    }
    this.#slice = undefined;
    const { created, existing, refused, upload } = this.#place;
    return {
      progress: this.#files.progressAt(upload),
      checkpoint: { ...this.#place } as unknown as Json,
      detail: `${created} made, ${existing} were there, ${refused} lines refused`,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#files[Symbol.asyncDispose]();
  }

  async #read(): Promise<Slice> {
    const { format, product } = this.#input;
    const asked = new Map<string, Asked>();
    const refused: Refused[] = [];
    let twice = 0;
    for (const record of await this.#files.records.slice(JOB_LIMITS.jobSliceDevices)) {
      const { line } = record;
      if (!record.ok) {
        refused.push({ line, issue: record.issue });
        continue;
      }
      const read = newDeviceOf(record.fields, format, product);
      const issues: readonly Issue[] = "issue" in read ? [read.issue] : deviceIssues(read.device);
      refused.push(...issues.map((issue) => ({ line, issue })));
      if ("issue" in read || issues.length > 0) continue;
      const { device } = read;
      const name = `${device.product}/${device.device}`;
      if (asked.has(name)) twice++;
      else {
        const secret = device.secret ?? tableSecret(this.#options.random);
        const isSecretMade = device.secret === undefined;
        asked.set(name, { line, input: { ...device, secret }, isSecretMade });
      }
    }
    return { asked, twice, refused };
  }

  async #create({ asked, twice, refused }: Slice): Promise<void> {
    const { devices, jobs } = this.#options;
    const inputs = [...asked.values()].map(({ input }) => input);
    const settle = async (outcome: ManyCreated): Promise<Place> => {
      const all = [...refused, ...outcome.unknown.map((input) => unknownProduct(input, asked))]
        .sort((one, other) => one.line - other.line);
      await this.#files.writer.write(ENCODER.encode(this.#textOf(outcome, asked, all)));
      await this.#files.writer.sync();
      const { created, existing, refused: before } = this.#place;
      return {
        upload: this.#files.records.place,
        bytes: this.#files.writer.offset,
        created: created + outcome.created.length,
        existing: existing + outcome.existing.length + twice,
        refused: before + new Set(all.map(({ line }) => line)).size,
      };
    };
    if (inputs.length === 0) {
      this.#place = await settle({ created: [], existing: [], unknown: [] });
      return;
    }
    let place = this.#place;
    await devices.createMany(this.#job.project, inputs, async (transaction, outcome) => {
      place = await settle(outcome);
      await jobs.advanceIn(transaction, this.#job.id, { ...place } as unknown as Json);
    });
    this.#place = place;
  }

  #textOf(
    { created }: ManyCreated,
    asked: ReadonlyMap<string, Asked>,
    refused: readonly Refused[],
  ): string {
    const made = created.map(({ device: { product, device }, secret }) => {
      const { line, isSecretMade } = asked.get(`${product}/${device}`)!;
      const shown = isSecretMade ? { secret } : undefined;
      return { line, product, device, status: "created", ...shown };
    });
    const room = Math.max(0, JOB_LIMITS.jobRefusalsMax - this.#place.refused);
    const left = refused.slice(0, room).map(({ line, issue: { path, rule, message } }) => {
      const short = message.slice(0, MESSAGE_CHARACTERS_MAX);
      return { line, status: "refused", path, rule, message: short };
    });
    const rows: Readonly<Record<string, string | number>>[] = [...made, ...left];
    if (this.#input.format === "ndjson") {
      return rows.map((row) => JSON.stringify(row) + "\n").join("");
    }
    const header = this.#files.writer.offset === 0 ? csvLine(HEADER) : "";
    return header + rows.map((row) => csvLine(HEADER.map((name) => row[name] ?? ""))).join("");
  }

  /** @param stopped Why it ends before the end of its upload. */
  #finish(stopped?: string): JobStep {
    const { created, existing, refused } = this.#place;
    const { format } = this.#input;
    const lines = this.#place.upload?.lines ?? this.#files.records.place.lines;
    return {
      progress: 1,
      checkpoint: null,
      result: {
        lines,
        created,
        existing,
        refused,
        ...(stopped === undefined ? undefined : { stopped }),
      },
      ...(this.#place.bytes === 0 ? undefined : {
        file: {
          mediaType: format === "csv" ? "text/csv; charset=utf-8" : "application/x-ndjson",
          name: `device-import-${this.#job.id}.${format}`,
          keptMs: JOB_LIMITS.jobSecretResultMs,
        },
      }),
    };
  }
}

/** One that begins with a letter or digit: in a table it needs no guard, and is copied as it is. */
function tableSecret(random: Random): string {
  for (;;) {
    const secret = createSecret(random);
    if (/^[A-Za-z0-9]/.test(secret)) return secret;
  }
}

function unknownProduct(input: NewDevice, asked: ReadonlyMap<string, Asked>): Refused {
  const { line } = asked.get(`${input.product}/${input.device}`)!;
  const message = `Cannot find product ${quote(input.product)}`;
  return { line, issue: { path: "product", rule: "unknown", message } };
}
