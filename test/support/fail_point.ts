/**
 * Ends the process by SIGKILL at the n-th hit of a step: `ROOST_TEST_FAIL_POINT=append:17`. Or stops
 * one thread, see `stopPoint`.
 */

/** Steps of the stores by the names that tests use. */
const STEPS: Readonly<Record<string, string>> = {
  append: "append:before-commit",
  commit: "commit:before-commit",
  compaction: "compaction:before-commit",
  checkpoint: "checkpoint:before",
};

/** A hook for stores. Without the variable it does nothing. */
export function failPoint(): (step: string) => void {
  const [name = "", hits] = (Deno.env.get("ROOST_TEST_FAIL_POINT") ?? "").split(":");
  let left = Number(hits);
  return (step) => {
    if (step === STEPS[name] && --left === 0) Deno.kill(Deno.pid, "SIGKILL");
  };
}

/**
 * A hook that stops its thread for ever between a durable commit and its effects, once, if the file
 * `ROOST_TEST_STOP_FILE` is there; renamed to `….stopped` by then, so that the next thread goes on.
 */
export function stopPoint(): (step: string) => void {
  const path = Deno.env.get("ROOST_TEST_STOP_FILE");
  let isCommit = false;
  return (step) => {
    if (path === undefined) return;
    if (step === "after-commit" && isCommit && isThere(path)) {
      Deno.renameSync(path, `${path}.stopped`);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    }
    isCommit = step === STEPS.commit;
  };
}

export function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return false;
    throw fault;
  }
}
