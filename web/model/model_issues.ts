/**
 * What is wrong with a thing model, by path, as the API decides it: told while it is written. A draft
 * is any JSON object; what it has beside the known fields is kept.
 */
import { BOUNDS, NAME } from "./thing_model.ts";

export type Shape = Readonly<Record<string, unknown>>;

export interface ModelIssue {
  /** `properties.0.dataType.specs.min`; empty: the whole. */
  readonly path: string;
  readonly key:
    | "bad_name"
    | "twice"
    | "title_long"
    | "no_type"
    | "min_above_max"
    | "spec_number"
    | "spec_count"
    | "enum_count"
    | "struct_count"
    | "too_deep"
    | "too_many_features"
    | "too_many_fields"
    | "too_large"
    | "not_list";
  readonly values: Readonly<Record<string, string | number>>;
}

export const FEATURES = ["properties", "events", "services"] as const;
export type FeatureKind = typeof FEATURES[number];

export function isShape(value: unknown): value is Shape {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Objects of a list; others have no form. */
export function shapesOf(value: unknown): readonly Shape[] {
  return Array.isArray(value) ? value.filter(isShape) : [];
}

/** Rules of the API, with words of their own: `told_{rule}`. */
export const TOLD_RULES = [
  "invalid_type",
  "invalid_value",
  "invalid_format",
  "invalid_key",
  "too_big",
  "too_small",
  "unrecognized_keys",
  "forbidden",
  "unicode",
  "depth",
] as const;

/** Key of the words for a rule that the API says is broken. */
export function toldKey(rule: string): `told_${typeof TOLD_RULES[number] | "other"}` {
  return `told_${TOLD_RULES.find((each) => each === rule) ?? "other"}`;
}

export function modelIssues(draft: Shape): ModelIssue[] {
  const found: ModelIssue[] = [];
  const bytes = new TextEncoder().encode(JSON.stringify(draft)).length;
  if (bytes > BOUNDS.modelBytesMax) {
    found.push({
      path: "",
      key: "too_large",
      values: { bytes, max: BOUNDS.modelBytesMax },
    });
  }
  for (const kind of FEATURES) {
    checkList(draft[kind], kind, BOUNDS.featuresMax, found);
  }
  return found;
}

function checkList(
  list: unknown,
  path: string,
  max: number,
  found: ModelIssue[],
): void {
  if (list === undefined) return;
  if (!Array.isArray(list)) {
    return void found.push({ path, key: "not_list", values: {} });
  }
  if (list.length > max) {
    const isFeatures = !path.includes(".");
    const key = isFeatures ? "too_many_features" : "too_many_fields";
    found.push({ path, key, values: { max } });
  }
  const names = new Set<unknown>();
  for (const [at, each] of list.entries()) {
    if (!isShape(each)) continue; // A name of a property, in the data of an event or service.
    const { identifier } = each;
    const own = `${path}.${at}`;
    if (typeof identifier !== "string" || !NAME.test(identifier)) {
      found.push({ path: `${own}.identifier`, key: "bad_name", values: {} });
    } else if (names.has(identifier)) {
      found.push({
        path: `${own}.identifier`,
        key: "twice",
        values: { name: identifier },
      });
    }
    names.add(identifier);
    checkFeature(each, own, found);
  }
}

function checkFeature(feature: Shape, path: string, found: ModelIssue[]): void {
  const { name } = feature;
  if (typeof name === "string" && name.length > BOUNDS.titleCharactersMax) {
    const values = { max: BOUNDS.titleCharactersMax };
    found.push({ path: `${path}.name`, key: "title_long", values });
  }
  const isFeature = /^(?:events|services)\.\d+$/.test(path);
  if (!isFeature) {
    const depth = path.split(".").filter((part) => part === "specs").length +
      (path.startsWith("properties") ? 0 : 1);
    return checkType(feature.dataType, `${path}.dataType`, depth, found);
  }
  for (const list of ["inputData", "outputData"]) {
    checkList(feature[list], `${path}.${list}`, BOUNDS.structFieldsMax, found);
  }
}

/** @param depth Structs and arrays around it. */
function checkType(
  dataType: unknown,
  path: string,
  depth: number,
  found: ModelIssue[],
): void {
  if (!isShape(dataType)) {
    return void found.push({ path, key: "no_type", values: {} });
  }
  const { type, specs } = dataType;
  const at = `${path}.specs`;
  if ((type === "struct" || type === "array") && depth >= BOUNDS.typeDepthMax) {
    return void found.push({
      path,
      key: "too_deep",
      values: { max: BOUNDS.typeDepthMax },
    });
  }
  switch (type) {
    case "int":
    case "float":
    case "double":
      return checkNumbers(isShape(specs) ? specs : {}, at, found);
    case "text":
      return checkCount(
        isShape(specs) ? specs.length : undefined,
        `${at}.length`,
        {
          max: BOUNDS.textCharactersMax,
        },
        found,
      );
    case "enum": {
      const count = isShape(specs) ? Object.keys(specs).length : 0;
      if (count >= 1 && count <= BOUNDS.enumValuesMax) return;
      return void found.push({
        path: at,
        key: "enum_count",
        values: { max: BOUNDS.enumValuesMax },
      });
    }
    case "struct": {
      if (shapesOf(specs).length === 0) {
        found.push({
          path: at,
          key: "struct_count",
          values: { max: BOUNDS.structFieldsMax },
        });
      }
      return checkList(specs, at, BOUNDS.structFieldsMax, found);
    }
    case "array": {
      const own = isShape(specs) ? specs : {};
      checkCount(own.size, `${at}.size`, { max: BOUNDS.arrayItemsMax }, found);
      return checkType(own.item, `${at}.item`, depth + 1, found);
    }
    case "date":
    case "bool":
      return;
    default:
      found.push({ path: `${path}.type`, key: "no_type", values: {} });
  }
}

function checkNumbers(specs: Shape, path: string, found: ModelIssue[]): void {
  for (const name of ["min", "max", "step"]) {
    const value = specs[name];
    if (value === undefined || isNumeric(value)) continue;
    found.push({ path: `${path}.${name}`, key: "spec_number", values: {} });
  }
  const { min, max } = specs;
  if (isNumeric(min) && isNumeric(max) && Number(min) > Number(max)) {
    found.push({ path: `${path}.min`, key: "min_above_max", values: {} });
  }
}

function checkCount(
  value: unknown,
  path: string,
  { max }: { readonly max: number },
  found: ModelIssue[],
): void {
  if (value === undefined) return;
  const count = isNumeric(value) ? Number(value) : 0;
  if (Number.isInteger(count) && count >= 1 && count <= max) return;
  found.push({ path, key: "spec_count", values: { max } });
}

/** Exported TSL files have numbers as texts. */
function isNumeric(value: unknown): boolean {
  if (typeof value === "number") return Number.isFinite(value);
  return typeof value === "string" &&
    /^-?\d+(\.\d+)?([eE][+-]?\d{1,3})?$/.test(value);
}
