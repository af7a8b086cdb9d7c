/** The HTTP app without a port, over a real registry in memory's place on disk and fake neighbours. */
import { dirname, join } from "node:path";
import { ApiKeys } from "../../actors/access/api_keys.ts";
import { KeyRotation } from "../../actors/access/key_rotation.ts";
import { PasswordHasher } from "../../actors/access/password.ts";
import type { Role } from "../../actors/access/principal.ts";
import { Sessions } from "../../actors/access/sessions.ts";
import { Users } from "../../actors/access/users.ts";
import { type Audit, AuditHook, createAudit } from "../../actors/audit/audit.ts";
import { Calls } from "../../actors/command/calls.ts";
import { startChangesFollower } from "../../actors/device/changes.ts";
import type { DeviceFinder } from "../../actors/device/device_finder.ts";
import { createDeviceDirectory } from "../../actors/device/device_directory.ts";
import { listMessages } from "../../actors/device/message_list.ts";
import { MessageTraces } from "../../actors/device/message_traces.ts";
import type { PresenceRow } from "../../actors/device/messages.ts";
import { DeviceTokens } from "../../actors/device/device_tokens.ts";
import { DeviceRegistry } from "../../actors/device/registry.ts";
import { createDeviceStandings } from "../../actors/device/device_standing.ts";
import { createMemoryViews } from "../../actors/device/views.ts";
import { kindsOf } from "../../actors/job/job_child.ts";
import { JobFiles } from "../../actors/job/job_files.ts";
import { startJobRunner } from "../../actors/job/job_runner.ts";
import { Jobs } from "../../actors/job/jobs.ts";
import { followJobs } from "../../actors/live/job_source.ts";
import { Groups } from "../../actors/group/groups.ts";
import { LiveHub } from "../../actors/live/live_hub.ts";
import { startLogSource } from "../../actors/live/log_source.ts";
import { followRegistry } from "../../actors/live/registry_source.ts";
import { startStateSource } from "../../actors/live/state_source.ts";
import { Products } from "../../actors/product/products.ts";
import {
  type ProjectRemovals,
  startProjectRemovals,
} from "../../actors/project/project_removals.ts";
import { Projects } from "../../actors/project/projects.ts";
import { KeptAnswers, type KeptAnswersOptions } from "../../actors/registry/kept_answers.ts";
import { recordKey } from "../../actors/registry/master_keys.ts";
import { openRegistryStore, type RegistryStore } from "../../actors/registry/registry_store.ts";
import { MemoryTelemetryStore } from "../../actors/telemetry/memory_store.ts";
import { createHttpApp, type HttpApp } from "../../protocols/http/http_app.ts";
import { ConsoleSite } from "../../protocols/http/console/site.ts";
import { treeView } from "../../protocols/http/cluster_views.ts";
import type { HttpPorts } from "../../protocols/http/ports.ts";
import { idOf } from "../../runtime/actor/address.ts";
import { systemClock } from "../../runtime/clock.ts";
import { createLogger, type Logger, silentLogger } from "../../runtime/logger.ts";
import type { ListedDeadLetter, PendingRecord } from "../../runtime/log/partition_log.ts";
import { StoppedPartitions } from "../../runtime/log/stopped_partitions.ts";
import { type Random, seededRandom } from "../../runtime/random.ts";
import { LogTail } from "../../runtime/log/log_tail.ts";
import { Keyring } from "../../runtime/secret/keyring.ts";
import { createMasterKey, writeKeyFile } from "../../runtime/secret/master_key.ts";
import { ActorIngress } from "./actor_ingress.ts";
import { FakeLog } from "./fake_log.ts";
import { FinderPlace } from "./finder_place.ts";
import { createManualClock, type ManualClock } from "./manual_clock.ts";

export const START_MS = 1_700_000_000_000;
export const PASSWORD = "a long password";

