// In which language Desk speaks, and how it says numbers, times and names.
// Laws: one catalogue for everything on screen, Desk's texts and those of the components; the browser's language decides until a person chooses another; the two
// test languages are longer than any real one, and one of them goes from right to left.

import { type Catalogue, english as common, german as commonInGerman, type Message, type MessageKey, pseudoCatalogue, pseudoMessage, speaker } from "@antiphon/react/ui";
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";

import { knownPeople } from "../session.js";
import { english, type TextKey } from "./english.js";
import { german } from "./german.js";

/** What is filled into a text. */
export type Values = Readonly<Record<string, string | number>>;

/** How Desk speaks. */
export interface Speech {
  readonly locale: string;
  readonly direction: "ltr" | "rtl";
  /** What the components take. */
  readonly catalogue: Catalogue;
  readonly say: (key: TextKey | MessageKey, values?: Values) => string;
  /** A moment, relative to now where it is near. */
  readonly time: (at: string) => string;
  /** A moment in full. */
  readonly moment: (at: string) => string;
  readonly date: (day: string) => string;
  /** How a person is called. */
  readonly person: (id: string) => string;
  readonly choose: (locale: string) => void;
}

interface Language {
  readonly locale: string;
  readonly name: string;
  readonly catalogue: Catalogue;
  readonly texts: Record<TextKey, Message>;
}

/** The languages that a person may choose. */
export const LANGUAGES: readonly Language[] = [
  { locale: "en", name: "English", catalogue: { locale: "en", direction: "ltr", messages: common }, texts: english },
  { locale: "de", name: "Deutsch", catalogue: commonInGerman, texts: german },
];

/** Languages of the tests: `?lang=en-XA` and `?lang=ar-XB`. */
const TEST_LANGUAGES: readonly Language[] = [
  { locale: "en-XA", name: "pseudo", catalogue: pseudoCatalogue(), texts: pseudoTexts() },
  { locale: "ar-XB", name: "pseudo, right to left", catalogue: pseudoCatalogue("rtl"), texts: pseudoTexts() },
];

const CHOSEN = "desk.language";
const Context = createContext<Speech>(speechOf(LANGUAGES[0] as Language, () => undefined));

/** Speaks to everything below. */
export function Speaking({ children }: { readonly children: ReactNode }): ReactNode {
  const [language, choose] = useState(firstLanguage);
  useEffect(() => {
    document.documentElement.lang = language.locale;
    document.documentElement.dir = language.catalogue.direction;
  }, [language]);
  const speech = useMemo(() => speechOf(language, (locale) => {
    // Where nothing can be kept, it is chosen for this time only.
    try { localStorage.setItem(CHOSEN, locale); } catch { /* As was said. */ }
    choose(LANGUAGES.find((one) => one.locale === locale) ?? language);
  }), [language]);
  return <Context.Provider value={speech}>{children}</Context.Provider>;
}

/** How Desk speaks here. */
export function useSpeech(): Speech {
  return useContext(Context);
}

function firstLanguage(): Language {
  const all = [...LANGUAGES, ...TEST_LANGUAGES];
  const wanted = [new URLSearchParams(location.search).get("lang"), chosenBefore(), ...navigator.languages];
  for (const locale of wanted) {
    const found = all.find((one) => one.locale === locale) ?? LANGUAGES.find((one) => one.locale === locale?.split("-")[0]);
    if (found) return found;
  }
  return LANGUAGES[0] as Language;
}

function chosenBefore(): string | null {
  try { return localStorage.getItem(CHOSEN); } catch { return null; }
}

function speechOf({ locale, catalogue, texts }: Language, choose: (locale: string) => void): Speech {
  const full = new Intl.DateTimeFormat(locale, { dateStyle: "long", timeStyle: "short" });
  // A day is the same day in every time zone.
  const days = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeZone: "UTC" });
  return {
    locale,
    direction: catalogue.direction,
    catalogue,
    choose,
    say: speaker(catalogue, texts) as Speech["say"],
    time: (at) => near(at, locale) ?? full.format(new Date(at)),
    moment: (at) => full.format(new Date(at)),
    date: (day) => (Number.isNaN(Date.parse(day)) ? day : days.format(new Date(day))),
    person: (id) => knownPeople().find((person) => person.id === id)?.name ?? id,
  };
}

const NEAR: readonly (readonly [Intl.RelativeTimeFormatUnit, number, number])[] = [
  ["second", 1_000, 60_000], ["minute", 60_000, 3_600_000], ["hour", 3_600_000, 86_400_000], ["day", 86_400_000, 604_800_000],
];

function near(at: string, locale: string): string | undefined {
  const pastMs = Math.max(0, Date.now() - Date.parse(at));
  const found = NEAR.find(([, , belowMs]) => pastMs < belowMs);
  if (!found) return undefined;
  const [unit, unitMs] = found;
  return new Intl.RelativeTimeFormat(locale, { numeric: "auto" }).format(-Math.floor(pastMs / unitMs), unit);
}

function pseudoTexts(): Record<TextKey, Message> {
  return Object.fromEntries(Object.entries<Message>(english).map(([key, text]) => [key, pseudoMessage(text)])) as Record<TextKey, Message>;
}
