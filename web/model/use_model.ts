/** The thing model of a product, as pages of its devices need it. */
import { computed, type ComputedRef } from "vue";
import { api } from "../api/client.ts";
import { type Resource, useResource } from "../api/resource.ts";
import type { Answer } from "../api/types.ts";
import type { ThingModel } from "./thing_model.ts";

export type Product = Answer<"/api/v1/products/{product}", "get">;

export interface ModelOfProduct {
  readonly resource: Resource<Product>;
  /** Null: the product has none. Undefined: not read. */
  readonly model: ComputedRef<ThingModel | null | undefined>;
}

export function useModel(product: string): ModelOfProduct {
  const resource = useResource((signal) =>
    api.get("/api/v1/products/{product}", { params: { product }, signal })
  );
  return {
    resource,
    // Checked by the API, whose document leaves the depth of types open.
    model: computed(() => resource.value.value?.model as ThingModel | null | undefined),
  };
}
