import assert from "node:assert/strict";
import { retentionPlan } from "./retention_plan.ts";

const settings = (days: Record<string, number | null>) =>
  Object.entries(days).map(([product, own]) => ({ product, days: own }));

Deno.test("where nothing is kept shorter, one time counts for all", () => {
  assert.deepEqual(retentionPlan(undefined, settings({ a: null })), { products: [] });
  assert.deepEqual(retentionPlan(30, settings({ a: null, b: 30 })), { days: 30, products: [] });
});

Deno.test("products that keep less than the node have a time of their own", () => {
  const products = [{ product: "a", days: 7 }];
  assert.deepEqual(retentionPlan(undefined, settings({ a: 7, b: null })), { products });
  assert.deepEqual(retentionPlan(30, settings({ a: 7, b: null })), { days: 30, products });
});

Deno.test("a product that keeps more than the node makes the others have a time of their own", () => {
  assert.deepEqual(retentionPlan(30, settings({ a: 365, b: null, c: 7 })), {
    days: 365,
    products: [{ product: "b", days: 30 }, { product: "c", days: 7 }],
  });
});
