/**
 * Lists of devices in any order with any filter, over three stores that one thread reads: the registry
 * says which devices there are (`registry.db`), the views who was heard of when (`views.db`), the index
 * of values what they last said (`search.db`). Bounded pages of keys go from one to the next.
 *
 * Where a condition has few matches these are looked at, all of them. Else the list is walked along an
 * index, in slices: other work runs in between, and a page ends early rather than late. A cursor holds
 * the position in the order alone, so that each page may be found in its own way.
 */
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { BAD_CURSOR } from "../registry/conditions.ts";
import { accepted, invalid, type Outcome, type Page } from "../registry/outcome.ts";
import { DEFAULT_PROJECT } from "../registry/registry_store.ts";
import { type Device, deviceOf } from "./device_row.ts";
import type { DeviceFilter, DeviceSort, DeviceStatus, Source } from "./finder_conditions.ts";
import { cursorOf, FinderOrder, type Place, placeOf, type Position } from "./finder_order.ts";
import { FinderPresence } from "./finder_presence.ts";
import { FinderRegistry } from "./finder_registry.ts";
import { FinderValues } from "./finder_values.ts";
import { type Candidate, FINDER_BOUNDS, type FinderBounds } from "./finder_walk.ts";
import { StoreReader } from "./store_reader.ts";

export type { DeviceFilter };

export interface FinderQuery extends DeviceFilter {
  /** Default: by product and device. */
  readonly sort?: DeviceSort;
  /** 1 to 500. */
  readonly limit: number;
  readonly cursor?: string;
}

export interface DeviceFinder {
  /** A page may be short, even empty, while `nextCursor` is not null. Refuses a foreign cursor. */
  list(query: FinderQuery): Promise<Outcome<Page<Device>>>;
  /** How many pass; null: more than `rowsMax` would have to be looked at. */
  count(filter: DeviceFilter, rowsMax?: number): Promise<number | null>;
}

export interface FinderPaths {
  readonly registry: string;
  readonly views: string;
  readonly search: string;
}

type Filter = DeviceFilter & { readonly project: string };

/** What one list was asked for. */
interface Asked {
  readonly filter: Filter;
  readonly order: FinderOrder;
  /** Rows of a page, and one to see that there is more. */
  readonly wanted: number;
  readonly deadlineMs: number;
}

interface Found {
  readonly key: string;
  readonly place: Place;
}

interface Walked {
  readonly found: readonly Found[];
  /** Not looked at after this; undefined: it was walked to the end, or enough was found. */
  readonly goOn: Place | undefined;
  readonly looked: number;
}

/** Of keys: their devices were never heard of; what they pass already. */
interface Known {
  readonly isNever?: boolean;
  readonly passed?: Source["passed"];
}

/** Leaves out keys by what the walk itself does not know. */
type Passing = (keys: readonly string[]) => readonly string[];

/**
 * All three files must be there.
 * @param onSearchFault Told of each fault of the index of values; the caller of `list` gets it as well.
 */
export function openDeviceFinder(
  paths: FinderPaths,
  clock: Clock,
  bounds: FinderBounds = FINDER_BOUNDS,
  onSearchFault: (fault: unknown) => void = () => {},
): DeviceFinder & Disposable {
  using opened = new DisposableStack();
  const open = (path: string, onFault?: (fault: unknown) => void) =>
    opened.use(new StoreReader(path, onFault));
  const registry = new FinderRegistry(open(paths.registry), bounds);
  const presence = new FinderPresence(open(paths.views), bounds);
  const values = new FinderValues(open(paths.search, onSearchFault), bounds);
  const stores = opened.move();
  const finder = new StoresFinder(registry, presence, values, clock, bounds);
  return {
    list: (query) => finder.list(query),
    count: (filter, rowsMax) => finder.count(filter, rowsMax),
    [Symbol.dispose]: () => stores.dispose(),
  };
}

class StoresFinder implements DeviceFinder {
  readonly #registry: FinderRegistry;
  readonly #presence: FinderPresence;
  readonly #values: FinderValues;
  readonly #clock: Clock;
  readonly #bounds: FinderBounds;
  /** Searches that wait to go on; their callers are bounded. */
  readonly #turns: (() => void)[] = [];
  /** When other work ran, on the monotonic clock. */
  #ranAtMs = -Infinity;

