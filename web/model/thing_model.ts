/** Thing models as the API has checked them, and what forms need of them. */

export interface NumberSpecs {
  readonly min?: number;
  readonly max?: number;
  readonly step?: number;
  readonly unit?: string;
  readonly unitName?: string;
}

export type DataType =
  | { readonly type: "int" | "float" | "double"; readonly specs?: NumberSpecs }
  | { readonly type: "text"; readonly specs?: { readonly length?: number } }
  | {
    readonly type: "date";
    readonly specs?: Readonly<Record<string, unknown>>;
  }
  | { readonly type: "bool"; readonly specs?: Readonly<Record<string, string>> }
  | { readonly type: "enum"; readonly specs: Readonly<Record<string, string>> }
  | { readonly type: "struct"; readonly specs: readonly ModelField[] }
  | {
    readonly type: "array";
    readonly specs: { readonly size?: number; readonly item: DataType };
  };

export type TypeName = DataType["type"];

export const TYPE_NAMES: readonly TypeName[] = [
  "int",
  "float",
  "double",
  "text",
  "date",
  "bool",
  "enum",
  "struct",
  "array",
];

export interface ModelField {
  readonly identifier: string;
  readonly name?: string;
  readonly dataType: DataType;
  readonly required?: boolean;
}

export interface ModelProperty extends ModelField {
  readonly accessMode?: "r" | "w" | "rw";
}

/** A text names a property, whose type the field has. */
export type FieldOrName = ModelField | string;

export interface ModelEvent {
  readonly identifier: string;
  readonly name?: string;
  readonly type?: "info" | "alert" | "error";
  readonly outputData?: readonly FieldOrName[];
}

export interface ModelService {
  readonly identifier: string;
  readonly name?: string;
  readonly callType?: "sync" | "async";
  readonly inputData?: readonly FieldOrName[];
  readonly outputData?: readonly FieldOrName[];
}

export interface ThingModel {
  readonly properties?: readonly ModelProperty[];
  readonly events?: readonly ModelEvent[];
  readonly services?: readonly ModelService[];
}

/** Bounds of the API (`runtime/limits.ts`), told before it is asked. */
export const BOUNDS = {
  featuresMax: 300,
  modelBytesMax: 262_144,
  /** Levels of struct and array below a property. */
  typeDepthMax: 4,
  textCharactersMax: 10_240,
  arrayItemsMax: 512,
  structFieldsMax: 50,
  enumValuesMax: 256,
  titleCharactersMax: 128,
  nameCharactersMax: 64,
} as const;

/** As the API takes names of features. */
export const NAME = /^(?!__proto__$|\.{1,2}$)[A-Za-z0-9_.:-]{1,64}$/;

/** Names of properties in their place; one of no property takes any text. */
export function fieldsOf(
  model: ThingModel | null | undefined,
  list: readonly FieldOrName[] = [],
): ModelField[] {
  return list.map((each) => {
    if (typeof each !== "string") return each;
    const property = model?.properties?.find(({ identifier }) => identifier === each);
    return property ?? { identifier: each, dataType: { type: "text" } };
  });
}

/** Values of an enum are whole numbers where their keys look like ones, as the API has it. */
export function enumValueOf(key: string): number | string {
  return /^(0|-?[1-9]\d{0,14})$/.test(key) ? Number(key) : key;
}

/** What the model calls a value of an enum or a bool; undefined: it has no name. */
export function nameOf(dataType: DataType | undefined, value: unknown): string | undefined {
  if (dataType?.type === "enum") {
    const key = String(value);
    return Object.hasOwn(dataType.specs, key) ? dataType.specs[key] || undefined : undefined;
  }
  if (dataType?.type !== "bool") return undefined;
  const isTrue = value === true || value === 1;
  if (!isTrue && value !== false && value !== 0) return undefined;
  const names = dataType.specs ?? {};
  return names[isTrue ? "1" : "0"] || names[String(isTrue)] || undefined;
}

/** A unit as it stands behind numbers. */
export function unitOf(dataType: DataType | undefined): string {
  if (dataType === undefined) return "";
  const isNumber = dataType.type === "int" || dataType.type === "float" ||
    dataType.type === "double";
  return isNumber ? dataType.specs?.unit ?? dataType.specs?.unitName ?? "" : "";
}
