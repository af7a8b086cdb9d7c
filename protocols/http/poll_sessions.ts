/**
 * Devices that poll, as connections: a device that comes and fetches has one from its first poll until
 * `pollAwayMs` after its last one. Its actor is told, unless it has a connection of another wire: that
 * one stays, and is the device's presence.
 */
import type { SuspendedAddresses } from "../../runtime/actor/suspended_actors.ts";
import type { Clock } from "../../runtime/clock.ts";
import { HTTP_LIMITS } from "../../runtime/http_limits.ts";
import type { Ingress } from "../../runtime/log/ingress.ts";
import {
  deviceAddress,
  type DeviceMessage,
  type DeviceState,
} from "../../actors/device/messages.ts";
import type { DevicePoster } from "./device_logins.ts";

export interface LinkPorts {
  /** Unique per start of this gateway; sessions of connections begin with it. */
  readonly incarnation: string;
  /** Rises with every connection of the installation. */
  readonly nextEpoch: () => number;
}

export interface SessionPorts {
  readonly clock: Clock;
  readonly ingress: Pick<Ingress, "offer">;
  readonly suspended: SuspendedAddresses;
  readonly link: LinkPorts;
}

/** Desired values that were handed out, and when they are again if they are not reported. */
export interface OfferedValues {
  readonly version: number;
  readonly pauseMs: number;
  /** Monotonic. */
  readonly againAtMs: number;
}

export interface PollSession {
  readonly poster: DevicePoster;
  readonly number: number;
  /** Id and epoch of the connection that the actor was told of last; epoch 0: of none. */
  id: string;
  epoch: number;
  /** Rises when what was fetched may not have arrived: then all is to be fetched again. */
  generation: number;
  offered: OfferedValues | undefined;
  /** Monotonic end of the last poll. */
  endedAtMs: number;
}

/** How often devices that are away are looked at. */
const SWEEP_MS = 1_000;
const ENCODER = new TextEncoder();

export class PollSessions implements Disposable {
  readonly #ports: SessionPorts;
  readonly #waiting = new Map<string, PollSession>();
  /** Longest away first. */
  readonly #away = new Map<string, PollSession>();
  #sessions = 0;
  #links = 0;
  #cancelSweep: (() => void) | undefined;

  constructor(ports: SessionPorts) {
    this.#ports = ports;
  }

  get size(): number {
    return this.#waiting.size + this.#away.size;
  }

  /** A poll of the device begins. */
  begin(poster: DevicePoster): PollSession {
    const { key } = poster;
    const known = this.#waiting.get(key) ?? this.#away.get(key);
    if (known === undefined && this.size >= HTTP_LIMITS.pollSessionsMax) {
      const oldest = this.#away.values().next().value;
      if (oldest !== undefined) this.end(oldest.poster.key, "too_many");
    }
    const session = known ??
      { poster, number: ++this.#sessions, id: "", epoch: 0, generation: 0, ...NEVER };
    this.#away.delete(key);
    this.#waiting.set(key, session);
    return session;
  }

  /** The poll of the device has ended, and no other has begun. */
  rest(session: PollSession): void {
    const { key } = session.poster;
    if (!this.#waiting.delete(key)) return;
    session.endedAtMs = this.#ports.clock.monotonicMs();
    this.#away.set(key, session);
    this.#cancelSweep ??= this.#ports.clock.after(SWEEP_MS, () => this.#sweep());
  }

  /** Name of the connection for the actor of the calls. */
  callSession({ number, generation }: PollSession): string {
    return `${this.#ports.link.incarnation}.p${number}.${generation}`;
  }

  /** Tells the actor of the connection if it knows of none. @param state Committed, just read. */
  link(session: PollSession, state: DeviceState | undefined, remote: string): void {
    const isTold = session.epoch > (state?.epoch ?? 0);
    if (state?.link !== undefined || isTold) return; // What was told may not be committed yet.
    const { incarnation, nextEpoch } = this.#ports.link;
    const epoch = nextEpoch();
    const id = `${incarnation}.${this.#links + 1}`;
    const message = { type: "connected", session: id, epoch, wire: "http", remote } as const;
    if (!this.#tell(session, message)) return; // At the next look.
    this.#links++;
    session.id = id;
    session.epoch = epoch;
  }

  /** @param reason A constant, for presence; undefined: the actor is not told. */
  end(key: string, reason: string | undefined): void {
    const session = this.#waiting.get(key) ?? this.#away.get(key);
    if (session === undefined) return;
    this.#waiting.delete(key);
    this.#away.delete(key);
    if (reason !== undefined) this.#tellEnd(session, reason);
  }

  [Symbol.dispose](): void {
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
    for (const key of [...this.#waiting.keys(), ...this.#away.keys()]) {
      this.end(key, "shutting_down");
    }
  }

  #sweep(): void {
    this.#cancelSweep = undefined;
    const untilMs = this.#ports.clock.monotonicMs() - HTTP_LIMITS.pollAwayMs;
    for (const [key, session] of this.#away) {
      if (session.endedAtMs > untilMs || !this.#tellEnd(session, "poll_ended")) break;
      this.#away.delete(key);
    }
    if (this.#away.size === 0) return;
    this.#cancelSweep = this.#ports.clock.after(SWEEP_MS, () => this.#sweep());
  }

  #tellEnd(session: PollSession, reason: string): boolean {
    if (session.epoch === 0) return true;
    return this.#tell(session, { type: "disconnected", session: session.id, reason });
  }

  /** False: there is no room in the log. */
  #tell({ poster }: PollSession, message: DeviceMessage): boolean {
    const { product, device, target } = poster;
    const { suspended, ingress } = this.#ports;
    // When it is resumed, it is told that it is absent; the next poll tells that it is not.
    if (suspended.size > 0 && suspended.has(deviceAddress(product, device))) return true;
    return ingress.offer(target, [ENCODER.encode(JSON.stringify(message))]) !== undefined;
  }
}

const NEVER = { offered: undefined, endedAtMs: 0 };
