/** Random filters over random changes, paged in every way the finder has, against a plain look at all. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type Random, seededRandom } from "../../runtime/random.ts";
import { FinderPlace } from "../../test/support/finder_place.ts";
import { valueOf } from "../../test/support/outcomes.ts";
import { readSeed } from "../../test/support/seed.ts";
import { openTestRegistry, type TestRegistry } from "../../test/support/test_registry.ts";
import type { DeviceFilter, FinderQuery } from "./device_finder.ts";
import { DEVICE_STATUSES, type DeviceSort } from "./finder_conditions.ts";
import { FINDER_BOUNDS, type FinderBounds } from "./finder_walk.ts";
import type { PresenceRow } from "./messages.ts";
import type { Operator, PropertyCondition } from "./property_condition.ts";

/** Few enough that a hundred devices take every way there is. */
const TINY: FinderBounds = {
  sliceRows: 7,
  chunkKeys: 5,
  narrowKeys: 6,
  sourceKeys: 40,
  walkRows: 15,
  pageMs: 60,
  turnMs: 1,
};
const PRODUCTS = ["a", "a-b", "b"];
// In UTF-8 the last one comes after the one before it, in UTF-16 before.
const NAMES = ["", "Pump", "pump", "Ünder", "%_!", "～", "😀"];
const TAGS = [[], ["t"], ["t", "u"], ["rare"]];
const VALUES = [1, 2, 3.5, -1, "1", "auto", true, false, null];
const SORTS: readonly (DeviceSort | undefined)[] = [
  undefined,
  ...["device", "name", "createdAt", "lastSeenAt"].flatMap((field) =>
    [field, `-${field}`] as DeviceSort[]
  ),
];
const CONDITIONS: readonly (readonly PropertyCondition[])[] = [
  ...(["=", "<", "<=", ">", ">="] as Operator[]).map((operator) => [
    { property: "v", operator, value: 2 },
  ]),
  [{ property: "v", operator: "=", value: "auto" }],
  [{ property: "v", operator: "=", value: true }],
  [{ property: "v", operator: "=", value: "1" }, { property: "w", operator: ">", value: 0 }],
  [{ property: "none", operator: "=", value: 1 }],
];

interface Known {
  readonly key: string;
  readonly name: string;
  readonly tags: readonly string[];
  readonly enabled: boolean;
  readonly createdAt: number;
}

class Plant {
  readonly devices = new Map<string, Known>();
  readonly members: readonly Set<string>[] = [new Set(), new Set()];
  /** These may be left of a device that is gone, and be there before one comes. */
  readonly presence = new Map<string, PresenceRow>();
  readonly values = new Map<string, Readonly<Record<string, unknown>>>();

  constructor(
    readonly random: Random,
    readonly registry: TestRegistry,
    readonly place: FinderPlace,
    readonly groups: readonly string[],
  ) {}

  any<T>(list: readonly T[]): T {
    return list[Math.floor(this.random.fraction() * list.length)]!;
  }

  /** Key of the device that was changed. */
  async change(): Promise<string> {
    const [product, device] = [this.any(PRODUCTS), `d${Math.floor(this.random.fraction() * 60)}`];
    const key = `${product}/${device}`;
    const acts = [
      () => this.#put(product, device),
      () => this.#put(product, device),
      () => this.#put(product, device),
      () => this.#remove(product, device),
      () => this.#show(key),
      () => this.#show(key),
      () => this.#keep(key),
      () => this.#keep(key),
      () => this.#join(product, device),
    ];
    await this.any(acts)();
    return key;
  }

