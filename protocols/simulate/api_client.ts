/** The REST API as the simulator uses it: a key or a person's session, patient with a busy node. */
import { type Clock, waitMs } from "../../runtime/clock.ts";
import { messageOf, UnavailableError } from "../../runtime/errors.ts";
import type { Credentials } from "./options.ts";

/** An answer that was not the expected one. */
export class ApiRefusal extends Error {
  constructor(readonly status: number, request: string, body: string) {
    super(`${request} answered ${status}: ${detailOf(body)}`);
  }
}

const RETRY_MS = 500;
const RETRY_MS_MAX = 5_000;
/** A node that restarts is waited for. */
const PATIENCE_MS = 60_000;

export class ApiClient {
  readonly #url: string;
  readonly #clock: Clock;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #onAway: (url: string) => void;
  #isAway = false;

  private constructor(
    url: string,
    clock: Clock,
    onAway: (url: string) => void,
    headers: Readonly<Record<string, string>>,
  ) {
    this.#url = url;
    this.#clock = clock;
    this.#onAway = onAway;
    this.#headers = headers;
  }

  /**
   * @param onAway Told when the node cannot be reached, once until it answers again.
   * @throws {ApiRefusal} The login is refused.
   */
  static async open(
    url: string,
    credentials: Credentials,
    clock: Clock,
    onAway: (url: string) => void = () => {},
  ): Promise<ApiClient> {
    if (credentials.type === "key") {
      return new ApiClient(url, clock, onAway, { Authorization: `Bearer ${credentials.key}` });
    }
    const { user: name, password } = credentials;
    const stranger = new ApiClient(url, clock, onAway, {});
    const response = await stranger.#patiently("POST", "/api/v1/session", { name, password });
    const cookie = response.headers.getSetCookie().map((one) => one.split(";")[0]).join("; ");
    const { csrf } = await response.json();
    return new ApiClient(url, clock, onAway, { Cookie: cookie, "X-CSRF-Token": csrf });
  }

  /** JSON of a 2xx answer. @param body A text is sent as NDJSON. @throws {ApiRefusal} */
  async request<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.#patiently(method, path, body);
    const text = await response.text();
    return (text === "" ? undefined : JSON.parse(text)) as T;
  }

  /** Waits out 429, 503 and a node that is away. What may have been done is not done twice. */
  async #patiently(method: string, path: string, body?: unknown): Promise<Response> {
    const untilMs = this.#clock.monotonicMs() + PATIENCE_MS;
    const key = crypto.randomUUID();
    for (;;) {
      const answer = await this.#once(method, path, body, key);
      this.#tell(answer);
      if (answer instanceof Response && answer.ok) return answer;
      const isBusy = !(answer instanceof Response) || answer.status === 429 ||
        answer.status === 503 || isUnderWay(answer);
      if (!isBusy || this.#clock.monotonicMs() > untilMs) {
        if (!(answer instanceof Response)) {
          throw new UnavailableError("node", `Cannot reach ${this.#url}: ${messageOf(answer)}`);
        }
        throw new ApiRefusal(answer.status, `${method} ${path}`, await answer.text());
      }
      let retryMs = RETRY_MS;
      if (answer instanceof Response) {
        await answer.body?.cancel();
        retryMs = Number(answer.headers.get("retry-after") ?? 0.5) * 1_000 || RETRY_MS;
      }
      await waitMs(this.#clock, Math.min(retryMs, RETRY_MS_MAX));
    }
  }

  #tell(answer: unknown): void {
    const isAway = !(answer instanceof Response);
    if (isAway && !this.#isAway) this.#onAway(this.#url);
    this.#isAway = isAway;
  }

  /** The answer, or why there is none. */
  async #once(method: string, path: string, body: unknown, key: string): Promise<unknown> {
    const type = typeof body === "string" ? "application/x-ndjson" : "application/json";
    try {
      return await fetch(this.#url + path, {
        method,
        headers: {
          ...this.#headers,
          ...(body === undefined ? {} : { "Content-Type": type }),
          ...(method === "POST" ? { "Idempotency-Key": key } : {}),
        },
        ...(body === undefined
          ? {}
          : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      });
    } catch (fault) {
      return fault;
    }
  }
}

/** The first request of the key has no answer yet. */
function isUnderWay({ status, headers }: Response): boolean {
  return status === 409 && headers.has("retry-after");
}

function detailOf(body: string): string {
  try {
    return JSON.parse(body).detail ?? body.slice(0, 500);
  } catch {
    return body.slice(0, 500); // Not a problem document: a proxy's answer, say.
  }
}
