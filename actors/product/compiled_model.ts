/**
 * A thing model as closures, built once per product: `accepts` runs for each message of each device.
 * `validate` runs only where `accepts` said no, and explains.
 */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { ValidatedValues } from "../device/directory.ts";
import type { Values } from "../device/messages.ts";
import { isName, NAME_RULE, quote } from "../registry/names.ts";
import { compileFields, type FieldsCheck } from "./field_check.ts";
import { inferredRule } from "./json_value.ts";
import type { ThingModel } from "./thing_model.ts";
import { compileType, show, type TypeCheck } from "./type_check.ts";

export type ProductMode = "open" | "strict";

export interface CompiledModel {
  /** True if `validate` would keep everything. No allocation. */
  accepts(values: Values): boolean;
  /** Paths of issues are the property's name, and below it dotted: `position.x`, `levels.3`. */
  validate(values: Values): ValidatedValues;
  /** The same for desired properties: `null` removes one, and the model must let it be written. */
  validateDesired(values: Values): ValidatedValues;
  /** What is wrong with an event; it is refused as a whole. Paths begin below `path`. */
  eventIssues(event: string, data: Json, path: string): readonly Issue[];
  /** Whether the service may be called: the model has it, or the product is open. */
  hasService(service: string): boolean;
  /** What is wrong with the input of a call, or with its output; paths begin with that word. */
  callIssues(service: string, part: "input" | "output", value: Json): readonly Issue[];
}

interface PropertyCheck extends TypeCheck {
  readonly isWritable: boolean;
}

const NONE: readonly Issue[] = [];

/** `model` null: nothing is known, so that a `strict` product refuses everything. */
export function compileModel(model: ThingModel | null, mode: ProductMode): CompiledModel {
  const checks = new Map<string, PropertyCheck>();
  for (const { identifier, dataType, accessMode } of model?.properties ?? []) {
    checks.set(identifier, { ...compileType(dataType), isWritable: accessMode !== "r" });
  }
  const isOpen = mode === "open";
  const known = new KnownNames();

  const accepts = (values: Values): boolean => {
    for (const key in values) {
      const check = checks.get(key);
      if (check !== undefined) {
        if (!check.accepts(values[key])) return false;
      } else if (!isOpen || !known.accepts(key) || inferredRule(values[key]) !== undefined) {
        return false;
      }
    }
    return true;
  };
  const explain = (key: string, value: Json | undefined, issues: Issue[]): void => {
    const check = checks.get(key);
    if (check !== undefined) check.explain(value, key, issues);
    else if (!isOpen) issues.push(unknownProperty(key));
    else if (!known.accepts(key)) issues.push(badName(key));
    else explainInferred(key, value, issues);
  };
  const explainDesired = (key: string, value: Json | undefined, issues: Issue[]): void => {
    const check = checks.get(key);
    // What a model of before let be set can always be removed.
    if (value === null) {
      if (check === undefined && !known.accepts(key)) issues.push(badName(key));
    } else if (check?.isWritable === false) {
      const message = `Cannot set ${key}: its access mode is r`;
      issues.push({ path: key, rule: "accessMode", message });
    } else explain(key, value, issues);
  };
  return {
    accepts,
    validate: (values) => accepts(values) ? { values, refused: NONE } : split(values, explain),
    validateDesired: (values) => split(values, explainDesired),
    ...compileExchanges(model, (name) => checks.get(name), isOpen),
  };
}

type Exchanges = Pick<CompiledModel, "eventIssues" | "hasService" | "callIssues">;

/** Events and services. What an open product does not know of them is not checked. */
function compileExchanges(
  model: ThingModel | null,
  typeOf: (property: string) => TypeCheck | undefined,
  isOpen: boolean,
): Exchanges {
  const compile = (fields: Parameters<typeof compileFields>[0] | undefined) =>
    compileFields(fields ?? [], typeOf, isOpen);
  const events = new Map<string, FieldsCheck>();
  for (const { identifier, outputData } of model?.events ?? []) {
    events.set(identifier, compile(outputData));
  }
  const services = new Map<string, { readonly input: FieldsCheck; readonly output: FieldsCheck }>();
  for (const { identifier, inputData, outputData } of model?.services ?? []) {
    services.set(identifier, { input: compile(inputData), output: compile(outputData) });
  }
  const issuesOf = (check: FieldsCheck | undefined, value: Json, path: string, what: string) => {
    const issues: Issue[] = [];
    if (check !== undefined) check(value, path, issues);
    else if (!isOpen) {
      const message = `Cannot accept ${what}: the thing model does not have it`;
      issues.push({ path, rule: "unknown", message });
    }
    return issues;
  };
  return {
    eventIssues: (event, data, path) =>
      issuesOf(events.get(event), data, path, `event ${quote(event)}`),
    hasService: (service) => isOpen || services.has(service),
    callIssues: (service, part, value) =>
      issuesOf(services.get(service)?.[part], value, part, `service ${quote(service)}`),
  };
}

/** What is kept is what nothing was found about. */
function split(
  values: Values,
  explain: (key: string, value: Json | undefined, issues: Issue[]) => void,
): ValidatedValues {
  const refused: Issue[] = [];
  const kept: Record<string, Json> = {};
  for (const key of Object.keys(values)) {
    const before = refused.length;
    explain(key, values[key], refused);
    if (refused.length === before) kept[key] = values[key]!;
  }
  return refused.length === 0 ? { values, refused: NONE } : { values: kept, refused };
}

function unknownProperty(key: string): Issue {
  const message = `Cannot accept ${quote(key)}: the thing model has no such property`;
  return { path: pathOf(key), rule: "unknown", message };
}

function badName(key: string): Issue {
  return { path: pathOf(key), rule: "name", message: `Cannot accept ${quote(key)}: ${NAME_RULE}` };
}

function pathOf(key: string): string {
  return key.slice(0, LIMITS.nameCharactersMax).toWellFormed();
}

const INFERRED_BOUNDS: Readonly<Record<string, string>> = {
  type: "is a number, boolean, text, array or object",
  finite: "is finite",
  text: "is text without lone surrogates",
  length: `has at most ${LIMITS.textCharactersMax} characters`,
  size: `has at most ${LIMITS.arrayItemsMax} items and ${LIMITS.structFieldsMax} fields`,
  depth: `has at most ${LIMITS.jsonDepthMax} levels`,
  key: `has fields of at most ${LIMITS.nameCharactersMax} characters, none "__proto__"`,
};

function explainInferred(key: string, value: Json | undefined, issues: Issue[]): void {
  const rule = inferredRule(value);
  if (rule === undefined) return;
  const message = `Cannot accept ${show(value)}: ${key} ${INFERRED_BOUNDS[rule]}`;
  issues.push({ path: key, rule, message });
}

/** Names that were found well-formed: a look-up is cheaper than the rule. Bounded. */
class KnownNames {
  readonly #names = new Set<string>();

  accepts(name: string): boolean {
    if (this.#names.has(name)) return true;
    if (!isName(name)) return false;
    if (this.#names.size < LIMITS.knownNamesMax) this.#names.add(name);
    return true;
  }
}
