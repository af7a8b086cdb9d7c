/**
 * Thing models in the shape of TSL (`wire/alink.md`, last line): what a product's devices report,
 * raise and answer. Numbers in `specs` may be strings, as exported TSL files have them; they are
 * stored as numbers. Fields of a feature that Roost does not know are kept, those of `specs` refused,
 * since a mistyped bound would be no bound.
 */
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { z } from "../../runtime/schema.ts";
import { isName, NAME_RULE } from "../registry/names.ts";
import { isSafeJson, jsonIssue } from "./json_value.ts";

export interface NumberSpecs {
  readonly min?: number | undefined;
  readonly max?: number | undefined;
  /** For displays; a value between two steps is accepted. */
  readonly step?: number | undefined;
  readonly unit?: string | undefined;
  readonly unitName?: string | undefined;
}

export type DataType =
  /** `int` takes whole numbers only, up to 2^53 - 1. */
  | {
    readonly type: "int" | "float" | "double";
    readonly specs?: NumberSpecs | undefined;
  }
  /** `length`: UTF-16 units. Default and most: `LIMITS.textCharactersMax`. */
  | {
    readonly type: "text";
    readonly specs?: { readonly length?: number | undefined } | undefined;
  }
  /** Epoch milliseconds, as a number or as digits. */
  | { readonly type: "date"; readonly specs?: Readonly<Record<string, unknown>> | undefined }
  /** `true`, `false`, 1 or 0; specs name them. */
  | { readonly type: "bool"; readonly specs?: Readonly<Record<string, string>> | undefined }
  /** Keys of specs are the values (whole numbers where they look like ones), with their names. */
  | { readonly type: "enum"; readonly specs: Readonly<Record<string, string>> }
  /** Fields may be absent in a value, but not others present. */
  | { readonly type: "struct"; readonly specs: readonly ModelField[] }
  | {
    readonly type: "array";
    readonly specs: { readonly size?: number | undefined; readonly item: DataType };
  };

export interface ModelField {
  readonly identifier: string;
  readonly name?: string | undefined;
  readonly dataType: DataType;
  /** Of an event's data, a service's input or output: refused without it. */
  readonly required?: boolean | undefined;
}

export interface ModelProperty extends ModelField {
  /** Default `rw`. The API sets properties with `w` only. */
  readonly accessMode: "r" | "w" | "rw";
  readonly required?: boolean | undefined;
}

export interface ModelEvent {
  readonly identifier: string;
  readonly name?: string | undefined;
  readonly type: "info" | "alert" | "error";
  readonly outputData?: readonly (ModelField | string)[] | undefined;
}

export interface ModelService {
  readonly identifier: string;
  readonly name?: string | undefined;
  readonly callType?: "sync" | "async" | undefined;
  readonly inputData?: readonly (ModelField | string)[] | undefined;
  readonly outputData?: readonly (ModelField | string)[] | undefined;
}

export interface ThingModel {
  readonly properties: readonly ModelProperty[];
  readonly events: readonly ModelEvent[];
  readonly services: readonly ModelService[];
}

export type ParsedModel =
  | { readonly ok: true; readonly model: ThingModel }
  | { readonly ok: false; readonly issues: readonly Issue[] };

const IDENTIFIER = z.string().refine(isName, `a name is ${NAME_RULE}`);
const TITLE = z.string().max(LIMITS.titleCharactersMax);
const NUMBER = z.union([
  z.number(),
  z.string().max(32).regex(/^-?\d+(\.\d+)?([eE][+-]?\d{1,3})?$/, "expected a number")
    .transform(Number).pipe(z.number()),
]);
const COUNT = NUMBER.pipe(z.number().int().min(1));
const ENUM_VALUES_MAX = 256;
/** Counted first: thousands of wrong ones would each be looked at. */
const NAMED_VALUES = z.custom<Record<string, unknown>>(
  (values) => Object.keys(values ?? {}).length <= ENUM_VALUES_MAX,
  `at most ${ENUM_VALUES_MAX} values have names`,
).pipe(z.record(z.string().min(1).max(LIMITS.nameCharactersMax), TITLE));

const NUMBER_SPECS = z.strictObject({
  min: NUMBER.optional(),
  max: NUMBER.optional(),
  step: NUMBER.optional(),
  unit: TITLE.optional(),
  unitName: TITLE.optional(),
});

const BOUNDED_NUMBER_SPECS = NUMBER_SPECS.refine(
  (specs) => specs.min === undefined || specs.max === undefined || specs.min <= specs.max,
  { message: "min is greater than max", path: ["min"] },
);

/** Schema of a type `depth` levels below a property. */
function dataTypeSchema(depth: number): z.ZodType<DataType> {
  const numbers = z.looseObject({
    type: z.enum(["int", "float", "double"]),
    specs: BOUNDED_NUMBER_SPECS.optional(),
  });
  const text = z.looseObject({
    type: z.literal("text"),
    specs: z.strictObject({
      length: COUNT.pipe(z.number().max(LIMITS.textCharactersMax)).optional(),
    })
      .optional(),
  });
  const date = z.looseObject({ type: z.literal("date"), specs: z.looseObject({}).optional() });
  const bool = z.looseObject({ type: z.literal("bool"), specs: NAMED_VALUES.optional() });
  const choice = z.looseObject({
    type: z.literal("enum"),
    specs: NAMED_VALUES.refine(
      (specs) => Object.keys(specs).length >= 1,
      `an enum has 1 to ${ENUM_VALUES_MAX} values`,
    ),
  });
  const flat = [numbers, text, date, bool, choice] as const;
  if (depth >= LIMITS.typeDepthMax) return z.discriminatedUnion("type", flat);
  const struct = z.looseObject({
    type: z.literal("struct"),
    specs: z.array(fieldSchema(depth + 1)).min(1).max(LIMITS.structFieldsMax).superRefine(unique),
  });
  const array = z.looseObject({
    type: z.literal("array"),
    specs: z.strictObject({
      size: COUNT.pipe(z.number().max(LIMITS.arrayItemsMax)).optional(),
      item: dataTypeSchema(depth + 1),
    }),
  });
  return z.discriminatedUnion("type", [...flat, struct, array]);
}

