/** Composition root of an engine process: the behaviours of this node, and nothing else. */
import { BEHAVIOURS } from "../actors/behaviours.ts";
import { runEngineChild } from "./actor/engine_child.ts";
import { systemClock } from "./clock.ts";

await runEngineChild(BEHAVIOURS, systemClock);
