/** Messages of the device actor `device/{product}/{device}`: what gateways, the API and it exchange. */
import type { Json, Message } from "../../runtime/actor/behaviour.ts";
import type { CallAnswer } from "../command/messages.ts";
import type { Carried } from "./carried.ts";

/** Values by property name; flat, each value as the thing model allows. */
export type Values = { readonly [property: string]: Json };

/** Values of one moment. Without `at`, the time of acceptance counts. Epoch milliseconds. */
export interface Sample {
  readonly at?: number;
  readonly values: Values;
}

export type DeviceMessage =
  /** Reported properties, validated by the gateway against the thing model. */
  | {
    readonly type: "properties";
    readonly samples: readonly Sample[];
    readonly carried?: Carried;
  }
  | {
    readonly type: "event";
    readonly event: string;
    readonly at?: number;
    readonly data: Json;
    readonly carried?: Carried;
  }
  /** On a topic of the device's own, after its prefix: kept as it is, in one of the two forms. */
  | {
    readonly type: "message";
    readonly topic: string;
    readonly text?: string;
    readonly base64?: string;
    readonly carried?: Carried;
  }
  /**
   * A connection was accepted. `session` is unique for ever: `{incarnation}.{n}`; `epoch` rises with
   * every connection of the installation, so that a late close of an old one is recognised.
   */
  | {
    readonly type: "connected";
    readonly session: string;
    readonly epoch: number;
    readonly wire: "mqtt" | "http";
    readonly remote?: string;
  }
  | { readonly type: "disconnected"; readonly session: string; readonly reason: string }
  /** No connection up to this epoch lives: told where a close may have been missed. */
  | { readonly type: "absent"; readonly epoch: number }
  /** The connection can now receive: desired properties that differ from reported, and calls. */
  | {
    readonly type: "deliver";
    readonly session: string;
    /** False: it does not want desired properties. */
    readonly values?: false;
    /** It takes service calls. What it was sent before may not have arrived. */
    readonly calls?: true;
  }
  /** The device's answer to a service call; passed on to the actor of its calls. */
  | { readonly type: "reply"; readonly callId: string; readonly answer: CallAnswer }
  /** The device sent something that another actor took: a sign of life. */
  | { readonly type: "heard" }
  /**
   * The actor of its calls asks for the connection; answered by `linked` if it takes calls, else told
   * to the gateway whose device may be waiting for them.
   */
  | { readonly type: "callsWait" }
  /** The device asked for its shadow on this connection. */
  | { readonly type: "shadowGet"; readonly session: string }
  /** Asked by the API; answered by `ShadowReply`. `null` removes a desired property. */
  | { readonly type: "desire"; readonly values: Values; readonly expectedVersion?: number }
  /** The device was deleted: forget everything. */
  | { readonly type: "removed" };

/** To the device's connection, after the commit. The MQTT gateway maps them to topics. */
export type DeviceDownlink =
  /** → `properties/set` `{"version", "values"}`, QoS 1. */
  | { readonly type: "propertySet"; readonly version: number; readonly values: Values }
  /** → `shadow`, QoS 1. Only to the connection that asked. */
  | { readonly type: "shadow"; readonly session: string; readonly shadow: ShadowView }
  /**
   * → `services/{service}/{callId}` `{"input"}`, QoS 1. Comes again under the same id while it is not
   * answered: one that still waits to be sent is the same. Nothing to send after `expiresAtMs`.
   */
  | {
    readonly type: "call";
    readonly callId: string;
    readonly service: string;
    readonly input: Json;
    /** Epoch milliseconds. */
    readonly expiresAtMs: number;
  }
  /** A call was cancelled: if it still waits to be sent, it is not sent. */
  | { readonly type: "callEnded"; readonly callId: string; readonly service: string };

/** To a gateway whose devices come and fetch, after the commit: there is something to fetch. */
export interface CallsWait {
  readonly type: "callsWait";
}

export interface TimedValue {
  readonly value: Json;
  /** Epoch milliseconds. */
  readonly at: number;
}

export interface ShadowView {
  /** Rises with every change of desired. */
  readonly version: number;
  readonly desired: Readonly<Record<string, TimedValue>>;
  readonly reported: Readonly<Record<string, TimedValue>>;
}

export type ShadowReply =
  | { readonly ok: true; readonly shadow: ShadowView; readonly delta: Values }
  | { readonly ok: false; readonly code: "stale_version"; readonly version: number }
  | { readonly ok: false; readonly code: "state_full"; readonly message: string };

/** Last values kept in the actor, desired properties, and the connection if there is one. */
export interface DeviceState {
  readonly reported: Readonly<Record<string, TimedValue>>;
  readonly desired: Readonly<Record<string, TimedValue>>;
  readonly version: number;
  /** Present while connected. */
  readonly link?: {
    readonly session: string;
    readonly epoch: number;
    readonly wire: "mqtt" | "http";
    readonly connectedAtMs: number;
    readonly remote?: string;
    readonly takesCalls?: true;
  };
  /** Highest session epoch seen: a `connected` with a lower one is late and ignored. */
  readonly epoch: number;
  /**
   * When the device was last heard of: a message of its own, a connect, or the close of its connection.
   * Never falls. Absent: never.
   */
  readonly lastSeenAtMs?: number;
  /** Upper estimate of `reported` and `desired` as JSON: what `stateBytesMax` is held with. */
  readonly bytes: number;
}

/** Row of view `presence`, key `{product}/{device}`. */
export interface PresenceRow {
  readonly online: boolean;
  /** Session while online, `{incarnation}.{n}`, for the sweep after a crash. */
  readonly session: string | null;
  /** `lastSeenAtMs` of the actor, at most `presenceEveryMs` behind it. Epoch milliseconds. */
  readonly atMs: number;
}

/** Reason of a `disconnected` that the node tells after a crash: nobody heard of the device then. */
export const NODE_RESTARTED = "node_restarted";

export function deviceAddress(product: string, device: string): string {
  return `device/${product}/${device}`;
}

/** Compile-time proof that every message is a `Message`. */
export type _Check = DeviceMessage extends Message ? true : never;
