/** Resources that know nothing of supervision, as children of a supervisor. */
import { messageOf, NotRetryableError } from "../errors.ts";
import type { Running } from "./supervision.ts";

/** A resource as a child that can be ended abnormally. */
export function killable(
  resource: AsyncDisposable,
  done: Promise<void | { readonly fault: unknown }>,
  terminate?: () => void,
): Running {
  const killed = Promise.withResolvers<{ readonly fault: unknown }>();
  return {
    done: Promise.race([done, killed.promise]),
    kill: (path) => {
      if (path.length > 0) return false;
      terminate?.();
      killed.resolve({ fault: new Error("killed") });
      return true;
    },
    [Symbol.asyncDispose]: async () => await resource[Symbol.asyncDispose](),
  };
}

/** A port that is taken when the node starts is the operator's to change: not tried again. */
export async function firstListen<T>(before: T | undefined, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (fault) {
    if (before !== undefined) throw fault;
    throw new NotRetryableError(messageOf(fault), { cause: fault });
  }
}
