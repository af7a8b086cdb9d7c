/**
 * The quarantine lane: partitions whose records killed an engine, each searched in an engine of its
 * own until the record or reminder that kills is alone, which is then parked. What survives is
 * committed as usual, so order holds and nothing is handled twice.
 */
import { LIMITS } from "../limits.ts";
import type { AttemptMark } from "../log/partition_log.ts";
import type { Partition } from "./address.ts";
import type { PartitionBatch, PartitionCommit } from "./batch.ts";
import { EngineDiedError } from "./engine_process.ts";
import { KillerSearch } from "./killer_search.ts";
import type { Progress } from "./partition_run.ts";
import {
  Lane,
  type LaneStatus,
  readBatch,
  type RunnerOptions,
  type RunningEngine,
} from "./runner.ts";

export interface QuarantineOptions extends RunnerOptions {
  readonly commit: (engine: RunningEngine, commits: PartitionCommit[]) => Promise<boolean>;
  readonly mark: (mark: AttemptMark) => Promise<void>;
  readonly onReleased: (partition: Partition) => void;
  /** The log gave up: the runner ends. */
  readonly onFault: (fault: unknown) => void;
}

interface Held {
  mark: AttemptMark;
  readonly search: KillerSearch;
}

export class Quarantine {
  readonly lane: Lane;
  readonly #options: QuarantineOptions;
  readonly #held = new Map<Partition, Held>();
  #loop: Promise<void> | undefined;
  #isStopping = false;

  constructor(options: QuarantineOptions) {
    this.#options = options;
    this.lane = new Lane("quarantine", options);
  }

  holds(partition: Partition): boolean {
    return this.#held.has(partition);
  }

  status(): LaneStatus[] {
    return this.#held.size > 0 || this.lane.engine !== undefined ? [this.lane.status()] : [];
  }

  /**
   * Held from now, searched from the next `work`.
   * @param suspect Where in the partition's batch the engine died, if it said so.
   */
  hold(mark: AttemptMark, suspect?: Progress): void {
    this.#held.set(mark.partition, { mark, search: new KillerSearch(suspect) });
  }

  /** Begins to search what is held, if it has not begun. */
  work(): void {
    if (this.#held.size === 0 || this.#isStopping || this.#loop !== undefined) return;
    this.#loop = this.#run().then(() => {
      this.#loop = undefined;
      this.work(); // What came to be held while the lane stopped.
    }, (fault) => this.#options.onFault(fault));
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.lane.stop();
    await this.#loop;
  }

  async #run(): Promise<void> {
    for (const [partition, held] of this.#held) {
      if (this.#isStopping) break;
      await this.#clear(partition, held);
      if (this.#isStopping) break;
      this.#held.delete(partition);
      this.#options.onReleased(partition);
      this.#options.onEvent?.({ type: "released", lane: "quarantine", detail: { partition } });
    }
    await this.lane.stop();
  }

  /** Until the suspected range is behind the cursor. */
  async #clear(partition: Partition, held: Held): Promise<void> {
    const { log, clock } = this.#options;
    let hasPassed = false; // At least one try: what kills may be a reminder, which moves no cursor.
    while (!this.#isStopping) {
      const whole = await readBatch(log, partition, clock.nowMs(), LIMITS.batchRecordsMax);
      if (whole === undefined || (hasPassed && whole.cursor >= held.mark.toOffset)) return;
      const batch = held.search.next(whole);
      const engine = await this.lane.acquire();
      if (engine === undefined) continue;
      try {
        const commits = await engine.handle([batch]);
        if (await this.#options.commit(engine, commits)) {
          held.search.passed(batch);
          hasPassed ||= batch === whole;
          if (batch.isFirstParked) this.#tell(commits);
        }
        this.lane.succeeded();
      } catch (fault) {
        if (!(fault instanceof EngineDiedError)) throw fault;
        if (this.#isStopping) return;
        this.lane.lost(engine, fault.message);
        if (fault.hadBatch) await this.#died(held, batch, fault);
      }
    }
  }

  async #died(held: Held, batch: PartitionBatch, fault: EngineDiedError): Promise<void> {
    held.search.died(batch, fault.suspect);
    held.mark = { ...held.mark, fromOffset: batch.cursor, deaths: held.mark.deaths + 1 };
    await this.#options.mark(held.mark);
  }

  #tell(commits: readonly PartitionCommit[]): void {
    for (const { partition, deadLetters } of commits) {
      for (const { to, recordId } of deadLetters) {
        const detail = { partition, to, recordId };
        this.#options.onEvent?.({ type: "parked", lane: "quarantine", detail });
      }
    }
  }
}
