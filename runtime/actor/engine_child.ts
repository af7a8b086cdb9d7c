/**
 * The engine's side of the pipes: reads frames from standard input, handles batches, answers on
 * standard output. A composition root calls it with the behaviours of a node.
 */
import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import type { Partition } from "./address.ts";
import type { LoadStates, PartitionBatch } from "./batch.ts";
import type { Behaviours } from "./behaviour.ts";
import { createActorEngine } from "./engine.ts";
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

export async function runEngineChild(behaviours: Behaviours, clock: Clock): Promise<void> {
  let answerLoad: ((states: (Uint8Array | undefined)[]) => void) | undefined;
  const load: LoadStates = (addresses) =>
    new Promise((resolve) => {
      answerLoad = resolve;
      write(encodeFrame(FRAME.load, { addresses }));
    });
  let partition: Partition = -1;
  let handled = 0;
  const onProgress = (current: Partition) => {
    handled = current === partition ? handled + PROGRESS_RECORDS : 0;
    partition = current;
    write(encodeFrame(FRAME.progress, { partition, handled }));
  };
  const events: EngineEvent[] = [];
  const onLifecycle = (event: EngineEvent) => void events.push(event);
  const engine = createActorEngine({ behaviours, load, clock, onProgress, onLifecycle });
  const handle = async (batches: PartitionBatch[]) => {
    partition = -1;
    events.length = 0;
    try {
      const commits = await engine.handle(batches);
      if (events.length > 0) write(encodeFrame(FRAME.lifecycle, { events }));
      write(encodeCommits(commits));
    } catch (fault) {
      write(encodeFrame(FRAME.failed, { message: messageOf(fault) }));
    }
  };
  const take = (frame: Frame) => {
    if (frame.type === FRAME.states) answerLoad?.(decodeStates(frame));
    else if (frame.type === FRAME.handle) void handle(decodeBatches(frame));
    else if (frame.type === FRAME.forget) {
      engine.forget((frame.head as { partitions: Partition[] }).partitions);
    }
  };
  write(encodeFrame(FRAME.ready, {}));
  const reader = new FrameReader();
  const buffer = new Uint8Array(256 * 1024);
  while (true) {
    const length = await Deno.stdin.read(buffer);
    if (length === null) return;
    for (const frame of reader.push(buffer.slice(0, length))) take(frame);
  }
}

/** Records between two calls of the engine's `onProgress`. */
const PROGRESS_RECORDS = 16;

/** Whole frames, synchronously: a loop after a progress frame cannot hold it back. */
function write(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}