  async #put(product: string, device: string): Promise<void> {
    const { devices, clock } = this.registry;
    const key = `${product}/${device}`;
    const enabled = this.random.fraction() < 0.9;
    const fields = { name: this.any(NAMES), tags: this.any(TAGS), enabled };
    if (this.random.fraction() < 0.5) await clock.advance(1);
    const made = this.devices.has(key)
      ? valueOf(await devices.update(product, device, fields))
      : valueOf(await devices.create({ product, device, ...fields })).device;
    this.devices.set(key, { key, ...fields, createdAt: made.createdAt });
  }

  async #remove(product: string, device: string): Promise<void> {
    const key = `${product}/${device}`;
    valueOf(await this.registry.devices.delete(product, device));
    this.devices.delete(key);
    for (const members of this.members) members.delete(key);
  }

  async #show(key: string): Promise<void> {
    const online = this.random.fraction() < 0.4;
    const atMs = 1_000 + Math.floor(this.random.fraction() * 12);
    const row = this.random.fraction() < 0.2
      ? undefined
      : { online, session: online ? "1.1" : null, atMs };
    if (row === undefined) this.presence.delete(key);
    else this.presence.set(key, row);
    await this.place.show([[key, row]]);
  }

  #keep(key: string): void {
    if (this.random.fraction() < 0.1) {
      this.values.delete(key);
      return this.place.keep([[key, undefined]]);
    }
    const values = { v: this.any(VALUES), w: this.any(VALUES) };
    this.values.set(key, values);
    const timed = Object.entries(values).map(([name, value]) => [name, { value, at: 1 }]);
    this.place.keep([[key, Object.fromEntries(timed)]]);
  }

  async #join(product: string, device: string): Promise<void> {
    const key = `${product}/${device}`;
    if (!this.devices.has(key)) return;
    const at = this.any([0, 1]);
    valueOf(await this.registry.groups.add("default", this.groups[at]!, product, device));
    this.members[at]!.add(key);
  }

  filter(): DeviceFilter {
    const some = <T>(name: string, list: readonly T[], share = 0.3) =>
      this.random.fraction() < share ? { [name]: this.any(list) } : {};
    return {
      ...some("product", [...PRODUCTS, "none"], 0.2),
      ...some("q", ["1", "UMP", "_", "%", "nothing"], 0.2),
      ...some("tag", ["t", "u", "rare", "none"]),
      ...some("groups", [[], [this.groups[0]!], this.groups], 0.2),
      ...some("status", DEVICE_STATUSES),
      ...some("properties", CONDITIONS),
    };
  }

  /** In order. */
  passing(filter: DeviceFilter, sort: DeviceSort | undefined): string[] {
    const field = sort?.replace("-", "") ?? "";
    const sign = sort?.startsWith("-") ? -1 : 1;
    const passing = [...this.devices.values()].filter((known) => this.#passes(known, filter));
    const seen = (key: string) => this.presence.get(key)?.atMs;
    const isNever = ({ key }: Known) => field === "lastSeenAt" && seen(key) === undefined;
    const orders: Readonly<Record<string, (known: Known) => readonly (string | number)[]>> = {
      "": ({ key }) => key.split("/"),
      device: ({ key }) => key.split("/").reverse(),
      name: ({ name, key }) => [name, ...key.split("/")],
      createdAt: ({ createdAt, key }) => [createdAt, ...key.split("/")],
      lastSeenAt: ({ key }) => [seen(key)!, key],
    };
    const [first, never] = [passing.filter((known) => !isNever(known)), passing.filter(isNever)];
    first.sort((one, other) => sign * compare(orders[field]!(one), orders[field]!(other)));
    never.sort((one, other) => compare(orders[""]!(one), orders[""]!(other)));
    return [...first, ...never].map(({ key }) => key);
  }

  /** By one value alone, many are counted as entries: also those of a device that is gone. */
  count(filter: DeviceFilter, { narrowKeys }: FinderBounds): number {
    const { product, properties = [], ...rest } = filter;
    if (properties.length !== 1 || Object.keys(rest).length > 0 || product === "none") {
      return this.passing(filter, undefined).length;
    }
    const entries = [...this.values].filter(([, values]) => holds(values, properties[0]!));
    if (entries.length <= narrowKeys) return this.passing(filter, undefined).length;
    return entries.filter(([key]) => product === undefined || key.startsWith(`${product}/`)).length;
  }

  #passes({ key, name, tags, enabled }: Known, filter: DeviceFilter): boolean {
    const { product, q = "", tag, groups, status, properties = [] } = filter;
    const row = this.presence.get(key);
    const shown = row === undefined ? "never" : row.online ? "online" : "offline";
    const [own, device] = key.split("/");
    const isIn = (id: string) => this.members[this.groups.indexOf(id)]!.has(key);
    return (product ?? own) === own && (tag === undefined || tags.includes(tag)) &&
      [device!, name].some((text) => text.toLowerCase().includes(q.toLowerCase())) &&
      (groups === undefined || groups.some(isIn)) &&
      (status === undefined || status === (enabled ? shown : "disabled")) &&
      properties.every((condition) => holds(this.values.get(key) ?? {}, condition));
  }
}