  constructor(
    registry: FinderRegistry,
    presence: FinderPresence,
    values: FinderValues,
    clock: Clock,
    bounds: FinderBounds,
  ) {
    this.#registry = registry;
    this.#presence = presence;
    this.#values = values;
    this.#clock = clock;
    this.#bounds = bounds;
  }

  async list(query: FinderQuery): Promise<Outcome<Page<Device>>> {
    const { sort, limit, cursor, project = DEFAULT_PROJECT, ...rest } = query;
    const filter = { ...rest, project };
    const order = new FinderOrder(sort, filter.product);
    const start = placeOf(order, cursor);
    if (start === undefined) return invalid([BAD_CURSOR]);
    if (this.#turns.length > 0) await this.#takeTurn();
    if (!this.#registry.hasProduct(filter)) return accepted({ items: [], nextCursor: null });
    const deadlineMs = this.#clock.monotonicMs() + this.#bounds.pageMs;
    const asked = { filter, order, wanted: limit + 1, deadlineMs };
    const { found, goOn } = await this.#find(asked, start);
    const page = found.slice(0, limit);
    const next = found.length > limit ? page.at(-1)!.place : goOn;
    return accepted({
      items: this.#devicesOf(page, project),
      nextCursor: next === undefined ? null : cursorOf(order, next),
    });
  }

  async count(filter: DeviceFilter, rowsMax: number = LIMITS.countRowsMax): Promise<number | null> {
    const { project = DEFAULT_PROJECT, product, ...others } = filter;
    const asked = { ...filter, project };
    if (this.#turns.length > 0) await this.#takeTurn();
    if (!this.#registry.hasProduct(asked)) return 0;
    const passing = this.#passingOf(asked);
    const order = new FinderOrder(undefined, product);
    const source = this.#narrowest(asked, order);
    const { properties: [condition, ...more] = [], ...rest } = others;
    const isByValue = condition !== undefined && more.length === 0 && isEmpty(rest);
    if (isByValue && !this.#isFew(source)) {
      const products = this.#productsOf(asked);
      return await this.#values.count(condition, products, () => this.#letOthersRun());
    }
    if (source !== undefined) return await this.#countOf(source, asked);
    const walk = this.#registry.walk(order, asked);
    // Full slices are counted without a look at their rows.
    const isWhole = product === undefined && isEmpty(others);
    const { sliceRows } = this.#bounds;
    let count = 0;
    let after: Position | undefined;
    for (let looked = 0; isWhole || looked <= rowsMax; looked += sliceRows) {
      const end = walk.end(after);
      if (passing !== undefined) {
        const slice = walk.read(after, end, sliceRows).map(({ key }) => key);
        for (const keys of this.#chunksOf(slice)) count += passing(keys).length;
      } else if (end !== undefined && !walk.isFiltered) count += sliceRows;
      else count += walk.count(after, end);
      if (end === undefined) return count;
      after = end;
      await this.#letOthersRun();
    }
    return null;
  }

  async #countOf(source: Source, filter: Filter): Promise<number> {
    const passing = this.#passingOf(filter, { passed: source.passed });
    let count = 0;
    for (const chunk of this.#chunksOf(source.keys())) {
      count += this.#registry.countPassing(passing?.(chunk) ?? chunk, filter);
      await this.#letOthersRun();
    }
    return count;
  }

  /** The way that looks at few rows; after many that do not pass, the other one. */
  async #find(asked: Asked, start: Place): Promise<Pick<Walked, "found" | "goOn">> {
    const source = this.#narrowest(asked.filter, asked.order);
    const found: Found[] = [];
    let place: Place | undefined = start;
    if (!this.#isFew(source)) {
      let looked = 0;
      for (const phase of phasesOf(asked, start)) {
        const rowsMax = source === undefined ? Infinity : this.#bounds.walkRows - looked;
        const walked: Walked = await this.#walk(asked, phase, asked.wanted - found.length, rowsMax);
        found.push(...walked.found);
        looked += walked.looked;
        place = walked.goOn;
        if (found.length >= asked.wanted || place !== undefined) break;
      }
      const isEnough = found.length >= asked.wanted || place === undefined;
      if (isEnough || source === undefined) return { found, goOn: place };
    }
    found.push(...await this.#look(asked, source!, place!, asked.wanted - found.length));
    return { found, goOn: undefined };
  }

  /** Along an index, from a place to the end of its phase. */
  async #walk(asked: Asked, { type, after: start }: Place, wanted: number, rowsMax: number) {
    const { filter, deadlineMs } = asked;
    const isSeen = asked.order.isBySeen && type === "first";
    const order = type === "never" ? new FinderOrder(undefined, filter.product) : asked.order;
    const walk = isSeen
      ? this.#presence.walk(order, this.#productsOf(filter))
      : this.#registry.walk(order, filter);
    const passing = this.#passingOf(filter, { isNever: type === "never" });
    const at = (after: Position | undefined): Place => ({ type, after });
    const found: Found[] = [];
    const { chunkKeys } = this.#bounds;
    let looked = 0;
    let chunk = Math.min(chunkKeys, wanted);
    for (let after = start;;) {
      const end = walk.isFiltered ? walk.end(after) : undefined;
      const read = walk.read(after, end, chunk);
      for (const { key, position } of this.#pass(read, passing, isSeen ? filter : undefined)) {
        found.push({ key, place: at(position) });
      }
      const isCut = read.length === chunk;
      looked += isCut || end === undefined ? read.length : this.#bounds.sliceRows;
      const isOver = found.length >= wanted || (!isCut && end === undefined);
      if (isOver) return { found: found.slice(0, wanted), goOn: undefined, looked };
      const last = isCut ? read.at(-1)!.position : end!;
      // A page goes on by a full slice or chunk at least, however slow the machine is.
      const isLate = (!isCut || chunk === chunkKeys) && this.#clock.monotonicMs() >= deadlineMs;
      // What was found is not looked at again; a caller is not told of this place.
      if (looked >= rowsMax) return { found, goOn: found.at(-1)?.place ?? at(start), looked };
      if (isLate) {
        const told = isCut ? last : walk.toldEnd(after, last);
        if (told !== undefined) return { found, goOn: at(told), looked };
      }
      after = last;
      chunk = Math.min(chunkKeys, chunk * 4);
      await this.#letOthersRun();
    }
  }

  /** At all devices of a condition that has few. */
  async #look(asked: Asked, source: Source, place: Place, wanted: number) {
    const { filter, order } = asked;
    const passing = this.#passingOf(filter, { passed: source.passed });
    const keys: string[] = [];
    for (const chunk of this.#chunksOf(source.keys())) {
      const own = passing?.(chunk) ?? chunk;
      keys.push(...(order.isBySeen ? this.#registry.passing(own, filter) : own));
      await this.#letOthersRun();
    }
    if (!order.isBySeen) {
      const rows = this.#registry.sorted(keys, filter, order, place.after, wanted);
      return rows.map(({ key, position }): Found => ({
        key,
        place: { type: "first", after: position },
      }));
    }
    const times = this.#presence.times(keys);
    const found = place.type === "first" ? seenAfter(times, order.isDescending, place.after) : [];
    if (found.length >= wanted) return found.slice(0, wanted);
    const never = keys.filter((key) => !times.has(key));
    const after = place.type === "never" ? place.after : undefined;
    const byKey = new FinderOrder(undefined, filter.product);
    for (const each of this.#registry.sorted(never, filter, byKey, after, wanted - found.length)) {
      found.push({ key: each.key, place: { type: "never", after: each.position } });
    }
    return found;
  }

  /** Undefined: all there are. */
  #productsOf({ project, product }: Filter): readonly string[] | undefined {
    return product === undefined ? this.#registry.productsOf(project) : [product];
  }

  /** @param filter What the registry knows, if the candidates are not its own. */
  #pass(
    candidates: readonly Candidate[],
    passing: Passing | undefined,
    filter: Filter | undefined,
  ): readonly Candidate[] {
    if (passing === undefined && filter === undefined) return candidates;
    let keys: readonly string[] = candidates.map(({ key }) => key);
    if (passing !== undefined) keys = passing(keys);
    if (filter !== undefined) keys = this.#registry.passing(keys, filter);
    const passed = new Set(keys);
    return candidates.filter(({ key }) => passed.has(key));
  }

  /** By what the registry does not know; undefined: nothing of it is asked for. */
  #passingOf({ status, properties = [] }: Filter, known: Known = {}): Passing | undefined {
    const statuses: DeviceStatus[] = known.isNever ? ["never"] : [];
    if (status !== undefined && status !== "disabled") statuses.push(status);
    const left = statuses.filter((each) => each !== known.passed);
    const conditions = properties.filter((each) => each !== known.passed);
    if (left.length === 0 && conditions.length === 0) return undefined;
    return (keys) =>
      left.reduce<readonly string[]>(
        (passing, each) => this.#presence.passing(passing, each),
        this.#values.passing(keys, conditions),
      );
  }

  /** The condition with the fewest matches, if they are not too many to be looked at. */
  #narrowest(filter: Filter, order: FinderOrder): Source | undefined {
    const sources = [
      ...this.#registry.sources(filter, order),
      ...this.#values.sources(filter.properties ?? []),
      ...(filter.status === "online" ? [this.#presence.onlineSource()] : []),
    ];
    let fewest = this.#bounds.sourceKeys + 1;
    let narrowest: Source | undefined;
    for (const source of sources) {
      const count = source.count(fewest);
      if (count >= fewest) continue;
      fewest = count;
      narrowest = source;
    }
    return narrowest;
  }

  #isFew(source: Source | undefined): boolean {
    const { narrowKeys } = this.#bounds;
    return source !== undefined && source.count(narrowKeys + 1) <= narrowKeys;
  }

  /** One that was deleted meanwhile is left out; one that moved comes once. */
  #devicesOf(found: readonly Found[], project: string): Device[] {
    const keys = [...new Set(found.map(({ key }) => key))];
    const rows = this.#registry.rows(keys, project);
    const byKey = new Map(rows.map((row) => [`${row.product}/${row.device}`, row]));
    return keys.flatMap((key) => {
      const row = byKey.get(key);
      return row === undefined ? [] : [deviceOf(row)];
    });
  }

