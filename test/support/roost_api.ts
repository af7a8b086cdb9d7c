/** The API as an integrator's program uses it: fetch, a session or a key, and problems as errors. */
import { systemClock, waitMs } from "../../runtime/clock.ts";
import type { DeviceLogin } from "../bench/load/options.ts";

export interface LedgerTermsView {
  readonly accepted: number;
  readonly processed: number;
  readonly pending: number;
  readonly deadLettered: number;
  readonly rolledBack: number;
}

export interface LedgerView {
  readonly total: LedgerTermsView;
  readonly refused: Readonly<Record<string, number>>;
  readonly partitions: readonly (LedgerTermsView & { readonly partition: number })[];
}

export interface TreeView {
  readonly id: string;
  readonly status: string;
  readonly restarts: number;
  readonly children?: readonly TreeView[];
}

export interface DeadLetterView {
  readonly id: string;
  /** The actor. */
  readonly to: string;
  readonly isIngress: boolean;
  readonly reason: string;
  readonly detail: string;
}

export type SeriesPoint = readonly [atMs: number, value: unknown];

export interface TelemetryPage {
  readonly series: Readonly<Record<string, readonly SeriesPoint[]>>;
  readonly nextCursor: string | null;
}

/** An answer that was not the expected one; `status` tells which. */
export class ApiError extends Error {
  constructor(readonly status: number, readonly request: string, readonly body: string) {
    super(`${request} answered ${status}: ${body.slice(0, 500)}`);
  }
}

interface Credentials {
  readonly headers: Readonly<Record<string, string>>;
}

/** Scopes of a key that may do all that a program may. */
const ALL_SCOPES = [
  "products:read",
  "products:write",
  "devices:read",
  "devices:write",
  "cluster:read",
  "cluster:write",
  "jobs:read",
  "jobs:write",
];
const HISTORY_PAGE_POINTS = 100_000;
const TRIES_MAX = 50;
const RETRY_MS_MAX = 2_000;

export class RoostApi {
  readonly url: string;
  readonly #credentials: readonly Credentials[];
  #turn = 0;

  private constructor(url: string, credentials: readonly Credentials[]) {
    this.url = url;
    this.#credentials = credentials;
  }

