/** Programs that work beside a node leave nothing behind when they are ended early. */

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
/** As a shell tells of SIGINT. */
const INTERRUPTED = 130;

/** Until it is disposed, Ctrl-C and SIGTERM undo what was made so far, and end the process. */
export function undoneAtInterrupt(undo: () => void): Disposable {
  const leave = () => {
    try {
      undo();
    } finally {
      Deno.exit(INTERRUPTED);
    }
  };
  for (const signal of SIGNALS) Deno.addSignalListener(signal, leave);
  return {
    [Symbol.dispose]() {
      for (const signal of SIGNALS) Deno.removeSignalListener(signal, leave);
    },
  };
}
