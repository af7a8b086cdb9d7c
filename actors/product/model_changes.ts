/**
 * What differs between two thing models, each difference by name. Breaking is what refuses a value, an
 * event, a call or an answer that was accepted before, or what changes what a value means.
 */
import { LIMITS } from "../../runtime/limits.ts";
import { quote } from "../registry/names.ts";
import type {
  DataType,
  ModelEvent,
  ModelProperty,
  ModelService,
  NumberSpecs,
  ThingModel,
} from "./thing_model.ts";

export type ModelChangeKind =
  | "added"
  | "removed"
  | "type"
  | "range"
  | "unit"
  | "length"
  | "size"
  | "values"
  | "access"
  | "required"
  | "title";

export interface ModelChange {
  /** By identifiers: `properties.temperature.dataType.specs.max`. */
  readonly path: string;
  readonly kind: ModelChangeKind;
  readonly isBreaking: boolean;
  /** What it was, as a text; absent: there was none, or the part itself came or went. */
  readonly before?: string | undefined;
  /** What it is now. */
  readonly after?: string | undefined;
  /** For people. */
  readonly message: string;
}

type Add = (
  path: string,
  kind: ModelChangeKind,
  isBreaking: boolean,
  message: string,
  before?: string | number,
  after?: string | number,
) => void;

/** A field of an event, an input or an output; without a type anything is accepted. */
interface Field {
  readonly identifier: string;
  readonly name?: string | undefined;
  readonly dataType?: DataType | undefined;
  readonly isRequired: boolean;
}

const NOTHING: ThingModel = { properties: [], events: [], services: [] };

/** Breaking ones first, at most `modelChangesMax`. Null: there is no model. */
export function compareModels(
  before: ThingModel | null,
  after: ThingModel | null,
): readonly ModelChange[] {
  const changes: ModelChange[] = [];
  const add: Add = (path, kind, isBreaking, message, was, is) => {
    const values = { before: was?.toString(), after: is?.toString() };
    changes.push({ path, kind, isBreaking, ...values, message });
  };
  const [old, now] = [before ?? NOTHING, after ?? NOTHING];
  const [oldTypes, newTypes] = [typesOf(old), typesOf(now)];
  compareLists(add, "properties", old.properties, now.properties, (path, one, other) => {
    compareProperty(add, path, one, other);
  });
  const fields = (path: string, one: Fields, other: Fields) => {
    compareFields(add, path, fieldsOf(one, oldTypes), fieldsOf(other, newTypes));
  };
  compareLists(add, "events", old.events, now.events, (path, one, other) => {
    compareEvent(add, path, one, other);
    fields(`${path}.outputData`, one.outputData, other.outputData);
  });
  compareLists(add, "services", old.services, now.services, (path, one, other) => {
    compareService(add, path, one, other);
    fields(`${path}.inputData`, one.inputData, other.inputData);
    fields(`${path}.outputData`, one.outputData, other.outputData);
  });
  const sorted = [
    ...changes.filter(({ isBreaking }) => isBreaking),
    ...changes.filter(({ isBreaking }) => !isBreaking),
  ];
  return sorted.slice(0, LIMITS.modelChangesMax);
}

type Fields = ModelEvent["outputData"];

/** Of properties, by name. */
type Types = ReadonlyMap<string, DataType>;

function typesOf({ properties }: ThingModel): Types {
  return new Map(properties.map(({ identifier, dataType }) => [identifier, dataType]));
}

/** A text names a property, whose type it has. */
function fieldsOf(fields: Fields, types: Types): Field[] {
  return (fields ?? []).map((field) => {
    if (typeof field !== "string") return { ...field, isRequired: field.required ?? false };
    return { identifier: field, dataType: types.get(field), isRequired: false };
  });
}

function compareLists<Part extends { readonly identifier: string }>(
  add: Add,
  path: string,
  before: readonly Part[],
  after: readonly Part[],
  compare: (path: string, one: Part, other: Part) => void,
  isBreakingToAdd: (added: Part) => boolean = () => false,
): void {
  const old = new Map(before.map((part) => [part.identifier, part]));
  const now = new Map(after.map((part) => [part.identifier, part]));
  for (const [identifier, part] of old) {
    const at = `${path}.${identifier}`;
    const other = now.get(identifier);
    if (other !== undefined) compare(at, part, other);
    else add(at, "removed", true, `${identifier} is removed`);
  }
  for (const [identifier, part] of now) {
    if (old.has(identifier)) continue;
    const isBreaking = isBreakingToAdd(part);
    const message = isBreaking ? `${identifier} is added, and required` : `${identifier} is added`;
    add(`${path}.${identifier}`, "added", isBreaking, message);
  }
}

function compareProperty(add: Add, path: string, one: ModelProperty, other: ModelProperty): void {
  compareTitles(add, `${path}.name`, one.name, other.name);
  if (one.accessMode !== other.accessMode) {
    const isLess = [...one.accessMode].some((letter) => !other.accessMode.includes(letter));
    const message = `access mode changes from ${one.accessMode} to ${other.accessMode}`;
    add(`${path}.accessMode`, "access", isLess, message, one.accessMode, other.accessMode);
  }
  // No check asks for it: it tells readers that the device always reports the property.
  compareRequired(add, `${path}.required`, one.required ?? false, other.required ?? false, false);
  compareTypes(add, `${path}.dataType`, one.dataType, other.dataType);
}

function compareEvent(add: Add, path: string, one: ModelEvent, other: ModelEvent): void {
  compareTitles(add, `${path}.name`, one.name, other.name);
  compareTitles(add, `${path}.type`, one.type, other.type);
}

