/**
 * An engine whose devices do as a property `fault` says: `throw`, `loop` for ever, `allocate` without
 * end, `exit` the process, or `wait` once without using the CPU. `{"fault": "loop"}` sent by a device
 * is enough.
 */
import { commandBehaviour } from "../../actors/command/command_behaviour.ts";
import { deviceBehaviour } from "../../actors/device/device_behaviour.ts";
import type { DeviceMessage, DeviceState } from "../../actors/device/messages.ts";
import { type Behaviour, createBehaviours } from "../../runtime/actor/behaviour.ts";
import { runEngineChild } from "../../runtime/actor/engine_child.ts";
import { systemClock } from "../../runtime/clock.ts";

const faulty: Behaviour<DeviceState, DeviceMessage> = {
  ...deviceBehaviour,
  receive(state, message, context) {
    if (message.type === "properties") {
      for (const { values } of message.samples) misbehave(values.fault);
    }
    return deviceBehaviour.receive(state, message, context);
  },
};

let hasWaited = false;

function misbehave(fault: unknown): void {
  if (fault === "throw") throw new Error("planted fault");
  if (fault === "exit") Deno.exit(3);
  if (fault === "wait" && !hasWaited) {
    hasWaited = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  }
  const kept: number[][] = [];
  while (fault === "loop" || fault === "allocate") {
    if (fault === "allocate") kept.push(new Array(1_000_000).fill(kept.length));
  }
}

await runEngineChild(createBehaviours([faulty, commandBehaviour]), systemClock);
