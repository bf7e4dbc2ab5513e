// What a person reads, by key: texts with {names} in them, in one or more forms by number.
// Laws: English is complete by its type, every other catalogue by a test; a form is chosen by Intl.PluralRules, and
// numbers are written by Intl.NumberFormat; a name of the other writing direction is kept apart from the sentence.

import { english } from "./messages-en.js";

/** A text, or its forms by number: `{n}` is the number. */
export type Message = string | ({ readonly other: string } & { readonly [rule in Intl.LDMLPluralRule]?: string });

/** Names a text. */
export type MessageKey = keyof typeof english;

/** The texts of one language; keys of the form `reason.CODE` may be added for an application's own codes. */
export interface Catalogue {
  /** The language, BCP 47. */
  readonly locale: string;
  /** In which direction it is written. */
  readonly direction: "ltr" | "rtl";
  readonly messages: Readonly<Record<MessageKey, Message>> & Readonly<Record<`reason.${string}`, Message>>;
}

/** What is put in for the names of a text. */
export type Values = Readonly<Record<string, string | number>>;

/** Says a text in a language. */
export type Say = (key: MessageKey | `reason.${string}`, values?: Values) => string;

const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/u;
const PLACE = /\{(\w+)\}/g;

/** Makes what says the texts of a catalogue; `own` replaces some of them. */
export function speaker(catalogue: Catalogue, own: Partial<Record<string, Message>> = {}): Say {
  const { locale, direction } = catalogue;
  const rules = new Intl.PluralRules(locale);
  const numbers = new Intl.NumberFormat(locale);
  const written = (value: string | number): string => {
    if (typeof value === "number") return numbers.format(value);
    const foreign = direction === "rtl" || RIGHT_TO_LEFT.test(value);
    return foreign ? `\u2068${value}\u2069` : value;
  };
  return (key, values = {}) => {
    const message: Message | undefined = own[key] ?? catalogue.messages[key as MessageKey];
    if (message === undefined) return key;
    const text = typeof message === "string" ? message : formOf(message, rules, values.n);
    return text.replace(PLACE, (place, name: string) => {
      const value = values[name];
      return value === undefined ? place : written(value);
    });
  };
}

/** Tells whether a catalogue, or the application, has a text. */
export function knows(catalogue: Catalogue, own: Partial<Record<string, Message>>, key: string): boolean {
  return Object.hasOwn(own, key) || Object.hasOwn(catalogue.messages, key);
}

function formOf(message: Exclude<Message, string>, rules: Intl.PluralRules, n: string | number | undefined): string {
  return (typeof n === "number" ? message[rules.select(n)] : undefined) ?? message.other;
}
