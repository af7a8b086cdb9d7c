/** A request that each route of the API would take: for sweeps over all routes. */
import type { Route } from "../../protocols/http/route.ts";
import { PASSWORD, START_MS } from "./http_harness.ts";

export interface SweepRequest {
  readonly method: string;
  readonly path: string;
  /** Undefined: no body. */
  readonly json: unknown;
}

/** What stands in for the parameters of paths; those that are absent get a value of nothing. */
export type PathValues = Readonly<Record<string, string>>;

const DEFAULTS: PathValues = {
  product: "pump",
  device: "p-1",
  event: "hot",
  id: "k1",
  partition: "0",
  service: "restart",
  callId: "c1",
};
let made = 0;

export function requestOf(route: Route, values: PathValues = DEFAULTS): SweepRequest {
  const path = route.path.replaceAll(
    /\{(\w+)\}/g,
    (_all, name: string) => encodeURIComponent(values[name] ?? DEFAULTS[name] ?? "x1"),
  );
  const query = queryOf(path, { ...DEFAULTS, ...values });
  return {
    method: route.method.toUpperCase(),
    path: path + query,
    json: route.method === "get" ? undefined : bodyOf(route, values),
  };
}

/** What is required of it. */
function queryOf(path: string, { product, device }: PathValues): string {
  if (path.endsWith("/telemetry")) return "?keys=temperature";
  if (path.endsWith("/live")) return `?topics=devices,device/${product}/${device}`;
  return "";
}

/** The answer's body; of one that does not end, what comes first. */
export async function textOf(answer: Response): Promise<string> {
  if (answer.headers.get("content-type") !== "text/event-stream") return await answer.text();
  const reader = answer.body!.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return new TextDecoder().decode(value);
}

function bodyOf(route: Route, values: PathValues): unknown {
  switch (route.name) {
    case "POST /api/v1/session":
      return { name: "nobody", password: "wrong" };
    case "PATCH /api/v1/session/password":
      return { current: PASSWORD, password: PASSWORD };
    case "POST /api/v1/projects":
      return { id: `project-${made++}` };
    case "POST /api/v1/projects/{id}/owners":
      return { name: `owner-${made++}`, password: PASSWORD };
    case "POST /api/v1/users":
      return { name: `user-${made++}`, role: "viewer", password: PASSWORD };
    case "POST /api/v1/keys":
      return { name: "k", scopes: ["devices:read"] };
    case "POST /api/v1/products":
      return { key: values === DEFAULTS ? "other" : values.product };
    case "POST /api/v1/groups":
      return { name: `group-${made++}` };
    case "POST /api/v1/devices":
      return { product: values.product, device: `d-${made++}` };
    case "PATCH /api/v1/devices/{product}/{device}/shadow":
      return { desired: { on: true } };
    case "POST /api/v1/devices/{product}/{device}/services/{service}":
      return { expiresAt: START_MS + 60_000 };
    case "POST /api/v1/jobs/telemetry-export":
      return { format: "csv", product: values.product };
    case "POST /api/v1/cluster/tree/kill":
      return { path: "gateways/http" };
    case "POST /api/v1/cluster/dead-letters/replay":
    case "POST /api/v1/cluster/dead-letters/discard":
      return { ids: [values.letter ?? "1"] };
    case "POST /api/v1/cluster/partitions/{partition}/skip-damage":
      return { offset: 0 };
    case "PUT /api/v1/products/{product}/model":
      return { properties: [], events: [], services: [] };
    default:
      return {};
  }
}
