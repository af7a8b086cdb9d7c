/** What an import reads and writes: its upload from where it was left, and the file of its result. */
import { JobError, type StoredJob } from "./job.ts";
import type { JobFiles, JobFileWriter } from "./job_files.ts";
import type { UploadPlace } from "./upload_lines.ts";
import { type RecordColumns, type TableFormat, UploadRecords } from "./upload_records.ts";

/** Input of a job that imports a table. */
export interface TableInput {
  readonly format: TableFormat;
  /** Of lines that name none. */
  readonly product?: string;
}

export interface ImportFiles extends AsyncDisposable {
  readonly records: UploadRecords;
  readonly writer: JobFileWriter;
  /** Of the upload that is read, 0 to below 1: the end is told when it is done. */
  progressAt(place: UploadPlace | null): number;
}

const PROGRESS_MAX = 0.999;

/**
 * @param place As it was left; null: at the beginning. @param bytes Of the result, up to there.
 * @throws {JobError} A file is not there, or shorter; the columns of a table are not such.
 */
export async function openImport(
  files: JobFiles,
  { id, input }: StoredJob,
  columns: RecordColumns,
  place: UploadPlace | null,
  bytes: number,
): Promise<ImportFiles> {
  await using opened = new AsyncDisposableStack();
  const file = await files.open(id, "in");
  if (file === undefined) throw new JobError("interrupted", "Its upload is not there any more");
  opened.defer(() => file.close());
  const { format } = input as unknown as TableInput;
  const records = await UploadRecords.open(file, format, columns, place);
  const writer = opened.use(await files.write(id, "out", bytes));
  const resources = opened.move();
  return {
    records,
    writer,
    progressAt: (at) => {
      const size = files.sizeOf(id, "in") ?? 0;
      return size === 0 ? 0 : Math.min(PROGRESS_MAX, (at?.bytes ?? 0) / size);
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
