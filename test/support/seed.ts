/** The seed of a random test: drawn, and printed so that a failure can be repeated. */
import { systemRandom } from "../../runtime/random.ts";

/** Of the command line (`-- --seed=7`), else a fresh one. Prints it. */
export function readSeed(): number {
  const given = Deno.args.map((arg) => /^--seed=(\d+)$/.exec(arg)?.[1]).find((one) => one);
  const seed = given === undefined ? Math.floor(systemRandom.fraction() * 2 ** 31) : Number(given);
  Deno.stdout.writeSync(new TextEncoder().encode(`seed ${seed}\n`));
  return seed;
}
