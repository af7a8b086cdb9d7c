/**
 * Generated sequences of calls, crashes, refusals and damage against a plain model: lists of texts.
 * Every record is handled in the order of acceptance and once, or counted as lost, whatever happens
 * between.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  appendOf,
  assertBalanced,
  bodiesOf,
  bytesOf,
  commitOf,
  createTestClock,
  letterOf,
  ownRecord,
  partitionOfTest,
  PARTITIONS_OF_TEST,
  READERS,
  reminderOf,
  setReminder,
  trimAll,
  WHOLE,
} from "../../test/contract/log_fixture.ts";
import { CodecError } from "../errors.ts";
import { type LogPlace, memoryPlace, sqlitePlace } from "../../test/support/log_place.ts";
import { readSeed } from "../../test/support/seed.ts";
import type { Append, SegmentClass } from "./partition_log.ts";
import { isCountedClass, isHandledClass } from "./pending_index.ts";
import { decodeRanges, segmentAt, type TickRange } from "./tick_blob.ts";
import { openTickLog, type TickLog } from "./tick_log.ts";

/** What happens to the store while a call is made; the caller then does what its duties say. */
type Disturbance = "none" | "refused" | "crash before" | "crash after";

type Step =
  | {
    readonly type: "append";
    readonly gateway: number;
    readonly counts: readonly number[];
    readonly disturbance: Disturbance;
  }
  | {
    readonly type: "commit";
    readonly partition: number;
    readonly recordsMax: number;
    readonly isParking: boolean;
    readonly sendsTo: readonly number[];
    readonly dueAtMs: number | undefined;
    readonly disturbance: Disturbance;
  }
  | { readonly type: "replay" | "discard"; readonly id: number }
  | {
    readonly type: "damage";
    readonly isHeader: boolean;
    /** Which of the stored ticks, and which of its segments. */
    readonly tick: number;
    readonly segment: number;
    readonly bit: number;
  }
  /** `settle`: all that the others have is handled and trimmed, then a crash. */
  | { readonly type: "skip" | "settle"; readonly partition: number }
  | { readonly type: "acquire" | "read" | "trim" | "crash" };

const PARTITION = fc.nat(PARTITIONS_OF_TEST - 1);
const DISTURBANCE = fc.constantFrom<Disturbance>(
  "none",
  "none",
  "none",
  "refused",
  "crash before",
  "crash after",
);
const STEP: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    type: fc.constant("append" as const),
    gateway: fc.nat(1),
    counts: fc.array(fc.nat(3), { minLength: 4, maxLength: PARTITIONS_OF_TEST }),
    disturbance: DISTURBANCE,
  }),
  fc.record({
    type: fc.constant("commit" as const),
    partition: PARTITION,
    recordsMax: fc.integer({ min: 1, max: 5 }),
    isParking: fc.boolean(),
    sendsTo: fc.array(PARTITION, { maxLength: 3 }),
    dueAtMs: fc.option(fc.nat(50), { nil: undefined }),
    disturbance: DISTURBANCE,
  }),
  fc.record({
    type: fc.constantFrom("replay" as const, "discard" as const),
    id: fc.integer({ min: 1, max: 6 }),
  }),
  fc.record({ type: fc.constantFrom("acquire" as const, "trim" as const, "crash" as const) }),
);
const DAMAGE: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: STEP },
  fc.record({
    type: fc.constant("damage" as const),
    isHeader: fc.boolean(),
    tick: fc.nat(50),
    segment: fc.nat(5),
    bit: fc.nat(7),
  }),
  fc.record({
    type: fc.constantFrom("skip" as const, "settle" as const),
    partition: PARTITION,
  }),
  fc.record({ type: fc.constantFrom("read" as const, "trim" as const, "crash" as const) }),
);

const PLAIN_COMMIT = {
  type: "commit",
  recordsMax: 1_000,
  isParking: false,
  sendsTo: [],
  dueAtMs: undefined,
  disturbance: "none",
} as const;

