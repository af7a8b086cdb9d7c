/**
 * Keeps the index of values up with committed states: those that changed, and once after each start all
 * of them, since what changed meanwhile is told to nobody. It works a share of the time only; what changes
 * faster than that is indexed with its last value, later.
 *
 * Damage of `log.db` holds up no other device: what cannot be read is left as the index had it.
 */
import type { Address, Partition } from "../../runtime/actor/address.ts";
import { idOf, kindOf, PARTITIONS } from "../../runtime/actor/address.ts";
import { peekState } from "../../runtime/actor/state_codec.ts";
import type { Clock } from "../../runtime/clock.ts";
import { DEVICE_LIMITS } from "../../runtime/device_limits.ts";
import { messageOf } from "../../runtime/errors.ts";
import type { TakenChanges } from "../../runtime/log/changed_states.ts";
import type { StateReader } from "../../runtime/log/state_reader.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { DeviceState } from "./messages.ts";
import { type DeviceValues, isDamage, type PropertyIndex } from "./property_index.ts";

export interface StateIndexerOptions {
  readonly states: Pick<StateReader, "read" | "page">;
  readonly index: Pick<PropertyIndex, "write" | "keysAfter">;
  readonly partitionOf: (address: Address) => Partition;
  readonly takeChanged: (limit: number) => Promise<TakenChanges>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface StateIndexer extends AsyncDisposable {
  /** All states of before the start are in the index. */
  readonly isComplete: boolean;
  /** Looks at all states once more, as after a start. */
  lookAgain(): void;
}

const KIND = "device";
const PAUSE_MS_MIN = 5;
const BACKOFF_MS = 250;
const BACKOFF_MS_MAX = 30_000;
/** What cannot be read is told once in this time: it may be asked for with each change. */
const TELL_MS = 60_000;

/** Where the look at all states stands: first each partition's, then each key of the index. */
type Walk =
  | { readonly type: "states"; readonly partition: Partition; readonly after: Address }
  | { readonly type: "keys"; readonly after: string }
  | { readonly type: "done" };

interface MaybeStored {
  readonly address: Address;
  /** Undefined: the actor has none. */
  readonly state: Uint8Array | undefined;
}

const START: Walk = { type: "states", partition: 0, after: "" };

export function startStateIndexer(options: StateIndexerOptions): StateIndexer {
  const loop = new IndexerLoop(options);
  const done = loop.run();
  return {
    get isComplete() {
      return loop.walk.type === "done";
    },
    lookAgain: () => loop.lookAgain(),
    async [Symbol.asyncDispose]() {
      loop.stop();
      await done;
    },
  };
}

class IndexerLoop {
  walk: Walk = START;
  /** Once more after this look at all: it is not begun anew, or it would never come to its end. */
  #isOnceMore = false;
  readonly #options: StateIndexerOptions;
  readonly #stopped = Promise.withResolvers<void>();
  #isStopping = false;
  #unreadable = 0;
  #toldAtMs = -Infinity;

  constructor(options: StateIndexerOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#isStopping = true;
    this.#stopped.resolve();
  }

  lookAgain(): void {
    if (this.walk.type === "done") this.walk = START;
    else this.#isOnceMore = true;
  }

  async run(): Promise<void> {
    const { clock, logger } = this.#options;
    let faults = 0;
    while (!this.#isStopping) {
      try {
        const { addresses, isCut } = await this.#options.takeChanged(
          DEVICE_LIMITS.indexSliceStates,
        );
        if (this.#isStopping) return;
        if (isCut) this.lookAgain();
        const startedMs = clock.monotonicMs();
        this.#write(this.#read(addresses));
        this.#goOn();
        const isBusy = addresses.length > 0 || this.walk.type !== "done";
        await this.#rest(clock.monotonicMs() - startedMs, isBusy);
        faults = 0;
      } catch (fault) {
        if (this.#isStopping) return;
        // What was taken may not be written: all states are looked at again.
        this.lookAgain();
        const delayMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** Math.min(faults++, 10));
        logger.warn("values could not be indexed", { fault: messageOf(fault), delayMs });
        await this.#pause(delayMs);
      }
    }
  }

