/** Thing models of products: the present one, what another would change, and those of before. */
import { z } from "@hono/zod-openapi";
import { NotFoundError } from "../../../runtime/errors.ts";
import { LIMITS } from "../../../runtime/limits.ts";
import type { Product } from "../../../actors/product/products.ts";
import { decodeCursor, encodeCursor } from "../cursor.ts";
import { valueOf } from "../outcome_answers.ts";
import type { HttpPorts } from "../ports.ts";
import { definedOf } from "../request_input.ts";
import { answer, versionTag, versionToMatch } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { CURSOR, flag, pageOf, time, wholeNumber } from "../schemas.ts";
import {
  CHANGE_EXAMPLE,
  MODEL,
  MODEL_CHANGES,
  MODEL_EXAMPLE,
  MODEL_VERSION,
  VERSIONED_MODEL,
} from "./model_schema.ts";
import {
  ACCEPT_BREAKING,
  changeProduct,
  PRODUCT_PARAMS,
  PRODUCT_PATH,
  requireProduct,
} from "./product_routes.ts";

const PATH = `${PRODUCT_PATH}/model`;
const ETAG = { ETag: "Strong tag of this version of the product." };
const EXAMPLE = { version: 3, ...MODEL_EXAMPLE };
const VERSIONS = "models";
const VERSION = z.object({
  version: z.int().openapi(MODEL_VERSION),
  createdAt: time("When it became the model."),
  model: MODEL.nullable().describe("Null: the model was removed."),
  isBreaking: z.boolean().describe("It broke something of the version before."),
  changes: MODEL_CHANGES.shape.changes.describe("Against the version before."),
}).openapi("ModelVersion");

export function modelRoutes(ports: HttpPorts): Route[] {
  return [readModel(ports), putModel(ports), listModels(ports)];
}

function readModel(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: PATH,
    tag: "products",
    summary: "Reads the thing model",
    params: PRODUCT_PARAMS,
    responses: {
      200: { description: "The model.", schema: VERSIONED_MODEL, example: EXAMPLE, headers: ETAG },
    },
    problems: ["not-found"],
    async handle({ params, caller }) {
      const product = await requireProduct(ports, caller, params.product);
      if (product.model === null) throw new NotFoundError(`Product "${product.key}" has no model`);
      return answerModel(product);
    },
  });
}

function putModel(ports: HttpPorts): Route {
  return createRoute({
    method: "put",
    path: PATH,
    tag: "products",
    summary: "Replaces the thing model",
    description:
      "Counts for messages that are accepted from now on. A change that breaks what works now is " +
      "refused, with its `changes`, unless `acceptBreaking` is true: a part that is removed, a " +
      "range, length or list of values that gets narrower, another type or unit, a right to read " +
      "or write that goes, a field that becomes required. A `version` in the body is not looked " +
      "at; `If-Match` is honoured.",
    params: PRODUCT_PARAMS,
    query: z.strictObject({
      dryRun: flag("Answers with what would change, and changes nothing.").optional(),
      acceptBreaking: ACCEPT_BREAKING,
    }),
    body: MODEL,
    bodyExample: MODEL_EXAMPLE,
    bodyBytesMax: LIMITS.httpBodyBytesMax,
    responses: {
      200: {
        description: "The new model; with `dryRun` the changes.",
        schema: z.union([VERSIONED_MODEL, MODEL_CHANGES]),
        example: EXAMPLE,
        headers: ETAG,
      },
    },
    isConditional: true,
    problems: ["not-found", "breaking-change"],
    async handle({ params, query, body, caller, request: { headers } }) {
      const found = await requireProduct(ports, caller, params.product);
      if (query.dryRun) {
        versionToMatch(found, headers);
        const changes = valueOf(await ports.products.changesOf(found.key, body));
        const isBreaking = changes.some((change) => change.isBreaking);
        return answer(200, { changes, isBreaking }, { etag: versionTag(found) });
      }
      const { acceptBreaking } = query;
      const options = { headers, acceptBreaking };
      return answerModel(await changeProduct(ports, found, { model: body }, options));
    },
  });
}

function listModels(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: `${PRODUCT_PATH}/models`,
    tag: "products",
    summary: "Lists the versions of the thing model",
    description: `Newest first. The last ${LIMITS.modelVersionsMax} are kept. A page of large ` +
      "models may be short while `nextCursor` is not null.",
    params: PRODUCT_PARAMS,
    query: z.strictObject({
      limit: wholeNumber(
        { min: 1, max: LIMITS.modelVersionsMax },
        "Items of a page; 20 by default.",
        20,
      ).optional(),
      cursor: CURSOR.optional(),
    }),
    responses: {
      200: {
        description: "A page of versions.",
        schema: pageOf(VERSION),
        example: {
          items: [{
            version: 3,
            createdAt: 1_700_000_000_000,
            model: MODEL_EXAMPLE,
            isBreaking: true,
            changes: [CHANGE_EXAMPLE],
          }],
          nextCursor: null,
        },
      },
    },
    problems: ["not-found"],
    async handle({ params, query, caller }) {
      const { key } = await requireProduct(ports, caller, params.product);
      const cursor = query.cursor === undefined ? undefined : decodeCursor(VERSIONS, query.cursor);
      const asked = definedOf({ limit: query.limit ?? 20, before: cursor });
      const { items, before } = await ports.products.models(key, asked);
      const nextCursor = before === undefined ? null : encodeCursor(VERSIONS, before);
      return answer(200, { items, nextCursor });
    },
  });
}

function answerModel(product: Product): Response {
  const value = { version: product.modelVersion, ...product.model };
  return answer(200, value, { etag: versionTag(product) });
}
