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

export const MODEL = z.unknown().openapi({
  type: "object",
  description: "Properties, events and services of a product, in the TSL shape.",
  properties: {
    properties: {
      type: "array",
      description: "What devices report, and what can be set.",
      items: {
        type: "object",
        required: ["identifier", "dataType"],
        properties: {
          identifier: IDENTIFIER,
          name: TITLE,
          accessMode: {
            type: "string",
            enum: ["r", "w", "rw"],
            description: "The API sets properties with `w` only; `rw` by default.",
          },
          required: { type: "boolean", description: "The device always reports it." },
          dataType: DATA_TYPE,
        },
      },
    },
    events: {
      type: "array",
      description: "What devices raise.",
      items: {
        type: "object",
        required: ["identifier"],
        properties: {
          identifier: IDENTIFIER,
          name: TITLE,
          type: { type: "string", enum: ["info", "alert", "error"], description: "Weight." },
          outputData: FIELDS,
        },
      },
    },
    services: {
      type: "array",
      description: "What devices can be asked to do.",
      items: {
        type: "object",
        required: ["identifier"],
        properties: {
          identifier: IDENTIFIER,
          name: TITLE,
          callType: { type: "string", enum: ["sync", "async"], description: "Who waits." },
          inputData: FIELDS,
          outputData: FIELDS,
        },
      },
    },
  },
  example: MODEL_EXAMPLE,
});