  /** A person's session: cookie and CSRF header. Throws `ApiError` if it is refused. */
  static async login(url: string, name: string, password: string): Promise<RoostApi> {
    const response = await fetch(`${url}/api/v1/session`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ name, password }),
    });
    const text = await response.text();
    if (response.status !== 200) throw new ApiError(response.status, "POST session", text);
    const cookie = response.headers.getSetCookie().map((one) => one.split(";")[0]).join("; ");
    return new RoostApi(url, [{
      headers: { Cookie: cookie, "X-CSRF-Token": JSON.parse(text).csrf },
    }]);
  }

  /** A program with these keys, used in turn: each has request limits of its own. */
  static withKeys(url: string, keys: readonly string[]): RoostApi {
    return new RoostApi(
      url,
      keys.map((key) => ({ headers: { Authorization: `Bearer ${key}` } })),
    );
  }

  /** The same as a program with so many fresh keys of all scopes. Only a person may ask. */
  async asProgram(keys: number): Promise<RoostApi> {
    const made: string[] = [];
    for (let i = 0; i < keys; i++) made.push(await this.createKey(`program-${i}`, ALL_SCOPES));
    return RoostApi.withKeys(this.url, made);
  }

  /** Values of the header `Authorization` of a program's keys. */
  get authorizations(): readonly string[] {
    return this.#credentials.flatMap(({ headers }) => headers.Authorization ?? []);
  }

  /** The same caller at another address: after a restart on another port. */
  at(url: string): RoostApi {
    return new RoostApi(url, this.#credentials);
  }

  /** Any request; the body of a refused one is in the answer, not thrown. */
  async fetch(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    const credentials = this.#credentials[this.#turn++ % this.#credentials.length]!;
    return await fetch(this.url + path, {
      method,
      headers: {
        ...credentials.headers,
        ...headers,
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  /** Posts a body of another type than JSON, as it is. */
  async upload(path: string, type: string, body: BodyInit): Promise<Response> {
    const credentials = this.#credentials[this.#turn++ % this.#credentials.length]!;
    const headers = { ...credentials.headers, "Content-Type": type };
    return await fetch(this.url + path, { method: "POST", headers, body });
  }

  /** JSON of a 2xx answer; waits out 429 and 503 as told. Throws `ApiError` otherwise. */
  async request<T>(method: string, path: string, body?: unknown): Promise<T> {
    for (let tries = 1;; tries++) {
      const response = await this.fetch(method, path, body);
      const text = await response.text();
      if (response.ok) return (text === "" ? undefined : JSON.parse(text)) as T;
      const isBusy = response.status === 429 || response.status === 503;
      if (!isBusy || tries >= TRIES_MAX) {
        throw new ApiError(response.status, `${method} ${path}`, text);
      }
      const retryMs = Number(response.headers.get("Retry-After") ?? 0.1) * 1_000;
      await waitMs(systemClock, Math.min(retryMs, RETRY_MS_MAX));
    }
  }

  async createKey(name: string, scopes: readonly string[]): Promise<string> {
    const made = await this.request<{ key: string }>("POST", "/api/v1/keys", { name, scopes });
    return made.key;
  }

  async createProduct(
    product: { key: string; name?: string; mode?: "open" | "strict"; model?: unknown },
  ): Promise<void> {
    const body = { name: product.key, mode: "open", ...product };
    await this.request("POST", "/api/v1/products", body);
  }

  /** Made with the given secret, or with one of the server's, which comes back. */
  async createDevice(
    product: string,
    device: string,
    options: { secret?: string; name?: string; tags?: unknown } = {},
  ): Promise<DeviceLogin> {
    const body = { product, device, ...options };
    const made = await this.request<{ secret?: string }>("POST", "/api/v1/devices", body);
    const secret = options.secret ?? made.secret;
    if (secret === undefined) throw new Error(`Device ${product}/${device} came without a secret`);
    return { product, device, secret };
  }

  /** `{prefix}-0` to `{prefix}-{count - 1}`, in that order. */
  async createDevices(product: string, count: number, prefix = "d"): Promise<DeviceLogin[]> {
    const made = new Array<DeviceLogin>(count);
    let next = 0;
    const createSome = async () => {
      for (let i = next++; i < count; i = next++) {
        made[i] = await this.createDevice(product, `${prefix}-${i}`);
      }
    };
    await Promise.all(Array.from({ length: 8 }, createSome));
    return made;
  }

  device(product: string, device: string): Promise<{ status: string; lastSeenAt: number | null }> {
    return this.request("GET", devicePath(product, device));
  }

  patchDevice(product: string, device: string, patch: unknown): Promise<unknown> {
    return this.request("PATCH", devicePath(product, device), patch);
  }

  properties(
    product: string,
    device: string,
  ): Promise<Record<string, { value: unknown; at: number }>> {
    return this.request("GET", `${devicePath(product, device)}/properties`);
  }

  shadow(product: string, device: string): Promise<Record<string, unknown>> {
    return this.request("GET", `${devicePath(product, device)}/shadow`);
  }

  desire(
    product: string,
    device: string,
    desired: Record<string, unknown>,
    version?: number,
  ): Promise<Record<string, unknown>> {
    const body = { desired, ...(version === undefined ? {} : { version }) };
    return this.request("PATCH", `${devicePath(product, device)}/shadow`, body);
  }

  /** One page, or an aggregate, as the parameters say. */
  telemetry<Page = TelemetryPage>(
    product: string,
    device: string,
    query: Readonly<Record<string, string | number>>,
  ): Promise<Page> {
    const parameters = new URLSearchParams(
      Object.entries(query).map(([name, value]) => [name, String(value)]),
    );
    return this.request("GET", `${devicePath(product, device)}/telemetry?${parameters}`);
  }

  /** All points of one metric, page by page. */
  async history(
    product: string,
    device: string,
    key: string,
    range: { fromMs: number; toMs: number },
  ): Promise<SeriesPoint[]> {
    const points: SeriesPoint[] = [];
    let cursor: string | null = null;
    do {
      const page: TelemetryPage = await this.telemetry(product, device, {
        keys: key,
        from: range.fromMs,
        to: range.toMs,
        limit: HISTORY_PAGE_POINTS,
        ...(cursor === null ? {} : { cursor }),
      });
      points.push(...page.series[key] ?? []);
      cursor = page.nextCursor;
    } while (cursor !== null);
    return points;
  }

  ledger(): Promise<LedgerView> {
    return this.request("GET", "/api/v1/cluster/ledger");
  }

  tree(): Promise<TreeView> {
    return this.request("GET", "/api/v1/cluster/tree");
  }

  /** @param path Ids from the root's child downwards, joined by `/`. */
  killChild(path: string): Promise<unknown> {
    return this.request("POST", "/api/v1/cluster/tree/kill", { path });
  }

  deadLetters(
    query: Readonly<Record<string, string | number>> = {},
  ): Promise<{ items: DeadLetterView[]; nextCursor: string | null }> {
    const parameters = new URLSearchParams(
      Object.entries(query).map(([name, value]) => [name, String(value)]),
    );
    return this.request("GET", `/api/v1/cluster/dead-letters?${parameters}`);
  }

  replayDeadLetters(ids: readonly string[]): Promise<unknown> {
    return this.request("POST", "/api/v1/cluster/dead-letters/replay", { ids });
  }

  discardDeadLetters(ids: readonly string[]): Promise<unknown> {
    return this.request("POST", "/api/v1/cluster/dead-letters/discard", { ids });
  }

  /** The text of `/metrics`. */
  async metrics(): Promise<string> {
    return await (await this.fetch("GET", "/metrics")).text();
  }
}

/** `accepted = processed + pending + deadLettered + rolledBack`. */
export function isBalanced(terms: LedgerTermsView): boolean {
  return terms.accepted ===
    terms.processed + terms.pending + terms.deadLettered + terms.rolledBack;
}

function devicePath(product: string, device: string): string {
  return `/api/v1/devices/${encodeURIComponent(product)}/${encodeURIComponent(device)}`;
}
