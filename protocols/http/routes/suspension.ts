/** What must not be asked of an actor that is full of dead letters: it would be one more. */
import type { HttpPorts } from "../ports.ts";
import { ProblemError } from "../problem.ts";

/** @param what What cannot be done: `change the shadow`. @throws {ProblemError} 409. */
export function assertNotSuspended(
  { suspended }: Pick<HttpPorts, "suspended">,
  address: string,
  what: string,
): void {
  if (!suspended.has(address)) return;
  const detail = `Cannot ${what}: the device has too many dead letters`;
  throw new ProblemError("suspended", detail, { hint: "Replay one of them" });
}
