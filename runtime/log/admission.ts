/** Whether the log takes ingress: below its bounds, sends and reminders must still fit. */
import { LIMITS } from "../limits.ts";
import type { StepView } from "./log_step.ts";
import type { AppendOutcome } from "./partition_log.ts";

const OVERLOADED_RETRY_MS = 250;
const DISK_RETRY_MS = 1_000;

/** @param records Pending ones, those of this step as well. @param stepBytes Bytes of this step. */
export function refusalOfIngress(
  view: StepView,
  records: number,
  stepBytes: number,
): AppendOutcome | undefined {
  const { scarceDiskBytes, logBytes, logBytesMax, pendingRecordsMax } = view;
  if (scarceDiskBytes !== undefined) {
    const detail = `${scarceDiskBytes} B of disk are free: diskReserveBytes is ` +
      `${LIMITS.diskReserveBytes}`;
    return { ok: false, code: "disk_reserve", detail, retryAfterMs: DISK_RETRY_MS };
  }
  const bytes = logBytes + stepBytes;
  const full = records >= LIMITS.admissionRatio * pendingRecordsMax
    ? `${records} records are pending: pendingRecordsMax is ${pendingRecordsMax}`
    : bytes >= LIMITS.admissionRatio * logBytesMax
    ? `the log has ${bytes} B: logBytesMax is ${logBytesMax}`
    : undefined;
  if (full === undefined) return undefined;
  const detail = `${full}, ingress stops at ${LIMITS.admissionRatio} of it`;
  return { ok: false, code: "overloaded", detail, retryAfterMs: OVERLOADED_RETRY_MS };
}
