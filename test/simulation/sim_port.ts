/** A `MessageChannel` between two simulated threads: in order, delayed, and lost with a thread. */
import type { MessageEndpoint } from "../../runtime/log/port_calls.ts";
import type { ThreadClock } from "./thread_clock.ts";
import type { VirtualClock } from "./virtual_clock.ts";

const DELAY_MS_MAX = 2;

class SimEndpoint implements MessageEndpoint {
  onmessage: ((event: MessageEvent) => void) | null = null;
  peer: SimEndpoint | undefined;
  readonly #world: VirtualClock;
  readonly #thread: ThreadClock;
  readonly #inbox: unknown[] = [];
  #lastAtMs = 0;
  #isClosed = false;

  constructor(world: VirtualClock, thread: ThreadClock) {
    this.#world = world;
    this.#thread = thread;
  }

  postMessage(message: unknown): void {
    const delayMs = this.#world.random.fraction() * DELAY_MS_MAX;
    const atMs = Math.max(this.#lastAtMs + 0.01, this.#thread.monotonicMs() + delayMs);
    this.#lastAtMs = atMs;
    this.peer?.take(message, atMs - this.#world.monotonicMs());
  }

  take(message: unknown, inMs: number): void {
    this.#world.after(inMs, () => {
      this.#inbox.push(message);
      // A thread that is held up takes its messages in order, when it is free.
      this.#thread.after(0, () => {
        const data = this.#inbox.shift();
        if (!this.#isClosed) this.onmessage?.({ data } as MessageEvent);
      });
    });
  }

  close(): void {
    this.#isClosed = true;
  }
}

export function createSimChannel(
  world: VirtualClock,
  near: ThreadClock,
  far: ThreadClock,
): readonly [MessageEndpoint, MessageEndpoint] {
  const one = new SimEndpoint(world, near);
  const other = new SimEndpoint(world, far);
  one.peer = other;
  other.peer = one;
  return [one, other];
}
