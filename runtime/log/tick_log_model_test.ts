/**
 * Generated sequences of calls, crashes and refusals against a plain model: lists of texts. Every
 * record is handled in the order of acceptance and once, whatever happens between.
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
  partitionOfTest,
  PARTITIONS_OF_TEST,
  READERS,
  reminderOf,
  setReminder,
  WHOLE,
} from "../../test/contract/log_fixture.ts";
import { readSeed } from "../../test/support/seed.ts";
import { createMemoryHead, type LogHead, openHeadFile } from "./head_file.ts";
import { createMemoryStore, type MemoryStore } from "./memory_store.ts";
import type { Append } from "./partition_log.ts";
import { isCountedClass } from "./pending_index.ts";
import { openSqliteStore } from "./sqlite_store.ts";
import { openTickLog, type TickLog } from "./tick_log.ts";
import type { TickStore } from "./tick_store.ts";

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
  | { readonly type: "acquire" | "trim" | "crash" };

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

/** Where a log lives over its crashes. */
interface Place {
  openStore(): TickStore;
  openHead(): LogHead;
  /** True: the store refuses writes. */
  isRefusing: boolean;
  dispose(): void;
}

function memoryPlace(): Place {
  let store: MemoryStore | undefined;
  const head = createMemoryHead();
  const onStep = (step: string) => {
    if (step === "write:before" && place.isRefusing) throw new Error("refused");
  };
  const place: Place = {
    isRefusing: false,
    openStore: () => store = store?.reopen(onStep) ?? createMemoryStore({ onStep }),
    openHead: () => head,
    dispose: () => {},
  };
  return place;
}

function sqlitePlace(): Place {
  const directory = Deno.makeTempDirSync();
  const clock = createTestClock();
  const onStep = (step: string) => {
    if (step.endsWith(":before-commit") && place.isRefusing) throw new Error("refused");
  };
  const place: Place = {
    isRefusing: false,
    openStore: () => openSqliteStore(`${directory}/log.db`, onStep),
    openHead: () => openHeadFile(`${directory}/log.head`, clock),
    dispose: () => Deno.removeSync(directory, { recursive: true }),
  };
  return place;
}

class Run {
  readonly #place: Place;
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

  constructor(place: Place, relay: "inline" | "deferred") {
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
      onFault: (fault) => assert.equal(fault.type, "store_failed"),
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
      case "trim":
        for (const reader of READERS) await this.#log.saveCursor(reader, this.#log.head().tick);
        await this.#log.maintain();
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
    assert.deepEqual(again, { ok: true, isRepeat: disturbance === "crash after" });
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
    assertBalanced(this.#log);
    assert.deepEqual(this.#log.ledger().total, {
      accepted: this.#accepted,
      processed: this.#processed,
      pending: this.#counted.reduce((sum, texts) => sum + texts.length, 0),
      deadLettered: this.#letters.size,
      rolledBack: 0,
    });
    const next = Math.min(...this.#reminders.values());
    assert.equal(this.#log.nextDueMs() ?? Infinity, next);
  }

  async #drain(): Promise<void> {
    while (await this.#log.relay()) { /* until the outbox is empty */ }
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

const SEED = readSeed();

function testHistories(
  name: string,
  runs: number,
  relay: "inline" | "deferred",
  make: () => Place,
): void {
  Deno.test(`generated histories agree with a plain model: ${name}`, async () => {
    const property = fc.asyncProperty(fc.array(STEP, { maxLength: 40 }), async (steps) => {
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
testHistories("sqlite", 30, "inline", sqlitePlace);
