/** What must hold of a simulated world when it has healed and drained. */
import { peekState } from "../../runtime/actor/state_codec.ts";
import { recordsOf } from "../../runtime/log/record.ts";
import { simBehaviour, type SimState } from "./sim_behaviour.ts";
import type { World } from "./world.ts";

const DECODER = new TextDecoder();

/** Every broken promise, in words; empty if all hold. */
export async function checkWorld(world: World): Promise<string[]> {
  const broken = [...world.violations];
  const states = await loadAll(world);
  const letters = await world.log.deadLetters({ limit: 500 });
  const parked = new Set(
    letters.map((letter) => `${letter.to}#${JSON.parse(DECODER.decode(letter.body)).seq}`),
  );
  checkSent(world, states, parked, broken);
  checkForwarded(world, states, broken);
  for (const [address, state] of states) checkActor(address, state, broken);
  await checkNotes(world, states, broken);
  for (const { address, seq, wasCommitted } of world.told) {
    if (!wasCommitted) broken.push(`effect of ${address}#${seq} came out before its commit`);
  }
  const ledger = world.log.ledger();
  for (const terms of ledger.partitions) {
    if (!terms.isBalanced) broken.push(`ledger of ${terms.partition}: ${JSON.stringify(terms)}`);
  }
  if (ledger.total.pending !== 0) broken.push(`${ledger.total.pending} records are pending`);
  const acknowledged = world.sent.filter((sent) => sent.isAcknowledged).length;
  if (ledger.total.accepted < acknowledged) {
    broken.push(`accepted ${ledger.total.accepted} < acknowledged ${acknowledged}`);
  }
  return broken;
}

async function loadAll(world: World): Promise<Map<string, SimState>> {
  const addresses = new Set(world.sent.map((sent) => sent.to));
  for (let a = 0; a < 3; a++) for (let b = 0; b < 2; b++) addresses.add(`sim/${a}.${b}`);
  const list = [...addresses];
  const stored = await world.log.loadStates(list);
  const states = new Map<string, SimState>();
  list.forEach((address, i) => {
    const bytes = stored[i];
    const state = bytes === undefined ? undefined : peekState(bytes).state as SimState | undefined;
    states.set(address, state ?? simBehaviour.initial(address));
  });
  return states;
}

/** Acknowledged implies handled or parked, once; order per actor. */
function checkSent(
  world: World,
  states: ReadonlyMap<string, SimState>,
  parked: ReadonlySet<string>,
  broken: string[],
): void {
  for (const { to, message, isAcknowledged } of world.sent) {
    if (message.type !== "work") continue;
    const times = states.get(to)!.seen.filter((seq) => seq === message.seq).length;
    const isParked = parked.has(`${to}#${message.seq}`);
    if (isAcknowledged && times + (isParked ? 1 : 0) !== 1) {
      broken.push(`${to}#${message.seq} acknowledged: handled ${times}×, parked ${isParked}`);
    } else if (times > 1) broken.push(`${to}#${message.seq} handled ${times}×`);
  }
}

function checkForwarded(
  world: World,
  states: ReadonlyMap<string, SimState>,
  broken: string[],
): void {
  for (const { to, message } of world.sent) {
    if (message.type !== "work" || message.forwardTo === undefined) continue;
    const isHandled = states.get(to)!.seen.includes(message.seq);
    const name = `${to}#${message.seq}`;
    const times = states.get(message.forwardTo)!.forwarded.filter((f) => f === name).length;
    if (times !== (isHandled ? 1 : 0)) {
      broken.push(`${name} forwarded ${times}× while its cause was handled: ${isHandled}`);
    }
  }
}

function checkActor(address: string, state: SimState, broken: string[]): void {
  for (let i = 1; i < state.seen.length; i++) {
    if (state.seen[i]! <= state.seen[i - 1]!) broken.push(`${address}: order ${state.seen}`);
  }
  if (state.fellBack) broken.push(`${address}: time fell back`);
  for (const seq of state.set) {
    const rang = state.rang.filter(([id]) => id === seq).length;
    const isCancelled = state.cancelled.includes(seq);
    if (rang !== (isCancelled ? 0 : 1)) {
      broken.push(`${address}: reminder ${seq} rang ${rang}×, cancelled ${isCancelled}`);
    }
  }
  for (const [seq, dueAtMs, firedAtMs] of state.rang) {
    if (firedAtMs < dueAtMs) {
      broken.push(`${address}: reminder ${seq} early: ${firedAtMs - dueAtMs}`);
    }
    if (!state.set.includes(seq)) broken.push(`${address}: reminder ${seq} was never set`);
  }
}

/** Own records reach the readers once for each handled message that asked for one. */
async function checkNotes(
  world: World,
  states: ReadonlyMap<string, SimState>,
  broken: string[],
): Promise<void> {
  const found: string[] = [];
  let cursor = 0;
  while (true) {
    const page = await world.log.readTicks(cursor, ["record"], 1 << 20);
    for (const tick of page.ticks) {
      for (const segment of tick.segments) {
        for (const record of recordsOf(segment)) {
          const { body } = JSON.parse(DECODER.decode(record.body));
          found.push(`${body.from}#${body.seq}`);
        }
      }
    }
    if (page.cursor === cursor) break;
    cursor = page.cursor;
  }
  const wanted = world.sent.filter(({ to, message }) =>
    message.type === "work" && message.notes && states.get(to)!.seen.includes(message.seq)
  ).map(({ to, message }) => `${to}#${(message as { seq: number }).seq}`);
  if (found.sort().join() !== wanted.sort().join()) {
    broken.push(`notes: found ${found}, wanted ${wanted}`);
  }
}
