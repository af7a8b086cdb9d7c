/** Schemas that several routes share. Structure only: the domain checks what the words mean. */
import { z } from "@hono/zod-openapi";
import { LIMITS } from "../../runtime/limits.ts";
import { ROLES } from "../../actors/access/principal.ts";
import { CURSOR_CHARACTERS_MAX } from "../../actors/registry/cursor.ts";
import { isName, NAME_RULE } from "../../actors/registry/names.ts";

export const NAME = z.string().refine(isName, { error: `Cannot accept the name: ${NAME_RULE}` });

export function name(description: string, example: string) {
  return NAME.openapi({
    description: `${description} ${NAME_RULE}.`,
    example,
    pattern: "^[A-Za-z0-9_.:-]+$",
    minLength: 1,
    maxLength: LIMITS.nameCharactersMax,
  });
}

export const TIME = z.int().min(0).max(8.64e15).openapi({ example: 1_700_000_000_000 });

export function time(description: string) {
  return TIME.describe(`${description} Epoch milliseconds.`);
}

export function title(description: string, example: string) {
  return z.string().max(LIMITS.titleCharactersMax).openapi({ description, example });
}

export const VALUE = z.unknown().openapi({
  description: "Any JSON value: a number, text, boolean, or what the thing model allows.",
  example: 21.5,
});

export const VALUES = z.record(z.string(), VALUE).openapi({
  description: "Values by property.",
  example: { temperature: 21.5, on: true },
});

export const DEVICE_PARAMS = z.object({
  product: name("Key of the product.", "pump"),
  device: name("Name of the device within its product.", "p-1"),
});

export const ROLE = z.enum(ROLES).openapi({
  description: "What the user may do. Each may do what the next one may: owner, operator, viewer.",
  example: "operator",
});

/** Text of a query parameter that is a whole number. */
export function wholeNumber(
  bound: { readonly min: number; readonly max: number },
  description: string,
  example: number,
) {
  const message = `Cannot accept this: a whole number from ${bound.min} to ${bound.max}`;
  return z.string().regex(/^\d{1,16}$/, message).transform(Number)
    .refine((value) => value >= bound.min && value <= bound.max, { error: message })
    .openapi({
      type: "integer",
      minimum: bound.min,
      maximum: bound.max,
      description,
      example,
    });
}

export const LIMIT = wholeNumber({ min: 1, max: 500 }, "Items of a page; 50 by default.", 50);

export const CURSOR = z.string().min(1).max(CURSOR_CHARACTERS_MAX).openapi({
  description: "`nextCursor` of the page before; opaque.",
  example: "ZGVhZDo0Mg",
});

export const NEXT_CURSOR = z.string().nullable().openapi({
  description: "Give it as `cursor` for the next page; null: there is no more.",
  example: null,
});

/** `{"items": [...], "nextCursor"}` */
export function pageOf<T extends z.ZodType>(item: T) {
  return z.object({ items: z.array(item), nextCursor: NEXT_CURSOR });
}

/** `{"items": [...], "nextCursor", "count"?}`: of a list that takes `LIST_QUERY`. */
export function countedPageOf<T extends z.ZodType>(item: T) {
  return pageOf(item).extend({ count: COUNTED });
}

const COUNTED = z.int().nullable().optional().openapi({
  description: "With `count=true`: items of all pages together; null: too many to count.",
  example: 1,
});

/** What lists take. */
export const LIST_QUERY = {
  limit: LIMIT.optional(),
  cursor: CURSOR.optional(),
  count: flag(
    "Adds `count` to the answer. It costs a look at each match: ask once, not on every page.",
  ).optional(),
};

/** Text of a query parameter that is `true` or `false`. */
export function flag(description: string) {
  return z.enum(["true", "false"], { error: "Cannot accept this: true or false" })
    .transform((text) => text === "true")
    .openapi({ type: "boolean", description, example: true });
}

/** Fields that a list can be sorted by. @param description What is special about them. */
export function sortBy<const Field extends string>(fields: readonly Field[], description: string) {
  const list = fields.join(", ");
  const error = `Cannot sort by this: one of ${list}, or with - before it for descending`;
  const ways = fields.flatMap((field) => [field, `-${field}`] as const);
  return z.enum(ways, { error }).openapi({
    description:
      `One of ${list}; with - before it, descending. ${description} A cursor goes on in ` +
      "its own order only.",
    example: ways.at(-1)!,
  });
}

/** Comma-separated names in a query parameter, each once. */
export function nameList(countMax: number, description: string, example: string) {
  const message = `Cannot accept the list: 1 to ${countMax} names, each ${NAME_RULE}`;
  return z.string().transform((text) => [...new Set(text.split(","))])
    .refine((names) => names.length <= countMax && names.every(isName), { error: message })
    .openapi({ type: "string", description, example });
}
