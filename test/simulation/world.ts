/**
 * A simulated node with clients, on the product's own modules: ingress, log, runner, engine. One seed
 * decides all: when messages come, what fails, where the process dies. A crash throws the objects of
 * the process away and keeps what is stored.
 */
import type { Address, Partition } from "../../runtime/actor/address.ts";
import { idOf, partitionOf } from "../../runtime/actor/address.ts";
import type { TransientEffect } from "../../runtime/actor/batch.ts";
import { EngineRunner } from "../../runtime/actor/runner.ts";
import { waitMs } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { GroupIngress } from "../../runtime/log/ingress.ts";
import { createMemoryHead } from "../../runtime/log/head_file.ts";
import { createMemoryStore } from "../../runtime/log/memory_store.ts";
import type { PartitionLog } from "../../runtime/log/partition_log.ts";
import { packHead } from "../../runtime/log/record.ts";
import { openTickLog } from "../../runtime/log/tick_log.ts";
import type { TickStore } from "../../runtime/log/tick_store.ts";
import { seededRandom } from "../../runtime/random.ts";
import { simBehaviour, type SimMessage } from "./sim_behaviour.ts";
import { startSimEngine } from "./sim_engine.ts";
import type { Plants } from "./plants.ts";
import { VirtualClock } from "./virtual_clock.ts";

const ENCODER = new TextEncoder();
/** Bound of the simulated ingress: small, so that it is met. */
export const INGRESS_BYTES_MAX = 3_000;

export interface Sent {
  readonly to: Address;
  readonly message: SimMessage;
  isAcknowledged: boolean;
}

export interface WorldOptions {
  readonly seed: number;
  readonly plants: Plants;
  readonly messages?: number;
}

/** One life of the process. */
interface Life {
  isDead: boolean;
  log: PartitionLog;
  ingress: GroupIngress;
  runner: EngineRunner;
  /** Messages by the append that carries them. */
  waiting: { number: number; sent: Sent }[];
}

export class World {
  readonly random;
  readonly clock: VirtualClock;
  readonly sent: Sent[] = [];
  readonly trace: string[] = [];
  /** Sequence numbers whose downlink was seen, with what the store held then. */
  readonly told: { address: Address; seq: number; wasCommitted: boolean }[] = [];
  readonly violations: string[] = [];
  /** Faults happen while true; then the world heals and drains. */
  isFaulty = true;
  lives = 0;
  readonly #options: WorldOptions;
  readonly #store: TickStore = createMemoryStore();
  readonly #head = createMemoryHead();
  #life: Life | undefined;
  readonly #seqs = new Map<Address, number>();

