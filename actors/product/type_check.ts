/** One data type of a thing model as two closures: a fast yes or no, and why not. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { quote } from "../registry/names.ts";
import type { DataType, ModelField, NumberSpecs } from "./thing_model.ts";

type Candidate = Json | undefined;

export interface TypeCheck {
  accepts(value: Candidate): boolean;
  /** Adds what is wrong; nothing exactly where `accepts` is true. */
  explain(value: Candidate, path: string, issues: Issue[]): void;
}

export function compileType(dataType: DataType): TypeCheck {
  switch (dataType.type) {
    case "int":
      return numberCheck(dataType.specs, "a whole number", Number.isSafeInteger);
    case "float":
    case "double":
      return numberCheck(dataType.specs, "a finite number", Number.isFinite);
    case "text":
      return textCheck(dataType.specs?.length ?? LIMITS.textCharactersMax);
    case "date":
      return flatCheck(isDate, () => ["type", "is epoch milliseconds"]);
    case "bool":
      return flatCheck(isBool, () => ["type", "is true, false, 1 or 0"]);
    case "enum":
      return enumCheck(dataType.specs);
    case "struct":
      return structCheck(dataType.specs);
    case "array":
      return arrayCheck(dataType.specs.size ?? LIMITS.arrayItemsMax, dataType.specs.item);
  }
}

/** A refused value in a message: JSON, bounded. */
export function show(value: Candidate): string {
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return quote(value);
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

/** Rule and words for a value that was not accepted: `["max", "is at most 120"]`. */
type Reason = readonly [rule: string, bound: string];

function flatCheck(
  accepts: (value: Candidate) => boolean,
  reason: (value: Candidate) => Reason,
): TypeCheck {
  return {
    accepts,
    explain(value, path, issues) {
      if (accepts(value)) return;
      const [rule, bound] = reason(value);
      issues.push({ path, rule, message: `Cannot accept ${show(value)}: ${path} ${bound}` });
    },
  };
}

function numberCheck(
  specs: NumberSpecs | undefined,
  kind: string,
  isKind: (value: unknown) => boolean,
): TypeCheck {
  const min = specs?.min ?? -Infinity;
  const max = specs?.max ?? Infinity;
  return flatCheck(
    (value) => typeof value === "number" && value >= min && value <= max && isKind(value),
    (value) => {
      if (typeof value !== "number" || !isKind(value)) return ["type", `is ${kind}`];
      return value > max ? ["max", `is at most ${max}`] : ["min", `is at least ${min}`];
    },
  );
}

function textCheck(lengthMax: number): TypeCheck {
  return flatCheck(
    (value) => typeof value === "string" && value.length <= lengthMax && value.isWellFormed(),
    (value) => {
      if (typeof value !== "string") return ["type", "is a text"];
      if (value.length <= lengthMax) return ["text", "is text without lone surrogates"];
      return ["length", `has at most ${lengthMax} characters, not ${value.length}`];
    },
  );
}

function isDate(value: Candidate): boolean {
  if (typeof value === "string") return /^\d{1,15}$/.test(value);
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isBool(value: Candidate): boolean {
  return value === true || value === false || value === 1 || value === 0;
}

function enumCheck(specs: Readonly<Record<string, string>>): TypeCheck {
  const values = new Set<Candidate>(
    Object.keys(specs).map((key) => /^(0|-?[1-9]\d{0,14})$/.test(key) ? Number(key) : key),
  );
  const names = [...values].slice(0, 16).map((value) => show(value)).join(", ");
  const list = values.size > 16 ? `${names}, …` : names;
  return flatCheck((value) => values.has(value), () => ["enum", `is one of ${list}`]);
}

function structCheck(fields: readonly ModelField[]): TypeCheck {
  const checks = new Map(fields.map((field) => [field.identifier, compileType(field.dataType)]));
  return {
    accepts(value) {
      if (!isStruct(value)) return false;
      for (const key in value) {
        const check = checks.get(key);
        if (check === undefined || !check.accepts(value[key])) return false;
      }
      return true;
    },
    explain(value, path, issues) {
      if (!isStruct(value)) {
        const message = `Cannot accept ${show(value)}: ${path} is an object`;
        issues.push({ path, rule: "type", message });
        return;
      }
      for (const key of Object.keys(value)) {
        const check = checks.get(key);
        if (check !== undefined) {
          check.explain(value[key], `${path}.${key}`, issues);
          continue;
        }
        const message = `Cannot accept ${quote(key)}: ${path} has no such field`;
        issues.push({ path, rule: "unknown", message });
        return;
      }
    },
  };
}

function arrayCheck(sizeMax: number, itemType: DataType): TypeCheck {
  const item = compileType(itemType);
  return {
    accepts(value) {
      if (!Array.isArray(value) || value.length > sizeMax) return false;
      for (let i = 0; i < value.length; i++) if (!item.accepts(value[i])) return false;
      return true;
    },
    explain(value, path, issues) {
      if (!Array.isArray(value) || value.length > sizeMax) {
        const bound = Array.isArray(value) ? `has at most ${sizeMax} items` : "is an array";
        const rule = Array.isArray(value) ? "size" : "type";
        issues.push({ path, rule, message: `Cannot accept ${show(value)}: ${path} ${bound}` });
        return;
      }
      const at = value.findIndex((element) => !item.accepts(element));
      // The first is enough: an array may have hundreds of wrong ones.
      if (at >= 0) item.explain(value[at], `${path}.${at}`, issues);
    },
  };
}

function isStruct(value: Candidate): value is { readonly [key: string]: Json | undefined } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
