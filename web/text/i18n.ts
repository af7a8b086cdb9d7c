/**
 * The console's words in both languages. A page keeps its own beside itself, in `text.ts`, and they
 * are loaded with it. In texts `{name}` is a value and `a | b` one and many of `{n}`; write `{'@'}`,
 * `{'|'}` and `{'{'}` for these characters themselves.
 */
import { createI18n } from "vue-i18n";
import { computed } from "vue";

export const LANGUAGES = ["zh", "en"] as const;
export type Language = typeof LANGUAGES[number];

const STORED = "roost.language";

function firstLanguage(): Language {
  const stored = localStorage.getItem(STORED);
  if (stored === "zh" || stored === "en") return stored;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export const i18n = createI18n({
  legacy: false,
  locale: firstLanguage() as string,
  fallbackLocale: false,
  missingWarn: true,
  messages: { zh: {}, en: {} } as Record<
    string,
    Record<string, Record<string, string>>
  >,
});

const { locale } = i18n.global;
document.documentElement.lang = locale.value;

export const language = computed({
  get: () => locale.value as Language,
  set: (chosen) => {
    locale.value = chosen;
    localStorage.setItem(STORED, chosen);
    document.documentElement.lang = chosen;
  },
});

export type Values = Readonly<Record<string, string | number>>;

/**
 * Texts under a name of their own; each key must be there in both languages. The function that
 * comes back is reactive to the language.
 */
export function defineText<T extends Readonly<Record<string, string>>>(
  name: string,
  texts: { readonly zh: T; readonly en: { readonly [K in keyof T]: string } },
): (key: keyof T & string, values?: Values) => string {
  for (const each of LANGUAGES) {
    i18n.global.setLocaleMessage(each, {
      ...i18n.global.getLocaleMessage(each),
      [name]: texts[each],
    });
  }
  return (key, values = {}) => {
    const path = `${name}.${key}`;
    const { n } = values;
    return typeof n === "number"
      ? i18n.global.t(path, values, { plural: n })
      : i18n.global.t(path, values);
  };
}
