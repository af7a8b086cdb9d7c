/** Searches by status, values and groups: held against a plain look at all devices. */
import assert from "node:assert/strict";
import { seededRandom } from "../../runtime/random.ts";
import { FinderPlace } from "../../test/support/finder_place.ts";
import { valueOf } from "../../test/support/outcomes.ts";
import { readSeed } from "../../test/support/seed.ts";
import { openTestRegistry } from "../../test/support/test_registry.ts";
import type { DeviceFilter, FinderQuery } from "./device_finder.ts";
import { DEVICE_STATUSES } from "./finder_conditions.ts";
import { FINDER_BOUNDS } from "./finder_walk.ts";
import type { TimedValue } from "./messages.ts";
import { parseConditions, type PropertyCondition } from "./property_condition.ts";

interface Known {
  readonly key: string;
  readonly tags: readonly string[];
  readonly status: string;
  readonly groups: readonly string[];
  readonly values: Readonly<Record<string, unknown>>;
  readonly seen: number;
}

function conditions(text: string): readonly PropertyCondition[] {
  const parsed = parseConditions(text);
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.conditions;
}

function holds(known: Known, { property, operator, value }: PropertyCondition): boolean {
  const found = known.values[property];
  if (operator === "=") return found === value;
  if (typeof found !== "number" || typeof value !== "number") return false;
  return { "<": found < value, "<=": found <= value, ">": found > value, ">=": found >= value }[
    operator
  ];
}

function passes(known: Known, filter: DeviceFilter): boolean {
  return (filter.status === undefined || known.status === filter.status) &&
    (filter.tag === undefined || known.tags.includes(filter.tag)) &&
    (filter.groups === undefined || filter.groups.some((id) => known.groups.includes(id))) &&
    (filter.properties ?? []).every((condition) => holds(known, condition)) &&
    (filter.product === undefined || known.key.startsWith(`${filter.product}/`));
}

/** @param count More than a slice, or not. */
async function plant(count: number, place: FinderPlace, registry: Registry, seed: number) {
  const random = seededRandom(seed);
  const any = <T>(list: readonly T[]) => list[Math.floor(random.fraction() * list.length)]!;
  const all: Known[] = [];
  for (const key of ["pump", "pump-2"]) valueOf(await registry.products.create({ key }));
  const groups: string[] = [];
  for (const name of ["g", "h"]) {
    groups.push(valueOf(await registry.groups.create("default", { name })).id);
  }
  for (let at = 0; at < count; at++) {
    const known: Known = {
      key: `${any(["pump", "pump-2"])}/${at}`,
      tags: any([[], ["t"]]),
      status: any(DEVICE_STATUSES),
      groups: groups.filter(() => random.fraction() < 0.3),
      values: {
        t: any([1, 2, 3, -1.5, "1", "3", true, false]),
        mode: any(["auto", "off, really", 'say "no"', true, 0]),
        ...any([{}, { place: { x: 1 } }]),
      },
      seen: 1_000 + Math.floor(random.fraction() * 20),
    };
    all.push(known);
    const [product, device] = known.key.split("/") as [string, string];
    const enabled = known.status !== "disabled";
    valueOf(await registry.devices.create({ product, device, tags: known.tags, enabled }));
    for (const id of known.groups) {
      valueOf(await registry.groups.add("default", id, product, device));
    }
  }
  await place.show(
    all.filter(({ status }) => status !== "never").map(({ key, status, seen }) => {
      const online = status === "online";
      return [key, { online, session: online ? "1.1" : null, atMs: seen }];
    }),
  );
  place.keep(all.map(({ key, values }) => {
    const timed = Object.entries(values).map(([name, value]) => [name, { value, at: 1 }]);
    return [key, Object.fromEntries(timed) as Record<string, TimedValue>];
  }));
  return { all, groups };
}

type Registry = Awaited<ReturnType<typeof openTestRegistry>>;

async function pagesOf(place: FinderPlace, query: FinderQuery): Promise<string[]> {
  const keys: string[] = [];
  let cursor: string | null = null;
  do {
    const asked: FinderQuery = cursor === null ? query : { ...query, cursor };
    const page = valueOf(await place.finder.list(asked));
    keys.push(...page.items.map(({ product, device }) => `${product}/${device}`));
    cursor = page.nextCursor;
  } while (cursor !== null);
  return keys;
}

