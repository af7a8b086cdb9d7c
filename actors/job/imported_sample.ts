/** One record of an import as a sample, checked as a device's message is, but for its age. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Issue } from "../../runtime/errors.ts";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { RegistryDirectory } from "../device/device_directory.ts";
import type { Values } from "../device/messages.ts";
import { faultOf } from "../device/uplink.ts";
import { nameIssues, quote } from "../registry/names.ts";
import type { ImportedSample } from "../telemetry/store.ts";
import { valueOfCell } from "./csv.ts";
import type { TableFormat } from "./upload_records.ts";

export interface SampleRules {
  readonly format: TableFormat;
  readonly directory: Pick<RegistryDirectory, "projectOf" | "validate">;
  readonly project: string;
  /** Of records that name none. */
  readonly product?: string;
  readonly nowMs: number;
}

export interface ReadSample {
  /** What can be kept of it, if anything. */
  readonly sample?: ImportedSample;
  readonly refused: readonly Issue[];
}

type Fields = { readonly [name: string]: Json };

const FIELDS = ["product", "device", "at", "key", "value", "values"];
const DAY_MS = 86_400_000;
const WHOLE = /^-?\d{1,16}$/;

export function sampleOf(fields: Fields, rules: SampleRules): ReadSample {
  const unknown = Object.keys(fields).find((name) => !FIELDS.includes(name));
  if (unknown !== undefined) return refused("", "unknown", `Cannot take field ${quote(unknown)}`);
  const name = nameOf(fields, rules);
  if (typeof name !== "string") return { refused: [name] };
  const product = name.slice(0, name.indexOf("/"));
  if (rules.directory.projectOf(product) !== rules.project) {
    // In the words of what does not exist: it may be another project's.
    return refused("device", "unknown", `Cannot find device ${quote(name)}`);
  }
  const atMs = timeOf(fields.at, rules);
  if (typeof atMs !== "number") return { refused: [atMs] };
  const values = valuesOf(fields, rules);
  if (!("values" in values)) return { refused: [values] };
  const checked = rules.directory.validate(product, values.values);
  if (Object.keys(checked.values).length === 0) return { refused: checked.refused };
  return { sample: { device: name, atMs, values: checked.values }, refused: checked.refused };
}

/** `{product}/{device}`. */
function nameOf({ product, device }: Fields, rules: SampleRules): string | Issue {
  if (typeof device !== "string") return issue("device", "type", "Cannot take no device");
  if (product !== undefined && typeof product !== "string") {
    return issue("product", "type", "Cannot take a product that is no text");
  }
  const slash = device.indexOf("/");
  const ofDevice = slash === -1 ? undefined : device.slice(0, slash);
  const named = product ?? ofDevice ?? rules.product;
  if (named === undefined) return issue("product", "required", "Cannot take no product");
  const own = slash === -1 ? device : device.slice(slash + 1);
  if (ofDevice !== undefined && product !== undefined && ofDevice !== product) {
    return issue(
      "device",
      "product",
      `Cannot take ${quote(device)} as a device of ${quote(product)}`,
    );
  }
  const issues = [...nameIssues("product", named), ...nameIssues("device", own)];
  return issues[0] ?? `${named}/${own}`;
}

function timeOf(at: Json | undefined, { format, nowMs }: SampleRules): number | Issue {
  const atMs = format === "csv" && typeof at === "string" && WHOLE.test(at) ? Number(at) : at;
  if (typeof atMs !== "number" || !Number.isSafeInteger(atMs)) {
    return issue("at", "type", "Cannot take this time: whole epoch milliseconds");
  }
  if (atMs > nowMs + LIMITS.aheadMsMax) {
    const message = `Cannot take time ${atMs}: more than ${LIMITS.aheadMsMax} ms ahead of ${nowMs}`;
    return issue("at", "ahead", message);
  }
  const days = JOB_LIMITS.importLateDaysMax;
  if (atMs >= 0 && atMs >= nowMs - days * DAY_MS) return atMs;
  return issue("at", "late", `Cannot take time ${atMs}: older than ${days} days before ${nowMs}`);
}

function valuesOf(fields: Fields, { format }: SampleRules): { readonly values: Values } | Issue {
  const { key, value, values } = fields;
  if (values !== undefined) {
    if (key !== undefined || value !== undefined) {
      return issue("values", "conflict", "Cannot take both values and key with value");
    }
    if (typeof values !== "object" || values === null || Array.isArray(values)) {
      return issue("values", "type", "Cannot take values that are no object");
    }
    const count = Object.keys(values).length;
    if (count === 0 || count > LIMITS.pointsPerMessageMax) {
      const message = `Cannot take ${count} values: 1 to ${LIMITS.pointsPerMessageMax}`;
      return issue("values", "count", message);
    }
    const fault = faultOf(values);
    return fault === undefined ? { values: values as Values } : issue("values", "value", fault);
  }
  if (typeof key !== "string") return issue("key", "required", "Cannot take no key");
  if (value === undefined) return issue("value", "required", "Cannot take no value");
  const bad = nameIssues("key", key)[0];
  if (bad !== undefined) return bad;
  const told = format === "csv" && typeof value === "string" ? valueOfCell(value) : value;
  const fault = faultOf(told);
  return fault === undefined ? { values: { [key]: told } } : issue("value", "value", fault);
}

function issue(path: string, rule: string, message: string): Issue {
  return { path, rule, message };
}

function refused(path: string, rule: string, message: string): ReadSample {
  return { refused: [issue(path, rule, message)] };
}
