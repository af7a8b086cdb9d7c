/** Products. Their thing models: `model_routes.ts`. */
import { z } from "@hono/zod-openapi";
import { NotFoundError } from "../../../runtime/errors.ts";
import { LIMITS } from "../../../runtime/limits.ts";
import { CREDENTIAL_KINDS, DEFAULT_CREDENTIALS } from "../../../actors/product/credentials.ts";
import type { Product, ProductPatch } from "../../../actors/product/products.ts";
import { valueOf } from "../outcome_answers.ts";
import type { Caller, HttpPorts } from "../ports.ts";
import { ProblemError } from "../problem.ts";
import { definedOf } from "../request_input.ts";
import {
  type Answer,
  answerPage,
  noContent,
  respond,
  versionTag,
  versionToMatch,
} from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { countedPageOf, flag, LIST_QUERY, name, sortBy, time, title } from "../schemas.ts";
import { MODEL, MODEL_EXAMPLE } from "./model_schema.ts";

const MODE = z.enum(["open", "strict"]).openapi({
  description: "`open` stores unknown properties; `strict` refuses what the model does not have.",
  example: "strict",
});
const LATE_DAYS = z.int().openapi({
  description: "Points older than this many days are refused, 1 to 3,650.",
  example: 30,
});
const RETENTION_DAYS = z.int().min(1).max(36_500).nullable().openapi({
  description: "How many days, in whole UTC days, its devices' points and events are kept, up to " +
    "36,500; null: as the node says. What has gone by a shorter time does not come back.",
  example: 90,
});
const CREDENTIALS = z.array(z.enum(CREDENTIAL_KINDS)).min(1).max(CREDENTIAL_KINDS.length).openapi({
  description:
    "How devices may prove who they are: by `secret`, by a signature with it (`signed`: " +
    "secrets made from then on are kept sealed and readable, until it is taken away), by a client " +
    "certificate (`x509`). `secret` by default; counts for logins from now on.",
  example: ["secret"],
});
const FIELDS = {
  name: title("For people; the key by default.", "Pump"),
  mode: MODE,
  model: MODEL.nullable(),
  lateDaysMax: LATE_DAYS,
  retentionDays: RETENTION_DAYS,
  credentials: CREDENTIALS,
};
const KEY = name("Key of the product, unique in the installation.", "pump");
const PRODUCT = z.object({
  key: KEY,
  project: z.string().openapi({ description: "Id of its project.", example: "default" }),
  ...FIELDS,
  modelVersion: z.int().openapi({
    description: "Rises with each other model, from 1; 0: there was none yet.",
    example: 1,
  }),
  version: z.int().openapi({ description: "Rises with every change, from 1.", example: 1 }),
  createdAt: time("When it was created."),
  updatedAt: time("When it was changed last."),
}).openapi("Product");
const REPLACEMENT = z.strictObject({
  name: FIELDS.name.optional(),
  mode: MODE.optional(),
  model: FIELDS.model.optional(),
  lateDaysMax: LATE_DAYS.optional(),
  retentionDays: RETENTION_DAYS.optional(),
  credentials: CREDENTIALS.optional(),
}).openapi("ProductReplacement");
const NEW_PRODUCT = REPLACEMENT.extend({ key: KEY }).openapi("NewProduct");
const PATCH = z.strictObject({
  name: FIELDS.name.nullable().optional(),
  mode: MODE.nullable().optional(),
  model: FIELDS.model.optional(),
  lateDaysMax: LATE_DAYS.nullable().optional(),
  retentionDays: RETENTION_DAYS.optional(),
  credentials: CREDENTIALS.nullable().optional(),
}).openapi("ProductPatch");

