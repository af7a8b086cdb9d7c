/** Refusals in a person's language. */
import type { ApiError } from "../api/problem.ts";
import { defineText, language } from "../text/i18n.ts";
import { PROBLEM_TEXTS } from "./problem_text.ts";

type Key = keyof typeof PROBLEM_TEXTS.zh;

const t = defineText("problem", PROBLEM_TEXTS);

export interface Failure {
  readonly cause: string;
  readonly fix: string;
  /** The server's words, where they are not the cause itself. */
  readonly detail: string | undefined;
}

/** The server speaks English: there its words are the cause. */
export function failureOf({ code, problem, status }: ApiError): Failure {
  const known = code in PROBLEM_TEXTS.zh ? code : "unknown";
  const cause = t(known as Key);
  const fix = t(`fix_${known}` as Key);
  if (problem === undefined) {
    return { cause, fix, detail: status === 0 ? undefined : `HTTP ${status}` };
  }
  const { detail, hint } = problem;
  if (language.value === "en") return { cause: detail, fix: hint ?? fix, detail: undefined };
  return { cause, fix, detail: hint === undefined ? detail : `${detail} ${hint}` };
}

/** For a line in a form; what is technical stands on a line of its own. */
export function failureText(error: ApiError): string {
  const { cause, fix, detail } = failureOf(error);
  if (detail === undefined) return cause;
  return `${cause}${language.value === "zh" ? "" : " "}${fix}\n${t("detail", { detail })}`;
}

export const detailTitle = () => t("detail_title");
