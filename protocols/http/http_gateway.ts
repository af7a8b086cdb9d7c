/** The HTTP app behind a port. */
import { waitMs } from "../../runtime/clock.ts";
import { messageOf, UnavailableError } from "../../runtime/errors.ts";
import { createHttpApp, type HttpFigures } from "./http_app.ts";
import type { HttpPorts } from "./ports.ts";
import { problemResponse } from "./problem.ts";

export interface HttpGatewayOptions {
  readonly hostname: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly ports: HttpPorts;
  /** On dispose, how long bodies and appends are waited for; then their requests are refused. */
  readonly drainMs?: number;
}

export interface HttpGateway extends AsyncDisposable {
  readonly port: number;
  /** Settles when the listener ends. */
  readonly done: Promise<void>;
  figures(): HttpFigures;
  /** Something was committed for the device, which may wait for it. */
  wake(product: string, device: string): void;
  /** What was said of commits may be lost: all that wait look again. */
  wakeAll(): void;
}

const DRAIN_MS = 2_000;
/** For the last answers to be written: that is done elsewhere, and nobody says when. */
const FLUSH_MS = 20;

/**
 * Listens and serves.
 * @throws {UnavailableError} The address is taken or may not be listened on.
 */
export function startHttpGateway(options: HttpGatewayOptions): Promise<HttpGateway> {
  const { hostname, port, ports } = options;
  const app = createHttpApp(ports);
  const abort = new AbortController();
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve({
      hostname,
      port,
      signal: abort.signal,
      onListen: () => {}, // The composition root says where it listens.
      onError(fault) {
        ports.logger.error("http request failed outside its route", { fault: messageOf(fault) });
        return problemResponse("internal", "The request failed; the log says why", "");
      },
    }, (request, origin) => app.fetch(request, origin));
  } catch (cause) {
    app[Symbol.dispose]();
    const message = `Cannot listen on ${hostname}:${port}: ${messageOf(cause)}`;
    return Promise.reject(new UnavailableError("http listener", message, { cause }));
  }
  let disposed: Promise<void> | undefined;
  const dispose = async () => {
    await app.drain(options.drainMs ?? DRAIN_MS);
    app[Symbol.dispose]();
    await waitMs(ports.clock, FLUSH_MS);
    // Not `shutdown`: it waits for ever for a peer that does not end its body (Deno 2.9).
    abort.abort();
    await server.finished;
  };
  return Promise.resolve({
    port: server.addr.port,
    done: server.finished,
    figures: () => app.figures(),
    wake: (product, device) => app.polls.wake(product, device),
    wakeAll: () => app.polls.wakeAll(),
    [Symbol.asyncDispose]: () => disposed ??= dispose(),
  });
}
