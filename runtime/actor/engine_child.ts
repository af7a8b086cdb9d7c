/**
 * The engine's side of the pipes: reads frames from standard input, handles batches, answers on
 * standard output. A composition root calls it with the behaviours of a node.
 *
 * It ends when its input ends, and when a handler loops: the node may be gone by then, and nobody
 * left to kill it.
 */
import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Partition } from "./address.ts";
import type { LoadStates, PartitionBatch, PartitionCommit } from "./batch.ts";
import type { Behaviours } from "./behaviour.ts";
import { type ActorEngine, createActorEngine } from "./engine.ts";
import type { EngineEvent } from "./engine_events.ts";
import {
  decodeBatches,
  decodeStates,
  encodeCommits,
  encodeFrame,
  FRAME,
  type Frame,
  FrameReader,
} from "./engine_frames.ts";
import { runWithin, StuckError } from "./loop_guard.ts";

/** `EX_SOFTWARE`: a handler looped. */
const STUCK_EXIT_CODE = 70;

export async function runEngineChild(behaviours: Behaviours, clock: Clock): Promise<void> {
  const child = new EngineChild(behaviours, clock);
  write(encodeFrame(FRAME.ready, {}));
  const reader = new FrameReader();
  const buffer = new Uint8Array(256 * 1024);
  while (true) {
    const length = await Deno.stdin.read(buffer);
    if (length === null) return;
    for (const frame of reader.push(buffer.slice(0, length))) child.take(frame);
  }
}

class EngineChild {
  readonly #behaviours: Behaviours;
  readonly #clock: Clock;
  readonly #parentPid = Deno.ppid;
  #engine: ActorEngine;
  #withinMs: number = LIMITS.engineLoopMs;
  #events: EngineEvent[] = [];
  #answerLoad: ((states: (Uint8Array | undefined)[]) => void) | undefined;

  constructor(behaviours: Behaviours, clock: Clock) {
    this.#behaviours = behaviours;
    this.#clock = clock;
    this.#engine = this.#createEngine();
  }

  take(frame: Frame): void {
    if (frame.type === FRAME.states) this.#answerLoad?.(decodeStates(frame));
    else if (frame.type === FRAME.handle) void this.#answer(decodeBatches(frame));
    else if (frame.type === FRAME.forget) {
      this.#engine.forget((frame.head as { partitions: Partition[] }).partitions);
    }
  }

  #createEngine(): ActorEngine {
    const load: LoadStates = (addresses) =>
      new Promise((resolve) => {
        this.#answerLoad = resolve;
        write(encodeFrame(FRAME.load, { addresses }));
      });
    return createActorEngine({
      behaviours: this.#behaviours,
      load,
      clock: this.#clock,
      guard: (work) => runWithin(this.#withinMs, work),
      onProgress: (progress) => write(encodeFrame(FRAME.progress, progress)),
      onLifecycle: (event) => void this.#events.push(event),
    });
  }

  async #answer(batches: readonly PartitionBatch[]): Promise<void> {
    try {
      const commits = await this.#handle(batches);
      if (this.#events.length > 0) write(encodeFrame(FRAME.lifecycle, { events: this.#events }));
      write(encodeCommits(commits));
    } catch (fault) {
      write(encodeFrame(FRAME.failed, { message: messageOf(fault) }));
    }
  }

  async #handle(batches: readonly PartitionBatch[]): Promise<PartitionCommit[]> {
    for (this.#withinMs = LIMITS.engineLoopMs;; this.#withinMs *= 2) {
      this.#events = [];
      try {
        return await this.#engine.handle(batches);
      } catch (fault) {
        if (!(fault instanceof StuckError)) throw fault;
        if (fault.cpuMs >= LIMITS.engineLoopCpuMs || this.#isOrphan()) endStuck(fault);
        // Without the CPU nothing is proven: once more from what is committed, with more time.
        this.#engine = this.#createEngine();
      }
    }
  }

  /** An orphan is another process' child from then on. */
  #isOrphan(): boolean {
    return Deno.ppid !== this.#parentPid;
  }
}

function endStuck(fault: StuckError): never {
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(`a handler is stuck: ${fault.message}\n`));
  } finally { // An orphan has nobody to tell.
    Deno.exit(STUCK_EXIT_CODE);
  }
}

/** Whole frames, synchronously: a loop after a progress frame cannot hold it back. */
function write(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}
