/** One act of a person at a time, and what the API says against it. */
import { type Ref, ref } from "vue";
import { ApiError } from "../api/problem.ts";
import { failureText } from "./failure.ts";

export interface Sending {
  readonly isSending: Ref<boolean>;
  /** Of the last act, in the person's language; empty: none. */
  readonly failure: Ref<string>;
  /** @returns Whether it was done. Faults that are none of the API's are thrown. */
  send(act: () => Promise<unknown>): Promise<boolean>;
}

/** @param tell Words for a refusal, where they are others than everywhere. */
export function useSending(tell: (error: ApiError) => string = failureText): Sending {
  const isSending = ref(false);
  const failure = ref("");
  return {
    isSending,
    failure,
    send: async (act) => {
      if (isSending.value) return false;
      isSending.value = true;
      failure.value = "";
      try {
        await act();
        return true;
      } catch (fault) {
        if (!(fault instanceof ApiError)) throw fault;
        failure.value = tell(fault);
        return false;
      } finally {
        isSending.value = false;
      }
    },
  };
}