export const PRODUCT_PARAMS = z.object({ product: KEY });
const LIST = "/api/v1/products";
export const PRODUCT_PATH = `${LIST}/{product}`;
export const ACCEPT_BREAKING = flag(
  "Takes a model that breaks what works now; without it such a change is refused.",
).optional();
const ETAG = { ETag: "Strong tag of this version." };
const EXAMPLE = {
  key: "pump",
  project: "default",
  name: "Pump",
  mode: "strict",
  model: MODEL_EXAMPLE,
  lateDaysMax: 30,
  retentionDays: null,
  credentials: ["secret"],
  modelVersion: 1,
  version: 1,
  createdAt: 1_699_990_000_000,
  updatedAt: 1_699_990_000_000,
};
const ONE = { description: "The product.", schema: PRODUCT, example: EXAMPLE, headers: ETAG };
const CREATED = {
  ...ONE,
  description: "Created.",
  headers: { ...ETAG, Location: "Path of the product." },
};

export function productRoutes(ports: HttpPorts): Route[] {
  return [
    createProduct(ports),
    listProducts(ports),
    readProduct(ports),
    putProduct(ports),
    patchProduct(ports),
    deleteProduct(ports),
  ];
}

function createProduct(ports: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: LIST,
    tag: "products",
    summary: "Creates a product",
    body: NEW_PRODUCT,
    bodyExample: { key: "pump", name: "Pump", mode: "strict", model: MODEL_EXAMPLE },
    responses: { 201: CREATED },
    problems: ["conflict"],
    async handle({ body, caller, keep }) {
      const input = { ...definedOf(body), project: caller!.project };
      const made = (product: Product) => productAnswer(201, product);
      return respond(made(valueOf(await ports.products.create(input, keep(made)))));
    },
  });
}

function listProducts(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: LIST,
    tag: "products",
    summary: "Lists products",
    description: "By key, or as `sort` says.",
    query: z.strictObject({
      ...LIST_QUERY,
      sort: sortBy(["key", "name", "createdAt"], "Texts in order of their UTF-8 bytes.").optional(),
      q: title("Part of key or name, in either case.", "pu").optional(),
    }),
    responses: {
      200: {
        description: "A page of products.",
        schema: countedPageOf(PRODUCT),
        example: { items: [EXAMPLE], nextCursor: null },
      },
    },
    async handle({ query, caller }) {
      const { count: isCounted, ...rest } = query;
      const asked = definedOf({ ...rest, limit: query.limit ?? 50, project: caller!.project });
      const { items, nextCursor } = valueOf(await ports.products.list(asked), "query.");
      const count = isCounted ? await ports.products.count(asked) : undefined;
      return answerPage(items, nextCursor, count);
    },
  });
}

function readProduct(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: PRODUCT_PATH,
    tag: "products",
    summary: "Reads a product",
    params: PRODUCT_PARAMS,
    responses: { 200: ONE },
    problems: ["not-found"],
    async handle({ params, caller }) {
      return answerProduct(200, await requireProduct(ports, caller, params.product));
    },
  });
}

function putProduct(ports: HttpPorts): Route {
  return createRoute({
    method: "put",
    path: PRODUCT_PATH,
    tag: "products",
    summary: "Creates or replaces a product",
    description: "Fields that are absent get their defaults. `If-Match` is honoured, and " +
      "`If-None-Match: *`, which only creates.",
    params: PRODUCT_PARAMS,
    query: z.strictObject({ acceptBreaking: ACCEPT_BREAKING }),
    body: REPLACEMENT,
    bodyExample: { name: "Pump", mode: "open" },
    responses: { 200: ONE, 201: CREATED },
    isConditional: true,
    problems: ["conflict", "breaking-change"],
    async handle({ params, query, body, caller, request }) {
      const key = params.product;
      const found = await findProduct(ports, caller, key);
      if (found === undefined) {
        if (request.headers.has("if-match")) {
          throw new ProblemError("precondition-failed", `Cannot replace "${key}": it is not there`);
        }
        const input = { ...definedOf(body), key, project: caller!.project };
        return answerProduct(201, valueOf(await ports.products.create(input)));
      }
      if (request.headers.get("if-none-match") === "*") {
        throw new ProblemError("precondition-failed", `Cannot create "${key}": it is there`);
      }
      const fields = { ...defaultsOf(key), ...definedOf(body) };
      const options = { headers: request.headers, ...query };
      return answerProduct(200, await changeProduct(ports, found, fields, options));
    },
  });
}

