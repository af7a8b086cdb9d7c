/**
 * A simulated node with clients, on the product's own modules: ingress, log, runner, engine, readers.
 * One seed decides all: when messages come, what fails, how long it takes, where the process dies. A
 * crash throws the objects of the process away and keeps what is stored.
 *
 * Threads: the world's clock is the main thread's (ingress) and the engines'; the log and each reader
 * have one of their own, which a slow store holds up.
 */
import { type Address, idOf, type Partition, partitionOf } from "../../runtime/actor/address.ts";
import type { TransientEffect } from "../../runtime/actor/batch.ts";
import { EngineRunner } from "../../runtime/actor/runner.ts";
import { waitMs } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { GroupIngress } from "../../runtime/log/ingress.ts";
import type { PartitionLog } from "../../runtime/log/partition_log.ts";
import { packHead } from "../../runtime/log/record.ts";
import { openTickLog } from "../../runtime/log/tick_log.ts";
import { seededRandom } from "../../runtime/random.ts";
import { LogDisk } from "./log_disk.ts";
import type { Plants } from "./plants.ts";
import { createSimBehaviour, SIM_KIND, type SimMessage } from "./sim_behaviour.ts";
import { startSimEngine } from "./sim_engine.ts";
import type { SimReader } from "./sim_reader.ts";
import { createReaders, READER_NAMES, type ReaderDisks } from "./sim_readers.ts";
import { ThreadClock } from "./thread_clock.ts";
import { VirtualClock } from "./virtual_clock.ts";

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder();
/** Bound of the simulated ingress: small, so that it is met. */
export const INGRESS_BYTES_MAX = 3_000;

export interface Sent {
  readonly to: Address;
  readonly message: SimMessage;
  isAcknowledged: boolean;
}

/** How parts of the world fail, and where they say so. */
export interface Faults {
  /** By chance, and never once the world has healed. */
  happens(share: number): boolean;
  fraction(): number;
  nowMs(): number;
  note(line: string): void;
  /** Something that the seeds together have to meet. */
  count(what: string): void;
  violated(promise: string): void;
  /** The process dies. */
  crash(where: string): void;
  crashIn(delayMs: number, where: string): void;
}

export interface WorldOptions {
  readonly seed: number;
  readonly plants: Plants;
  readonly messages?: number;
}

/** One life of the process. */
interface Life {
  isDead: boolean;
  readonly thread: ThreadClock;
  log: PartitionLog;
  ingress: GroupIngress;
  runner: EngineRunner;
  /** Messages by the append that carries them. */
  waiting: { number: number; sent: Sent }[];
}

export class World implements Faults {
  readonly random;
  readonly clock: VirtualClock;
  readonly sent: Sent[] = [];
  readonly trace: string[] = [];
  /** Sequence numbers whose downlink was seen, with what the store held then. */
  readonly told: { address: Address; seq: number; wasCommitted: boolean }[] = [];
  readonly violations: string[] = [];
  readonly counts = new Map<string, number>();
  readonly disks: ReaderDisks;
  /** Faults happen while true; then the world heals and drains. */
  isFaulty = true;
  lives = 0;
  readonly #options: WorldOptions;
  readonly #disk: LogDisk;
  readonly #readers: readonly SimReader[];
  #life: Life | undefined;
  readonly #seqs = new Map<Address, number>();

  constructor(options: WorldOptions) {
    this.#options = options;
    this.random = seededRandom(options.seed);
    this.clock = new VirtualClock(this.random);
    this.#disk = new LogDisk(this, (throughTick) => this.#checkTrim(throughTick));
    ({ readers: this.#readers, disks: this.disks } = createReaders(
      this.clock,
      this,
      options.plants,
    ));
  }

  get log(): PartitionLog {
    return this.#life!.log;
  }

  get isUp(): boolean {
    return this.#life !== undefined && !this.#life.isDead;
  }