function compareService(add: Add, path: string, one: ModelService, other: ModelService): void {
  compareTitles(add, `${path}.name`, one.name, other.name);
  compareTitles(add, `${path}.callType`, one.callType, other.callType);
}

function compareFields(
  add: Add,
  path: string,
  before: readonly Field[],
  after: readonly Field[],
): void {
  compareLists(add, path, before, after, (at, one, other) => {
    compareTitles(add, `${at}.name`, one.name, other.name);
    compareRequired(add, `${at}.required`, one.isRequired, other.isRequired, true);
    if (one.dataType !== undefined && other.dataType !== undefined) {
      compareTypes(add, `${at}.dataType`, one.dataType, other.dataType);
    } else if (one.dataType !== other.dataType) {
      const isNarrower = one.dataType === undefined;
      const [was, is] = [one.dataType?.type ?? "any", other.dataType?.type ?? "any"];
      add(`${at}.dataType`, "type", isNarrower, `type changes from ${was} to ${is}`, was, is);
    }
  }, ({ isRequired }) => isRequired);
}

function compareRequired(
  add: Add,
  path: string,
  one: boolean,
  other: boolean,
  isChecked: boolean,
): void {
  if (one === other) return;
  const message = other ? "it is required now" : "it may be absent now";
  add(path, "required", isChecked && other, message, String(one), String(other));
}

/** What only people read. */
function compareTitles(add: Add, path: string, one?: string, other?: string): void {
  if (one === other) return;
  const message = `changes from ${shown(one)} to ${shown(other)}`;
  add(path, "title", false, message, one, other);
}

function shown(text: string | undefined): string {
  return text === undefined ? "none" : quote(text);
}

function compareTypes(add: Add, path: string, one: DataType, other: DataType): void {
  if (one.type !== other.type) {
    // Each whole number is a floating-point one; `float` and `double` accept the same.
    const isWider = isNumber(one) && (other.type === "float" || other.type === "double");
    const message = `type changes from ${one.type} to ${other.type}`;
    add(path, "type", !isWider, message, one.type, other.type);
    if (!isWider) return;
  }
  const specs = `${path}.specs`;
  if (isNumber(one) && isNumber(other)) compareNumbers(add, specs, one.specs, other.specs);
  else if (one.type === "text" && other.type === "text") {
    const [was, is] = [one.specs?.length, other.specs?.length];
    compareMost(add, `${specs}.length`, "length", LIMITS.textCharactersMax, was, is);
  } else if (one.type === "enum" && other.type === "enum") {
    compareValues(add, specs, one.specs, other.specs, true);
  } else if (one.type === "bool" && other.type === "bool") {
    compareValues(add, specs, one.specs ?? {}, other.specs ?? {}, false);
  } else if (one.type === "struct" && other.type === "struct") {
    compareLists(add, specs, one.specs, other.specs, (at, field, next) => {
      compareTitles(add, `${at}.name`, field.name, next.name);
      compareTypes(add, `${at}.dataType`, field.dataType, next.dataType);
    });
  } else if (one.type === "array" && other.type === "array") {
    const [was, is] = [one.specs.size, other.specs.size];
    compareMost(add, `${specs}.size`, "size", LIMITS.arrayItemsMax, was, is);
    compareTypes(add, `${specs}.item`, one.specs.item, other.specs.item);
  }
}

function isNumber(
  dataType: DataType,
): dataType is Extract<DataType, { readonly type: "int" | "float" | "double" }> {
  return dataType.type === "int" || dataType.type === "float" || dataType.type === "double";
}

function compareNumbers(
  add: Add,
  path: string,
  one: NumberSpecs = {},
  other: NumberSpecs = {},
): void {
  if (one.min !== other.min) {
    const isNarrower = (other.min ?? -Infinity) > (one.min ?? -Infinity);
    const message = `min changes from ${one.min ?? "none"} to ${other.min ?? "none"}`;
    add(`${path}.min`, "range", isNarrower, message, one.min, other.min);
  }
  compareMost(add, `${path}.max`, "range", Infinity, one.max, other.max);
  compareTitles(add, `${path}.step`, one.step?.toString(), other.step?.toString());
  compareTitles(add, `${path}.unitName`, one.unitName, other.unitName);
  if (one.unit === other.unit) return;
  const message = `unit changes from ${shown(one.unit)} to ${shown(other.unit)}`;
  add(`${path}.unit`, "unit", one.unit !== undefined, message, one.unit, other.unit);
}

function compareMost(
  add: Add,
  path: string,
  kind: ModelChangeKind,
  most: number,
  one?: number,
  other?: number,
): void {
  if (one === other) return;
  const word = path.slice(path.lastIndexOf(".") + 1);
  const isNarrower = (other ?? most) < (one ?? most);
  const message = `${word} changes from ${one ?? "none"} to ${other ?? "none"}`;
  add(path, kind, isNarrower, message, one, other);
}

/** @param isBound The names are the values that are accepted. */
function compareValues(
  add: Add,
  path: string,
  one: Readonly<Record<string, string>>,
  other: Readonly<Record<string, string>>,
  isBound: boolean,
): void {
  for (const value of Object.keys(one)) {
    if (!Object.hasOwn(other, value)) {
      add(path, "values", isBound, `value ${quote(value)} is removed`, value);
    } else compareTitles(add, `${path}.${quote(value)}`, one[value], other[value]);
  }
  for (const value of Object.keys(other)) {
    if (Object.hasOwn(one, value)) continue;
    add(path, "values", false, `value ${quote(value)} is added`, undefined, value);
  }
}