  #chunksOf(keys: readonly string[]): string[][] {
    const { chunkKeys } = this.#bounds;
    return Array.from(
      { length: Math.ceil(keys.length / chunkKeys) },
      (_, at) => keys.slice(at * chunkKeys, (at + 1) * chunkKeys),
    );
  }

  /** Once searches have had the thread for their turn. */
  async #letOthersRun(): Promise<void> {
    if (this.#clock.monotonicMs() - this.#ranAtMs < this.#bounds.turnMs) return;
    await this.#takeTurn();
  }

  /** Searches at the same time go on one by one, with other work of the thread between them. */
  #takeTurn(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#turns.push(resolve) === 1) this.#clock.soon(() => this.#nextTurn());
    });
  }

  #nextTurn(): void {
    this.#ranAtMs = this.#clock.monotonicMs();
    this.#turns.shift()!();
    if (this.#turns.length > 0) this.#clock.soon(() => this.#nextTurn());
  }
}

function isEmpty(filter: object): boolean {
  return Object.values(filter).every((value) => value === undefined || value === "");
}

/** By last seen: first those with a time, then the others; only what the status leaves. */
function phasesOf({ order, filter: { status } }: Asked, start: Place): Place[] {
  if (!order.isBySeen) return [start];
  const never: Place = start.type === "never" ? start : { type: "never" };
  if (start.type === "never" || status === "never") return [never];
  return status === "online" || status === "offline" ? [start] : [start, never];
}

function seenAfter(
  times: ReadonlyMap<string, number>,
  isDescending: boolean,
  after: Position | undefined,
): Found[] {
  const sign = isDescending ? -1 : 1;
  const compare = (one: Position, other: Position) =>
    sign * (Number(one.seen) - Number(other.seen) || (one.key! < other.key! ? -1 : 1));
  return [...times].map(([key, seen]): Position => ({ key, seen }))
    .filter((each) =>
      after === undefined || (each.key !== after.key || each.seen !== after.seen) &&
        compare(each, after) > 0
    )
    .sort(compare)
    .map((each) => ({ key: String(each.key), place: { type: "first", after: each } }));
}
