/**
 * An engine in a child process: packed frames over its pipes, a heap limit, no network and no write
 * permission. It ends itself when a handler loops (`engine_child.ts`); silence with a batch in hand, of
 * whatever cause, is answered with SIGKILL.
 */
import { setPriority } from "node:os";
import type { Clock } from "../clock.ts";
import { messageOf, UnavailableError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Logger } from "../logger.ts";
import type { Partition } from "./address.ts";
import type { Progress } from "./partition_run.ts";
import type { Engine, LoadStates, PartitionBatch, PartitionCommit } from "./batch.ts";
import type { EngineEvent } from "./engine_events.ts";
import {
  decodeCommits,
  encodeBatches,
  encodeFrame,
  encodeStates,
  FRAME,
  type Frame,
  FrameReader,
} from "./engine_frames.ts";

/** The engine ended while it had a batch in hand, or could not take one. */
export class EngineDiedError extends UnavailableError {
  /** Where it was, as far as it said. */
  readonly suspect: Progress | undefined;
  /** False: it had ended before it got the batch, so the batch is not to blame. */
  readonly hadBatch: boolean;
  constructor(
    message: string,
    hadBatch: boolean,
    suspect?: Progress,
  ) {
    super("engine", message);
    this.hadBatch = hadBatch;
    this.suspect = suspect;
  }
}

export interface EngineProcessOptions {
  /** Entry module, a `file:` URL. */
  readonly entry: string;
  readonly load: LoadStates;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly stallMs?: number;
  readonly heapMbMax?: number;
  /** It gives way to all else on the machine: what it is expected to do is loop. */
  readonly isYielding?: boolean;
}

export interface EngineProcess extends Engine, AsyncDisposable {
  readonly pid: number;
  /** Resolves when the process has ended, with what ended it. */
  readonly ended: Promise<string>;
  /** What the last `handle` told of actors, once: for after its commits are durable. */
  takeEvents(): readonly EngineEvent[];
  kill(): void;
}

/** Looks of the watch without a sign of life that make an engine stuck. */
const LOOKS_MAX = 20;
/** Looks until a new process must be ready; a busy machine compiles slowly. */
const LOOKS_TO_START_MAX = 200;
const PIECE_BYTES = 64 * 1024;
/** `nice` of an engine that yields, of -20 to 19: a tenth of another process' share. */
const YIELDING_PRIORITY = 10;

interface InHand {
  readonly resolve: (commits: PartitionCommit[]) => void;
  readonly reject: (fault: Error) => void;
}

export async function startEngineProcess(options: EngineProcessOptions): Promise<EngineProcess> {
  const engine = new PipedEngine(options);
  await engine.ready;
  return engine;
}

/** Flags of an engine process: nothing is allowed, and `--no-prompt` refuses without asking. */
export function engineArguments(entry: string, heapMbMax: number): string[] {
  return [
    "run",
    "--no-prompt",
    "--quiet",
    "--cached-only",
    `--v8-flags=--max-old-space-size=${heapMbMax}`,
    entry,
  ];
}

/**
 * glibc raises its threshold for `mmap` with each large block that is freed; buffers then come from
 * arenas, which do not shrink. Fixed bounds give them back. Task `start` sets the same for the node.
 */
const ENGINE_ENVIRONMENT = {
  NO_COLOR: "1",
  MALLOC_ARENA_MAX: "4",
  MALLOC_MMAP_THRESHOLD_: "131072",
  MALLOC_TRIM_THRESHOLD_: "4194304",
};

class PipedEngine implements EngineProcess {
  readonly ready: Promise<void>;
  readonly ended: Promise<string>;
  readonly #options: EngineProcessOptions;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  #inHand: InHand | undefined;
  #events: readonly EngineEvent[] = [];
  #suspect: Progress | undefined;
  /** Looks of the watch since the last sign of life. */
  #silentLooks = 0;
  #isReady = false;
  #isLogFault = false;
  /** Frames go out one after the other, in pieces. */
  #sent: Promise<void> = Promise.resolve();
  #cancelWatch: (() => void) | undefined;
  #end: string | undefined;
  #resolveReady!: () => void;
  #rejectReady!: (fault: Error) => void;

