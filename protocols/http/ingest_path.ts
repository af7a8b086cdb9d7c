/** Paths of devices over HTTP: everything behind `/ingest/v1/{product}/{device}/`. */
import { isName } from "../../actors/registry/names.ts";

export type IngestKind =
  | "properties"
  | "event"
  | "reply"
  | "token"
  | "downlinks"
  | "shadow"
  | "time";

export interface IngestPath {
  readonly kind: IngestKind;
  readonly product: string;
  readonly device: string;
  /** Of `event`. */
  readonly event?: string;
  /** Of `reply`. */
  readonly call?: { readonly service: string; readonly callId: string };
}

export const INGEST_PREFIX = "/ingest/v1/";

export const INGEST_METHODS: Readonly<Record<IngestKind, "GET" | "POST">> = {
  properties: "POST",
  event: "POST",
  reply: "POST",
  token: "POST",
  downlinks: "GET",
  shadow: "GET",
  time: "GET",
};

/** Undefined: it is no path of a device. */
export function parseIngestPath(path: string): IngestPath | undefined {
  if (!path.startsWith(INGEST_PREFIX)) return undefined;
  const names = path.slice(INGEST_PREFIX.length).split("/");
  if (path.includes("%") && !decodeNames(names)) return undefined;
  const [product, device, kind, one, other, last] = names;
  if (product === undefined || device === undefined) return undefined;
  if (!isName(product) || !isName(device)) return undefined;
  switch (names.length) {
    case 3:
      return isPlain(kind) ? { kind, product, device } : undefined;
    case 4:
      if (kind !== "events" || !isName(one!)) return undefined;
      return { kind: "event", product, device, event: one! };
    case 6:
      if (kind !== "services" || last !== "reply" || !isName(one!) || !isName(other!)) {
        return undefined;
      }
      return { kind: "reply", product, device, call: { service: one!, callId: other! } };
  }
}

function isPlain(kind: string | undefined): kind is Exclude<IngestKind, "event" | "reply"> {
  return kind === "properties" || kind === "downlinks" || kind === "token" || kind === "shadow" ||
    kind === "time";
}

/** Some clients escape a colon. False: not an escape. */
function decodeNames(names: string[]): boolean {
  try {
    for (let i = 0; i < names.length; i++) names[i] = decodeURIComponent(names[i]!);
    return true;
  } catch {
    return false;
  }
}
