/** What must be in the stores of the readers when a simulated world has drained. */
import type { Outcome } from "./checks.ts";
import { wasAccepted } from "./checks.ts";
import { SIM_KIND, SIM_VIEW } from "./sim_behaviour.ts";
import { START_MS } from "./virtual_clock.ts";
import type { World } from "./world.ts";

export async function checkReaders(
  world: World,
  outcome: Outcome,
  broken: string[],
): Promise<void> {
  for (const address of outcome.states.keys()) {
    await checkPoints(world, outcome, address, broken);
  }
  await checkRows(world, outcome, broken);
  checkNotes(world, outcome, broken);
}

/** The points of each accepted record once, in order of acceptance. */
async function checkPoints(
  world: World,
  outcome: Outcome,
  address: string,
  broken: string[],
): Promise<void> {
  const wanted: number[] = [];
  for (const { to, message } of world.sent) {
    if (to !== address || message.type !== "properties") continue;
    if (!wasAccepted(outcome, to, message)) continue;
    for (const { values } of message.samples) wanted.push(values.n!);
  }
  const { series } = await world.disks.points.range({
    device: address.slice(SIM_KIND.length + 1),
    metrics: ["n"],
    fromMs: START_MS,
    toMs: START_MS + 86_400_000,
    limit: 1_000,
  });
  const found = (series["n"] ?? []).map(([, value]) => value);
  if (found.join() !== wanted.join()) {
    broken.push(`points of ${address}: found ${found}, wanted ${wanted}`);
  }
}

/** Each row is the last that its actor projected. */
async function checkRows(world: World, { states }: Outcome, broken: string[]): Promise<void> {
  const rows = await world.disks.views.rows(SIM_VIEW, [...states.keys()]);
  for (const [address, { projected }] of states) {
    const found = (rows.get(address) as { count: number } | undefined)?.count ?? 0;
    if (found !== projected) broken.push(`row of ${address}: found ${found}, wanted ${projected}`);
  }
}

/** Own records once for each handled message that asked for one. */
function checkNotes(world: World, { states }: Outcome, broken: string[]): void {
  const found = [...world.disks.notes.values()].sort();
  const wanted: string[] = [];
  for (const { to, message } of world.sent) {
    if (message.type !== "properties" || !message.notes) continue;
    if (states.get(to)!.seen.includes(message.seq)) wanted.push(`${to}#${message.seq}`);
  }
  if (found.join() !== wanted.sort().join()) {
    broken.push(`notes: found ${found}, wanted ${wanted}`);
  }
}
