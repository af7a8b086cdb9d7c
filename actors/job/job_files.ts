/**
 * Files of jobs: what was uploaded (`{id}.in`) and what is to be fetched (`{id}.out`). Mode 600, in a
 * folder of the data directory; bounded together and for each project, and they leave the log its
 * reserve of the disk.
 *
 * The caller's duty: `own` before the first `write` of a job, and of the files that are there at a start.
 */
import { statfsSync } from "node:fs";
import { join } from "node:path";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { JobError } from "./job.ts";

export type FileRole = "in" | "out";

export interface JobFilesOptions {
  /** Made if it is not there. */
  readonly path: string;
  /** Default: `LIMITS`. */
  readonly fileBytesMax?: number;
  readonly filesBytesMax?: number;
  readonly filesBytesOfProjectMax?: number;
  /** Bytes free where they are. Default: as the disk says. */
  readonly freeBytes?: () => number;
}

/** Far above `diskReserveBytes`: an export must not be what stops the ingress. */
const RESERVE_BYTES = 4 * LIMITS.diskReserveBytes;

export class JobFiles {
  readonly #path: string;
  readonly #fileBytesMax: number;
  readonly #filesBytesMax: number;
  readonly #filesBytesOfProjectMax: number;
  readonly #freeBytes: () => number;
  /** Bytes by file name. */
  readonly #sizes = new Map<string, number>();
  #bytes = 0;
  /** Project by job. */
  readonly #owners = new Map<string, string>();
  /** Bytes by project, of the jobs in `#owners`. */
  readonly #shares = new Map<string, number>();

