/**
 * The thing model for the document. What counts is `parseThingModel`: it takes exported TSL files,
 * whose numbers are texts, and refuses with the path of each fault.
 */
import { z } from "@hono/zod-openapi";

const IDENTIFIER = { type: "string" as const, description: "Name.", example: "temperature" };
const TITLE = { type: "string" as const, description: "For people.", example: "Temperature" };
const DATA_TYPE = {
  type: "object" as const,
  required: ["type"],
  description: "Type of a value, with its bounds.",
  properties: {
    type: {
      type: "string" as const,
      enum: ["int", "float", "double", "text", "date", "bool", "enum", "struct", "array"],
      description: "`date` is epoch milliseconds.",
    },
    specs: {
      description: "Numbers: `min`, `max`, `step`, `unit`, `unitName`. Text: `length`. Bool and " +
        "enum: value → name. Struct: a list of fields. Array: `size` and `item`, a data type.",
      example: { min: -40, max: 125, unit: "°C" },
    },
  },
};
const FIELD = {
  type: "object" as const,
  required: ["identifier", "dataType"],
  properties: { identifier: IDENTIFIER, name: TITLE, dataType: DATA_TYPE },
};
const FIELDS = { type: "array" as const, items: FIELD, description: "Fields of the value." };

/** A model with one property, event and service. */
export const MODEL_EXAMPLE = {
  properties: [{
    identifier: "temperature",
    name: "Temperature",
    accessMode: "r",
    dataType: { type: "double", specs: { min: -40, max: 125, unit: "°C" } },
  }],
  events: [{ identifier: "overheated", type: "alert", outputData: [] }],
  services: [{ identifier: "restart", callType: "async", inputData: [], outputData: [] }],
};

const PARTS = {
  properties: {
    type: "array" as const,
    description: "What devices report, and what can be set.",
    items: {
      type: "object" as const,
      required: ["identifier", "dataType"],
      properties: {
        identifier: IDENTIFIER,
        name: TITLE,
        accessMode: {
          type: "string" as const,
          enum: ["r", "w", "rw"],
          description: "The API sets properties with `w` only; `rw` by default.",
        },
        required: { type: "boolean" as const, description: "The device always reports it." },
        dataType: DATA_TYPE,
      },
    },
  },
  events: {
    type: "array" as const,
    description: "What devices raise.",
    items: {
      type: "object" as const,
      required: ["identifier"],
      properties: {
        identifier: IDENTIFIER,
        name: TITLE,
        type: { type: "string" as const, enum: ["info", "alert", "error"], description: "Weight." },
        outputData: FIELDS,
      },
    },
  },
  services: {
    type: "array" as const,
    description: "What devices can be asked to do.",
    items: {
      type: "object" as const,
      required: ["identifier"],
      properties: {
        identifier: IDENTIFIER,
        name: TITLE,
        callType: { type: "string" as const, enum: ["sync", "async"], description: "Who waits." },
        inputData: FIELDS,
        outputData: FIELDS,
      },
    },
  },
};

export const MODEL = z.unknown().openapi({
  type: "object",
  description: "Properties, events and services of a product, in the TSL shape.",
  properties: PARTS,
  example: MODEL_EXAMPLE,
});

export const MODEL_VERSION = {
  description: "Rises with each other model of the product, from 1.",
  example: 3,
};

export const VERSIONED_MODEL = z.unknown().openapi({
  type: "object",
  description: "The model, with its version beside its parts.",
  properties: { version: { type: "integer" as const, ...MODEL_VERSION }, ...PARTS },
  example: { version: 3, ...MODEL_EXAMPLE },
});

export const MODEL_CHANGE = z.object({
  path: z.string().openapi({
    description: "Where, by identifiers.",
    example: "properties.temperature.dataType.specs.max",
  }),
  kind: z.enum([
    ...["added", "removed", "type", "range", "unit", "length", "size", "values", "access"] as const,
    ...["required", "title"] as const,
  ]).openapi({ description: "What of it.", example: "range" }),
  isBreaking: z.boolean().openapi({
    description: "It refuses what was accepted before, or changes what values mean.",
    example: true,
  }),
  before: z.string().optional().openapi({
    description: "What it was. Absent: there was none, or the part itself came or went.",
    example: "125",
  }),
  after: z.string().optional().openapi({ description: "What it is now.", example: "100" }),
  message: z.string().openapi({
    description: "For people.",
    example: "max changes from 125 to 100",
  }),
}).openapi("ModelChange");

export const MODEL_CHANGES = z.object({
  changes: z.array(MODEL_CHANGE).describe("Breaking ones first; a long list is cut."),
  isBreaking: z.boolean().describe("At least one of them is."),
}).openapi("ModelChanges");

export const CHANGE_EXAMPLE = {
  path: "properties.temperature.dataType.specs.max",
  kind: "range",
  isBreaking: true,
  before: "125",
  after: "100",
  message: "max changes from 125 to 100",
};
