/** Ends the process by SIGKILL at the n-th hit of a step: `ROOST_TEST_FAIL_POINT=append:17`. */

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
