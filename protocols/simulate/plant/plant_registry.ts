/** What the demo plant needs of a registry: that of its own node, or another's through the API. */
import type { Groups } from "../../../actors/group/groups.ts";
import type { Outcome } from "../../../actors/registry/outcome.ts";
import { DEFAULT_PROJECT } from "../../../actors/registry/registry_store.ts";
import type { ThingProduct } from "./thing.ts";

export interface NewPlantProduct extends Pick<ThingProduct, "key" | "name" | "model"> {
  readonly mode: "strict";
  readonly retentionDays: number;
}

export interface NewPlantDevice {
  readonly product: string;
  readonly device: string;
  readonly name: string;
  readonly tags: string[];
}

export interface PlantRegistry {
  readonly products: {
    get(key: string): Promise<{ readonly name: string } | undefined>;
    create(product: NewPlantProduct): Promise<Outcome<unknown>>;
    delete(key: string): Promise<Outcome<unknown>>;
  };
  readonly devices: {
    get(product: string, device: string): Promise<
      | { readonly tags: readonly string[]; readonly enabled: boolean }
      | undefined
    >;
    create(device: NewPlantDevice): Promise<Outcome<{ readonly secret: string }>>;
    rotateSecret(product: string, device: string): Promise<Outcome<{ readonly secret: string }>>;
    delete(product: string, device: string): Promise<Outcome<unknown>>;
  };
  readonly groups: PlantGroups;
}

/** Groups at the top of the project. */
export interface PlantGroups {
  /** Id of the group of this name. */
  find(name: string): Promise<string | undefined>;
  create(name: string): Promise<Outcome<{ readonly id: string }>>;
  /** Twice is harmless. */
  add(id: string, product: string, device: string): Promise<Outcome<unknown>>;
  isEmpty(id: string): Promise<boolean>;
  delete(id: string): Promise<Outcome<unknown>>;
}

/** Groups of one page: there are at most `groupsMax`, few of them named alike. */
const FOUND_MAX = 500;

/** The groups of this node's default project, where the plant is. */
export function ownGroups(
  groups: Pick<Groups, "list" | "create" | "add" | "isEmpty" | "delete">,
): PlantGroups {
  return {
    find: async (name) => {
      const found = await groups.list(DEFAULT_PROJECT, { q: name, limit: FOUND_MAX });
      if (!found.ok) return undefined;
      return found.value.items.find((one) => one.parent === null && one.name === name)?.id;
    },
    create: (name) => groups.create(DEFAULT_PROJECT, { name }),
    add: (id, product, device) => groups.add(DEFAULT_PROJECT, id, product, device),
    isEmpty: (id) => groups.isEmpty(id),
    delete: (id) => groups.delete(DEFAULT_PROJECT, id),
  };
}
