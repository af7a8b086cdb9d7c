/** What the generator is told and what it reports: shared by its process and those that start it. */

export interface DeviceLogin {
  readonly product: string;
  readonly device: string;
  readonly secret: string;
}

export interface LoadOptions {
  readonly wire: "mqtt" | "http";
  /** IPv4 address. */
  readonly host: string;
  readonly port: number;
  /** File of `writeDevices`; one connection a device. */
  readonly devicesFile: string;
  /** Only the first so many of the file. */
  readonly devicesMax?: number;
  /** Unanswered messages a connection; 0 connects and stays silent until SIGTERM. */
  readonly inFlight: number;
  /** Sending time after all are connected; SIGTERM ends it earlier. */
  readonly durationMs: number;
  /** Share of `durationMs` at its begin that rates and latencies leave out. Default 0. */
  readonly warmUpMs?: number;
  /** Messages of all connections together, paced in ticks of 1 ms (open loop). Absent: flat out. */
  readonly ratePerSecond?: number;
  /** Stops after so many messages were sent by each device. */
  readonly messagesPerDevice?: number;
  /** First sequence number of each device, at least `SEQUENCE_MIN`. */
  readonly firstSequence?: number;
  /** Where to keep what was acknowledged. Synced every 50 ms and at the end. */
  readonly acknowledgedFile?: string;
  /** Connect again after a failure. Unanswered messages are abandoned and counted, never resent. */
  readonly isReconnecting?: boolean;
}

export interface LoadReport {
  readonly devices: number;
  readonly inFlight: number;
  readonly bodyBytes: number;
  readonly sent: number;
  readonly acknowledged: number;
  /** Sent on a connection that broke before the answer: may or may not have arrived. */
  readonly abandoned: number;
  /** Answers that say no, and refused handshakes, by code. */
  readonly rejected: Readonly<Record<string, number>>;
  /** PUBACKs that were not for the oldest unanswered message of their connection. */
  readonly outOfOrder: number;
  readonly reconnects: number;
  /** Paced: messages that found a full window and a full waiting line; should be 0. */
  readonly skipped: number;
  /** Acknowledged in the measured window, and its length. */
  readonly measured: number;
  readonly measuredMs: number;
  readonly ratePerSecond: number;
  /** Acknowledged in each second after the first message. */
  readonly perSecond: readonly number[];
  /** From the tick a message was due (paced) or sent, to its answer; milliseconds. */
  readonly latencyMs: {
    readonly p50: number;
    readonly p90: number;
    readonly p99: number;
    readonly max: number;
  };
  /** From the start of the process to the first acknowledgement. */
  readonly firstAcknowledgedMs: number;
  /** Epoch milliseconds of the first message and of the last acknowledgement. */
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** CPU time of the generator itself, microseconds a sent message. */
  readonly cpuUsPerMessage: { readonly user: number; readonly system: number };
}

/** One line a device: product, device and secret, with tabs between. */
export function writeDevices(path: string, devices: readonly DeviceLogin[]): void {
  const lines = devices.map((one) => `${one.product}\t${one.device}\t${one.secret}`);
  Deno.writeTextFileSync(path, lines.join("\n"));
}

export function readDevices(path: string, max = Infinity): DeviceLogin[] {
  const lines = Deno.readTextFileSync(path).split("\n").slice(0, max);
  return lines.map((line) => {
    const [product, device, secret] = line.split("\t");
    if (product === undefined || device === undefined || secret === undefined) {
      throw new Error(`Cannot read devices of ${path}: "${line}" is not product, device, secret`);
    }
    return { product, device, secret };
  });
}
