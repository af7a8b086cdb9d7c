/** Where the log of a test lives over its crashes, with a store that refuses on demand. */
import { createTestClock } from "../contract/log_fixture.ts";
import { createMemoryHead, type LogHead, openHeadFile } from "../../runtime/log/head_file.ts";
import { createMemoryStore, type MemoryStore } from "../../runtime/log/memory_store.ts";
import { openSqliteStore } from "../../runtime/log/sqlite_store.ts";
import type { TickBlob, TickStore } from "../../runtime/log/tick_store.ts";

export interface LogPlace {
  openStore(): TickStore;
  openHead(): LogHead;
  /** True: the store refuses writes. */
  isRefusing: boolean;
  /** Stored ticks, to be damaged; undefined: not here. */
  readonly ticks: Map<number, TickBlob> | undefined;
  dispose(): void;
}

export function memoryPlace(): LogPlace {
  let store: MemoryStore | undefined;
  const head = createMemoryHead();
  const onStep = (step: string) => {
    if (step === "write:before" && place.isRefusing) throw new Error("refused");
  };
  const place: LogPlace = {
    isRefusing: false,
    get ticks() {
      return store!.content.ticks;
    },
    openStore: () => store = store?.reopen(onStep) ?? createMemoryStore({ onStep }),
    openHead: () => head,
    dispose: () => {},
  };
  return place;
}

export function sqlitePlace(): LogPlace {
  const directory = Deno.makeTempDirSync();
  const clock = createTestClock();
  const onStep = (step: string) => {
    if (step.endsWith(":before-commit") && place.isRefusing) throw new Error("refused");
  };
  const place: LogPlace = {
    isRefusing: false,
    ticks: undefined,
    openStore: () => openSqliteStore(`${directory}/log.db`, onStep),
    openHead: () => openHeadFile(`${directory}/log.head`, clock),
    dispose: () => Deno.removeSync(directory, { recursive: true }),
  };
  return place;
}
