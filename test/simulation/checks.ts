/** What must hold of a simulated world when it has healed and drained. */
import { decodeEnvelope, peekState } from "../../runtime/actor/state_codec.ts";
import type { StoredDeadLetter } from "../../runtime/log/partition_log.ts";
import { checkReaders } from "./reader_checks.ts";
import { createSimBehaviour, SIM_KIND, type SimMessage, type SimState } from "./sim_behaviour.ts";
import type { World } from "./world.ts";

const DECODER = new TextDecoder();

/** What is known of the actors at the end. */
export interface Outcome {
  readonly states: ReadonlyMap<string, SimState>;
  /** `letterOf` of each record or reminder that was parked. */
  readonly parked: readonly string[];
}

/** Every broken promise, in words; empty if all hold. */
export async function checkWorld(world: World): Promise<string[]> {
  const broken = [...world.violations];
  const letters = await world.log.deadLetters({ limit: 500 });
  const parked = letters.map(letterOf);
  const outcome = { states: await loadAll(world, broken), parked };
  for (const name of parked) {
    if (parked.indexOf(name) !== parked.lastIndexOf(name)) broken.push(`${name} parked twice`);
  }
  checkSent(world, outcome, broken);
  checkForwarded(world, outcome, broken);
  for (const [address, state] of outcome.states) checkActor(address, state, outcome, broken);
  await checkReaders(world, outcome, broken);
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

/** Handled or parked: it was in the log. */
export function wasAccepted({ states, parked }: Outcome, to: string, message: SimMessage): boolean {
  return states.get(to)!.seen.includes(message.seq) || parked.includes(nameOf(to, message));
}

function letterOf({ to, body }: StoredDeadLetter): string {
  return nameOf(to, JSON.parse(DECODER.decode(body)));
}

function nameOf(to: string, message: SimMessage): string {
  const from = message.type === "forwarded" ? message.from : "";
  return `${message.type} ${from}#${message.seq} to ${to}`;
}

async function loadAll(world: World, broken: string[]): Promise<Map<string, SimState>> {
  const addresses = new Set(world.sent.map((sent) => sent.to));
  for (let a = 0; a < 3; a++) for (let b = 0; b < 2; b++) addresses.add(`${SIM_KIND}/${a}.${b}`);
  const list = [...addresses];
  const stored = await world.log.loadStates(list);
  const states = new Map<string, SimState>();
  const { initial } = createSimBehaviour(() => {});
  list.forEach((address, i) => {
    const bytes = stored[i];
    const state = bytes === undefined ? undefined : peekState(bytes).state as SimState | undefined;
    states.set(address, state ?? initial(address));
    // Fired, cancelled or parked by now: a name that is left would take up room for ever.
    const { reminders } = bytes === undefined ? { reminders: [] } : decodeEnvelope(bytes).traits;
    if (reminders.length > 0) broken.push(`${address}: reminders ${reminders} are still set`);
  });
  return states;
}

/** Acknowledged implies handled or parked, once; order per actor. */
function checkSent(world: World, { states, parked }: Outcome, broken: string[]): void {
  for (const { to, message, isAcknowledged } of world.sent) {
    const times = states.get(to)!.seen.filter((seq) => seq === message.seq).length;
    const isParked = parked.includes(nameOf(to, message));
    if (isAcknowledged && times + (isParked ? 1 : 0) !== 1) {
      broken.push(`${to}#${message.seq} acknowledged: handled ${times}×, parked ${isParked}`);
    } else if (times > 1) broken.push(`${to}#${message.seq} handled ${times}×`);
  }
}

function checkForwarded(world: World, { states, parked }: Outcome, broken: string[]): void {
  for (const { to, message } of world.sent) {
    if (message.type !== "properties" || message.forwardTo === undefined) continue;
    const isHandled = states.get(to)!.seen.includes(message.seq);
    const name = `${to}#${message.seq}`;
    const { forwardTo } = message;
    const letter = nameOf(forwardTo, { type: "forwarded", from: to, seq: message.seq });
    const times = states.get(forwardTo)!.forwarded.filter((f) => f === name).length +
      (parked.includes(letter) ? 1 : 0);
    if (times !== (isHandled ? 1 : 0)) {
      broken.push(`${name} forwarded ${times}× while its cause was handled: ${isHandled}`);
    }
  }
}

function checkActor(
  address: string,
  state: SimState,
  { parked }: Outcome,
  broken: string[],
): void {
  for (let i = 1; i < state.seen.length; i++) {
    if (state.seen[i]! <= state.seen[i - 1]!) broken.push(`${address}: order ${state.seen}`);
  }
  if (state.fellBack) broken.push(`${address}: time fell back`);
  for (const seq of state.set) {
    const rang = state.rang.filter(([id]) => id === seq).length;
    const isCancelled = state.cancelled.includes(seq);
    const isParked = parked.includes(nameOf(address, { type: "rang", seq, dueAtMs: 0 }));
    // Cancelled after it was parked is not known to the actor.
    const isRight = isParked ? rang === 0 : rang === (isCancelled ? 0 : 1);
    if (isRight) continue;
    broken.push(
      `${address}: reminder ${seq} rang ${rang}×, cancelled ${isCancelled}, ` +
        `parked ${isParked}`,
    );
  }
  for (const [seq, dueAtMs, firedAtMs] of state.rang) {
    if (firedAtMs < dueAtMs) {
      broken.push(`${address}: reminder ${seq} early: ${firedAtMs - dueAtMs}`);
    }
    if (!state.set.includes(seq)) broken.push(`${address}: reminder ${seq} was never set`);
  }
}
