import { DatabaseSync } from "node:sqlite";
import {
  createTestClock,
  type LogFixture,
  partitionOfTest,
  PARTITIONS_OF_TEST,
  READERS,
  withFlippedBit,
} from "../../test/contract/log_fixture.ts";
import { testPartitionLog } from "../../test/contract/partition_log_contract.ts";
import { createMemoryHead, openHeadFile } from "./head_file.ts";
import { createMemoryStore } from "./memory_store.ts";
import { openSqliteStore } from "./sqlite_store.ts";
import { openTickLog, type TickLog } from "./tick_log.ts";

testPartitionLog("memory", () => Promise.resolve(memoryFixture("inline")));
testPartitionLog("memory, deferred relay", () => Promise.resolve(memoryFixture("deferred")));
testPartitionLog("sqlite", () => Promise.resolve(sqliteFixture("inline")));
testPartitionLog("sqlite, deferred relay", () => Promise.resolve(sqliteFixture("deferred")));

const COMMON = {
  partitions: PARTITIONS_OF_TEST,
  partitionOf: partitionOfTest,
  readers: READERS,
} as const;

function memoryFixture(relay: "inline" | "deferred"): LogFixture {
  const clock = createTestClock();
  const head = createMemoryHead();
  let failures = 0;
  const onStep = (step: string) => {
    const isChange = step === "write:before" || step === "trim:before";
    if (isChange && failures-- > 0) throw new Error("the store is full");
  };
  let store = createMemoryStore({ onStep });
  const opened: TickLog[] = [];
  return {
    clock,
    open(options = {}) {
      store = store.reopen(onStep);
      const log = openTickLog({ ...COMMON, ...options, store, head, clock, relay });
      opened.push(log);
      failures = 0;
      return Promise.resolve(log);
    },
    failWrites: (count) => void (failures = count),
    flipBitIn(text) {
      for (const [tick, { header, body }] of store.content.ticks) {
        const flipped = withFlippedBit(body, text);
        if (flipped !== undefined) store.content.ticks.set(tick, { header, body: flipped });
      }
    },
    async [Symbol.asyncDispose]() {
      for (const log of opened) await log[Symbol.asyncDispose]();
    },
  };
}

function sqliteFixture(relay: "inline" | "deferred"): LogFixture {
  const directory = Deno.makeTempDirSync();
  const clock = createTestClock();
  let failures = 0;
  const onStep = (step: string) => {
    if (step.endsWith(":before-commit") && failures-- > 0) throw new Error("disk is full");
  };
  const opened: TickLog[] = [];
  return {
    clock,
    open(options = {}) {
      const store = openSqliteStore(`${directory}/log.db`, onStep);
      const head = openHeadFile(`${directory}/log.head`, clock);
      const log = openTickLog({ ...COMMON, ...options, store, head, clock, relay });
      opened.push(log);
      failures = 0;
      return Promise.resolve(log);
    },
    failWrites: (count) => void (failures = count),
    flipBitIn(text) {
      using database = new DatabaseSync(`${directory}/log.db`);
      for (const { tick, body } of database.prepare("SELECT tick, body FROM ticks").all()) {
        const flipped = withFlippedBit(body as Uint8Array, text);
        if (flipped === undefined) continue;
        database.prepare("UPDATE ticks SET body = ? WHERE tick = ?").run(flipped, tick!);
      }
    },
    async [Symbol.asyncDispose]() {
      for (const log of opened) await log[Symbol.asyncDispose]();
      Deno.removeSync(directory, { recursive: true });
    },
  };
}
