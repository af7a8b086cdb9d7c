/** A gateway on a free port with everything around it under the test's control. */
import type { DeviceDirectory } from "../../actors/device/directory.ts";
import { MessageTraces } from "../../actors/device/message_traces.ts";
import { type Clock, systemClock } from "../../runtime/clock.ts";
import type { Issue } from "../../runtime/errors.ts";
import { createLogger } from "../../runtime/logger.ts";
import { StoppedPartitions } from "../../runtime/log/stopped_partitions.ts";
import { type MqttGateway, startMqttGateway } from "../../protocols/mqtt/gateway.ts";
import type { MqttPorts } from "../../protocols/mqtt/gateway_state.ts";
import type { QuotaLimits } from "../../protocols/mqtt/quotas.ts";
import type { TlsFiles } from "../../protocols/mqtt/tls_files.ts";
import { FakeIngress } from "./fake_ingress.ts";
import { createManualClock, type ManualClock } from "./manual_clock.ts";
import { waitFor } from "./wait.ts";

export const NOW_MS = 1_700_000_000_000;

export class FakeDirectory implements DeviceDirectory {
  readonly disabled = new Set<string>();
  #listeners = new Set<(product: string, device: string, reason: string) => void>();

  login(product: string, device: string, secret: string) {
    if (product !== "p" || secret !== `secret-of-${device}`) {
      return { ok: false, code: "bad_credentials" } as const;
    }
    if (this.disabled.has(device)) return { ok: false, code: "disabled" } as const;
    return { ok: true, login: { product, device } } as const;
  }

  /** Of devices that begin with `d`. */
  loginByCertificate(product: string, device: string) {
    if (product !== "p" || !device.startsWith("d")) {
      return { ok: false, code: "bad_credentials" } as const;
    }
    if (this.disabled.has(device)) return { ok: false, code: "disabled" } as const;
    return { ok: true, login: { product, device } } as const;
  }

  /** Numbers named `t*` must be at most 100; everything else is kept. */
  validate(_product: string, values: Readonly<Record<string, never>>) {
    const refused: Issue[] = [];
    const kept: Record<string, never> = {};
    for (const [key, value] of Object.entries(values)) {
      if (key.startsWith("t") && !((value as number) <= 100)) {
        const message = `Cannot accept ${value}: max is 100`;
        refused.push({ path: key, rule: "max", message });
      } else kept[key] = value;
    }
    return { values: kept, refused };
  }

  accepts(product: string, values: Readonly<Record<string, never>>): boolean {
    return this.validate(product, values).refused.length === 0;
  }

  /** A field named `bad` is refused; everything else is kept. */
  eventIssues(_product: string, _event: string, data: unknown, path: string): Issue[] {
    if (typeof data !== "object" || data === null || !("bad" in data)) return [];
    const at = path === "" ? "bad" : `${path}.bad`;
    return [{ path: at, rule: "unknown", message: "Cannot accept bad: there is no such field" }];
  }

  callIssues(_product: string, _service: string, part: string, value: unknown): Issue[] {
    return this.eventIssues("", "", value, part);
  }

  projectOf(): string {
    return "default";
  }

  lateDaysMax(): number {
    return 30;
  }

  onRevoked(listener: (product: string, device: string, reason: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  revoke(device: string, reason: string): void {
    for (const listener of this.#listeners) listener("p", device, reason);
  }
}

export interface MqttFixture extends AsyncDisposable {
  readonly gateway: MqttGateway;
  readonly ingress: FakeIngress;
  readonly directory: FakeDirectory;
  readonly clock: ManualClock;
  /** Reasons given to `refuse`, in order. */
  readonly refusals: string[];
  /** Lines that the gateway logged of level error, and of level warn. */
  readonly errors: string[];
  readonly warnings: string[];
  readonly traces: MessageTraces;
}

export interface FixtureOptions {
  /** Default true: every append becomes durable by itself. */
  readonly isAutomatic?: boolean;
  /** Of an earlier gateway, for restarts. */
  readonly ingress?: FakeIngress;
  readonly readRow?: (key: string) => Promise<Uint8Array | undefined>;
  readonly readRows?: MqttPorts["readRows"];
  /** Addresses of actors that are full of dead letters. */
  readonly suspended?: ReadonlySet<string>;
  /** Devices whose actors are to be told how they are, such as an earlier gateway left. */
  readonly untold?: Set<string>;
  readonly tls?: TlsFiles;
  readonly limits?: QuotaLimits;
  /** Where time stands, epoch milliseconds. Default: `NOW_MS`. */
  readonly startMs?: number;
  /** Partitions that damage has stopped. */
  readonly stopped?: StoppedPartitions;
}

export async function startMqttFixture(options: FixtureOptions = {}): Promise<MqttFixture> {
  const ingress = options.ingress ??
    new FakeIngress({ isAutomatic: options.isAutomatic ?? true });
  const directory = new FakeDirectory();
  const clock = createManualClock(options.startMs ?? NOW_MS);
  const untold = options.untold ?? new Set<string>();
  const refusals: string[] = [];
  const errors: string[] = [];
  const warnings: string[] = [];
  const traces = new MessageTraces(() => 0);
  let epoch = 100;
  // Time stands still, but what is due soon waits for the sockets, as in the product.
  const gatewayClock: Clock = { ...clock, soon: systemClock.soon };
  const gateway = await startMqttGateway({
    host: "127.0.0.1",
    port: 0,
    tls: options.tls === undefined ? undefined : { ...options.tls, port: 0 },
    limits: options.limits ?? {},
    ingress,
    directory,
    readRow: options.readRow ?? ((key) => ingress.readRow(key)),
    readRows: options.readRows ?? ((query) => ingress.readRows(query)),
    clock: gatewayClock,
    logger: createLogger({
      level: "warn",
      write: (line) => (/\bwarn\b/i.test(line) ? warnings : errors).push(line),
      nowMs: () => 0,
      isText: true,
    }),
    refuse: (reason) => refusals.push(reason),
    suspended: options.suspended ?? new Set(),
    untold,
    traces,
    stopped: options.stopped ?? new StoppedPartitions(),
    incarnation: "i1",
    nextEpoch: () => ++epoch,
  });
  return {
    gateway,
    ingress,
    directory,
    clock,
    refusals,
    errors,
    warnings,
    traces,
    async [Symbol.asyncDispose]() {
      let isDone = false;
      const done = gateway[Symbol.asyncDispose]().then(() => isDone = true);
      await waitFor(async () => {
        await clock.advance(50);
        return isDone;
      }, { what: "the gateway to drain", withinMs: 10_000, everyMs: 1 });
      await done;
    },
  };
}
