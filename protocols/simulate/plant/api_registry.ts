/** A node's registry as the demo plant needs it, through the REST API. */
import { accepted, type Outcome, refused } from "../../../actors/registry/outcome.ts";
import { type ApiClient, ApiRefusal } from "../api_client.ts";
import type { PlantRegistry } from "./plant_registry.ts";

const DEVICES = "/api/v1/devices";
const GROUPS = "/api/v1/groups";
const GROUPS_FOUND_MAX = 500;

interface FoundDevice {
  readonly tags: readonly string[];
  readonly enabled: boolean;
}

interface FoundGroup {
  readonly id: string;
  readonly name: string;
  readonly parent: string | null;
}

/** Of the project that the caller's key or session is of. */
export function apiRegistry(api: ApiClient): PlantRegistry {
  const write = <Value>(method: string, path: string, body?: unknown) =>
    outcomeOf(() => api.request<Value>(method, path, body));
  const find = <Value>(path: string) => foundOf(() => api.request<Value>("GET", path));
  return {
    products: {
      get: (key) => find<{ name: string }>(`/api/v1/products/${key}`),
      create: (product) => write("POST", "/api/v1/products", product),
      delete: (key) => write("DELETE", `/api/v1/products/${key}`),
    },
    devices: {
      get: (product, device) => find<FoundDevice>(`${DEVICES}/${product}/${device}`),
      create: (device) => write<{ secret: string }>("POST", DEVICES, device),
      rotateSecret: (product, device) =>
        write<{ secret: string }>("POST", `${DEVICES}/${product}/${device}/credentials/rotate`, {}),
      delete: (product, device) => write("DELETE", `${DEVICES}/${product}/${device}`),
    },
    groups: {
      find: async (name) => {
        const query = new URLSearchParams({ q: name, limit: String(GROUPS_FOUND_MAX) });
        const page = await api.request<{ items: FoundGroup[] }>("GET", `${GROUPS}?${query}`);
        return page.items.find((one) => one.parent === null && one.name === name)?.id;
      },
      create: (name) => write<FoundGroup>("POST", GROUPS, { name }),
      add: (id, product, device) => write("PUT", `${GROUPS}/${id}/devices/${product}/${device}`),
      isEmpty: async (id) => {
        const path = `${DEVICES}?group=${id}&count=true&limit=1`;
        return (await api.request<{ count: number | null }>("GET", path)).count === 0;
      },
      delete: (id) => write("DELETE", `${GROUPS}/${id}`),
    },
  };
}

async function foundOf<Value>(request: () => Promise<Value>): Promise<Value | undefined> {
  try {
    return await request();
  } catch (fault) {
    if (fault instanceof ApiRefusal && fault.status === 404) return undefined;
    throw fault;
  }
}

/** What the registry would have refused is a value; a key without the scope is a fault. */
async function outcomeOf<Value>(request: () => Promise<Value>): Promise<Outcome<Value>> {
  try {
    return accepted(await request());
  } catch (fault) {
    if (!(fault instanceof ApiRefusal)) throw fault;
    if (fault.status === 404) return refused("not_found", fault.message);
    if (fault.status === 409 || fault.status === 412) return refused("in_use", fault.message);
    throw fault;
  }
}