function fieldSchema(depth: number) {
  return z.looseObject({
    identifier: IDENTIFIER,
    name: TITLE.optional(),
    dataType: dataTypeSchema(depth),
    required: z.boolean().optional(),
  });
}

function unique(
  fields: readonly { readonly identifier: string }[],
  context: z.RefinementCtx,
): void {
  const seen = new Set<string>();
  for (const [index, { identifier }] of fields.entries()) {
    if (seen.has(identifier)) {
      context.addIssue({
        code: "custom",
        path: [index, "identifier"],
        message: `"${identifier}" is there twice`,
      });
    }
    seen.add(identifier);
  }
}

const FIELDS = z.array(z.union([fieldSchema(1), z.string().refine(isName, "not a name")]))
  .max(LIMITS.structFieldsMax);

const FEATURES = {
  properties: z.looseObject({
    identifier: IDENTIFIER,
    name: TITLE.optional(),
    accessMode: z.enum(["r", "w", "rw"]).default("rw"),
    required: z.boolean().optional(),
    dataType: dataTypeSchema(0),
  }),
  events: z.looseObject({
    identifier: IDENTIFIER,
    name: TITLE.optional(),
    type: z.enum(["info", "alert", "error"]).default("info"),
    outputData: FIELDS.optional(),
  }),
  services: z.looseObject({
    identifier: IDENTIFIER,
    name: TITLE.optional(),
    callType: z.enum(["sync", "async"]).optional(),
    inputData: FIELDS.optional(),
    outputData: FIELDS.optional(),
  }),
} as const;
const KINDS = ["properties", "events", "services"] as const;
const PARTS = z.array(z.unknown()).default([]);
const MODEL = z.looseObject({ properties: PARTS, events: PARTS, services: PARTS });

/** Issues that are told of one model; more would not be read. */
const ISSUES_MAX = 50;

/**
 * Parses and checks a model from outside. Paths are dotted: `properties.0.dataType.specs.min`. What is
 * over a bound is refused before its parts are looked at. A `version` at its top is left out.
 */
export function parseThingModel(input: unknown): ParsedModel {
  const refusal = countIssue(input) ?? unsafeIssue(input) ?? sizeIssue(input);
  if (refusal !== undefined) return { ok: false, issues: [refusal] };
  const parsed = MODEL.safeParse(input);
  if (!parsed.success) return { ok: false, issues: issuesOf(parsed.error, []) };
  const { version: _told, ...model } = parsed.data;
  const issues: Issue[] = [];
  for (const kind of KINDS) model[kind] = readFeatures(kind, model[kind], issues);
  if (issues.length > 0) return { ok: false, issues: issues.slice(0, ISSUES_MAX) };
  return { ok: true, model: model as unknown as ThingModel };
}

/** One by one, and no further than there are issues to tell. */
function readFeatures(
  kind: typeof KINDS[number],
  features: readonly unknown[],
  issues: Issue[],
): unknown[] {
  const read: unknown[] = [];
  const seen = new Set<string>();
  for (let at = 0; at < features.length && issues.length < ISSUES_MAX; at++) {
    const parsed = FEATURES[kind].safeParse(features[at]);
    if (!parsed.success) {
      issues.push(...issuesOf(parsed.error, [kind, at]));
      continue;
    }
    const { identifier } = parsed.data;
    if (seen.has(identifier)) {
      const path = `${kind}.${at}.identifier`;
      const message = `Cannot accept ${path}: "${identifier}" is there twice`;
      issues.push({ path, rule: "custom", message });
    }
    seen.add(identifier);
    read.push(parsed.data);
  }
  return read;
}

function issuesOf(error: z.ZodError, prefix: readonly PropertyKey[]): Issue[] {
  return error.issues.slice(0, ISSUES_MAX).map((issue) => {
    const path = [...prefix, ...issue.path].join(".");
    const where = path === "" ? "the model" : path;
    return { path, rule: issue.code, message: `Cannot accept ${where}: ${issue.message}` };
  });
}

function countIssue(input: unknown): Issue | undefined {
  if (typeof input !== "object" || input === null) return undefined;
  for (const path of ["properties", "events", "services"]) {
    const features = (input as Readonly<Record<string, unknown>>)[path];
    if (!Array.isArray(features) || features.length <= LIMITS.featuresMax) continue;
    const message = `Cannot accept ${features.length} ${path}: ` +
      `featuresMax is ${LIMITS.featuresMax}`;
    return { path, rule: "too_big", message };
  }
  return undefined;
}

function unsafeIssue(input: unknown): Issue | undefined {
  return isSafeJson(input) ? undefined : jsonIssue(input, "");
}

/** Of JSON that is not deep. */
function sizeIssue(input: unknown): Issue | undefined {
  const bytes = new TextEncoder().encode(JSON.stringify(input)).length;
  if (bytes <= LIMITS.modelBytesMax) return undefined;
  const message = `Cannot accept a model of ${bytes} B: modelBytesMax is ${LIMITS.modelBytesMax}`;
  return { path: "", rule: "size", message };
}