export class HttpHarness implements AsyncDisposable {
  readonly clock: ManualClock;
  readonly ingress: ActorIngress;
  readonly refused: Record<string, number> = {};
  /** Addresses of actors that are full of dead letters. */
  readonly suspended = new Set<string>();
  readonly stopped = new StoppedPartitions();
  /** Records to handle of partition 0, which is stopped at the first damaged one. */
  readonly pending: PendingRecord[] = [];
  readonly logged: string[] = [];
  readonly letters: ListedDeadLetter[] = [];
  readonly killed: string[] = [];
  readonly notReady: string[] = [];
  readonly telemetry = new MemoryTelemetryStore();
  /** What live feeds follow; every actor is of partition 0. */
  readonly log = new FakeLog();
  hub!: LiveHub;
  jobs!: Jobs;
  jobFiles!: JobFiles;
  app!: HttpApp;
  store!: RegistryStore;
  devices!: DeviceRegistry;
  products!: Products;
  groups!: Groups;
  keys!: ApiKeys;
  users!: Users;
  audit!: Audit;
  projects!: Projects;
  removals!: ProjectRemovals;
  ports!: HttpPorts;
  /** Of the registry's files. */
  directory!: string;
  answerOptions!: KeptAnswersOptions;
  keyring!: Keyring;
  readonly #resources = new AsyncDisposableStack();
  #epochs = 0;

  private constructor() {
    this.clock = createManualClock(START_MS);
    this.ingress = new ActorIngress(this.clock);
  }

  static async start(overrides: Partial<HttpPorts> = {}): Promise<HttpHarness> {
    const harness = new HttpHarness();
    await harness.#open(overrides);
    return harness;
  }