function patchProduct(ports: HttpPorts): Route {
  return createRoute({
    method: "patch",
    path: PRODUCT_PATH,
    tag: "products",
    summary: "Changes a product",
    description: "JSON Merge Patch: null gives a field its default. `If-Match` is honoured.",
    params: PRODUCT_PARAMS,
    query: z.strictObject({ acceptBreaking: ACCEPT_BREAKING }),
    body: PATCH,
    bodyExample: { name: "Pump, new" },
    responses: { 200: ONE },
    isConditional: true,
    problems: ["not-found", "breaking-change"],
    async handle({ params, query, body, caller, request }) {
      const found = await requireProduct(ports, caller, params.product);
      const defaults = defaultsOf(found.key);
      const patch = definedOf({
        name: body.name === null ? defaults.name : body.name,
        mode: body.mode === null ? defaults.mode : body.mode,
        model: body.model,
        lateDaysMax: body.lateDaysMax === null ? defaults.lateDaysMax : body.lateDaysMax,
        retentionDays: body.retentionDays,
        credentials: body.credentials === null ? defaults.credentials : body.credentials,
      });
      const options = { headers: request.headers, ...query };
      return answerProduct(200, await changeProduct(ports, found, patch, options));
    },
  });
}

function deleteProduct(ports: HttpPorts): Route {
  return createRoute({
    method: "delete",
    path: PRODUCT_PATH,
    tag: "products",
    summary: "Removes a product",
    description: "Refused while it has devices. Twice is harmless.",
    params: PRODUCT_PARAMS,
    responses: { 204: { description: "It is not there any more." } },
    isConditional: true,
    problems: ["conflict"],
    async handle({ params, caller, request }) {
      const found = await findProduct(ports, caller, params.product);
      if (found === undefined) return noContent();
      const version = versionToMatch(found, request.headers);
      valueOf(await ports.products.delete(found.key, version));
      return noContent();
    },
  });
}

function productAnswer(status: number, product: Product): Answer {
  const location = status === 201 ? { location: `${LIST}/${encodeURIComponent(product.key)}` } : {};
  return { status, value: product, etag: versionTag(product), ...location };
}

function answerProduct(status: number, product: Product): Response {
  return respond(productAnswer(status, product));
}

async function findProduct(
  ports: HttpPorts,
  caller: Caller | undefined,
  key: string,
): Promise<Product | undefined> {
  const product = await ports.products.get(key);
  return product?.project === caller?.project ? product : undefined;
}

export async function requireProduct(
  ports: HttpPorts,
  caller: Caller | undefined,
  key: string,
): Promise<Product> {
  const product = await findProduct(ports, caller, key);
  if (product === undefined) throw new NotFoundError(`Cannot find product "${key}"`);
  return product;
}

/** @throws {ProblemError} 409 for a breaking model, 412. */
export async function changeProduct(
  ports: HttpPorts,
  found: Product,
  patch: ProductPatch,
  { headers, acceptBreaking }: {
    readonly headers: Headers;
    readonly acceptBreaking?: boolean | undefined;
  },
): Promise<Product> {
  const expectedVersion = versionToMatch(found, headers);
  return valueOf(
    await ports.products.update(found.key, patch, { expectedVersion, acceptBreaking }),
  );
}

function defaultsOf(key: string): Required<ProductPatch> & { mode: "open" } {
  return {
    name: key,
    mode: "open",
    model: null,
    lateDaysMax: LIMITS.lateDaysDefault,
    retentionDays: null,
    credentials: DEFAULT_CREDENTIALS,
  };
}
