/**
 * Calls of the log from another thread: a `MessagePort` with the log at one end (in the log Worker) and
 * its caller at the other. Answers may come in another order than the calls.
 */
import { CodecError, messageOf, UnavailableError } from "../errors.ts";

/** The slice of `MessagePort` that both ends use. */
export interface MessageEndpoint {
  postMessage(message: unknown, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent) => void) | null;
  close(): void;
}

interface Call {
  readonly id: number;
  readonly request: unknown;
}

type Answer =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | {
    readonly id: number;
    readonly ok: false;
    readonly isCodec: boolean;
    readonly message: string;
  };

export interface PortAnswer {
  readonly value?: unknown;
  /** What of the value is handed over instead of copied. */
  readonly transfer?: readonly Transferable[];
}

export interface PortCaller extends Disposable {
  /** Rejects with what the other end threw: `CodecError`, or else `UnavailableError`. */
  ask<Value>(request: unknown): Promise<Value>;
}

/** The log's end. The port is closed with it. */
export function servePort<Request>(
  port: MessageEndpoint,
  serve: (request: Request) => Promise<PortAnswer>,
): Disposable {
  let isClosed = false;
  const answer = (message: Answer, transfer: readonly Transferable[] = []) => {
    if (!isClosed) port.postMessage(message, [...transfer]);
  };
  const take = async ({ id, request }: Call) => {
    try {
      const { value, transfer } = await serve(request as Request);
      answer({ id, ok: true, value }, transfer);
    } catch (fault) { // The caller decides what to do about it.
      const isCodec = fault instanceof CodecError;
      answer({ id, ok: false, isCodec, message: messageOf(fault) });
    }
  };
  port.onmessage = (event) => void take(event.data as Call);
  return {
    [Symbol.dispose]() {
      if (isClosed) return;
      isClosed = true;
      port.close();
    },
  };
}

/**
 * The caller's end. Disposing rejects what is under way and closes the port.
 * @param what The caller cannot do once the port is closed, for the error.
 */
export function connectPort(port: MessageEndpoint, what: string): PortCaller {
  const pending = new Map<number, { resolve(value: unknown): void; reject(fault: Error): void }>();
  let lastId = 0;
  let isClosed = false;
  const closed = () => new UnavailableError("log", `Cannot ${what} the log: its port is closed`);
  port.onmessage = (event) => {
    const answer = event.data as Answer;
    const call = pending.get(answer.id);
    pending.delete(answer.id);
    if (answer.ok) call?.resolve(answer.value);
    else if (answer.isCodec) call?.reject(new CodecError(answer.message));
    else call?.reject(new UnavailableError("log", answer.message));
  };
  return {
    ask<Value>(request: unknown): Promise<Value> {
      if (isClosed) return Promise.reject(closed());
      const id = ++lastId;
      return new Promise<Value>((resolve, reject) => {
        pending.set(id, { resolve: resolve as (value: unknown) => void, reject });
        port.postMessage({ id, request } satisfies Call, []);
      });
    },
    [Symbol.dispose]() {
      if (isClosed) return;
      isClosed = true;
      port.close();
      for (const call of pending.values()) call.reject(closed());
      pending.clear();
    },
  };
}
