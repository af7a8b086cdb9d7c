/** Ports for what a test starts. */
import { systemRandom } from "../../runtime/random.ts";

/**
 * A free port below the range that the system gives to clients: a client that reconnects to a dead
 * server's port within that range may be given the same port and connect to itself.
 */
export function freePort(): number {
  while (true) {
    const port = 20_000 + Math.floor(systemRandom.fraction() * 10_000);
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (fault) {
      if (!(fault instanceof Deno.errors.AddrInUse)) throw fault;
    }
  }
}
