/**
 * Puts the read models right from the committed states of actors, while everybody goes on reading and
 * writing them: first each state's rows, partition by partition; then each row whose actor has none; at
 * last the index of values is told to look at all states, which it does on its own.
 *
 * A row gives way to the state it is of, unless it claims to be newer. Then the state is read again: it
 * was committed before any row of it could be written, so that a row which is still newer is damaged,
 * and gives way if nobody has written it meanwhile.
 */
import type { Json } from "../../runtime/actor/behaviour.ts";
import { CodecError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { StateQuery, StoredState } from "../../runtime/log/partition_log.ts";
import { ROW_KINDS, rowsOfState } from "../device/state_rows.ts";
import type { DeviceSearch } from "../device/views_worker.ts";
import { type NewerRow, PRESENCE, type RowRepair, type ViewRepairs } from "../device/views.ts";
import { JobError, type JobKind, type JobStep, type JobWork, type StoredJob } from "./job.ts";

export interface RebuildViewsOptions {
  readonly log: {
    statesAfter(query: StateQuery): Promise<readonly StoredState[]>;
    peekAll(addresses: readonly string[]): Promise<readonly (Uint8Array | undefined)[]>;
  };
  readonly views: () => ViewRepairs & Pick<DeviceSearch, "reindex">;
  /** Of all groups. */
  readonly partitions: number;
  readonly logger: Logger;
}

interface Place {
  readonly phase: "states" | "rows";
  /** Index in `ROW_KINDS`, and partition, of the states that are looked at. */
  readonly kind: number;
  readonly partition: number;
  /** Address, or key of a row, after which it goes on. */
  readonly after: string;
  readonly states: number;
  /** Rows that were looked at for their states, in the second phase. */
  readonly rows: number;
  /** Rows that were written, or removed, since they were not as their state. */
  readonly changed: number;
  readonly unreadable: number;
}

const START: Place = {
  phase: "states",
  kind: 0,
  partition: 0,
  after: "",
  states: 0,
  rows: 0,
  changed: 0,
  unreadable: 0,
};
/** Looks at a row that claims to be newer than its state: it can be written all the time. */
const LOOKS_MAX = 20;
const PAGE = LIMITS.statesPageMax;
/** Share of the progress that the first phase has. */
const STATES_SHARE = 0.8;

export function rebuildViews(options: RebuildViewsOptions): JobKind {
  return {
    kind: "rebuildViews",
    open: (job) => Promise.resolve(new RebuildWork(job, options)),
  };
}

class RebuildWork implements JobWork {
  readonly #options: RebuildViewsOptions;
  #place: Place;

  constructor(job: StoredJob, options: RebuildViewsOptions) {
    this.#options = options;
    this.#place = job.checkpoint as unknown as Place | null ?? START;
  }

  async step(): Promise<JobStep> {
    if (this.#place.phase === "states") await this.#stepStates();
    else if (await this.#stepRows()) {
      await this.#options.views().reindex();
      return this.#finish();
    }
    const { states, rows, changed } = this.#place;
    return {
      progress: this.#progress(),
      checkpoint: { ...this.#place } as unknown as Json,
      detail: `${states} states, ${rows} rows looked at, ${changed} rows put right`,
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  async #stepStates(): Promise<void> {
    const { log, partitions } = this.#options;
    const { kind, partition, after, states } = this.#place;
    const query = { partition, kind: ROW_KINDS[kind]!, after, limit: PAGE };
    const page = await log.statesAfter(query);
    await this.#putRight(page.map(({ address, state }) => [address, state]));
    const last = page.length < PAGE ? undefined : page.at(-1)?.address;
    this.#place = { ...this.#place, states: states + page.length, after: last ?? "" };
    if (last !== undefined) return;
    if (partition + 1 < partitions) this.#place = { ...this.#place, partition: partition + 1 };
    else if (kind + 1 < ROW_KINDS.length) {
      this.#place = { ...this.#place, kind: kind + 1, partition: 0 };
    } else this.#place = { ...this.#place, phase: "rows" };
  }

  /** True: there is no row any more. */
  async #stepRows(): Promise<boolean> {
    const { log, views } = this.#options;
    const keys = await views().keysAfter(PRESENCE, this.#place.after, PAGE);
    if (keys.length === 0) return true;
    const addresses = keys.map((key) => `device/${key}`);
    const states = await log.peekAll(addresses);
    await this.#putRight(addresses.map((address, index) => [address, states[index]]));
    this.#place = {
      ...this.#place,
      after: keys.at(-1)!,
      rows: this.#place.rows + keys.length,
    };
    return false;
  }

  async #putRight(
    states: readonly (readonly [address: string, state: Uint8Array | undefined])[],
  ): Promise<void> {
    const { log, views } = this.#options;
    let wanted = states.flatMap(([address, state]) => this.#rowsOf(address, state));
    for (let looks = 0; wanted.length > 0; looks++) {
      const { changed, newer } = await views().repair(wanted);
      this.#place = { ...this.#place, changed: this.#place.changed + changed };
      if (newer.length === 0) return;
      if (looks === LOOKS_MAX) {
        throw new JobError(
          "conflict",
          `Cannot put row "${newer[0]!.key}" right: it is written ` +
            "all the time",
        );
      }
      const addresses = [...new Set(newer.map(addressOf))];
      const again: readonly (Uint8Array | undefined)[] = await log.peekAll(addresses);
      const rows = addresses.flatMap((address, index) => this.#rowsOf(address, again[index]));
      const claimed = new Map(newer.map(({ view, key, version }) => [`${view} ${key}`, version]));
      wanted = rows.flatMap((row) => {
        const version = claimed.get(`${row.view} ${row.key}`);
        return version === undefined ? [] : [{ ...row, seenVersion: version }];
      });
    }
  }

  /** None of what cannot be read: its rows stay as they are. */
  #rowsOf(address: string, state: Uint8Array | undefined): RowRepair[] {
    try {
      return rowsOfState(address, state);
    } catch (fault) {
      if (!(fault instanceof CodecError) && !(fault instanceof SyntaxError)) throw fault;
      this.#options.logger.warn("state cannot be read for its rows", { address });
      this.#place = { ...this.#place, unreadable: this.#place.unreadable + 1 };
      return [];
    }
  }

  #progress(): number {
    const { phase, kind, partition, states, rows } = this.#place;
    const all = ROW_KINDS.length * this.#options.partitions;
    if (phase === "states") {
      return STATES_SHARE * (kind * this.#options.partitions + partition) / all;
    }
    return STATES_SHARE + (0.999 - STATES_SHARE) * Math.min(1, rows / Math.max(1, states));
  }

  #finish(): JobStep {
    const { states, rows, changed, unreadable } = this.#place;
    return { progress: 1, checkpoint: null, result: { states, rows, changed, unreadable } };
  }
}

function addressOf({ view, key }: NewerRow): string {
  return view === PRESENCE ? `device/${key}` : `command/${key.slice(0, key.lastIndexOf("/"))}`;
}
