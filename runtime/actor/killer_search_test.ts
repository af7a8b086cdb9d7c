import assert from "node:assert/strict";
import fc from "fast-check";
import type { PartitionBatch } from "./batch.ts";
import { KillerSearch } from "./killer_search.ts";
import { PROGRESS_ROOTS } from "./partition_run.ts";

const RUNS = 500;
const TRIES_MAX = 5_000;

/** What an engine that died says: where it was to the last 16 roots, nothing, or nonsense. */
type Voice = "honest" | "silent" | "lying";

interface Search {
  readonly parked: readonly number[];
  readonly deaths: number;
  readonly tries: number;
}

function batchOf(left: number): PartitionBatch {
  const segment = {
    ...{ partition: 0, class: "ingress", epoch: 1, firstOffset: 0, acceptedAtMs: 0 } as const,
    ...{ count: left, bytes: new Uint8Array() },
  };
  const segments = left === 0 ? [] : [segment];
  return { partition: 0, cursor: 0, segments, nextCursor: left, reminders: [] };
}

/** Handles `count` roots of which some kill, with an engine that can do nothing but die of them. */
function search(count: number, killers: ReadonlySet<number>, voice: Voice, lie = 0): Search {
  const suspectOf = (roots: number) => {
    if (voice === "silent") return undefined;
    const honest = Math.floor(roots / PROGRESS_ROOTS) * PROGRESS_ROOTS;
    return { partition: 0, roots: voice === "honest" ? honest : lie };
  };
  const firstFrom = (at: number) => {
    let root = at;
    while (root < count && !killers.has(root)) root++;
    return root;
  };
  const first = firstFrom(0);
  const killer = new KillerSearch(first < count ? suspectOf(first) : undefined);
  const parked: number[] = [];
  let at = 0;
  let deaths = first < count ? 1 : 0;
  let tries = 0;
  while (at < count) {
    assert(++tries < TRIES_MAX, "the search ends");
    const tried = killer.next(batchOf(count - at));
    const end = Math.min(count, at + (tried.rootsMax ?? Infinity));
    if (tried.isFirstParked) {
      parked.push(at++);
      killer.passed(tried);
      continue;
    }
    const next = firstFrom(at);
    if (next >= end) {
      at = end;
      killer.passed(tried);
      continue;
    }
    deaths++;
    killer.died(tried, suspectOf(next - at));
  }
  return { parked, deaths, tries };
}

const roots = fc.integer({ min: 1, max: 1_024 });

Deno.test("whatever engines say, what kills is parked, alone and in order", () => {
  fc.assert(
    fc.property(
      roots,
      fc.array(roots, { maxLength: 5 }),
      fc.constantFrom<Voice>("honest", "silent", "lying"),
      fc.nat(2_000),
      (count, places, voice, lie) => {
        const killers = new Set(places.map((place) => place % count));
        const { parked } = search(count, killers, voice, lie);
        assert.deepEqual(parked, [...killers].sort((a, b) => a - b));
      },
    ),
    { numRuns: RUNS },
  );
});

Deno.test("an engine that said where it was costs three deaths a killer, wherever it stands", () => {
  for (const count of [1, 2, 40, 1_024]) {
    for (let place = 0; place < count; place += 7) {
      const found = search(count, new Set([place]), "honest");
      assert.equal(found.deaths, 3, `${place} of ${count}`);
      assert(found.tries <= PROGRESS_ROOTS + 5, `${place} of ${count} in ${found.tries} tries`);
    }
  }
});

Deno.test("an engine that said nothing costs as many deaths as halvings, at most", () => {
  for (let place = 0; place < 1_024; place += 31) {
    const { deaths } = search(1_024, new Set([place]), "silent");
    assert(deaths <= 2 + Math.log2(1_024) + 2, `${place}: ${deaths} deaths`);
  }
});

Deno.test("a root that has killed alone only once is not parked", () => {
  const killer = new KillerSearch({ partition: 0, roots: 0 });
  const first = killer.next(batchOf(3));
  assert.equal(first.rootsMax, 1);
  killer.died(first);
  const again = killer.next(batchOf(3));
  assert.deepEqual([again.rootsMax, again.isFirstParked], [1, undefined]);
  killer.passed(again);
  assert.equal(killer.next(batchOf(2)).isFirstParked, undefined);
});
