import assert from "node:assert/strict";
import { encodeEnvelope, NO_TRAITS } from "../../runtime/actor/state_codec.ts";
import { DEVICE_LIMITS } from "../../runtime/device_limits.ts";
import { ChangedStates } from "../../runtime/log/changed_states.ts";
import { createLogger } from "../../runtime/logger.ts";
import { createManualClock } from "../../test/support/manual_clock.ts";
import type { DeviceValues } from "./property_index.ts";
import { startStateIndexer } from "./state_indexer.ts";

function encoded(value: number): Uint8Array {
  const state = { reported: { t: { value, at: 1 } }, desired: {}, version: 0, epoch: 0, bytes: 0 };
  return encodeEnvelope(1, 1, NO_TRAITS, JSON.stringify(state)).bytes;
}

/** States in memory; every actor is of partition 3. */
class Place {
  readonly clock = createManualClock(1_000);
  readonly stored = new Map<string, Uint8Array>();
  readonly indexed = new Map<string, unknown>();
  readonly changed = new ChangedStates(100);
  onTake = () => {};
  faults = 0;
  writes = 0;
  /** Reading it finds a damaged page. */
  damaged: string | undefined;
  readonly logged: string[] = [];

  start() {
    const order = () => [...this.stored.keys()].sort();
    return startStateIndexer({
      states: {
        read: (partition, address) => partition === 3 ? this.#stateOf(address) : undefined,
        page: (partition, kind, after, limit) =>
          (partition === 3 ? order() : [])
            .filter((address) => address.startsWith(`${kind}/`) && address > after)
            .slice(0, limit).map((address) => ({ address, state: this.#stateOf(address)! })),
      },
      index: {
        write: (devices) => this.#write(devices),
        keysAfter: (key, limit) =>
          [...this.indexed.keys()].sort().filter((each) => each > key).slice(0, limit),
      },
      partitionOf: () => 3,
      takeChanged: (limit) => {
        this.onTake();
        return Promise.resolve(this.changed.take(limit));
      },
      clock: this.clock,
      logger: createLogger({
        level: "debug",
        write: (line) => void this.logged.push(line),
        nowMs: this.clock.nowMs,
        isText: true,
      }),
    });
  }

  #stateOf(address: string): Uint8Array | undefined {
    if (address !== this.damaged) return this.stored.get(address);
    throw Object.assign(new Error("database disk image is malformed"), { errcode: 11 });
  }

  set(device: string, value: number): void {
    this.stored.set(`device/p/${device}`, encoded(value));
    this.changed.add(`device/p/${device}`);
  }

  #write(devices: readonly DeviceValues[]): void {
    this.writes++;
    if (this.faults > 0) {
      this.faults--;
      throw new Error("disk is full");
    }
    for (const { key, values } of devices) {
      if (values === undefined) this.indexed.delete(key);
      else this.indexed.set(key, values.t!.value);
    }
  }
}

Deno.test("all states of before a start are indexed, and what has none any more goes", async () => {
  const place = new Place();
  const count = 2 * DEVICE_LIMITS.indexSliceStates + 5;
  for (let at = 0; at < count; at++) place.stored.set(`device/p/${at}`, encoded(at));
  place.stored.set("command/p/1", encoded(1));
  place.indexed.set("p/gone", 7).set("p/1", 99);
  await using indexer = place.start();
  for (let turn = 0; turn < 200 && !indexer.isComplete; turn++) await place.clock.advance(100);
  assert.ok(indexer.isComplete);
  const expected = Array.from({ length: count }, (_, at) => [`p/${at}`, at] as const);
  assert.deepEqual(new Map([...place.indexed].sort()), new Map([...expected].sort()));
});

Deno.test("what changes is indexed with its last value, in one write however often it changed", async () => {
  const place = new Place();
  await using indexer = place.start();
  for (let turn = 0; turn < 200 && !indexer.isComplete; turn++) await place.clock.advance(100);
  place.writes = 0;
  for (let value = 0; value < 1_000; value++) place.set("a", value);
  place.changed.add("command/p/a");
  await place.clock.advance(DEVICE_LIMITS.indexEveryMs);
  assert.deepEqual([...place.indexed], [["p/a", 999]]);
  assert.equal(place.writes, 1);
  place.stored.delete("device/p/a");
  place.changed.add("device/p/a");
  await place.clock.advance(DEVICE_LIMITS.indexEveryMs);
  assert.deepEqual([...place.indexed], []);
});

Deno.test("what was taken and not written, or lost at the bound, is found by a look at all", async () => {
  const place = new Place();
  await using indexer = place.start();
  const complete = async () => {
    await place.clock.advance(DEVICE_LIMITS.indexEveryMs);
    for (let turn = 0; turn < 200 && !indexer.isComplete; turn++) await place.clock.advance(100);
    assert.ok(indexer.isComplete);
  };
  await complete();
  place.faults = 3;
  place.set("a", 1);
  await complete();
  assert.deepEqual([place.faults, [...place.indexed]], [0, [["p/a", 1]]]);
  for (let at = 0; at < 150; at++) place.set(`b${at}`, at);
  await complete();
  assert.equal(place.indexed.size, 151);
});

Deno.test("a look at all comes to its end while changes are lost at the bound all the time", async () => {
  const place = new Place();
  const count = 3 * DEVICE_LIMITS.indexSliceStates;
  for (let at = 0; at < count; at++) place.stored.set(`device/p/${at}`, encoded(at));
  place.onTake = () => {
    for (let at = 0; at < 110; at++) place.changed.add(`device/q/${at}`);
  };
  await using _indexer = place.start();
  for (let turn = 0; turn < 400 && place.indexed.size < count; turn++) {
    await place.clock.advance(100);
  }
  assert.equal(place.indexed.size, count);
});

Deno.test("a state that cannot be read holds up no other", async () => {
  const place = new Place();
  place.stored.set("device/p/a", encoded(1)).set("device/p/c", encoded(3));
  place.stored.set("device/p/b", new Uint8Array(20));
  await using indexer = place.start();
  for (let turn = 0; turn < 400 && !indexer.isComplete; turn++) await place.clock.advance(100);
  assert.ok(indexer.isComplete);
  assert.deepEqual([...place.indexed].sort(), [["p/a", 1], ["p/c", 3]]);
  place.stored.set("device/p/b", new Uint8Array(21));
  for (const device of ["b", "d"]) place.changed.add(`device/p/${device}`);
  place.set("d", 4);
  await place.clock.advance(DEVICE_LIMITS.indexEveryMs);
  assert.equal(place.indexed.get("p/d"), 4);
});

Deno.test("a damaged page of states holds up no other, and does not fill the log", async () => {
  const place = new Place();
  const all = ["a", "b", "c"];
  for (const device of all) place.stored.set(`device/p/${device}`, encoded(1));
  for (const device of all) place.indexed.set(`p/${device}`, 1);
  place.damaged = "device/p/b";
  await using indexer = place.start();
  for (let turn = 0; turn < 200 && !indexer.isComplete; turn++) await place.clock.advance(100);
  assert.ok(indexer.isComplete);
  for (let value = 2; value < 20; value++) {
    for (const device of all) place.set(device, value);
    await place.clock.advance(DEVICE_LIMITS.indexEveryMs);
    assert.deepEqual([...place.indexed], [["p/a", value], ["p/b", 1], ["p/c", value]]);
  }
  assert.equal(place.logged.length, 1, place.logged.join("\n"));
  assert.match(place.logged[0]!, /states not indexed.*malformed/);
});