  constructor(options: EngineProcessOptions) {
    this.#options = options;
    const heap = options.heapMbMax ?? LIMITS.engineHeapMbMax;
    this.#child = new Deno.Command(Deno.execPath(), {
      args: engineArguments(options.entry, heap),
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      env: ENGINE_ENVIRONMENT,
      clearEnv: true,
    }).spawn();
    if (options.isYielding) this.#yield();
    this.#input = this.#child.stdin.getWriter();
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    this.ended = this.#run();
    this.#watch();
  }

  get pid(): number {
    return this.#child.pid;
  }

  handle(batches: readonly PartitionBatch[]): Promise<PartitionCommit[]> {
    if (this.#end !== undefined) return Promise.reject(new EngineDiedError(this.#end, false));
    this.#silentLooks = 0;
    this.#suspect = undefined;
    this.#events = [];
    return new Promise((resolve, reject) => {
      this.#inHand = { resolve, reject };
      this.#send(encodeBatches(batches));
    });
  }

  takeEvents(): readonly EngineEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  forget(partitions: readonly Partition[]): void {
    if (this.#end === undefined) this.#send(encodeFrame(FRAME.forget, { partitions }));
  }

  kill(): void {
    try {
      this.#child.kill("SIGKILL");
    } catch (fault) {
      this.#options.logger.debug("engine had ended already", { fault: messageOf(fault) });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#end === undefined) this.kill();
    await this.ended;
  }

  #yield(): void {
    try {
      setPriority(this.pid, YIELDING_PRIORITY);
    } catch (fault) { // It works as well, beside others instead of behind them.
      this.#options.logger.debug("engine keeps its priority", { fault: messageOf(fault) });
    }
  }

  async #run(): Promise<string> {
    const tail = this.#collectStderr();
    const fault = await this.#read();
    if (fault !== undefined) this.kill();
    const status = await this.#child.status;
    const stderr = await tail;
    this.#cancelWatch?.();
    await this.#input.abort().catch((late) =>
      this.#options.logger.debug("engine input was closed", { fault: messageOf(late) })
    );
    const how = status.signal ?? `exit code ${status.code}`;
    this.#end = `Engine process ${this.#child.pid} ended: ${fault ?? how}` +
      (stderr === "" ? "" : `; ${stderr}`);
    this.#rejectReady(new EngineDiedError(this.#end, false));
    this.#inHand?.reject(new EngineDiedError(this.#end, !this.#isLogFault, this.#suspect));
    this.#inHand = undefined;
    return this.#end;
  }

  /** Reads frames until the pipe ends; returns a fault of the peer's frames. */
  async #read(): Promise<string | undefined> {
    const reader = new FrameReader();
    try {
      for await (const chunk of this.#child.stdout) {
        this.#silentLooks = 0;
        for (const frame of reader.push(chunk)) await this.#take(frame);
      }
    } catch (fault) {
      return messageOf(fault);
    }
  }

  async #take(frame: Frame): Promise<void> {
    switch (frame.type) {
      case FRAME.ready:
        this.#isReady = true;
        return this.#resolveReady();
      case FRAME.progress:
        this.#suspect = frame.head as Progress;
        return;
      case FRAME.load: {
        const { addresses } = frame.head as { addresses: string[] };
        const states = await this.#options.load(addresses).catch((fault) => {
          this.#isLogFault = true; // The batch is not to blame.
          throw fault;
        });
        this.#silentLooks = 0;
        return this.#send(encodeStates(states));
      }
      case FRAME.lifecycle:
        this.#events = (frame.head as { events: EngineEvent[] }).events;
        return;
      case FRAME.commits: {
        const inHand = this.#inHand;
        this.#inHand = undefined;
        return inHand?.resolve(decodeCommits(frame));
      }
      case FRAME.failed: {
        const { message } = frame.head as { message: string };
        throw new EngineDiedError(`Engine failed: ${message}`, true);
      }
      default:
        throw new EngineDiedError(`Engine sent a frame of unknown type ${frame.type}`, true);
    }
  }

  /** In pieces of a pipe's size: each that the engine takes is a sign of life. */
  #send(bytes: Uint8Array<ArrayBuffer>): void {
    this.#sent = this.#sent.then(async () => {
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        await this.#input.write(bytes.subarray(at, at + PIECE_BYTES));
        this.#silentLooks = 0;
      }
    }).catch((fault) =>
      this.#options.logger.debug("engine took no more input", { fault: messageOf(fault) })
    );
  }

  /**
   * Kills an engine that has a batch in hand, or is starting, and gives no sign. Counted in looks of this thread, not
   * in time: while a slow disk holds this thread up, the engine's signs wait in the pipe unread.
   */
  #watch(): void {
    const stallMs = this.#options.stallMs ?? LIMITS.engineStallMs;
    this.#cancelWatch = this.#options.clock.after(stallMs / LOOKS_MAX, () => {
      const isOwing = this.#inHand !== undefined || !this.#isReady;
      const looksMax = this.#isReady ? LOOKS_MAX : LOOKS_TO_START_MAX;
      if (isOwing && ++this.#silentLooks > looksMax) {
        this.#options.logger.error("engine is stuck, killing it", { pid: this.pid, stallMs });
        return this.kill();
      }
      this.#watch();
    });
  }

  /** The last 2 KiB of what the engine wrote, for its obituary. */
  async #collectStderr(): Promise<string> {
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of this.#child.stderr) {
      text = (text + decoder.decode(chunk, { stream: true })).slice(-2_048);
    }
    return text.trim();
  }
}
