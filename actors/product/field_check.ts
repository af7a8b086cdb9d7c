/** Fields of an event, or of a service's input and output, as one check that explains. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { quote } from "../registry/names.ts";
import type { ModelField } from "./thing_model.ts";
import { compileType, show, type TypeCheck } from "./type_check.ts";

/** Adds what is wrong with a value; nothing: it is accepted. */
export type FieldsCheck = (value: Json | undefined, path: string, issues: Issue[]) => void;

/**
 * @param fields A text names a property, whose type it has.
 * @param typeOf Check of a property; undefined: there is none, and anything is accepted.
 * @param isOpen Fields that are not declared are accepted.
 */
export function compileFields(
  fields: readonly (ModelField | string)[],
  typeOf: (property: string) => TypeCheck | undefined,
  isOpen: boolean,
): FieldsCheck {
  const checks = new Map<string, TypeCheck | undefined>();
  const required: string[] = [];
  for (const field of fields) {
    if (typeof field === "string") checks.set(field, typeOf(field));
    else {
      checks.set(field.identifier, compileType(field.dataType));
      if (field.required) required.push(field.identifier);
    }
  }
  return (value, path, issues) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      const message = `Cannot accept ${show(value)}: ${path || "this"} is an object`;
      issues.push({ path, rule: "type", message });
      return;
    }
    const given = value as { readonly [key: string]: Json | undefined };
    const below = (key: string) => path === "" ? key : `${path}.${key}`;
    for (const key of Object.keys(given)) {
      if (checks.has(key)) checks.get(key)?.explain(given[key], below(key), issues);
      else if (!isOpen) {
        const message = `Cannot accept ${quote(key)}: the thing model has no such field`;
        const name = key.slice(0, LIMITS.nameCharactersMax).toWellFormed();
        issues.push({ path: below(name), rule: "unknown", message });
      }
    }
    for (const key of required) {
      if (Object.hasOwn(given, key)) continue;
      const message = `Cannot accept this without ${below(key)}: it is required`;
      issues.push({ path: below(key), rule: "required", message });
    }
  };
}
