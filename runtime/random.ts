/** Randomness, injected. The only module that draws from the machine. */
export interface Random {
  /** Uniform in `[0, 1)`. */
  fraction(): number;
  /** `length` unpredictable bytes on the system source; repeatable ones on a seeded source. */
  bytes(length: number): Uint8Array;
}

export const systemRandom: Random = {
  fraction: () => Math.random(),
  bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
};

/** Repeatable source (mulberry32) for simulations and tests. Never for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const fraction = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  return { fraction, bytes: (length) => Uint8Array.from({ length }, () => fraction() * 256) };
}