  constructor(options: WorldOptions) {
    this.#options = options;
    this.random = seededRandom(options.seed);
    this.clock = new VirtualClock(this.random);
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

  chance(share: number): boolean {
    return this.random.fraction() < share;
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
    await this.clock.run(() => !this.isFaulty, 60_000, what);
    await this.clock.run(() => this.#isDrained(), 900_000, what);
  }

  /** Time stops: what still waits for the clock waits for ever. */
  close(): void {
    const life = this.#life!;
    life.isDead = true;
    life.ingress.close();
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
    life.isDead = true;
    this.note(`CRASH ${where}`);
    life.ingress.close();
    this.clock.after(1 + this.random.fraction() * 20, () => this.#boot());
  }

  #boot(): void {
    this.lives++;
    this.note(`boot ${this.lives}`);
    const life = { isDead: false, waiting: [] } as unknown as Life;
    this.#life = life;
    const plants = this.#options.plants;
    const opened = openTickLog({
      store: this.#guarded(life),
      head: this.#head,
      clock: this.clock,
      partitionOf: partitionOfSim,
      readers: ["notes"],
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
    life.runner = new EngineRunner({
      log: life.log,
      partitions: Array.from({ length: life.log.partitions }, (_, i) => i),
      startEngine: () => {
        const engine = startSimEngine({
          clock: this.clock,
          load: (addresses) => life.log.loadStates(addresses),
          trace: (line) => this.note(line),
          deathChance: () => this.isFaulty ? 0.03 : 0,
          ignoresForget: plants.ignoresForget,
        });
        return Promise.resolve(plants.engine(engine, this, (e) => this.#effects(life, e)));
      },
      clock: this.clock,
      logger: silentLogger,
      onEffects: (effects) => this.#effects(life, effects),
    });
    life.runner.done.catch((fault) => {
      // The log asks to be opened again after a write of unknown outcome: the supervisor's work.
      if (!life.isDead) this.crash(`runner ended: ${fault}`);
    });
  }

  /** The store of one life: slow never (it is synchronous), failing and crashing at its steps. */
  #guarded(life: Life): TickStore {
    const check = () => {
      if (life.isDead) throw new Error("the process is dead");
    };
    return new Proxy(this.#store, {
      get: (store, key: keyof TickStore) => {
        if (key === "close") return () => {};
        const method = store[key] as (...args: unknown[]) => unknown;
        if (key !== "write") {
          return (...args: unknown[]) => {
            check();
            return method.apply(store, args);
          };
        }
        return (...args: unknown[]) => {
          check();
          if (this.isFaulty && this.chance(0.02)) throw new Error("store failed before");
          if (this.isFaulty && this.chance(0.015)) {
            this.crash("before a write");
            check();
          }
          method.apply(store, args);
          if (this.isFaulty && this.chance(0.015)) {
            this.crash("after a write");
            check();
          }
          if (this.isFaulty && this.chance(0.01)) throw new Error("store failed after");
        };
      },
    });
  }

  /** The way to the log: delayed, lost before, or answered into the void. */
  async #append(life: Life, append: Parameters<PartitionLog["append"]>[0]) {
    await this.#delay(life);
    if (this.isFaulty && this.chance(0.05)) throw new Error("request lost");
    const outcome = await life.log.append(append);
    this.note(`append ${append.incarnation}/${append.sequence}: ${JSON.stringify(outcome)}`);
    await this.#delay(life);
    if (this.isFaulty && this.chance(0.05)) throw new Error("reply lost");
    return outcome;
  }

  async #delay(life: Life): Promise<void> {
    const isSlow = this.isFaulty && this.chance(0.02);
    await waitMs(this.clock, this.random.fraction() * (isSlow ? 200 : 4));
    if (life.isDead) await new Promise(() => {}); // A dead process never answers.
  }

  #send(): boolean {
    const to = `sim/${Math.floor(this.random.fraction() * 3)}.${this.#pick(2)}`;
    const seq = (this.#seqs.get(to) ?? 0) + 1;
    const message = this.#message(seq);
    const body = ENCODER.encode(JSON.stringify(message));
    const life = this.#life!;
    const head = packHead({ to, budget: LIMITS.budgetPerRootRecord });
    const number = life.ingress.offer({ partition: partitionOfSim(to), head }, [body]);
    if (life.ingress.unacknowledgedBytes > INGRESS_BYTES_MAX) {
      this.violations.push(`ingress holds ${life.ingress.unacknowledgedBytes} B`);
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
    const message: Record<string, unknown> = { type: "work", seq };
    if (this.chance(0.4)) message.forwardTo = `sim/${this.#pick(3)}.${this.#pick(2)}`;
    if (this.chance(0.3)) message.remindInMs = Math.floor(this.random.fraction() * 60);
    if (this.chance(0.15)) message.cancels = true;
    if (this.chance(0.3)) message.notes = true;
    if (this.chance(0.4)) message.tells = true;
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
      const told = {
        address: effect.from,
        seq: message.seq,
        wasCommitted: message.type === "told",
      };
      const stored = this.#store.state(partitionOfSim(effect.from), effect.from);
      told.wasCommitted &&= stored !== undefined && holdsSeq(stored, message.seq);
      this.told.push(told);
      this.note(`told ${effect.from} ${message.type} ${message.seq}`);
    }
  }

  #isDrained(): boolean {
    if (!this.isUp) return false;
    const life = this.#life!;
    return life.waiting.length === 0 && life.ingress.unacknowledgedBytes === 0 &&
      life.log.ready(this.clock.nowMs()).length === 0 && life.log.nextDueMs() === undefined &&
      this.#store.loadOutbox().length === 0;
  }
}

export function partitionOfSim(address: Address): Partition {
  return partitionOf(simBehaviour.placement, idOf(address));
}

const DECODER = new TextDecoder();

/** Whether an encoded state lists `seq` among the handled ones. */
function holdsSeq(state: Uint8Array, seq: number): boolean {
  const seen = /"seen":\[([0-9,]*)\]/.exec(DECODER.decode(state));
  return seen !== null && seen[1]!.split(",").includes(String(seq));
}
