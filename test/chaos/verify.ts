/** What must hold after a crash, as the API tells it. */
import assert from "node:assert/strict";
import { systemClock } from "../../runtime/clock.ts";
import { SEQUENCE } from "../bench/load/payload.ts";
import type { DeviceLogin } from "../bench/load/options.ts";
import { isBalanced, type LedgerView, type RoostApi } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";

const HANDLED_MS = 60_000;
/** Clocks of two readings of one machine; acceptance may be a little before the load's own begin. */
const MARGIN_MS = 5_000;

/** Acknowledged sequence numbers of one device, by the client's own count. */
export interface Claim {
  readonly device: DeviceLogin;
  readonly acknowledged: readonly number[];
}

/** Every partition's terms and the total add up, at this moment. */
export function assertBalanced(ledger: LedgerView): void {
  assert.ok(isBalanced(ledger.total), `the total does not add up: ${JSON.stringify(ledger.total)}`);
  for (const terms of ledger.partitions) {
    assert.ok(isBalanced(terms), `a partition does not add up: ${JSON.stringify(terms)}`);
  }
}

/** Waits until nothing is pending; the ledger adds up at every look. */
export async function untilHandled(api: RoostApi): Promise<LedgerView> {
  let ledger: LedgerView | undefined;
  return await waitFor(async () => {
    ledger = await api.ledger();
    assertBalanced(ledger);
    return ledger.total.pending === 0 ? ledger : undefined;
  }, {
    what: "everything accepted to be handled",
    withinMs: HANDLED_MS,
    actual: () => ledger?.total,
  });
}

/**
 * Each claimed message stands in history exactly once, in order of sending, none of the device's
 * others stands there twice, and the device's last value is the last of history.
 * Returns how many messages history has.
 */
export async function assertExactlyOnce(
  api: RoostApi,
  claim: Claim,
  fromMs: number,
  withinMs = HANDLED_MS,
): Promise<number> {
  const { product, device } = claim.device;
  const range = { fromMs: fromMs - MARGIN_MS, toMs: systemClock.nowMs() + MARGIN_MS };
  let missing: number[] = [];
  let last: unknown;
  const stored = await waitFor(async () => {
    // History may be behind actors by messages that were accepted and not acknowledged.
    last = (await api.properties(product, device))[SEQUENCE]?.value;
    const points = await api.history(product, device, SEQUENCE, range);
    const sequences = points.map((point) => point[1] as number);
    const known = new Set(sequences);
    missing = claim.acknowledged.filter((sequence) => !known.has(sequence));
    // The range may begin after the device's last message.
    const isUpToLast = sequences.length === 0 || sequences.at(-1) === last;
    return missing.length === 0 && isUpToLast ? sequences : undefined;
  }, {
    what: `all ${claim.acknowledged.length} acknowledged messages of ${device} in history, ` +
      "the last value as its last",
    withinMs,
    everyMs: 200,
    actual: () => ({ missing: missing.length, first: missing.slice(0, 5), last }),
  });
  for (let i = 1; i < stored.length; i++) {
    assert.ok(
      stored[i]! > stored[i - 1]!,
      `${device}: ${stored[i]} follows ${stored[i - 1]}: ` +
        (stored.indexOf(stored[i]!) < i ? "stored twice" : "out of order"),
    );
  }
  return stored.length;
}
