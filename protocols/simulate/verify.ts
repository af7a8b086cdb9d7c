/**
 * Compares what devices were told with what the node keeps. Transmissions have numbers, so history is
 * read number by number: each acknowledged one once, none twice, none that was refused or never sent,
 * and of the unanswered ones, whose fate nobody knows, each once at most.
 */
import { type Clock, waitMs } from "../../runtime/clock.ts";
import type { ApiClient } from "./api_client.ts";
import type { DeviceLogin } from "./link.ts";
import { ACKNOWLEDGED, type Outcomes, REFUSED } from "./outcomes.ts";
import { SEQUENCE } from "./signals.ts";

export interface LedgerTerms {
  readonly accepted: number;
  readonly processed: number;
  readonly pending: number;
  readonly deadLettered: number;
  readonly rolledBack: number;
}

export interface Verification {
  readonly ok: boolean;
  /** Messages of these devices in history. */
  readonly stored: number;
  /** Of them, transmissions that nobody answered. */
  readonly storedUnanswered: number;
  readonly ledger: LedgerTerms;
  /** Accepted since the run began, by the ledger: presence of devices counts, too. */
  readonly acceptedSince: number;
  /** What disagrees, the first few of each kind. */
  readonly faults: readonly string[];
}

export interface Claim {
  readonly login: DeviceLogin;
  readonly outcomes: Outcomes;
}

interface LedgerAnswer {
  readonly total: LedgerTerms;
  readonly partitions: readonly (LedgerTerms & { readonly partition: number })[];
}

const HANDLED_MS_MAX = 120_000;
const STORED_MS_MAX = 120_000;
const LOOK_MS = 250;
const READERS = 6;
const PAGE_POINTS = 100_000;
/** Clocks of two machines may differ. */
const MARGIN_MS = 600_000;
const FAULTS_MAX = 20;

export async function readLedger(api: ApiClient): Promise<LedgerAnswer> {
  return await api.request<LedgerAnswer>("GET", "/api/v1/cluster/ledger");
}

export async function verifyRun(
  api: ApiClient,
  clock: Clock,
  run: {
    readonly claims: readonly Claim[];
    readonly startedAtMs: number;
    readonly acceptedBefore: number;
    readonly acknowledged: number;
  },
): Promise<Verification> {
  const faults: string[] = [];
  const total = await untilHandled(api, clock, faults);
  const acceptedSince = total.accepted - run.acceptedBefore;
  if (acceptedSince < run.acknowledged) {
    faults.push(`the ledger accepted ${acceptedSince}, acknowledged were ${run.acknowledged}`);
  }
  const range = { from: run.startedAtMs - MARGIN_MS, to: clock.nowMs() + MARGIN_MS };
  const untilMs = clock.monotonicMs() + STORED_MS_MAX;
  let stored = 0;
  let storedUnanswered = 0;
  let next = 0;
  const verifySome = async () => {
    for (let at = next++; at < run.claims.length; at = next++) {
      const claim = run.claims[at]!;
      let found = compare(claim, await historyOf(api, claim.login, range));
      // History is written behind the log.
      while (found.missing > 0 && clock.monotonicMs() < untilMs) {
        await waitMs(clock, LOOK_MS);
        found = compare(claim, await historyOf(api, claim.login, range));
      }
      stored += found.stored;
      storedUnanswered += found.storedUnanswered;
      if (faults.length < FAULTS_MAX) faults.push(...found.faults);
    }
  };
  await Promise.all(Array.from({ length: READERS }, verifySome));
  return {
    ok: faults.length === 0,
    stored,
    storedUnanswered,
    ledger: total,
    acceptedSince,
    faults: faults.slice(0, FAULTS_MAX),
  };
}

/** The ledger adds up at every look, until nothing is pending. */
async function untilHandled(
  api: ApiClient,
  clock: Clock,
  faults: string[],
): Promise<LedgerTerms> {
  const untilMs = clock.monotonicMs() + HANDLED_MS_MAX;
  for (;;) {
    const { total, partitions } = await readLedger(api);
    const wrong = partitions.find((terms) => !isBalanced(terms));
    if (!isBalanced(total) || wrong !== undefined) {
      faults.push(`the ledger does not add up: ${JSON.stringify(wrong ?? total)}`);
      return total;
    }
    if (total.pending === 0) return total;
    if (clock.monotonicMs() > untilMs) {
      faults.push(`${total.pending} messages are pending still`);
      return total;
    }
    await waitMs(clock, LOOK_MS);
  }
}

export function compare({ login, outcomes }: Claim, sequences: readonly number[]) {
  const faults: string[] = [];
  const tell = (what: string) => {
    if (faults.length < FAULTS_MAX) faults.push(`${login.device}: ${what}`);
  };
  const seen = new Uint8Array(outcomes.last + 1);
  let storedUnanswered = 0;
  for (const sequence of sequences) {
    const outcome = outcomes.get(sequence);
    if (outcome === undefined) tell(`${sequence} is stored and was never sent`);
    else if (outcome === REFUSED) tell(`${sequence} was refused and is stored`);
    else if (seen[sequence] === 1) tell(`${sequence} is stored twice`);
    else {
      seen[sequence] = 1;
      if (outcome !== ACKNOWLEDGED) storedUnanswered++;
    }
  }
  let missing = 0;
  for (let sequence = 1; sequence <= outcomes.last; sequence++) {
    if (outcomes.get(sequence) !== ACKNOWLEDGED || seen[sequence] === 1) continue;
    if (missing++ === 0) tell(`${sequence} was acknowledged and is not stored`);
  }
  return { stored: sequences.length, storedUnanswered, missing, faults };
}

async function historyOf(
  api: ApiClient,
  { product, device }: DeviceLogin,
  range: { readonly from: number; readonly to: number },
): Promise<number[]> {
  type Page = {
    readonly series: Readonly<Record<string, readonly (readonly [number, number])[]>>;
    readonly nextCursor: string | null;
  };
  const sequences: number[] = [];
  let cursor: string | null = null;
  do {
    const query = new URLSearchParams({
      keys: SEQUENCE,
      from: String(range.from),
      to: String(range.to),
      limit: String(PAGE_POINTS),
      ...(cursor === null ? {} : { cursor }),
    });
    const path = `/api/v1/devices/${product}/${device}/telemetry?${query}`;
    const page: Page = await api.request<Page>("GET", path);
    for (const [, sequence] of page.series[SEQUENCE] ?? []) sequences.push(sequence);
    cursor = page.nextCursor;
  } while (cursor !== null);
  return sequences;
}

function isBalanced(terms: LedgerTerms): boolean {
  const { accepted, processed, pending, deadLettered, rolledBack } = terms;
  return accepted === processed + pending + deadLettered + rolledBack;
}
