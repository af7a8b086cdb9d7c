/** One record of an import as a device that is to be made. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Issue } from "../../runtime/errors.ts";
import type { NewDevice } from "../device/device_row.ts";
import { quote } from "../registry/names.ts";
import type { TableFormat } from "./upload_records.ts";

type Fields = { readonly [name: string]: Json };
type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** @param product Of a record that names none. */
export function newDeviceOf(
  fields: Fields,
  format: TableFormat,
  product: string | undefined,
): { readonly device: NewDevice } | { readonly issue: Issue } {
  const device: Partial<Mutable<NewDevice>> = product === undefined ? {} : { product };
  for (const [name, value] of Object.entries(format === "csv" ? typed(fields) : fields)) {
    switch (name) {
      case "product":
      case "device":
      case "name":
      case "secret":
        if (typeof value !== "string") return typeIssue(name, "a text");
        device[name] = value;
        break;
      case "enabled":
        if (typeof value !== "boolean") return typeIssue(name, "true or false");
        device.enabled = value;
        break;
      case "tags":
        if (!isTexts(value)) return typeIssue(name, "a list of texts");
        device.tags = value;
        break;
      default: {
        const message = `Cannot take field ${quote(name)}`;
        return { issue: { path: "", rule: "unknown", message } };
      }
    }
  }
  for (const name of ["product", "device"] as const) {
    if (device[name] === undefined) {
      return { issue: { path: name, rule: "required", message: `Cannot take no ${name}` } };
    }
  }
  return { device: device as NewDevice };
}

/** Cells as what they stand for; one that stands for nothing is left, and refused. */
function typed({ enabled, tags, ...rest }: Fields): Fields {
  const isFlag = enabled === "true" || enabled === "false";
  return {
    ...rest,
    ...(enabled === undefined ? undefined : { enabled: isFlag ? enabled === "true" : enabled }),
    ...(typeof tags !== "string" ? undefined : {
      tags: tags.split(";").map((tag) => tag.trim()).filter((tag) => tag !== ""),
    }),
  };
}

function isTexts(value: Json): value is readonly string[] & Json {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function typeIssue(path: string, wanted: string): { readonly issue: Issue } {
  return { issue: { path, rule: "type", message: `Cannot take this ${path}: not ${wanted}` } };
}
