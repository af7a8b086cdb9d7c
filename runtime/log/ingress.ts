/** Placeholder of types only until the class lands. */
export interface IngressTarget {
  readonly partition: number;
  /** `packHead(...)`. */
  readonly head: Uint8Array;
}

/**
 * Collects messages of all gateways of a process into appends, one in flight, group-committed.
 *
 * The caller's duties, in order:
 * 1. `offer`; undefined means the bound is reached: keep the message, stop reading, try again after
 *    `onRoom` fires. A message is never dropped here.
 * 2. Acknowledge nothing before `onSettled` says that its append number is durable.
 */
export interface Ingress {
  /**
   * Copies head and body parts into the open append. Returns the number of the append that will
   * carry it (rising), or undefined at the bound of unacknowledged bytes.
   */
  offer(target: IngressTarget, parts: readonly Uint8Array[]): number | undefined;
  /** Writes a row with the open append (absent value deletes). Same return. */
  offerRow(key: string, value: Uint8Array | undefined): number | undefined;
  /** Called with the highest append number that is durable, in order, in one synchronous burst. */
  onSettled(listener: (appendNumber: number) => void): () => void;
  /** Called when there is room again after `offer` returned undefined. */
  onRoom(listener: () => void): () => void;
  /** Highest number that is durable. */
  readonly settled: number;
  /** Why appends are refused at present (`overloaded`, `disk_reserve`, `store_failed`); else absent. */
  readonly refusal: string | undefined;
  readonly unacknowledgedBytes: number;
  /** Closes the open append if its deadline has passed: called by read paths, timers starve. */
  flushIfDue(): void;
  /** Sends to an actor and resolves with its `reply`; rejects with TimeoutError, OverloadedError. */
  ask(address: string, message: { type: string }, options: { timeoutMs: number }): Promise<unknown>;
}
