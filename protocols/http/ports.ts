/**
 * What the HTTP gateway needs of the rest, as the smallest slices of it; the composition root wires
 * them. Everything here may be called at any time between start and dispose.
 */
import type { SuspendedAddresses } from "../../runtime/actor/suspended_actors.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { ChildPath, SupervisionTree } from "../../runtime/actor/supervision.ts";
import type { Ingress } from "../../runtime/log/ingress.ts";
import type {
  DeadLetterQuery,
  Ledger,
  ListedDeadLetter,
  PendingPage,
  SkipOutcome,
} from "../../runtime/log/partition_log.ts";
import type { StoppedPartitions } from "../../runtime/log/stopped_partitions.ts";
import type { ApiKeys } from "../../actors/access/api_keys.ts";
import type { KeyRotation } from "../../actors/access/key_rotation.ts";
import type { Principal } from "../../actors/access/principal.ts";
import type { Sessions } from "../../actors/access/sessions.ts";
import type { Calls } from "../../actors/command/calls.ts";
import type { CommandState } from "../../actors/command/messages.ts";
import type { Users } from "../../actors/access/users.ts";
import type { Audit } from "../../actors/audit/audit.ts";
import type { DeviceFinder } from "../../actors/device/device_finder.ts";
import type { RegistryDirectory } from "../../actors/device/device_directory.ts";
import type { DeviceStandings } from "../../actors/device/device_standing.ts";
import type { DeviceDirectory } from "../../actors/device/directory.ts";
import type { ListedMessage } from "../../actors/device/message_list.ts";
import type { MessageTraces } from "../../actors/device/message_traces.ts";
import type { DeviceState, PresenceRow } from "../../actors/device/messages.ts";
import type { DeviceTokens } from "../../actors/device/device_tokens.ts";
import type { DeviceRegistry } from "../../actors/device/registry.ts";
import type { JobFiles } from "../../actors/job/job_files.ts";
import type { Jobs } from "../../actors/job/jobs.ts";
import type { Groups } from "../../actors/group/groups.ts";
import type { LiveHub } from "../../actors/live/live_hub.ts";
import type { Products } from "../../actors/product/products.ts";
import type { Projects } from "../../actors/project/projects.ts";
import type { KeptAnswers } from "../../actors/registry/kept_answers.ts";
import type { TelemetryStore } from "../../actors/telemetry/store.ts";
import type { ConsoleSite } from "./console/site.ts";
import type { LinkPorts } from "./poll_sessions.ts";
import type { BucketRate } from "./token_buckets.ts";

/** Who calls the API: a person with a session, or a program with a key. */
export type Caller = Principal;

export interface ClusterPorts {
  ledger(): Promise<Ledger>;
  /** Refused messages by reason, since the start of the process, of all gateways. */
  refused(): Readonly<Record<string, number>>;
  tree(): SupervisionTree;
  /** Ends a child abnormally. False: there is none that runs. Path without the root. */
  killChild(path: ChildPath): boolean | Promise<boolean>;
  deadLetters(query: DeadLetterQuery): Promise<readonly ListedDeadLetter[]>;
  /** How many there are, of one actor or of all; null: too many to count. */
  countDeadLetters(address?: string): Promise<number | null>;
  /** How many became pending again; unknown ids are skipped. */
  replayDeadLetters(ids: readonly number[]): Promise<number>;
  /** How many became processed; unknown ids are skipped. */
  discardDeadLetters(ids: readonly number[]): Promise<number>;
  /** What a partition has to handle from `offset` on. */
  peekPending(partition: number, offset: number, limit: number): Promise<PendingPage>;
  /** Gives up the damaged records at `offset`, where the partition is stopped. */
  skipDamage(partition: number, offset: number): Promise<SkipOutcome>;
}

export interface HealthPorts {
  /** Names of the parts that are not ready yet, for anyone to read; empty: ready. */
  notReady(): readonly string[];
  /** The whole text in Prometheus' exposition format 0.0.4. */
  metrics(): string | Promise<string>;
}