class Run {
  readonly #place: LogPlace;
  readonly #relay: "inline" | "deferred";
  readonly #clock = createTestClock();
  readonly #opened: TickLog[] = [];
  #log!: TickLog;
  #token = 0;
  #texts = 0;
  readonly #sequences = [0, 0];
  /** The model: what each partition has to handle, in order; sends by `source target`. */
  readonly #counted: string[][] = Array.from({ length: PARTITIONS_OF_TEST }, () => []);
  readonly #sent = new Map<string, string[]>();
  readonly #letters = new Map<number, { partition: number; text: string }>();
  readonly #reminders = new Map<number, number>();
  #lastLetter = 0;
  #accepted = 0;
  #processed = 0;
  #lost = 0;
  /** Records whose bytes were damaged, by `partition offset`: gone once they are skipped. */
  readonly #damaged = new Map<string, { readonly text: string; readonly class: SegmentClass }>();
  #isDamaged = false;
  /** Records whose header is damaged are missed by the ledger until they are skipped. */
  #hasHoles = false;

  constructor(place: LogPlace, relay: "inline" | "deferred") {
    this.#place = place;
    this.#relay = relay;
    this.#open();
  }

  async run(steps: readonly Step[]): Promise<void> {
    await this.#acquire();
    for (const step of steps) {
      this.#clock.atMs += 7;
      await this.#do(step);
      this.#check();
    }
    await this.#drain();
  }