function compare(one: readonly (string | number)[], other: readonly (string | number)[]): number {
  for (const [at, part] of one.entries()) {
    const against = other[at]!;
    if (part === against) continue;
    if (typeof part === "number") return part - Number(against);
    return Buffer.compare(Buffer.from(part), Buffer.from(String(against)));
  }
  return 0;
}

function holds(
  values: Readonly<Record<string, unknown>>,
  { property, operator, value }: PropertyCondition,
): boolean {
  const found = values[property];
  if (operator === "=") return found === value;
  if (typeof found !== "number" || typeof value !== "number") return false;
  return { "<": found < value, "<=": found <= value, ">": found > value, ">=": found >= value }[
    operator
  ];
}

/** @param turn After each page, with what was on it. */
async function walk(
  { finder }: FinderPlace,
  query: FinderQuery,
  turn: (keys: readonly string[]) => Promise<void> = () => Promise.resolve(),
): Promise<string[]> {
  const keys: string[] = [];
  let cursor: string | null = null;
  for (let pages = 0; pages < 500; pages++) {
    const asked: FinderQuery = cursor === null ? query : { ...query, cursor };
    const { items, nextCursor } = valueOf(await finder.list(asked));
    assert.ok(items.length <= query.limit);
    const page = items.map(({ product, device }) => `${product}/${device}`);
    keys.push(...page);
    await turn(page);
    if (nextCursor === null) return keys;
    cursor = nextCursor;
  }
  assert.fail("a list without end");
}

/** @param act With each of two finders over one plant: as they are, and with tiny bounds. */
async function withPlants(
  act: (plant: Plant, place: FinderPlace, what: string, bounds: FinderBounds) => Promise<void>,
): Promise<void> {
  const seed = readSeed();
  for (const bounds of [TINY, FINDER_BOUNDS]) {
    const random = seededRandom(seed);
    await using registry = await openTestRegistry();
    let nowMs = 0;
    const clock = { ...registry.clock, monotonicMs: () => nowMs += random.fraction() * 25 };
    await using place = new FinderPlace(registry.folder, clock, bounds);
    for (const key of PRODUCTS) valueOf(await registry.products.create({ key }));
    const groups: string[] = [];
    for (const name of ["g", "h"]) {
      groups.push(valueOf(await registry.groups.create("default", { name })).id);
    }
    const plant = new Plant(random, registry, place, groups);
    for (let changes = 0; changes < 400; changes++) await plant.change();
    await act(plant, place, `seed ${seed}, slices of ${bounds.sliceRows}`, bounds);
  }
}

Deno.test("every search is what a plain look at all devices finds, whatever changed before", async () => {
  await withPlants(async (plant, place, what, bounds) => {
    for (let round = 0; round < 100; round++) {
      for (let changes = 0; changes < 5; changes++) await plant.change();
      const filter = plant.filter();
      const sort = plant.any(SORTS);
      const limit = plant.any([1, 2, 7, 50]);
      const expected = plant.passing(filter, sort);
      const said = `${what}, round ${round}: ${JSON.stringify({ ...filter, sort, limit })}`;
      const found = await walk(place, { ...filter, limit, ...(sort && { sort }) });
      assert.deepEqual(found, expected, said);
      assert.equal(await place.finder.count(filter), plant.count(filter, bounds), said);
    }
  });
});

Deno.test("while devices change, those that do not come once each, and no page is wrong", async () => {
  await withPlants(async (plant, place, what) => {
    for (let round = 0; round < 40; round++) {
      const filter = plant.filter();
      const sort = plant.any(SORTS);
      const stay = new Set(plant.passing(filter, sort));
      const said = `${what}, round ${round}: ${JSON.stringify({ ...filter, sort })}`;
      const changed = new Set<string>();
      const found = await walk(
        place,
        { ...filter, limit: plant.any([1, 3]), ...(sort && { sort }) },
        async (page) => {
          const passing = new Set(plant.passing(filter, sort));
          for (const key of page) assert.ok(passing.has(key), `${said}: ${key} is there`);
          changed.add(await plant.change());
        },
      );
      for (const key of changed) stay.delete(key);
      const quiet = found.filter((key) => stay.has(key));
      const expected = plant.passing(filter, sort).filter((key) => stay.has(key));
      assert.deepEqual(quiet, expected, said);
      const steady = found.filter((key) => !changed.has(key));
      assert.equal(new Set(steady).size, steady.length, said);
    }
  });
});