Deno.test("what passes status, values, tags and groups is what a plain look finds, in each order", async () => {
  await using registry = await openTestRegistry();
  await using place = new FinderPlace(registry.folder, registry.clock);
  const seed = readSeed();
  const { all, groups } = await plant(120, place, registry, seed);
  const texts = ["t>1", "t>=2,t<3", "t<=-1.5", 't="3"', "t=3", "t=true", "mode=auto"]
    .concat(['mode="off, really"', 'mode="say \\"no\\""', "mode=true,t=1", "none=1", "mode=0"]);
  const filters: DeviceFilter[] = [
    ...texts.map((text) => ({ properties: conditions(text) })),
    ...DEVICE_STATUSES.map((status) => ({ status })),
    { status: "online", properties: conditions("t>1"), tag: "t" },
    { groups: [groups[0]!] },
    { groups, status: "offline" },
    { groups: [] },
    { product: "pump", properties: conditions("t<9") },
  ];
  const byKey = (one: Known, other: Known) => one.key < other.key ? -1 : 1;
  for (const filter of filters) {
    const expected = all.filter((known) => passes(known, filter));
    const said = `seed ${seed}: ${JSON.stringify(filter)}`;
    for (const sort of ["name", "-createdAt", "lastSeenAt", "-lastSeenAt"] as const) {
      const found = await pagesOf(place, { ...filter, sort, limit: 7 });
      assert.deepEqual(found.toSorted(), expected.map(({ key }) => key).sort(), `${said} ${sort}`);
      if (sort !== "-lastSeenAt") continue;
      const rows = all.toSorted((one, other) => -(one.seen - other.seen || byKey(one, other)));
      const shown = new Map(all.map((known) => [known.key, known]));
      const seen = found.filter((key) => shown.get(key)!.status !== "never");
      const order = rows.filter(({ status, key }) => status !== "never" && seen.includes(key));
      assert.deepEqual(seen, order.map(({ key }) => key), said);
    }
    assert.equal(await place.finder.count(filter), expected.length, said);
  }
});

Deno.test("conditions that cannot be read are refused in words", () => {
  const bad = [
    "",
    "t",
    ">1",
    "t>",
    "t>>1",
    "t>a",
    "t<true",
    't>"1"',
    "t=1,",
    ",t=1",
    't="x',
    "t==1",
  ]
    .concat(['t="x"y', "a b=1", "__proto__=1", "t=1e999", `t=${"x".repeat(257)}`, "t='\ud800"])
    .concat(["a=1,b=1,c=1,d=1,e=1", `${"n".repeat(65)}=1`, "t>1;drop table props", "t!=1"]);
  for (const text of bad) {
    const parsed = parseConditions(text);
    assert.ok(!parsed.ok, text);
    assert.match(parsed.message, /^Cannot /, text);
    assert.ok(parsed.message.length < 200);
  }
  assert.deepEqual(conditions(`a.b:c-1>=-2.5e3,x=' or 1=1 --,y="\\u0041,"`), [
    { property: "a.b:c-1", operator: ">=", value: -2_500 },
    { property: "x", operator: "=", value: "' or 1=1 --" },
    { property: "y", operator: "=", value: "A," },
  ]);
});

Deno.test("values are bounded in number and length, and go with what they were of", async () => {
  await using registry = await openTestRegistry();
  await using place = new FinderPlace(registry.folder, registry.clock);
  valueOf(await registry.products.create({ key: "pump" }));
  valueOf(await registry.devices.create({ product: "pump", device: "1" }));
  const count = async (text: string) => await place.finder.count({ properties: conditions(text) });
  const values = (entries: Iterable<readonly [string, unknown]>) =>
    Object.fromEntries(
      [...entries].map(([name, value]) => [name, { value, at: 1 }]),
    ) as Record<string, TimedValue>;
  const many = Array.from({ length: 70 }, (_, at) => [`p${at}`, at] as const);
  place.keep([["pump/1", values(many)]]);
  assert.deepEqual([await count("p63>=0"), await count("p64>=0")], [1, 0]);
  place.keep([[
    "pump/1",
    values([["p1", "x".repeat(256)], ["p2", "x".repeat(257)], ["p3", null]]),
  ]]);
  assert.deepEqual([await count(`p1=${"x".repeat(256)}`), await count("p0=0")], [1, 0]);
  assert.deepEqual([await count("p2=2"), await count("p3=3")], [0, 0]);
  place.keep([["pump/1", undefined]]);
  assert.equal(await count(`p1=${"x".repeat(256)}`), 0);
  assert.deepEqual(place.index.keysAfter("", 9), []);
});

Deno.test("many values are counted without those of other projects, in slices", async () => {
  await using registry = await openTestRegistry();
  const bounds = { ...FINDER_BOUNDS, narrowKeys: 0, sliceRows: 3 };
  await using place = new FinderPlace(registry.folder, registry.clock, bounds);
  await registry.store.db.insertInto("projects").values({
    id: "other",
    name: "Other",
    version: 1,
    created_at: 0,
    updated_at: 0,
    deleted_at: null,
  }).execute();
  for (const key of ["pump", "pump-2"]) valueOf(await registry.products.create({ key }));
  valueOf(await registry.products.create({ key: "foreign", project: "other" }));
  const values = [1, 1, 1, 1, 2, 3, "1", "auto", true, false];
  for (const product of ["pump", "pump-2", "foreign"]) {
    for (const [at, value] of values.entries()) {
      const device = `d${at}`;
      valueOf(await registry.devices.create({ product, device }));
      place.keep([[`${product}/${device}`, { t: { value, at: 1 } }]]);
    }
  }
  const count = async (text: string, filter: DeviceFilter = {}) =>
    await place.finder.count({ ...filter, properties: conditions(text) });
  assert.equal(await count("t=1"), 8);
  assert.equal(await count("t=1", { product: "pump" }), 4);
  assert.equal(await count("t=1", { product: "foreign" }), 0);
  assert.equal(await count("t>=1", { project: "other" }), 6);
  assert.equal(await count("t<9"), 12);
  assert.deepEqual([await count('t="1"'), await count("t=true"), await count("t=auto")], [2, 2, 2]);
  assert.equal(await count("t=7"), 0);
});