  async #open(overrides: Partial<HttpPorts>): Promise<void> {
    const { clock } = this;
    const random = seededRandom(7);
    const write = (line: string) => void this.logged.push(line);
    const logger = createLogger({ level: "debug", write, nowMs: clock.nowMs, isText: true });
    const directory = await Deno.makeTempDir({ prefix: "roost-http-" });
    this.#resources.defer(() => Deno.remove(directory, { recursive: true }));
    const store = await this.#openStore(join(directory, "registry.db"), logger, random);
    const changes = this.#resources.use(
      startChangesFollower({ store, clock, logger, pollMs: 1_000 }),
    );
    const { reader } = store;
    const known = this.#resources.use(createDeviceDirectory({ reader, changes, clock, logger }));
    this.directory = directory;
    this.answerOptions = { store, clock, random };
    const passwords = new PasswordHasher(random);
    this.devices = new DeviceRegistry({ store, clock, random, changes, keyring: this.keyring });
    this.products = new Products({ store, clock, changes });
    this.groups = new Groups({ store, clock, random });
    this.keys = new ApiKeys({ store, clock, random });
    this.users = new Users({ store, clock, random, passwords });
    this.removals = this.#resources.use(startProjectRemovals({ store, changes, clock, logger }));
    const onDeleted = () => this.removals.wake();
    this.projects = new Projects({ store, clock, users: this.users, onDeleted });
    const presence = (keys: readonly string[]) => Promise.resolve(this.#presenceOf(keys));
    this.hub = this.#resources.use(new LiveHub({ clock, logger, incarnation: "7" }));
    const standings = createDeviceStandings(reader, known);
    const live = { hub: this.hub, standings, clock, logger };
    this.#resources.use(await startLogSource({ ...live, tail: new LogTail(this.log, () => 0) }));
    this.jobs = new Jobs({ store, clock, random });
    this.jobFiles = new JobFiles({ path: join(directory, "jobs") });
    this.#resources.defer(followJobs(this.jobs, this.hub, clock));
    this.#resources.defer(followRegistry({ ...live, changes, presence }));
    const cluster = overrides.cluster ?? this.#cluster();
    const states = { ...cluster, tree: () => treeView(cluster.tree()) };
    this.#resources.use(startStateSource({ ...live, ports: states }));
    this.ports = {
      clock,
      logger,
      directory: known,
      ingress: this.ingress,
      projects: this.projects,
      users: this.users,
      ...this.#things(),
      sessions: new Sessions({ store, clock, random, passwords }),
      keys: this.keys,
      answers: new KeptAnswers(this.answerOptions),
      audit: this.audit,
      telemetry: this.telemetry,
      endpoints: () => ({ http: "http://127.0.0.1:8080", mqtt: "mqtt://127.0.0.1:1883" }),
      site: new ConsoleSite({ clock, logger }),
      calls: this.#calls(),
      standings,
      peekState: (address) => Promise.resolve(this.ingress.states.get(address)),
      ...this.#devicePorts(store),
      presence,
      live: { hub: this.hub },
      finder: this.#finderOf(directory),
      jobs: this.jobs,
      jobFiles: this.jobFiles,
      cluster,
      health: { notReady: () => this.notReady, metrics: () => "roost_accepted_total 1\n" },
      suspended: this.suspended,
      stopped: this.stopped,
      countRefused: (reason) => this.refused[reason] = (this.refused[reason] ?? 0) + 1,
      ...overrides,
    };
    this.app = this.#resources.use(createHttpApp(this.ports));
    this.ingress.onDownlink = (product, device) => this.app.polls.wake(product, device);
  }

  /** Every append is one of which nobody knows when it was handled. */
  #traces(): Pick<HttpPorts, "traces" | "messages"> {
    const traces = new MessageTraces(() => 0);
    const settled = () => this.ingress.settled;
    const log = {
      appendTimes: (_: number, appends: readonly number[]) =>
        Promise.resolve(appends.map(() => null)),
      deadLetters: () => Promise.resolve([]),
    };
    const messages: HttpPorts["messages"] = (product, device, limit) =>
      listMessages({ traces, settled, log }, product, device, limit);
    return { traces, messages };
  }

  #things(): Pick<HttpPorts, "products" | "devices" | "groups" | "traces" | "messages"> {
    const { products, devices, groups } = this;
    return { products, devices, groups, ...this.#traces() };
  }

  #calls(): Calls {
    const calls = new Calls({
      ask: (address, message) => this.ingress.ask(address, message),
      rows: (query) => Promise.resolve(this.ingress.calls.calls(query)),
      clock: this.clock,
      random: seededRandom(8),
    });
    this.ingress.onPublished = (topic, value) => calls.settle(topic, value);
    return calls;
  }

  /** What actors hold is put where the finder reads it, before each question. */
  #finderOf(directory: string): DeviceFinder {
    const place = this.#resources.use(new FinderPlace(directory, this.clock));
    const shown = new Set<string>();
    const upToDate = async () => {
      const { presence, states } = this.ingress;
      const gone = [...shown].filter((key) => !presence.has(key));
      for (const key of presence.keys()) shown.add(key);
      await place.show([...presence, ...gone.map((key) => [key, undefined] as const)]);
      place.keep([...states].map(([address, state]) => [idOf(address), state.reported] as const));
      return place.finder;
    };
    return {
      list: async (query) => await (await upToDate()).list(query),
      count: async (filter) => await (await upToDate()).count(filter),
    };
  }

  #masterKeys(store: RegistryStore): KeyRotation {
    const { clock, keyring } = this;
    const source = { type: "file", path: join(this.directory, "master.key") } as const;
    const logger = silentLogger;
    const random = seededRandom(9);
    return this.#resources.use(
      new KeyRotation({ store, keyring, source, clock, random, logger }),
    );
  }

  /** What devices over HTTP need, and the master keys that their tokens are sealed with. */
  #devicePorts(
    store: RegistryStore,
  ): Pick<HttpPorts, "peekCalls" | "readRow" | "link" | "tokens" | "masterKeys"> {
    const { reader } = store;
    return {
      masterKeys: this.#masterKeys(store),
      peekCalls: (address) => Promise.resolve(this.ingress.commands.get(address)),
      readRow: (key) => this.ingress.readRow(key),
      link: { incarnation: "7.1", nextEpoch: () => ++this.#epochs },
      tokens: new DeviceTokens({ reader, keyring: this.keyring, clock: this.clock }),
    };
  }

  async #openStore(path: string, logger: Logger, random: Random): Promise<RegistryStore> {
    const { clock } = this;
    const hook = new AuditHook();
    const { beforeCommit } = hook;
    const store = await openRegistryStore({ path, clock, logger, beforeCommit });
    const masterKey = createMasterKey(random);
    const keyring = this.keyring = new Keyring([masterKey], random);
    writeKeyFile(join(dirname(path), "master.key"), [masterKey]);
    await recordKey(store, keyring, clock.nowMs());
    // Rows that are gathered are not held up by a clock that stands still.
    this.audit = createAudit({ store, clock: { ...systemClock, nowMs: clock.nowMs }, keyring });
    hook.log = this.audit.log;
    return this.store = this.#resources.use(store);
  }

  #presenceOf(keys: readonly string[]): ReadonlyMap<string, PresenceRow> {
    return new Map(keys.flatMap((key) => {
      const row = this.ingress.presence.get(key);
      return row === undefined ? [] : [[key, row] as const];
    }));
  }

  #cluster(): HttpPorts["cluster"] {
    const terms = { accepted: 3, processed: 1, pending: 1, deadLettered: 1, rolledBack: 0 };
    const take = (ids: readonly number[]) => {
      const before = this.letters.length;
      const left = this.letters.filter((letter) => !ids.includes(letter.id));
      this.letters.splice(0, before, ...left);
      return Promise.resolve(before - left.length);
    };
    return {
      ledger: () =>
        Promise.resolve({
          epoch: 1,
          total: terms,
          partitions: [{ partition: 0, ...terms, isBalanced: true }],
        }),
      refused: () => this.refused,
      tree: () => ({
        id: "node",
        status: "running",
        restarts: 0,
        startedAtMs: START_MS,
        children: [{ id: "gateways", status: "running", restarts: 2, children: [] }],
      }),
      killChild: (path) => {
        this.killed.push(path.join("/"));
        return path[0] === "gateways";
      },
      deadLetters: ({ address, beforeId = Infinity, afterId, limit }) => {
        const sign = afterId === undefined ? -1 : 1;
        return Promise.resolve(
          this.letters.filter(({ to }) => (address ?? to) === to)
            .filter(({ id }) => id > (afterId ?? 0) && id < beforeId)
            .sort((one, other) => sign * (one.id - other.id)).slice(0, limit),
        );
      },
      countDeadLetters: (address) =>
        Promise.resolve(this.letters.filter(({ to }) => (address ?? to) === to).length),
      replayDeadLetters: take,
      discardDeadLetters: take,
      peekPending: (partition, from, limit) => {
        const left = this.pending.filter(({ offset }) => partition === 0 && offset >= from);
        const records = left.slice(0, limit);
        const next = left[limit];
        return Promise.resolve(next ? { records, nextOffset: next.offset } : { records });
      },
      skipDamage: (partition, offset) => {
        const at = this.pending.findIndex(({ damage }) => damage !== undefined);
        const damaged = partition === 0 ? this.pending[at] : undefined;
        if (damaged?.offset !== offset) {
          const detail = `Cannot skip damage at offset ${offset} of partition ${partition}: no`;
          const code = damaged === undefined ? "not_stopped" : "other_offset";
          return Promise.resolve({ ok: false, code, detail });
        }
        this.pending.splice(at, 1);
        const { count } = damaged;
        return Promise.resolve({
          ok: true,
          fromOffset: offset,
          toOffset: offset + count,
          lost: count,
        });
      },
    };
  }

  /** Runs jobs from now on. */
  runJobs(): AsyncDisposable {
    const { jobs, jobFiles, devices, clock, telemetry } = this;
    const { logger, directory, finder } = this.ports;
    const registry = { jobs, jobFiles, devices, directory };
    const random = seededRandom(9);
    const reindex = () => Promise.resolve();
    const views = Object.assign(createMemoryViews(), finder, { reindex });
    const parts = { telemetry, views };
    const log = { statesAfter: () => Promise.resolve([]), peekAll: () => Promise.resolve([]) };
    const kinds = kindsOf({ registry, parts, log, clock, random, logger });
    return this.#resources.use(startJobRunner({ jobs, files: jobFiles, kinds, clock, logger }));
  }

  /** @param init `json` is sent as the body with its type; `remote`: the peer's address. */
  async send(
    method: string,
    path: string,
    init: {
      headers?: Record<string, string>;
      json?: unknown;
      body?: BodyInit;
      remote?: string;
    } = {},
  ): Promise<Response> {
    const headers: Record<string, string> = { ...init.headers };
    let body = init.body;
    if (init.json !== undefined) {
      headers["content-type"] ??= "application/json";
      body = JSON.stringify(init.json);
    }
    const request = new Request(`http://localhost${path}`, {
      method,
      headers,
      ...(body === undefined ? undefined : { body }),
    });
    const { remoteAddr } = ORIGIN;
    const hostname = init.remote ?? remoteAddr.hostname;
    return await this.app.fetch(request, { remoteAddr: { ...remoteAddr, hostname } });
  }

  /** Headers of a fresh session of a person of this role. */
  async login(role: Role, project = "default"): Promise<Record<string, string>> {
    const name = `${project}-${role}`;
    await this.users.create({ name, role, password: PASSWORD, project });
    const answer = await this.send("POST", "/api/v1/session", {
      json: { name, password: PASSWORD },
    });
    const { csrf } = await answer.json();
    const cookie = answer.headers.getSetCookie()[0]!.split(";")[0]!;
    return { cookie, "x-csrf-token": csrf };
  }

  /** Headers of a key with these scopes. */
  async key(...scopes: readonly string[]): Promise<Record<string, string>> {
    return await this.keyOf("default", ...scopes);
  }

  async keyOf(project: string, ...scopes: readonly string[]): Promise<Record<string, string>> {
    const creator = { project, id: "u1" };
    const made = await this.keys.create({ name: "test", scopes }, creator);
    if (!made.ok) throw new Error(made.message);
    return { authorization: `Bearer ${made.value.key}` };
  }

  /** A product `pump` with a device `p-1` whose secret is `secret-1`. */
  async provision(model?: unknown): Promise<void> {
    const product = model === undefined ? {} : { mode: "strict" as const, model };
    const made = await this.products.create({ key: "pump", ...product });
    if (!made.ok) throw new Error(made.message);
    const device = await this.devices.create({ product: "pump", device: "p-1", secret: SECRET });
    if (!device.ok) throw new Error(device.message);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

export const SECRET = "secret-1";
export const ORIGIN = {
  remoteAddr: { transport: "tcp", hostname: "192.0.2.1", port: 40_000 },
} as const;

export function basic(user: string, secret: string): Record<string, string> {
  return { authorization: `Basic ${btoa(`${user}:${secret}`)}` };
}

export function deadLetter(id: number, to = "device/pump/p-1"): ListedDeadLetter {
  return {
    id,
    partition: 0,
    to,
    body: new TextEncoder().encode('{"type":"properties"}'),
    bodyBytes: 21,
    isIngress: true,
    acceptedAtMs: START_MS,
    parkedAtMs: START_MS + 1,
    recordId: `1-0-${id}`,
    reason: "threw",
    detail: "Error: no",
    traceId: `1-0-${id}`,
  };
}
