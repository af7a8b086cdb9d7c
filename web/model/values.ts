/** Whether a value is what a data type takes, as the API decides it, before it is sent. */
import { BOUNDS, type DataType, enumValueOf, type ModelField } from "./thing_model.ts";

/** A key of `text.ts` and what stands in it. */
export interface ValueIssue {
  readonly path: string;
  readonly key:
    | "needed"
    | "not_number"
    | "not_whole"
    | "too_small"
    | "too_big"
    | "not_text"
    | "too_long"
    | "not_date"
    | "not_bool"
    | "not_listed"
    | "not_struct"
    | "not_array"
    | "too_many"
    | "unknown_field";
  readonly values: Readonly<Record<string, string | number>>;
}

type Found = Omit<ValueIssue, "path">;

/** @param value Undefined: absent. */
export function valueIssues(
  fields: readonly ModelField[],
  value: unknown,
  path = "",
): ValueIssue[] {
  if (!isObject(value)) return [{ path, key: "not_struct", values: {} }];
  const known = new Set(fields.map(({ identifier }) => identifier));
  const strangers = Object.keys(value).filter((name) => !known.has(name));
  return [
    ...fields.flatMap((field) => {
      const at = joined(path, field.identifier);
      const own = value[field.identifier];
      if (own !== undefined) return typeIssues(field.dataType, own, at);
      return field.required ? [{ path: at, key: "needed" as const, values: {} }] : [];
    }),
    ...strangers.map((name) => ({
      path: joined(path, name),
      key: "unknown_field" as const,
      values: { name },
    })),
  ];
}

function typeIssues(
  dataType: DataType,
  value: unknown,
  path: string,
): ValueIssue[] {
  if (dataType.type === "struct") {
    return valueIssues(dataType.specs, value, path);
  }
  if (dataType.type === "array") return arrayIssues(dataType, value, path);
  const found = flatIssue(dataType, value);
  return found === undefined ? [] : [{ path, ...found }];
}

function arrayIssues(
  { specs }: DataType & { readonly type: "array" },
  value: unknown,
  path: string,
): ValueIssue[] {
  if (!Array.isArray(value)) return [{ path, key: "not_array", values: {} }];
  const max = specs.size ?? BOUNDS.arrayItemsMax;
  if (value.length > max) return [{ path, key: "too_many", values: { max } }];
  return value.flatMap((item, at) => typeIssues(specs.item, item, joined(path, String(at))));
}

type FlatType = Exclude<DataType, { readonly type: "struct" | "array" }>;

function flatIssue(dataType: FlatType, value: unknown): Found | undefined {
  switch (dataType.type) {
    case "int":
    case "float":
    case "double":
      return numberIssue(dataType, value);
    case "text": {
      const max = dataType.specs?.length ?? BOUNDS.textCharactersMax;
      if (typeof value !== "string") return { key: "not_text", values: {} };
      return value.length > max ? { key: "too_long", values: { max } } : undefined;
    }
    case "date": {
      const isDate = typeof value === "string"
        ? /^\d{1,15}$/.test(value)
        : Number.isSafeInteger(value) && Number(value) >= 0;
      return isDate ? undefined : { key: "not_date", values: {} };
    }
    case "bool":
      return [true, false, 0, 1].includes(value as boolean)
        ? undefined
        : { key: "not_bool", values: {} };
    case "enum": {
      const keys = Object.keys(dataType.specs);
      if (keys.some((key) => enumValueOf(key) === value)) return undefined;
      return {
        key: "not_listed",
        values: { list: keys.slice(0, 16).join(", ") },
      };
    }
  }
}

function numberIssue(
  { type, specs }: DataType & { readonly type: "int" | "float" | "double" },
  value: unknown,
): Found | undefined {
  if (typeof value !== "number" || !Number.isFinite(value)) {
    return { key: "not_number", values: {} };
  }
  if (type === "int" && !Number.isSafeInteger(value)) {
    return { key: "not_whole", values: {} };
  }
  const { min, max } = specs ?? {};
  if (min !== undefined && value < min) {
    return { key: "too_small", values: { min } };
  }
  return max !== undefined && value > max ? { key: "too_big", values: { max } } : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function joined(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}