  note(line: string): void {
    this.trace.push(`${this.clock.monotonicMs().toFixed(2).padStart(9)} ${line}`);
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  violated(promise: string): void {
    this.note(`VIOLATED ${promise}`);
    this.violations.push(promise);
  }

  chance(share: number): boolean {
    return this.random.fraction() < share;
  }

  happens(share: number): boolean {
    return this.isFaulty && this.chance(share);
  }

  fraction(): number {
    return this.random.fraction();
  }

  nowMs(): number {
    return this.clock.monotonicMs();
  }

  /** Clients send, things fail; then all heals and drains. */
  async run(): Promise<void> {
    this.#boot();
    let left = this.#options.messages ?? 40;
    const step = () => {
      if (this.isUp && this.#send()) left--;
      if (left > 0) this.clock.after(this.random.fraction() * 6, step);
      else this.isFaulty = false;
    };
    step();
    this.#plan();
    const what = () => (this.isFaulty ? "faults happen" : "draining") + `, ${left} to send`;
    await this.clock.run(() => !this.isFaulty, 120_000, what);
    this.note("healed");
    await this.clock.run(() => this.#isDrained(), 900_000, what);
  }

  /** Time stops: what still waits for the clock waits for ever. */
  close(): void {
    const life = this.#life!;
    this.#end(life);
    void life.runner[Symbol.asyncDispose]();
  }

  /** Crashes of the process at random moments, besides those inside store steps. */
  #plan(): void {
    this.clock.after(20 + this.random.fraction() * 80, () => {
      if (this.isFaulty && this.isUp && this.chance(0.3)) this.crash("at a random moment");
      if (this.isFaulty) this.#plan();
    });
  }

  crash(where: string): void {
    const life = this.#life!;
    if (life.isDead) return;
    this.note(`CRASH ${where}`);
    this.count("crash");
    this.#end(life);
    this.#disk.crashed();
    this.clock.after(1 + this.random.fraction() * 20, () => this.#boot());
  }

  crashIn(delayMs: number, where: string): void {
    const life = this.#life;
    this.clock.after(delayMs * this.random.fraction(), () => {
      if (life === this.#life && this.isFaulty) this.crash(where);
    });
  }

  #end(life: Life): void {
    life.isDead = true;
    life.thread.stop();
    life.ingress.close();
    for (const reader of this.#readers) reader.detach();
  }

  #boot(): void {
    this.lives++;
    this.note(`boot ${this.lives}`);
    const thread = new ThreadClock(this.clock);
    const life = { isDead: false, thread, waiting: [] } as unknown as Life;
    this.#life = life;
    const plants = this.#options.plants;
    const opened = openTickLog({
      store: this.#disk.open(life),
      head: this.#disk.head,
      clock: thread,
      partitionOf: partitionOfSim,
      readers: READER_NAMES,
      freeDiskBytes: () => Number.MAX_SAFE_INTEGER,
      onFault: (fault) => this.note(`log fault ${JSON.stringify(fault)}`),
      relay: "deferred",
    });
    life.log = plants.log(opened, this);
    life.ingress = new GroupIngress({
      log: { append: (append) => this.#append(life, append) },
      clock: this.clock,
      logger: silentLogger,
      incarnation: plants.incarnation(this.lives),
      partitionOf: partitionOfSim,
      unacknowledgedBytesMax: INGRESS_BYTES_MAX,
    });
    life.ingress.onSettled((number) => this.#settled(life, number));
    life.runner = this.#startRunner(life);
    life.runner.done.catch((fault) => {
      // The log asks to be opened again after a write of unknown outcome: the supervisor's work.
      if (!life.isDead) this.crash(`runner ended: ${fault}`);
    });
    for (const reader of this.#readers) reader.attach(life);
    this.#maintain(life);
  }

  #startRunner(life: Life): EngineRunner {
    const { plants } = this.#options;
    const effects = (all: readonly TransientEffect[]) =>
      void life.thread.turn().then(() => this.#effects(life, all));
    return new EngineRunner({
      log: life.log,
      partitions: Array.from({ length: life.log.partitions }, (_, i) => i),
      startEngine: () => {
        const engine = startSimEngine({
          clock: this.clock,
          thread: life.thread,
          load: (addresses) => life.log.loadStates(addresses),
          trace: (line) => this.note(line),
          deathChance: () => this.isFaulty ? 0.03 : 0,
          ignoresForget: plants.ignoresForget,
        });
        return Promise.resolve(plants.engine(engine, this, effects));
      },
      clock: life.thread,
      logger: silentLogger,
      onEffects: effects,
      onEvent: ({ type, detail }) => {
        if (type !== "isolated" && type !== "parked" && type !== "released") return;
        this.note(`${type} ${JSON.stringify(detail)}`);
        this.count(type);
      },
    });
  }

  /** The log's housekeeping, in its thread. */
  #maintain(life: Life): void {
    life.thread.after(20 + this.random.fraction() * 100, () => {
      life.log.maintain().catch((fault) => this.note(`maintenance failed: ${fault}`))
        .then(() => this.#maintain(life));
    });
  }

  /** The way to the log: delayed, lost before, or answered into the void. */
  async #append(life: Life, append: Parameters<PartitionLog["append"]>[0]) {
    await this.#delay(life);
    if (this.happens(0.05)) throw new Error("request lost");
    await life.thread.turn();
    const outcome = await life.log.append(append);
    this.note(`append ${append.incarnation}/${append.sequence}: ${JSON.stringify(outcome)}`);
    if (!this.#options.plants.isHasty) await life.thread.turn();
    await this.#delay(life);
    if (this.happens(0.05)) throw new Error("reply lost");
    return outcome;
  }

  async #delay(life: Life): Promise<void> {
    const isSlow = this.happens(0.02);
    await waitMs(this.clock, this.random.fraction() * (isSlow ? 200 : 4));
    if (life.isDead) await new Promise(() => {}); // A dead process never answers.
  }

  #send(): boolean {
    const to = `${SIM_KIND}/${this.#pick(3)}.${this.#pick(2)}`;
    const seq = (this.#seqs.get(to) ?? 0) + 1;
    const message = this.#message(seq);
    const body = ENCODER.encode(JSON.stringify(message));
    const life = this.#life!;
    const head = packHead({ to, budget: LIMITS.budgetPerRootRecord });
    const number = life.ingress.offer({ partition: partitionOfSim(to), head }, [body]);
    if (life.ingress.unacknowledgedBytes > INGRESS_BYTES_MAX) {
      this.violated(`ingress holds ${life.ingress.unacknowledgedBytes} B`);
    }
    if (number === undefined) return false;
    this.#seqs.set(to, seq);
    const sent = { to, message, isAcknowledged: false };
    this.sent.push(sent);
    life.waiting.push({ number, sent });
    this.note(`offer ${to} ${JSON.stringify(message)} in ${number}`);
    return true;
  }

  #message(seq: number): SimMessage {
    const samples = [{ values: { n: seq } }];
    if (this.chance(0.2)) samples.push({ values: { n: seq + 0.5 } });
    const message: Record<string, unknown> = { type: "properties", samples, seq };
    if (this.chance(0.4)) message.forwardTo = `${SIM_KIND}/${this.#pick(3)}.${this.#pick(2)}`;
    if (this.chance(0.3)) {
      message.remindInMs = Math.floor(this.random.fraction() * 60);
      if (this.chance(0.06)) message.remindKills = true;
    }
    if (this.chance(0.15)) message.cancels = true;
    if (this.chance(0.3)) message.notes = true;
    if (this.chance(0.4)) message.tells = true;
    if (this.chance(0.6)) message.projects = true;
    if (this.chance(0.04)) message.throws = true;
    if (this.chance(0.02)) message.kills = true;
    return message as unknown as SimMessage;
  }

  #pick(below: number): number {
    return Math.floor(this.random.fraction() * below);
  }

  #settled(life: Life, number: number): void {
    if (life.isDead) return;
    while (life.waiting.length > 0 && life.waiting[0]!.number <= number) {
      life.waiting.shift()!.sent.isAcknowledged = true;
    }
  }

  #effects(life: Life, effects: readonly TransientEffect[]): void {
    if (life.isDead) return;
    for (const effect of effects) {
      if (effect.type !== "downlink") continue;
      const message = effect.message as { type: string; seq: number };
      const stored = this.#disk.store.state(partitionOfSim(effect.from), effect.from);
      const wasCommitted = message.type === "told" && stored !== undefined &&
        holdsSeq(stored, message.seq);
      this.told.push({ address: effect.from, seq: message.seq, wasCommitted });
      this.note(`told ${effect.from} ${message.type} ${message.seq}`);
    }
  }

  /** Ticks that go are behind what each reader has durably. */
  #checkTrim(throughTick: number): void {
    this.count("trim");
    for (const { name, cursor } of this.#readers) {
      if (throughTick <= cursor) continue;
      this.violated(`the log is trimmed to ${throughTick}, ${name} has ${cursor}`);
    }
  }

  #isDrained(): boolean {
    if (!this.isUp) return false;
    const life = this.#life!;
    return life.waiting.length === 0 && life.ingress.unacknowledgedBytes === 0 &&
      life.log.ready(this.clock.nowMs()).length === 0 && life.log.nextDueMs() === undefined &&
      this.#disk.store.loadOutbox().length === 0 &&
      this.#readers.every((reader) => reader.readTo >= this.#disk.lastTick);
  }
}

const PLACEMENT = createSimBehaviour(() => {}).placement;

export function partitionOfSim(address: Address): Partition {
  return partitionOf(PLACEMENT, idOf(address));
}

/** Whether an encoded state lists `seq` among the handled ones. */
function holdsSeq(state: Uint8Array, seq: number): boolean {
  const seen = /"seen":\[([0-9,]*)\]/.exec(DECODER.decode(state));
  return seen !== null && seen[1]!.split(",").includes(String(seq));
}
