/** A device's connection, whatever its wire. */

export interface DeviceLogin {
  readonly product: string;
  readonly device: string;
  readonly secret: string;
}

/** Whom a link tells. After `closed` it tells nothing more. */
export interface LinkEvents {
  /** Messages may be sent. */
  opened(): void;
  /** The message is durable. */
  acknowledged(id: number): void;
  refused(id: number, refusal: Refusal): void;
  /** @param reason Undefined: the connection broke, or could not be made. */
  closed(reason: string | undefined): void;
}

export interface Refusal {
  readonly reason: string;
  /** False: the message may be stored all the same. */
  readonly isCertain: boolean;
  /** Not now: the message is to be sent again, after so long. Undefined: it is refused for good. */
  readonly retryAfterMs?: number;
}

export interface Link {
  /** Most messages that may be unanswered. */
  readonly window: number;
  /** @param id 1 to 65535, not that of an unanswered message. */
  send(id: number, text: string): void;
  /** At once, without a word to the peer: a device that loses its network. Tells nothing. */
  drop(): void;
  /** In order; tells nothing. */
  close(): void;
}

export interface LinkTarget {
  readonly host: string;
  readonly port: number;
}