export interface HttpPorts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly directory:
    & DeviceDirectory
    & Pick<RegistryDirectory, "validateDesired" | "projectOf" | "hasService">;
  readonly ingress: Ingress;
  readonly products: Pick<
    Products,
    | "create"
    | "get"
    | "list"
    | "count"
    | "update"
    | "delete"
    | "changesOf"
    | "models"
  >;
  readonly devices: Pick<
    DeviceRegistry,
    | "create"
    | "get"
    | "update"
    | "delete"
    | "rotateSecret"
    | "credentials"
  >;
  readonly groups: Pick<
    Groups,
    "create" | "get" | "list" | "count" | "update" | "delete" | "add" | "remove" | "withNested"
  >;
  readonly projects: Pick<Projects, "create" | "get" | "list" | "count" | "rename" | "delete">;
  readonly users: Pick<Users, "create" | "get" | "list" | "count" | "update" | "delete">;
  readonly sessions: Pick<Sessions, "login" | "confirm" | "find" | "logout" | "list" | "end">;
  readonly masterKeys: Pick<KeyRotation, "rotate" | "list">;
  /** Of devices, in place of their secrets. */
  readonly tokens: Pick<DeviceTokens, "check" | "issue">;
  readonly keys: Pick<ApiKeys, "create" | "get" | "list" | "count" | "delete" | "find">;
  /** First answers of requests with an `Idempotency-Key`. */
  readonly answers: Pick<KeptAnswers, "find" | "fullForMs" | "keep">;
  readonly telemetry: Pick<TelemetryStore, "range" | "buckets" | "thin" | "events">;
  readonly standings: Pick<DeviceStandings, "standing">;
  readonly calls: Pick<Calls, "call" | "queue" | "get" | "list" | "cancel">;
  readonly traces: Pick<MessageTraces, "accept" | "refuse">;
  /** The last messages of a device and what became of them, newest first. */
  messages(product: string, device: string, limit: number): Promise<readonly ListedMessage[]>;
  /** Committed state of a device's actor; undefined if it never had a message. */
  peekState(address: string): Promise<DeviceState | undefined>;
  /** Committed open calls of a device; undefined if there are none. */
  peekCalls(address: string): Promise<CommandState | undefined>;
  /** A row of gateways, as far as it is durable. */
  readRow(key: string): Promise<Uint8Array | undefined>;
  /** What devices that poll are told to their actors by. */
  readonly link: LinkPorts;
  /** Rows of view `presence` by `{product}/{device}`; devices without a row are absent. */
  presence(devices: readonly string[]): Promise<ReadonlyMap<string, PresenceRow>>;
  /** Lists and searches of devices. */
  readonly finder: DeviceFinder;
  readonly jobs: Pick<Jobs, "create" | "createId" | "get" | "list" | "count" | "cancel" | "fileOf">;
  readonly jobFiles: Pick<
    JobFiles,
    "open" | "sizeOf" | "write" | "remove" | "own" | "bytesOf"
  >;
  readonly live: { readonly hub: Pick<LiveHub, "open" | "incarnation"> };
  readonly audit: Audit;
  readonly cluster: ClusterPorts;
  readonly health: HealthPorts;
  /** URLs that devices connect to, by wire. */
  endpoints(): Readonly<Record<string, string>>;
  /** The console's files. */
  readonly site: Pick<ConsoleSite, "respond">;
  /** Counts messages of devices that were refused for good, by reason. */
  countRefused(reason: string): void;
  /** Actors whose messages are refused until an operator acts. */
  readonly suspended: SuspendedAddresses;
  /** Partitions whose devices are told to come again later. */
  readonly stopped: Pick<StoppedPartitions, "size" | "has">;
  /** Posts a second of one device; default `httpPostsPerSecondMax`. */
  readonly postsPerSecondMax?: number;
  /** API requests of one key, session or address. */
  readonly rate?: BucketRate;
  /** Set behind TLS: browsers then never send the cookie in clear. */
  readonly isCookieSecure?: boolean;
}