  async dispose(): Promise<void> {
    for (const log of this.#opened) await log[Symbol.asyncDispose]();
    this.#place.dispose();
  }

  #open(): void {
    this.#log = openTickLog({
      partitions: PARTITIONS_OF_TEST,
      partitionOf: partitionOfTest,
      readers: READERS,
      relay: this.#relay,
      store: this.#place.openStore(),
      head: this.#place.openHead(),
      clock: this.#clock,
      onFault: (fault) => {
        const isExpected = fault.type === "store_failed" || this.#isDamaged;
        assert.ok(isExpected, JSON.stringify(fault));
      },
    });
    this.#opened.push(this.#log);
  }

  async #do(step: Step): Promise<void> {
    switch (step.type) {
      case "append":
        return await this.#append(step);
      case "commit":
        return await this.#commit(step);
      case "replay":
        return await this.#replay(step.id);
      case "discard":
        return await this.#discard(step.id);
      case "acquire":
        return await this.#acquire();
      case "crash":
        return this.#open();
      case "damage":
        return this.#damage(step);
      case "skip":
        await this.#skipFirst(step.partition);
        return;
      case "settle":
        return await this.#settle(step.partition);
      case "read":
        await this.#log.readTicks(0, ["ingress", "replay", "sent", "record"], 1e6);
        return;
      case "trim":
        return await trimAll(this.#log);
    }
  }

  async #acquire(): Promise<void> {
    this.#token = await this.#log.acquire([0, 1, 2, 3]);
  }

  /** Makes the call as its disturbance says, then again until it has an outcome. */
  async #disturbed(
    disturbance: Disturbance,
    call: () => Promise<{ ok: boolean; isRepeat?: boolean }>,
  ): Promise<void> {
    this.#place.isRefusing = disturbance === "refused" || disturbance === "crash before";
    const first = await call();
    this.#place.isRefusing = false;
    assert.equal(first.ok, disturbance === "none" || disturbance === "crash after");
    if (disturbance === "none") return;
    if (disturbance !== "refused") this.#open();
    const again = await call();
    assert.deepEqual([again.ok, again.isRepeat], [true, disturbance === "crash after"]);
  }

  async #append(step: Step & { type: "append" }): Promise<void> {
    const bodies: Record<number, string[]> = {};
    step.counts.forEach((count, partition) => {
      if (count > 0) bodies[partition] = Array.from({ length: count }, () => `i${++this.#texts}`);
    });
    const sequence = ++this.#sequences[step.gateway]!;
    const append: Append = appendOf(`gateway-${step.gateway}`, sequence, bodies);
    await this.#disturbed(step.disturbance, () => this.#log.append(append));
    for (const [partition, texts] of Object.entries(bodies)) {
      this.#counted[Number(partition)]!.push(...texts);
      this.#accepted += texts.length;
    }
  }

  async #commit(step: Step & { type: "commit" }): Promise<void> {
    const { partition } = step;
    const cursor = this.#log.cursor(partition);
    const bound = { ...WHOLE, recordsMax: step.recordsMax };
    const pending = await this.#log.pending(partition, cursor, bound);
    if (pending.corrupt !== undefined) return;
    const counted: string[] = [];
    for (const segment of pending.segments) {
      const texts = bodiesOf([segment]);
      if (isCountedClass(segment.class)) counted.push(...texts);
      else this.#receive(partition, texts);
    }
    assert.deepEqual(counted, this.#counted[partition]!.splice(0, counted.length));
    const parked = step.isParking ? counted.slice(0, 1) : [];
    const reminders = step.dueAtMs === undefined
      ? []
      : [setReminder(reminderOf(partition, "r", step.dueAtMs + this.#texts))];
    const commit = commitOf(partition, cursor, pending.nextCursor, {
      processed: counted.length - parked.length,
      deadLetters: parked.map((text) => letterOf(partition, text)),
      sends: this.#sendsOf(partition, step.sendsTo),
      reminders,
      records: step.isParking ? [] : [ownRecord(partition, "noted")],
      states: [{ address: `device/${partition}-a`, state: bytesOf(`${++this.#texts}`) }],
    });
    await this.#disturbed(step.disturbance, async () => {
      return (await this.#log.commit(this.#token, [commit]))[0]!;
    });
    const [late] = await this.#log.commit(this.#token - 1, [commit]);
    assert.equal(!late!.ok && late!.code, "fenced");
    for (const text of parked) this.#letters.set(++this.#lastLetter, { partition, text });
    this.#processed += counted.length - parked.length;
    if (reminders[0]) this.#reminders.set(partition, reminders[0].reminder.dueAtMs);
  }

  async #settle(partition: number): Promise<void> {
    for (let other = 0; other < PARTITIONS_OF_TEST; other++) {
      while (other !== partition && this.#log.ready(-1).includes(other)) {
        await this.#commit({ ...PLAIN_COMMIT, partition: other });
      }
    }
    await trimAll(this.#log);
    this.#open();
  }

  #damage(step: Step & { type: "damage" }): void {
    const ticks = [...this.#place.ticks ?? []];
    const found = ticks[step.tick % ticks.length];
    if (found === undefined) return;
    const [tick, { header, body }] = found;
    const ranges = rangesOf(header);
    const range = ranges[step.segment % ranges.length];
    if (range === undefined) return;
    for (const { partition, firstOffset, ...each } of step.isHeader ? ranges : [range]) {
      const segment = segmentAt(body, { partition, firstOffset, ...each }, false);
      if (segment === undefined) continue; // Damaged before.
      bodiesOf([segment]).forEach((text, i) => {
        this.#damaged.set(`${partition} ${firstOffset + i}`, { text, class: each.class });
      });
    }
    const flipped = (step.isHeader ? header : body).slice();
    flipped[step.isHeader ? 9 : range.at + range.length - 1]! ^= 1 << step.bit;
    this.#place.ticks!.set(
      tick,
      step.isHeader ? { header: flipped, body } : { header, body: flipped },
    );
    this.#isDamaged = true;
    this.#hasHoles ||= step.isHeader;
  }

  async #skip(partition: number): Promise<void> {
    const stop = this.#log.stopped().find((one) => one.partition === partition)!;
    let outcome = await this.#log.skipDamage(partition, stop.offset);
    while (!outcome.ok && outcome.code === "not_reached") {
      await this.#commit({ ...PLAIN_COMMIT, partition });
      outcome = await this.#log.skipDamage(partition, stop.offset);
    }
    assert.ok(outcome.ok);
    let lost = 0;
    let damages = outcome.fromOffset === outcome.toOffset ? 1 : 0;
    for (let offset = outcome.fromOffset; offset < outcome.toOffset; offset++) {
      const damaged = this.#damaged.get(`${partition} ${offset}`);
      if (damaged === undefined) continue;
      damages++;
      if (!isHandledClass(damaged.class)) continue;
      const { text } = damaged;
      const isCounted = isCountedClass(damaged.class);
      const list = isCounted
        ? this.#counted[partition]!
        : this.#sent.get(`${text[0]} ${partition}`)!;
      assert.ok(list.includes(text), `${text} was lost and had been handled`);
      list.splice(list.indexOf(text), 1);
      if (isCounted) lost++;
    }
    assert.ok(damages > 0, `${JSON.stringify(outcome)} of ${partition} was never damaged`);
    if (!this.#hasHoles) assert.equal(outcome.lost, lost);
    this.#lost += lost;
  }

  /** A skip drops what is held in memory, and more damage may come to light: until none does. */
  async #skipAll(): Promise<void> {
    let skips: number;
    do {
      skips = 0;
      for (let partition = 0; partition < PARTITIONS_OF_TEST; partition++) {
        while (await this.#skipFirst(partition)) skips++;
      }
    } while (skips > 0);
    this.#hasHoles = false;
  }

  /** Reads up to the first damage of a partition and skips it. False: there is none. */
  async #skipFirst(partition: number): Promise<boolean> {
    for (let from = this.#log.cursor(partition);;) {
      const next = await this.#log.pending(partition, from, WHOLE);
      if (next.corrupt !== undefined) break;
      if (next.isEndOfLog) return false;
      from = next.nextCursor;
    }
    await this.#skip(partition);
    return true;
  }

  #sendsOf(source: number, targets: readonly number[]) {
    return targets.filter((target) => target !== source).map((target) => {
      const text = `${source} ${target} ${++this.#texts}`;
      const way = `${source} ${target}`;
      this.#sent.set(way, [...this.#sent.get(way) ?? [], text]);
      return { to: `rule/${target}-r`, body: bytesOf(text), budget: 5, traceId: "1-0-0" };
    });
  }

  /** Sends come in order of their source and once. */
  #receive(partition: number, texts: readonly string[]): void {
    for (const text of texts) {
      const expected = this.#sent.get(`${text[0]} ${partition}`) ?? [];
      assert.equal(text, expected.shift());
    }
  }

  async #replay(id: number): Promise<void> {
    const letter = this.#letters.get(id);
    assert.equal(await this.#log.replayDeadLetters([id, 999]), letter === undefined ? 0 : 1);
    if (letter === undefined) return;
    this.#letters.delete(id);
    this.#counted[letter.partition]!.push(letter.text);
  }

  async #discard(id: number): Promise<void> {
    const isFound = this.#letters.delete(id);
    assert.equal(await this.#log.discardDeadLetters([id]), isFound ? 1 : 0);
    if (isFound) this.#processed++;
  }

  #check(): void {
    if (this.#hasHoles) return;
    assertBalanced(this.#log);
    assert.deepEqual(this.#log.ledger().total, {
      accepted: this.#accepted,
      processed: this.#processed,
      pending: this.#counted.reduce((sum, texts) => sum + texts.length, 0),
      deadLettered: this.#letters.size,
      rolledBack: this.#lost,
    });
    const stops = this.#log.stopped().map(({ partition }) => partition);
    const dues = [...this.#reminders].filter(([partition]) => !stops.includes(partition));
    const next = Math.min(...dues.map(([, dueAtMs]) => dueAtMs));
    assert.equal(this.#log.nextDueMs() ?? Infinity, next);
  }

  async #drain(): Promise<void> {
    while (await this.#log.relay()) { /* until the outbox is empty */ }
    await this.#skipAll();
    this.#check();
    for (let partition = 0; partition < PARTITIONS_OF_TEST; partition++) {
      const cursor = this.#log.cursor(partition);
      const { segments, isEndOfLog } = await this.#log.pending(partition, cursor, WHOLE);
      assert.equal(isEndOfLog, true);
      for (const segment of segments) {
        if (!isCountedClass(segment.class)) this.#receive(partition, bodiesOf([segment]));
      }
      const counted = segments.filter((segment) => isCountedClass(segment.class));
      assert.deepEqual(bodiesOf(counted), this.#counted[partition]);
      const states = await this.#log.loadStates([`device/${partition}-a`]);
      assert.equal(states.length, 1);
    }
    for (const [way, texts] of this.#sent) assert.deepEqual(texts, [], `sends of ${way} are lost`);
  }
}

/** None of a header that was damaged before. */
function rangesOf(header: Uint8Array): TickRange[] {
  try {
    return decodeRanges(header);
  } catch (fault) {
    if (!(fault instanceof CodecError)) throw fault;
    return [];
  }
}

const SEED = readSeed();

function testHistories(
  name: string,
  runs: number,
  relay: "inline" | "deferred",
  make: () => LogPlace,
  step: fc.Arbitrary<Step> = STEP,
): void {
  Deno.test(`generated histories agree with a plain model: ${name}`, async () => {
    const property = fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const run = new Run(make(), relay);
      try {
        await run.run(steps);
      } finally {
        await run.dispose();
      }
    });
    await fc.assert(property, { seed: SEED, numRuns: runs });
  });
}

testHistories("memory", 300, "inline", memoryPlace);
testHistories("memory, deferred relay", 150, "deferred", memoryPlace);
testHistories("memory, damaged", 500, "inline", memoryPlace, DAMAGE);
testHistories("memory, damaged, deferred relay", 250, "deferred", memoryPlace, DAMAGE);
testHistories("sqlite", 30, "inline", sqlitePlace);
