/**
 * Conditions on last values, as text of a query parameter: `temperature>30,mode="auto"`. Joined by
 * commas, all must hold. A value is a number, `true`, `false`, or a text, in quotes as JSON has them where
 * it holds a comma, a quote, or looks like one of the others.
 */
import { DEVICE_LIMITS } from "../../runtime/device_limits.ts";
import { isName, quote } from "../registry/names.ts";

export type Operator = "=" | "<" | "<=" | ">" | ">=";

export interface PropertyCondition {
  readonly property: string;
  readonly operator: Operator;
  /** A number, unless the operator is `=`. */
  readonly value: number | string | boolean;
}

export type ParsedConditions =
  | { readonly ok: true; readonly conditions: readonly PropertyCondition[] }
  | { readonly ok: false; readonly message: string };

const CONDITION = /^([A-Za-z0-9_.:-]+)(<=|>=|=|<|>)("(?:[^"\\]|\\.)*"|[^,"=<>][^,"]*)(?:,|$)/;
const NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?$/;

export function parseConditions(text: string): ParsedConditions {
  const conditions: PropertyCondition[] = [];
  for (let rest = text; rest !== "" || conditions.length === 0;) {
    const [all, property, operator, value] = CONDITION.exec(rest) ?? [];
    if (all === undefined || !isName(property!)) {
      return refused(`Cannot read ${quote(rest)}: a condition is {property}{=|<|<=|>|>=}{value}`);
    }
    const known = valueOf(value!);
    if (known === undefined) return refused(`Cannot read the value ${quote(value!)}`);
    if (operator !== "=" && typeof known !== "number") {
      return refused(`Cannot compare with ${quote(value!)}: ${operator} takes a number`);
    }
    conditions.push({ property: property!, operator: operator as Operator, value: known });
    rest = rest.slice(all.length);
    if (rest === "" && all.endsWith(",")) return refused("Cannot end with a comma");
  }
  const max = DEVICE_LIMITS.propertyConditionsMax;
  if (conditions.length <= max) return { ok: true, conditions };
  return refused(`Cannot take ${conditions.length} conditions: at most ${max}`);
}

/** Undefined: it can be no value that is found. */
function valueOf(text: string): PropertyCondition["value"] | undefined {
  if (text === "true" || text === "false") return text === "true";
  if (NUMBER.test(text)) {
    const value = Number(text);
    return Number.isFinite(value) ? value : undefined;
  }
  const value = text.startsWith('"') ? unquoted(text) : text;
  const isFound = value !== undefined && value.isWellFormed() &&
    value.length <= DEVICE_LIMITS.indexedTextCharactersMax;
  return isFound ? value : undefined;
}

function unquoted(text: string): string | undefined {
  try {
    return String(JSON.parse(text));
  } catch {
    return undefined; // An escape that JSON does not know.
  }
}

function refused(message: string): ParsedConditions {
  return { ok: false, message };
}
