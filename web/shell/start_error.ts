import { shallowRef } from "vue";
import type { ApiError } from "../api/problem.ts";

/** Why the console could not find out who is logged in; it then shows nothing else. */
export const startError = shallowRef<ApiError>();