  constructor(options: JobFilesOptions) {
    this.#path = options.path;
    this.#fileBytesMax = options.fileBytesMax ?? JOB_LIMITS.jobFileBytesMax;
    this.#filesBytesMax = options.filesBytesMax ?? JOB_LIMITS.jobFilesBytesMax;
    this.#filesBytesOfProjectMax = options.filesBytesOfProjectMax ??
      JOB_LIMITS.jobFilesBytesOfProjectMax;
    this.#freeBytes = options.freeBytes ?? (() => {
      const disk = statfsSync(options.path);
      return disk.bavail * disk.bsize;
    });
    Deno.mkdirSync(options.path, { recursive: true, mode: 0o700 });
    for (const { name, isFile } of Deno.readDirSync(options.path)) {
      if (isFile) this.#resize(name, Deno.statSync(join(options.path, name)).size);
    }
  }

  /** Of all files together. */
  get bytes(): number {
    return this.#bytes;
  }

  bytesOf(project: string): number {
    return this.#shares.get(project) ?? 0;
  }

  /** From now on the files of the job count as the project's. */
  own(id: string, project: string): void {
    if (this.#owners.has(id)) return;
    this.#owners.set(id, project);
    this.#share(id, (this.sizeOf(id, "in") ?? 0) + (this.sizeOf(id, "out") ?? 0));
  }

  /** Ids of jobs that have files. */
  ids(): string[] {
    return [...new Set([...this.#sizes.keys()].map(idOf))];
  }

  sizeOf(id: string, role: FileRole): number | undefined {
    return this.#sizes.get(nameOf(id, role));
  }

  /** For reading. Undefined: there is no such file. */
  async open(id: string, role: FileRole): Promise<Deno.FsFile | undefined> {
    try {
      return await Deno.open(join(this.#path, nameOf(id, role)), { read: true });
    } catch (fault) {
      if (fault instanceof Deno.errors.NotFound) return undefined;
      throw fault;
    }
  }

  /**
   * For writing from `offset` on; what stands behind it is cut off.
   * @throws {JobError} It ends before: the host went down before it was on disk.
   */
  async write(id: string, role: FileRole, offset = 0): Promise<JobFileWriter> {
    const name = nameOf(id, role);
    if ((this.#sizes.get(name) ?? 0) < offset) {
      throw new JobError("interrupted", "The end of its file was lost when the host went down");
    }
    const file = await Deno.open(join(this.#path, name), {
      write: true,
      create: true,
      mode: 0o600,
    });
    await file.truncate(offset);
    await file.seek(offset, Deno.SeekMode.Start);
    this.#resize(name, offset);
    return new JobFileWriter(file, offset, (bytes) => this.#grow(name, bytes));
  }

  /** Nothing if it is not there. */
  async remove(id: string, role: FileRole): Promise<void> {
    const name = nameOf(id, role);
    await Deno.remove(join(this.#path, name)).catch((fault) => {
      if (!(fault instanceof Deno.errors.NotFound)) throw fault;
    });
    this.#resize(name, 0);
    this.#sizes.delete(name);
    const isLast = !this.#sizes.has(nameOf(id, "in")) && !this.#sizes.has(nameOf(id, "out"));
    if (isLast) this.#owners.delete(id);
  }

  /** @throws {JobError} A bound is reached. */
  #grow(name: string, bytes: number): void {
    const size = (this.#sizes.get(name) ?? 0) + bytes;
    if (size > this.#fileBytesMax) {
      throw new JobError("too-large", `Cannot write ${size} B: the bound is ${this.#fileBytesMax}`);
    }
    if (this.#bytes + bytes > this.#filesBytesMax) {
      const detail = `Cannot write more: files of jobs have ${this.#bytes} B, the bound is ` +
        `${this.#filesBytesMax}`;
      throw new JobError("overloaded", detail);
    }
    const share = this.bytesOf(this.#owners.get(idOf(name)) ?? "");
    if (share + bytes > this.#filesBytesOfProjectMax) {
      const detail = `Cannot write more: files of the project's jobs have ${share} B, ` +
        `jobFilesBytesOfProjectMax is ${this.#filesBytesOfProjectMax}`;
      throw new JobError("overloaded", detail);
    }
    const free = bytes > 0 ? this.#freeBytes() : Infinity;
    if (free - bytes < RESERVE_BYTES) {
      const detail = `Cannot write more: ${free} B of disk are free, ${RESERVE_BYTES} are kept`;
      throw new JobError("overloaded", detail);
    }
    this.#resize(name, size);
  }

  #resize(name: string, size: number): void {
    const added = size - (this.#sizes.get(name) ?? 0);
    this.#bytes += added;
    this.#sizes.set(name, size);
    this.#share(idOf(name), added);
  }

  #share(id: string, added: number): void {
    const project = this.#owners.get(id);
    if (project === undefined) return;
    const share = this.bytesOf(project) + added;
    if (share === 0) this.#shares.delete(project);
    else this.#shares.set(project, share);
  }
}

export class JobFileWriter implements AsyncDisposable {
  /** Bytes up to where it is written. */
  offset: number;
  readonly #file: Deno.FsFile;
  readonly #grow: (bytes: number) => void;
  #isOpen = true;

  constructor(file: Deno.FsFile, offset: number, grow: (bytes: number) => void) {
    this.#file = file;
    this.offset = offset;
    this.#grow = grow;
  }

  /** @throws {JobError} A bound is reached; nothing is written. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#grow(bytes.length);
    for (let at = 0; at < bytes.length;) at += await this.#file.write(bytes.subarray(at));
    this.offset += bytes.length;
  }

  /** What stands behind `offset` goes. */
  async cut(offset: number): Promise<void> {
    await this.#file.truncate(offset);
    await this.#file.seek(offset, Deno.SeekMode.Start);
    this.#grow(offset - this.offset);
    this.offset = offset;
  }

  /** On disk when it resolves. */
  async sync(): Promise<void> {
    await this.#file.syncData();
  }

  [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOpen) this.#file.close();
    this.#isOpen = false;
    return Promise.resolve();
  }
}

function idOf(name: string): string {
  return name.slice(0, name.lastIndexOf("."));
}

function nameOf(id: string, role: FileRole): string {
  return `${id}.${role}`;
}