  #read(addresses: readonly Address[]): DeviceValues[] {
    const stored = addresses.filter((address) => kindOf(address) === KIND)
      .flatMap((address) => this.#undamaged(address, () => [this.#stored(address)]) ?? []);
    return this.#valuesOf(stored);
  }

  #stored(address: Address): MaybeStored {
    const { states, partitionOf } = this.#options;
    return { address, state: states.read(partitionOf(address), address) };
  }

  /** What `read` gives; undefined: it stands on a damaged page. */
  #undamaged<Value>(address: Address, read: () => Value): Value | undefined {
    try {
      return read();
    } catch (fault) {
      if (!isDamage(fault)) throw fault;
      this.#tell(address, fault);
      return undefined;
    }
  }

  /** One state that cannot be read holds up no other: what the index had of it stays. */
  #valuesOf(states: readonly MaybeStored[]): DeviceValues[] {
    return states.flatMap(({ address, state }) => {
      try {
        return [valuesOf(address, state)];
      } catch (fault) {
        this.#tell(address, fault);
        return [];
      }
    });
  }

  #tell(address: Address, fault: unknown): void {
    const { clock, logger } = this.#options;
    this.#unreadable++;
    if (clock.monotonicMs() - this.#toldAtMs < TELL_MS) return;
    const count = this.#unreadable;
    logger.error("states not indexed", { address, count, fault: messageOf(fault) });
    this.#unreadable = 0;
    this.#toldAtMs = clock.monotonicMs();
  }

  #write(devices: readonly DeviceValues[]): void {
    if (devices.length > 0) this.#options.index.write(devices);
  }

  /** One slice of the look at all states. */
  #goOn(): void {
    const { walk } = this;
    const { states, index } = this.#options;
    const limit = DEVICE_LIMITS.indexSliceStates;
    if (walk.type === "states") {
      const { partition, after } = walk;
      // Behind a damaged page there is no going on: what stands there is found when it changes.
      const page = this.#undamaged(after || `${KIND}/`, () => {
        return states.page(partition, KIND, after, limit);
      }) ?? [];
      this.#write(this.#valuesOf(page));
      const next = partition + 1;
      if (page.length === limit) this.walk = { ...walk, after: page.at(-1)!.address };
      else if (next < PARTITIONS) this.walk = { type: "states", partition: next, after: "" };
      else this.walk = { type: "keys", after: "" };
    } else if (walk.type === "keys") {
      const keys = index.keysAfter(walk.after, limit);
      const gone = keys.filter((key) => {
        const address = `${KIND}/${key}`;
        const stored = this.#undamaged(address, () => this.#stored(address));
        return stored !== undefined && stored.state === undefined;
      });
      this.#write(gone.map((key) => ({ key, values: undefined })));
      if (keys.length === limit) this.walk = { type: "keys", after: keys.at(-1)! };
      else {
        this.walk = this.#isOnceMore ? START : { type: "done" };
        this.#isOnceMore = false;
      }
    }
  }

  async #rest(workedMs: number, isBusy: boolean): Promise<void> {
    const share = DEVICE_LIMITS.indexTimeShare;
    const restMs = Math.ceil(workedMs * (1 - share) / share);
    const most = DEVICE_LIMITS.indexEveryMs;
    await this.#pause(isBusy ? Math.min(most, Math.max(PAUSE_MS_MIN, restMs)) : most);
  }

  async #pause(delayMs: number): Promise<void> {
    if (this.#isStopping) return;
    let cancel = () => {};
    const waited = new Promise<void>((resolve) => {
      cancel = this.#options.clock.after(delayMs, resolve);
    });
    await Promise.race([waited, this.#stopped.promise]);
    cancel();
  }
}

function valuesOf(address: Address, stored: Uint8Array | undefined): DeviceValues {
  const state = stored === undefined
    ? undefined
    : peekState(stored).state as DeviceState | undefined;
  return { key: idOf(address), values: state?.reported };
}
