// Texts: one file for each language and area, one language loaded at a time.  Keys are checked by the compiler.
import type en from "../messages/en";
import { read, write } from "./storage";

type Messages = typeof en;
/** Every text there is: `area.name`. */
export type Key = { [A in keyof Messages]: `${A & string}.${keyof Messages[A] & string}` }[keyof Messages];
/** Those that have a form for each number, without the form. */
type Plural<K extends Key = Key> = K extends `${infer Name}_one` ? Name : never;
/** What stands in a text's `{places}`. */
export type Values = Record<string, string | number>;

export const LANGUAGES = { en: "English", es: "Español" } as const;
export type Language = keyof typeof LANGUAGES;

const LOADERS: Record<Language, () => Promise<{ default: Record<string, Record<string, string>> }>> = {
  en: () => import("../messages/en"),
  es: () => import("../messages/es"),
};

const current = $state<{ language: Language; messages: Record<string, Record<string, string>> }>({
  language: "en",
  messages: {},
});

/** The language asked for before, else the browser's, else English. */
export async function startLanguage(): Promise<void> {
  const kept = read("language");
  const wanted = [kept, ...navigator.languages].map((one) => one?.slice(0, 2));
  await setLanguage(wanted.find((one): one is Language => one !== undefined && one in LANGUAGES) ?? "en", false);
}

export async function setLanguage(language: Language, keep = true): Promise<void> {
  current.messages = (await LOADERS[language]()).default;
  current.language = language;
  document.documentElement.lang = language;
  if (keep) write("language", language);
}

export function language(): Language {
  return current.language;
}

/** A text, its places filled.  Values are put in as text; whoever shows it lets Svelte escape it. */
export function t(key: Key, values: Values = {}): string {
  const dot = key.indexOf(".");
  const text = current.messages[key.slice(0, dot)]?.[key.slice(dot + 1)] ?? key;
  return text.replace(/\{(\w+)\}/g, (place, name: string) => (name in values ? String(values[name]) : place));
}

/** The form of a text for a number: `name_one` or `name_other`, with `{count}` in it. */
export function tn(key: Plural, count: number, values: Values = {}): string {
  const form = new Intl.PluralRules(current.language).select(count) === "one" ? "one" : "other";
  return t(`${key}_${form}` as Key, { count: number(count), ...values });
}

export function number(value: number, digits = 0): string {
  return value.toLocaleString(current.language, { maximumFractionDigits: digits });
}

/** A moment, given in milliseconds since the epoch: "3 minutes ago", with the full date for a title. */
export function ago(ms: number, now = Date.now()): string {
  const seconds = Math.round((ms - now) / 1000);
  const format = new Intl.RelativeTimeFormat(current.language, { numeric: "auto" });
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size || unit === "second") return format.format(Math.round(seconds / size), unit);
  }
  return "";
}

export function moment(ms: number): string {
  return new Date(ms).toLocaleString(current.language, { dateStyle: "medium", timeStyle: "medium" });
}

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];
